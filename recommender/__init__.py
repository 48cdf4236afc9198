"""The parts behind the four scripts, in one flat package.

Pure parts (arrays in, arrays out; no I/O, clock or settings): ``rating_matrix`` turns ratings into a sparse
matrix, ``neighbors`` finds the exact nearest users, ``scoring`` ranks the products they liked, ``popular`` is the
fallback, ``tastes`` plants synthetic shoppers. Parts with I/O: ``settings`` reads the environment, ``schema``
names the tables, ``database`` connects, ``bulk_load`` and ``bulk_read`` move rows at the database's own speed,
``csv_rows``, ``catalog`` and ``ratings_file`` check a CSV row by row, ``origin`` notes beside the tables what they were
made from and ``shopper_tables`` whose rows they hold, ``batch`` writes the lists of many users, ``serving`` holds the
model for the HTTP ``routes``. ``errors`` holds every exception. Modules that begin with an underscore are the inner
halves of the module named like them. The scripts import the parts, the parts with I/O import the pure ones, never the
other way round (tests/test_architecture.py holds this).
"""
