"""The batch on Apache Spark: the lists of a shop that does not fit one machine, the same as those of the local batch.

frames  the tables as DataFrames, and what is asked for
"""

__all__ = []
