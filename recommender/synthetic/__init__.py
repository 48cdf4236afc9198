"""A made-up shop.

catalog   products; ``python -m recommender.sample_catalog`` writes them
people    names, addresses, countries, age groups
shoppers  ratings and interactions of shoppers with planted tastes
"""
