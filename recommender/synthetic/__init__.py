"""A made-up shop.

catalog   products; ``python -m recommender.sample_catalog`` writes them
people    names, addresses, countries, age groups
shoppers  ratings and interactions of shoppers with planted tastes
"""

from recommender.synthetic.catalog import DEFAULT_PRODUCTS, DEFAULT_SEED, PRODUCT_ADDRESS, write_sample_catalog
from recommender.synthetic.people import people_blocks, segments
from recommender.synthetic.shoppers import CatalogFacts, TasteBlock, plant_tastes

__all__ = [
    "DEFAULT_PRODUCTS",
    "DEFAULT_SEED",
    "PRODUCT_ADDRESS",
    "CatalogFacts",
    "TasteBlock",
    "people_blocks",
    "plant_tastes",
    "segments",
    "write_sample_catalog",
]
