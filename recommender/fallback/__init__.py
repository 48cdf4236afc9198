"""Products for a list that the neighbors leave short.

popular             the products that most people rated
decayed_popularity  the products that are popular now in the shop, or in a segment of it
new_products        products without any rating or interaction, and the chance to show one
cold_start          the steps from a segment to the products that are popular now
walked_lists        one list made from the neighbors' products and these steps
caps                at most so many products of one category
"""

from recommender.fallback._cold_start_kernels import Cap
from recommender.fallback.caps import NO_CAP, first_under_cap
from recommender.fallback.cold_start import NEW_PRODUCT_SHARE, SOURCES, ColdStart, FilledLists, build_cold_start
from recommender.fallback.decayed_popularity import HALF_LIFE_DAYS, MICROSECONDS_PER_DAY, SEGMENT_PRIOR
from recommender.fallback.new_products import find_new_products
from recommender.fallback.popular import PRIOR_VOTES, PopularProducts, rank_popular
from recommender.fallback.walked_lists import Near, OneList, popular_list

__all__ = [
    "HALF_LIFE_DAYS",
    "MICROSECONDS_PER_DAY",
    "NEW_PRODUCT_SHARE",
    "NO_CAP",
    "PRIOR_VOTES",
    "SEGMENT_PRIOR",
    "SOURCES",
    "Cap",
    "ColdStart",
    "FilledLists",
    "Near",
    "OneList",
    "PopularProducts",
    "build_cold_start",
    "find_new_products",
    "first_under_cap",
    "popular_list",
    "rank_popular",
]
