"""How much owning one product speaks for another: the weights of a linear item model.

training  the weights of a whole shop; its memory and time foreseen
dense     EASE^R in closed form, all products at once
local     for each product a ridge on its nearest products
weights   the weights, by rows, on a fixed grid
"""

from recommender.items.training import foresee, train_items
from recommender.items.weights import GRID_BITS, ItemWeights

__all__ = ["GRID_BITS", "ItemWeights", "foresee", "train_items"]
