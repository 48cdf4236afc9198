"""The batch on Apache Spark: the lists of a shop that does not fit one machine, the same as those of the local batch.

session      starts Spark, and checks what it needs
daemon       the process that executors fork their Python workers from
causes       errors of Spark in one line
frames       the tables as DataFrames, and what is asked for
shop_frames  a shop as Spark reads it
jdbc_source  the tables of a database, read by all executors at once
id_ranges    ranges of user ids with about as many rows each
names        what the shop calls its users
sinks        the lists into a version of the table, or into Parquet files
lists        the lists of all users: a folder
"""

from recommender.spark.frames import Frames, ListsJob
from recommender.spark.lists.plan import Sizes
from recommender.spark.lists.stages import lists_frame, lists_of

__all__ = ["Frames", "ListsJob", "Sizes", "lists_frame", "lists_of"]
