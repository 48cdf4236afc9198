"""What fills a list that the neighbors leave short.

popular             what most people rated
decayed_popularity  what the shop, or a segment of it, turns to now
new_products        products that nobody knows yet, and the chance to show one
cold_start          the steps from a segment to what is popular now
walked_lists        one list made of what neighbors and these steps give
caps                at most so many products of one category
"""
