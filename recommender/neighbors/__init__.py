"""Who is nearest to whom, exactly.

cosine_index      users by the cosine of their ratings; `top_k_cosine`
precomputed       the same answers, computed once for all rows
taste_index       users by taste: a weighted similarity of profiles
shop_statistics   what that similarity needs to know of a whole shop
similar_products  products by the cosine of their raters
"""
