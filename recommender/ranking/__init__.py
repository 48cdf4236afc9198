"""Rankings of products, made from the neighbors of a user and from the products that go together.

classic      the weighted mean of the neighbors' ratings
taste        the products that many neighbors by taste have in common
taste_votes  the data that `taste` prepares once for a shop
items        the products that go with the user's own
fusion       taste and items, merged by ranks
beside_taste what items and fusion share
parameters   the parameters of taste, items and auto
rankings     classic, taste, items and auto behind one interface
dataframe    `classic` for a DataFrame and a dense similarity
"""

from recommender.ranking._item_kernels import ItemProfiles
from recommender.ranking._taste_kernels import Bars
from recommender.ranking.classic import RankedProducts, rank_near, rank_products, rank_products_for_rows
from recommender.ranking.dataframe import find_neighbors, rank_frame
from recommender.ranking.fusion import DEPTH, FusedRanker, fuse
from recommender.ranking.items import ItemRanker, ItemVotes, train_item_weights
from recommender.ranking.parameters import (
    AUTO,
    BY_TASTE,
    CLASSIC,
    DAMPING,
    FUSION,
    ITEMS,
    N_NEIGHBORS,
    RANKINGS,
    TASTE,
    AutoParameters,
    FusionParameters,
    ItemParameters,
    TasteParameters,
    chosen_parameters,
    parameters_of,
)
from recommender.ranking.rankings import (
    ClassicRanking,
    ProfileRanking,
    Ranking,
    TasteSimilarity,
    chosen_ranker,
    under,
)
from recommender.ranking.taste import SHALLOW, ProfileRanker, TasteRanker, rank_taste_for_rows
from recommender.ranking.taste_votes import RankedByTaste, TasteVotes, empty_lists

__all__ = [
    "AUTO",
    "BY_TASTE",
    "CLASSIC",
    "DAMPING",
    "DEPTH",
    "FUSION",
    "ITEMS",
    "N_NEIGHBORS",
    "RANKINGS",
    "SHALLOW",
    "TASTE",
    "AutoParameters",
    "Bars",
    "ClassicRanking",
    "FusedRanker",
    "FusionParameters",
    "ItemParameters",
    "ItemProfiles",
    "ItemRanker",
    "ItemVotes",
    "ProfileRanker",
    "ProfileRanking",
    "RankedByTaste",
    "RankedProducts",
    "Ranking",
    "TasteParameters",
    "TasteRanker",
    "TasteSimilarity",
    "TasteVotes",
    "chosen_parameters",
    "chosen_ranker",
    "empty_lists",
    "find_neighbors",
    "fuse",
    "parameters_of",
    "rank_frame",
    "rank_near",
    "rank_products",
    "rank_products_for_rows",
    "rank_taste_for_rows",
    "train_item_weights",
    "under",
]
