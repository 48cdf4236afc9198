"""Products for a list that the neighbors leave short.

popular             the products that most people rated
decayed_popularity  the products that are popular now in the shop, or in a segment of it
decayed_sums        the sums behind it, of all users or a part of them
new_products        products without any rating or interaction, and the chance to show one
cold_start          the steps from a segment to the products that are popular now
walked_lists        one list made from the neighbors' products and these steps
caps                at most so many products of one category
"""

from recommender.fallback._cold_start_kernels import Cap, Ladder, New
from recommender.fallback.caps import NO_CAP, first_under_cap
from recommender.fallback.cold_start import (
    NEW_PRODUCT_SHARE,
    SOURCES,
    ColdStart,
    FilledLists,
    build_cold_start,
    ladder_from,
)
from recommender.fallback.decayed_popularity import HALF_LIFE_DAYS, SEGMENT_PRIOR, decayed
from recommender.fallback.decayed_sums import (
    MICROSECONDS_PER_DAY,
    EventDays,
    PopularitySums,
    Span,
    event_days,
    merged_days,
    merged_popularity,
    popularity_sums,
    span_of,
)
from recommender.fallback.new_products import find_new_products
from recommender.fallback.popular import PRIOR_VOTES, PopularProducts, popular_from, rank_popular
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
    "EventDays",
    "FilledLists",
    "Ladder",
    "Near",
    "New",
    "OneList",
    "PopularProducts",
    "PopularitySums",
    "Span",
    "build_cold_start",
    "decayed",
    "event_days",
    "find_new_products",
    "first_under_cap",
    "ladder_from",
    "merged_days",
    "merged_popularity",
    "popular_from",
    "popular_list",
    "popularity_sums",
    "rank_popular",
    "span_of",
]
