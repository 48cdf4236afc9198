"""The way of rows into new tables, which then replace the old ones in one step.

bulk_load     the loader, for any database
_blocks       blocks of rows written into a staging table by many processes at once
_stage        the common part of staging tables on servers and on SQLite
_mysql        staging tables on MySQL and MariaDB
_load_data    rows as text for ``LOAD DATA LOCAL INFILE``
_sqlite       staging tables on SQLite
_sqlite_lock  locks beside a SQLite file: for a whole run of a step, for an announcement
"""
