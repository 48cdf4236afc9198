"""The trained model, which answers requests.

training        from a snapshot of the shop to a model
served_model    the model: lists, neighbors, similar products
answers         ranked products, the evidence for each, and where they come from
list_request    the options of a request for a list
filters         a cache of product filters and of the data that lists need under them
neighborhood    the neighbors of one user and their products
explanations    the reason why a product was recommended
shop_figures    figures of the whole shop
title_search    products by words of their titles
taste_map       every user a point in the plane, near to those of the same taste
coarse_figures  figures about few people, too coarse to identify one of them
"""

from recommender.model.answers import EVIDENT, PRODUCT_SOURCES, Answer, Recommendation, as_recommendations
from recommender.model.coarse_figures import FEWEST, STEPS, mean_of_many
from recommender.model.explanations import explain
from recommender.model.filters import Cut, FilterCache, ProductFilter
from recommender.model.list_request import (
    LARGEST_LIST_OFFSET,
    Categories,
    LaterCategories,
    ListRequest,
    allowed_products,
)
from recommender.model.neighborhood import Neighborhood, Owned
from recommender.model.served_model import ServedModel
from recommender.model.shop_figures import popularity_curve, raters_by_segment, ratings_by_stars, served_by
from recommender.model.taste_map import LARGEST, Region, TasteMap, Typical, embed, lay_out, map_tastes
from recommender.model.title_search import find_by_title
from recommender.model.training import ModelSettings, Trained, serve, train, train_taste

__all__ = [
    "EVIDENT",
    "FEWEST",
    "LARGEST",
    "LARGEST_LIST_OFFSET",
    "PRODUCT_SOURCES",
    "STEPS",
    "Answer",
    "Categories",
    "Cut",
    "FilterCache",
    "LaterCategories",
    "ListRequest",
    "ModelSettings",
    "Neighborhood",
    "Owned",
    "ProductFilter",
    "Recommendation",
    "Region",
    "ServedModel",
    "TasteMap",
    "Trained",
    "Typical",
    "allowed_products",
    "as_recommendations",
    "embed",
    "explain",
    "find_by_title",
    "lay_out",
    "map_tastes",
    "mean_of_many",
    "popularity_curve",
    "raters_by_segment",
    "ratings_by_stars",
    "serve",
    "served_by",
    "train",
    "train_taste",
]
