"""The tables, in MySQL, MariaDB, Amazon RDS or SQLite. The names of tables and columns: `recommender.database.schema`.

connection         an engine, transactions, errors in one line
server_connection  one connection to a server, with no more power than it needs
lock_wait          waiting for the locks of others
tables             which tables are there
own_tables         which of them the project made
origin             whose rows are in a step's tables
staging            rows into new tables, swapped in when they are complete
bulk_read          whole tables into arrays
usable_rows        which rows a model is made from
shop_reader        the tables as a snapshot of the shop
clock              microseconds since 1970, by the database's clock
identities         which people the user_ids mean
deletions_log      who was deleted, and when
schema             every name of a table or column
cursor_reader      how far the tables' changes have been read
"""
