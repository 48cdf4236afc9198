"""Rankings of products, made from the neighbors of a user.

classic      the weighted mean of the neighbors' ratings
taste        the products that many neighbors by taste have in common
taste_votes  the data that `taste` prepares once for a shop
rankings     classic, taste and auto behind one interface
dataframe    `classic` for a DataFrame and a dense similarity
"""

from recommender.ranking.classic import RankedProducts, rank_near, rank_products, rank_products_for_rows
from recommender.ranking.dataframe import find_neighbors, rank_frame
from recommender.ranking.rankings import (
    AUTO,
    BY_TASTE,
    CLASSIC,
    RANKINGS,
    TASTE,
    ClassicRanking,
    Ranking,
    TasteRanking,
    TasteSimilarity,
    chosen_parameters,
    under,
)
from recommender.ranking.taste import (
    N_NEIGHBORS,
    SHALLOW,
    RankedByTaste,
    TasteParameters,
    TasteRanker,
    rank_taste_for_rows,
)
from recommender.ranking.taste_votes import DAMPING, TasteVotes

__all__ = [
    "AUTO",
    "BY_TASTE",
    "CLASSIC",
    "DAMPING",
    "N_NEIGHBORS",
    "RANKINGS",
    "SHALLOW",
    "TASTE",
    "ClassicRanking",
    "RankedByTaste",
    "RankedProducts",
    "Ranking",
    "TasteParameters",
    "TasteRanker",
    "TasteRanking",
    "TasteSimilarity",
    "TasteVotes",
    "chosen_parameters",
    "find_neighbors",
    "rank_frame",
    "rank_near",
    "rank_products",
    "rank_products_for_rows",
    "rank_taste_for_rows",
    "under",
]
