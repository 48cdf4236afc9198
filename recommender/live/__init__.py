"""The model with every change since it was trained: "live" means up to date. Records in, a model out.

live_model  answers as a model would that is trained now
changes     the users who have changed, and what follows from it
columns     the numbering of all products, those that came later included
users       what the tables hold of such a user
popular     the order of popular products as ratings come and go
cosine      cosine neighbors among users some of whom have changed
ranking     ranked products where somebody has changed
taste       the taste ranking where somebody has changed
"""
