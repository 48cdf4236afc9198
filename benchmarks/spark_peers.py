"""What Spark's users have, beside our lists: the part ``peers`` of `benchmarks.spark`.

From Parquet files, on local[2], a limit of time for each. A peer starts with its rows in Spark's memory, in its own
form, and writes nothing; ours reads the files and writes them. So the peers do less:

    columnSimilarities   MLlib's RowMatrix, users as columns: the cosines of all pairs, counted
    self-join            SQL: the cosines of all pairs, a window that keeps the 20 largest; no lists
    ALS                  10 factors, 10 iterations, then recommendForAllUsers(10)

The limit counts from the start of the process, Spark's too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.neighbors import Shape
from benchmarks.spark_runs import apart, shape_of, step, write_files
from recommender.spark import (
    spark_session,
)

LADDER = [1_000, 5_000, 20_000, 50_000, 200_000]


def ours(folder: Path, _shape: Shape) -> float:
    """Return the seconds of our lists by classic."""
    files = ("--from-parquet", str(folder), "--to-parquet", str(folder / "lists"))
    return step("classic", "local[2]", False, *files).seconds


def column_similarities(ratings: Any, shape: Shape) -> Callable[[], object]:
    from pyspark.mllib.linalg import Vectors
    from pyspark.mllib.linalg.distributed import RowMatrix
    from pyspark.sql import functions as f

    n = shape.users + 1
    pairs = f.sort_array(f.collect_list(f.struct("user", "rating"))).alias("pairs")
    rows = ratings.groupBy("product").agg(pairs).rdd.map(lambda row: Vectors.sparse(n, [tuple(p) for p in row.pairs]))
    matrix = RowMatrix(rows.cache(), rows.count(), n)
    return lambda: matrix.columnSimilarities()._java_matrix_wrapper._java_model.entries().count()


def self_join(ratings: Any, _shape: Shape) -> Callable[[], object]:
    spark = ratings.sparkSession
    ratings.createOrReplaceTempView("given")
    spark.sql(
        "SELECT user, product, rating / sqrt(sum(rating * rating) OVER (PARTITION BY user)) AS share FROM given"
    ).cache().createOrReplaceTempView("r")
    spark.sql("SELECT count(*) FROM r").collect()
    pairs = (
        "SELECT a.user, b.user AS other, sum(a.share * b.share) AS cosine "
        "FROM r a JOIN r b ON a.product = b.product AND a.user <> b.user GROUP BY a.user, b.user"
    )
    ranked = f"SELECT *, row_number() OVER (PARTITION BY user ORDER BY cosine DESC, other) AS place FROM ({pairs})"
    best = spark.sql(f"SELECT * FROM ({ranked}) WHERE place <= 20")
    return lambda: best.write.format("noop").mode("overwrite").save()


def als(ratings: Any, _shape: Shape) -> Callable[[], object]:
    from pyspark.ml.recommendation import ALS

    model = ALS(userCol="user", itemCol="product", ratingCol="rating", seed=0)
    return lambda: model.fit(ratings).recommendForAllUsers(10).write.format("noop").mode("overwrite").save()


PEERS = {"columnSimilarities": column_similarities, "self-join": self_join, "ALS": als}


def peer(name: str, folder: Path, shape: Shape) -> float:
    """Return the seconds of a peer; its rows are in Spark's memory before."""
    with spark_session("local[2]") as spark:
        columns = (
            "CAST(user_id AS INT) user",
            "CAST(substr(product_id, 2) AS INT) product",
            "CAST(rating AS FLOAT) rating",
        )
        rows = spark.read.parquet(str(folder / "ratings.parquet")).selectExpr(*columns).repartition(8).cache()
        rows.count()
        call = PEERS[name](rows, shape)
        started = time.perf_counter()
        call()
        seconds = time.perf_counter() - started
        del call  # its objects of Java, before Spark ends
        return seconds


def compare_peers(names: list[str], ladder: list[int], limit: float, folder: Path) -> None:
    """Print a line for each size; a peer that does not finish is not asked again."""
    left = list(names)
    for users in ladder:
        shape, files = shape_of(users), folder / f"peers{users}"
        write_files(shape, files)
        mine = apart(ours, files, shape)
        cells = [f"{users:,}", f"{shape.ratings:,}", f"{mine:.1f}" if isinstance(mine, float) else mine]
        for name in PEERS:
            found = apart(peer, name, files, shape, limit=limit) if name in left else ""
            if isinstance(found, str):
                left = [other for other in left if other != name]
                cells.append(found)
            else:
                cells.append(f"{found:.1f} ({found / mine:.1f} x)")
        print(f"| {' | '.join(cells)} |", flush=True)
        if not left:
            return
