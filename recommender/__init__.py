"""The parts behind the four scripts. The tables are read once into a snapshot of the shop; everything is computed from
it; what comes of it is published, kept up to date and served.

Nothing in these reads or writes: arrays in, arrays out.
    shop        what a shop knows, as arrays: ratings, interactions, products, segments, and the moment they were read
    items       how much owning one product speaks for another: a linear model
    neighbors   who is nearest to whom, exactly: by cosine, by taste; similar products
    fallback    what fills a list that neighbors leave short: segments, what is popular now, new products
    ranking     which products to show: classic, taste, items, a fusion of both, auto
    evaluation  how good a ranking is, measured on hidden ratings; tuning; the gate
    model       the trained model that answers: filters, lists, explanations
    live        that model with every change since it was trained
These do.
    synthetic   a made-up shop: catalog, people, shoppers with planted tastes
    database    the tables: connect, load, read
    files       files into checked rows, and the rejected ones with line and reason
    publishing  everybody's lists and the model file, by version: publish, keep, roll back
    spark       the batch on Apache Spark
    updates     what changes in the tables, and how the served model takes it over
    commands    what the command line does besides
    service     HTTP: routes, pages, and the layer around them
``errors`` and ``arrays`` (checks and threads for compiled code) are for all; ``settings`` and ``paths`` (which paths
may be read and written) for the second list. A room imports only rooms above it, and is entered by its face: by what
its ``__init__.py`` hands out (tests/test_architecture.py). ``sample_catalog``: a command, writes a made-up catalog.
"""
