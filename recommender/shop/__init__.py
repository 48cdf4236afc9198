"""What a shop knows, as arrays. Nothing here reads or writes.

ratings    who rated what: a sparse matrix users x products
profiles   what each user rated or turned to, and how surely it is liked
catalog    titles, prices, stars and categories
products   the numbering of all products: rated ones first, then the rest of the catalog
segments   people of one country and age group
snapshot   all of that, and the moment it was read
cursor     how much of the tables a model contains
"""
