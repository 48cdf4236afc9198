"""The trained model that answers.

training        a snapshot of the shop in, a model out
served_model    the model: lists, neighbors, similar products
list_request    what a request may ask of a list
filters         which products pass a filter; a cache of recent ones
neighborhood    the neighbors of one user and what they have
explanations    why a product was recommended
coarse_figures  figures about few people, too coarse to find one of them
"""
