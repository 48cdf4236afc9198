"""The shop as arrays: what its tables hold. Nothing here reads or writes.

ids        the rule for ids that are texts, and the form of product ids in arrays
scale      which ratings there are: whole steps from the lowest to the highest
user_ids   what a user id is: a whole number, or a text by that rule
ratings    all ratings: a sparse matrix users x products
profiles   the products of each user, and how surely each is liked
catalog    titles, prices, stars and categories
products   the numbering of all products: rated ones first, then the rest of the catalog
segments   people of one country and age group
sums       sums over all users or a part of them, which are merged in any order
sample     the users that are enough to choose by, of a large shop
snapshot   all of these, and the moment at which they were read
cursor     the position of a model in the changes of the tables
"""

from recommender.shop.catalog import IN_STOCK, NO_CATEGORY, NOT_IN_CATALOG, Product, ProductCatalog, known_prices
from recommender.shop.cursor import NOTHING_READ, Cursor, Spans
from recommender.shop.ids import (
    BLANKS,
    CONTROLS,
    DOTS,
    NO_CHARACTERS,
    PRODUCT_ID_FAULT,
    PRODUCT_ID_LENGTH,
    PRODUCT_ID_RULE,
    all_are_ids,
    checked_product_id,
    id_fault,
    is_product_id,
    number_before,
    places_of,
    product_id_bytes,
    product_id_texts,
)
from recommender.shop.products import Products
from recommender.shop.profiles import (
    INTERACTION_TYPES,
    RATED,
    Interactions,
    Profiles,
    build_profiles,
    interaction_weights,
    widened,
)
from recommender.shop.ratings import (
    NO_TIME,
    RatingMatrix,
    build_rating_matrix,
    checked_user_id,
    distinct,
    fingerprint_of,
)
from recommender.shop.sample import MOST as MOST_SAMPLED
from recommender.shop.sample import cut_of, hash_bins, in_sample, sampled
from recommender.shop.scale import HALF_STARS, Scale
from recommender.shop.segments import NO_SEGMENT, People, Segments
from recommender.shop.snapshot import Snapshot
from recommender.shop.sums import ShopSums, merged_sums, shop_sums
from recommender.shop.user_ids import (
    LONGEST_KNOWN_ID,
    LONGEST_USER_ID,
    NUMBERS_AS_THEY_ARE,
    TextIds,
    UserId,
    UserIds,
    number_of,
)

__all__ = [
    "BLANKS",
    "CONTROLS",
    "DOTS",
    "HALF_STARS",
    "INTERACTION_TYPES",
    "IN_STOCK",
    "LONGEST_KNOWN_ID",
    "LONGEST_USER_ID",
    "MOST_SAMPLED",
    "NOTHING_READ",
    "NOT_IN_CATALOG",
    "NO_CATEGORY",
    "NO_CHARACTERS",
    "NO_SEGMENT",
    "NO_TIME",
    "NUMBERS_AS_THEY_ARE",
    "PRODUCT_ID_FAULT",
    "PRODUCT_ID_LENGTH",
    "PRODUCT_ID_RULE",
    "RATED",
    "Cursor",
    "Interactions",
    "People",
    "Product",
    "ProductCatalog",
    "Products",
    "Profiles",
    "RatingMatrix",
    "Scale",
    "Segments",
    "ShopSums",
    "Snapshot",
    "Spans",
    "TextIds",
    "UserId",
    "UserIds",
    "all_are_ids",
    "build_profiles",
    "build_rating_matrix",
    "checked_product_id",
    "checked_user_id",
    "cut_of",
    "distinct",
    "fingerprint_of",
    "hash_bins",
    "id_fault",
    "in_sample",
    "interaction_weights",
    "is_product_id",
    "known_prices",
    "merged_sums",
    "number_before",
    "number_of",
    "places_of",
    "product_id_bytes",
    "product_id_texts",
    "sampled",
    "shop_sums",
    "widened",
]
