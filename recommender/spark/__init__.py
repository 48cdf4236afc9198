"""The batch on Apache Spark: the lists of a shop that does not fit one machine, the same as those of the local batch.

session         starts Spark, and checks what it needs
one_version     work that runs only where the package is of the driver's version
daemon          the process that executors fork their Python workers from
causes          errors of Spark in one line
progress        the progress on the terminal, and what a run cost
frames          the tables as DataFrames, and what is asked for
shop_frames     a shop as Spark reads it
shop_facts      what the driver knows of it: products, fingerprint, a bounded sample
jdbc_source     the tables of a database, read by all executors at once
id_ranges       ranges of user ids with about as many rows each
folders         a folder or file on any file system that Spark knows
parquet_source  a shop in Parquet files
names           what the shop calls its users
lists           the lists of all users: a folder
makers          the makers of the lists, by tasks that share the shop or divide it
sinks           the lists into a version of the table, or into Parquet files
"""

from recommender.spark.frames import Frames, ListsJob
from recommender.spark.id_ranges import has_at_most
from recommender.spark.jdbc_source import JdbcSource
from recommender.spark.lists.cost import Cost, cost_on, cost_table
from recommender.spark.lists.plan import Sizes, cluster_of
from recommender.spark.lists.stages import lists_frame, lists_of
from recommender.spark.lists.whole import whole_frame
from recommender.spark.makers import divided, maker
from recommender.spark.parquet_source import ParquetSource
from recommender.spark.progress import Meter, shown
from recommender.spark.session import jdbc_jar, spark_session
from recommender.spark.shop_facts import ShopFacts
from recommender.spark.shop_frames import ShopFrames
from recommender.spark.sinks import Make, check_folder, publish_frame, write_folder, write_lists

__all__ = [
    "Cost",
    "Frames",
    "JdbcSource",
    "ListsJob",
    "Make",
    "Meter",
    "ParquetSource",
    "ShopFacts",
    "ShopFrames",
    "Sizes",
    "check_folder",
    "cluster_of",
    "cost_on",
    "cost_table",
    "divided",
    "has_at_most",
    "jdbc_jar",
    "lists_frame",
    "lists_of",
    "maker",
    "publish_frame",
    "shown",
    "spark_session",
    "whole_frame",
    "write_folder",
    "write_lists",
]
