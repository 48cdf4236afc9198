"""The tables, in MySQL, MariaDB, Amazon RDS or SQLite. The names of tables and columns: `recommender.database.schema`.

connection         engines, transactions, errors in one line
server_connection  one connection to a server, with no more power than it needs
lock_wait          waiting for the locks of others
tables             the tables that exist: found, counted, dropped
own_tables         the tables that the project made
origin             what a step made its tables from
staging            writes rows into new tables and swaps them in
bulk_read          reads whole tables into arrays
rating_scale       which ratings there are: as step 2 noted, or as RATING_* say
usable_rows        the rule for the rows that a model is made from
shop_reader        the tables as a snapshot of the shop
clock              microseconds since 1970, by the database's clock
announcement       announces that the user_ids are about to mean other people
identities         the people that the user_ids mean
user_names         what the shop calls them
deletions_log      a log of deleted ratings and erased users
schema             every name of a table or column
cursor_reader      reads how far the changes of the tables go
"""

from recommender.database._engines import wanted_scale
from recommender.database.announcement import INTERVAL, WAIT, announced, is_announced
from recommender.database.bulk_read import fitting, read_ratings, read_table
from recommender.database.clock import SECOND, as_moment, event_time, microseconds, read_clocks, read_now, utc_now
from recommender.database.connection import (
    DRIVER_ERRORS,
    connect,
    connected,
    database_errors,
    error_code,
    is_mysql,
    label,
    retried,
    waiting_for_locks,
    writing,
)
from recommender.database.cursor_reader import LOGS, MOST_GAPS, OVERLAP, TICK, Count, count_ticks, missing, read_cursor
from recommender.database.deletions_log import (
    KEPT_DAYS,
    cut_log,
    deleted_since,
    note_deletion,
    prepare_log,
    reaches_back,
)
from recommender.database.identities import (
    MADE_UP,
    NUMBERS,
    TEXT,
    Identities,
    enter_text,
    newest_deletion,
    number_of_text,
    people_are_texts,
    read_identities,
    read_token,
    require_people,
    token_of,
)
from recommender.database.origin import (
    is_up_to_date,
    origin_batch,
    read_origin,
    refuse_foreign_catalog,
    refuse_foreign_rows,
    shopper_summary,
    unchanged_catalog,
)
from recommender.database.own_tables import (
    drop_own,
    has_our_columns,
    keep_lists,
    kept_lists,
    list_tables,
    lists_are_ours,
    note_published_lists,
    noted_lists,
    prepare_notes,
)
from recommender.database.rating_scale import fit_ratings, scale_of, steps_in_sql
from recommender.database.shop_reader import (
    around,
    as_product,
    catalog_of,
    in_catalog,
    read_catalog,
    read_interactions,
    read_people,
    read_rating_matrix,
    read_snapshot,
    read_taste_data,
)
from recommender.database.staging._blocks import BlockWriter
from recommender.database.staging._load_data import as_lines
from recommender.database.staging.bulk_load import LoadCount, Move, Stage, drop_leftovers, staged
from recommender.database.tables import (
    count_rows,
    existing_tables,
    has_rows,
    in_blocks,
    refuse_foreign_tables,
    require_rows,
    table_is_there,
    widen_product_ids,
)
from recommender.database.usable_rows import as_words, fault_of, refuse_faulty_table, too_faulty, usable
from recommender.database.user_names import read_names, read_user_ids

__all__ = [
    "DRIVER_ERRORS",
    "INTERVAL",
    "KEPT_DAYS",
    "LOGS",
    "MADE_UP",
    "MOST_GAPS",
    "NUMBERS",
    "OVERLAP",
    "SECOND",
    "TEXT",
    "TICK",
    "WAIT",
    "BlockWriter",
    "Count",
    "Identities",
    "LoadCount",
    "Move",
    "Stage",
    "announced",
    "around",
    "as_lines",
    "as_moment",
    "as_product",
    "as_words",
    "catalog_of",
    "connect",
    "connected",
    "count_rows",
    "count_ticks",
    "cut_log",
    "database_errors",
    "deleted_since",
    "drop_leftovers",
    "drop_own",
    "enter_text",
    "error_code",
    "event_time",
    "existing_tables",
    "fault_of",
    "fit_ratings",
    "fitting",
    "has_our_columns",
    "has_rows",
    "in_blocks",
    "in_catalog",
    "is_announced",
    "is_mysql",
    "is_up_to_date",
    "keep_lists",
    "kept_lists",
    "label",
    "list_tables",
    "lists_are_ours",
    "microseconds",
    "missing",
    "newest_deletion",
    "note_deletion",
    "note_published_lists",
    "noted_lists",
    "number_of_text",
    "origin_batch",
    "people_are_texts",
    "prepare_log",
    "prepare_notes",
    "reaches_back",
    "read_catalog",
    "read_clocks",
    "read_cursor",
    "read_identities",
    "read_interactions",
    "read_names",
    "read_now",
    "read_origin",
    "read_people",
    "read_rating_matrix",
    "read_ratings",
    "read_snapshot",
    "read_table",
    "read_taste_data",
    "read_token",
    "read_user_ids",
    "refuse_faulty_table",
    "refuse_foreign_catalog",
    "refuse_foreign_rows",
    "refuse_foreign_tables",
    "require_people",
    "require_rows",
    "retried",
    "scale_of",
    "shopper_summary",
    "staged",
    "steps_in_sql",
    "table_is_there",
    "token_of",
    "too_faulty",
    "unchanged_catalog",
    "usable",
    "utc_now",
    "waiting_for_locks",
    "wanted_scale",
    "widen_product_ids",
    "writing",
]
