"""Time one user's recommendations in the model of a large shop, and the opening of its model file.

    python -m benchmarks.one_user              # 200,000 users x 300,000 products, 3.8 million ratings
    python -m benchmarks.one_user --short      # 20,000 users

The users are random and compiled code is loaded. Measured are scoring with the neighbors known, and neighbors on demand
plus scoring, by all rankings. Items and the fusion find the neighbors for their stars. Every list of the sample equals
the one made from all users' neighbors at once. The model file holds the same ratings, the weights between products and
a catalog of as many products; opening it checks the checksum.
"""

from __future__ import annotations

import argparse
import datetime as dt
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from benchmarks.neighbors import Shape, make_ratings
from recommender.fallback import build_cold_start, rank_popular
from recommender.model import ServedModel
from recommender.neighbors import SimilarProducts
from recommender.publishing import Version, open_arrays, open_model, save_model
from recommender.ranking import (
    CLASSIC,
    FUSION,
    AutoParameters,
    ItemParameters,
    ProfileRanker,
    TasteSimilarity,
    rank_products,
    rank_products_for_rows,
    train_item_weights,
)
from recommender.shop import ProductCatalog, Products, RatingMatrix, build_profiles

SHAPE, SHORT = Shape(200_000, 300_000, 3_800_000), Shape(20_000, 30_000, 300_000)
K, N, SAMPLE = 20, 10, 2_000


def make_matrix(shape: Shape) -> RatingMatrix:
    """Return long-tail ratings as ``load_model`` holds them."""
    csr = make_ratings(shape)
    parts = (2 * csr.data).astype(np.int8), csr.indices.astype(np.int32), csr.indptr.astype(np.int32)
    ids = np.array([f"B{number:09d}" for number in range(shape.products)], "S10")
    return RatingMatrix(
        sp.csr_array(parts, shape=csr.shape), np.arange(1, shape.users + 1), ids, np.ones(shape.products, np.bool_)
    )


def with_items(matrix: RatingMatrix) -> TasteSimilarity:
    """Return a similarity for all rankings; auto is the fusion. Print what the weights between products took."""
    profiles, started = build_profiles(matrix), time.perf_counter()
    weights = train_item_weights(profiles, ItemParameters())
    size = sum(array.nbytes for array in weights.arrays().values()) / 1e6
    form = "local" if weights.local else "dense"
    print(f"weights between products: {weights.weights.size:,}, {size:,.0f} MB, ", end="")
    print(f"{form} form, trained in {time.perf_counter() - started:.1f} s\n", flush=True)
    return TasteSimilarity.of(matrix, profiles, parameters=AutoParameters(FUSION), item_weights=weights)


def microseconds(call: Callable[[int], object], rows: list[int]) -> tuple[float, float]:
    """Return the median and 99th percentile over the rows."""
    call(rows[0])
    times = []
    for row in rows:
        started = time.perf_counter()
        call(row)
        times.append(time.perf_counter() - started)
    return float(np.median(times)) * 1e6, float(np.percentile(times, 99)) * 1e6


def latencies(matrix: RatingMatrix, similarity: TasteSimilarity) -> None:
    """Print the table."""
    rows = np.random.default_rng(1).choice(matrix.shape[0], min(SAMPLE, matrix.shape[0]), replace=False)
    near, cosines = similarity.top_k(K, rows=rows)
    place = {row: at for at, row in enumerate(rows.tolist())}
    everything = rank_products_for_rows(
        matrix.steps, rows, near, cosines, n=N, recommendable=matrix.recommendable, scale=matrix.scale.unit
    )

    def by(ranker: ProfileRanker) -> Callable[[int], object]:
        return lambda row: ranker.rank_products(np.array([row]), N)

    def scored(row: int) -> object:
        found = near[place[row]], cosines[place[row]]
        mask = matrix.recommendable
        return rank_products(matrix.steps, row, *found, n=N, recommendable=mask, scale=matrix.scale.unit)

    def on_demand(row: int) -> bool:
        found = similarity.neighbors(row, K)
        mask = matrix.recommendable
        ranked = rank_products(matrix.steps, row, *found, n=N, recommendable=mask, scale=matrix.scale.unit)
        pairs = zip(ranked, everything.of(place[row]), strict=True)
        return all(np.array_equal(np.asarray(mine), np.asarray(other)) for mine, other in pairs)

    sample = rows.tolist()
    exact = sum(on_demand(row) for row in sample)
    print(f"one user of {matrix.shape[0]:,}, {matrix.n_ratings:,} ratings, {len(sample):,} users\n")
    print("| what | median µs | p99 µs |\n|---|---:|---:|")
    for name, call in (
        ("classic: scoring, neighbors known", scored),
        ("classic: neighbors on demand and scoring", on_demand),
        ("taste: neighbors on demand and scoring", by(similarity.taste)),
        ("items: neighbors on demand for the stars, and scoring", by(similarity.items)),
        ("fusion: neighbors on demand and both scorings", by(similarity.auto)),
    ):
        median, slow = microseconds(call, sample)
        print(f"| {name} | {median:,.0f} | {slow:,.0f} |", flush=True)
    print(f"\nlists on demand equal to those of all users at once: {exact:,} of {len(sample):,}")
    for ranker in (similarity.items, similarity.auto):
        together = ranker.rank(rows, N)
        same = sum(np.array_equal(ranker.rank([row], N)[0], together[place[row]]) for row in sample)
        print(f"the same by {ranker.source}: {same:,} of {len(sample):,}")


def opening(matrix: RatingMatrix, similarity: TasteSimilarity) -> None:
    """Print the size of a model file of these ratings, and the times to save, map and open it."""
    n = matrix.shape[1]
    titles = pa.array([f"A made-up product, number {number}, with a name of the usual length" for number in range(n)])
    catalog = ProductCatalog(matrix.product_ids, titles, np.full(n, 9.99), np.full(n, 4.5), np.zeros(n, np.int32))
    now = dt.datetime.now(dt.UTC)
    version = Version(1, now, matrix.fingerprint(), matrix.n_ratings, {})
    model = ServedModel(
        matrix=matrix,
        similarity=similarity,
        similar_products=SimilarProducts(matrix),
        popular_when_built=rank_popular(matrix),
        products=Products.of(matrix.product_ids, catalog),
        known_users=matrix.user_ids,
        known_segments=np.full(len(matrix.user_ids), -1, np.int32),
        cold_start=build_cold_start(matrix, similarity.profiles),
        built_at=now,
        n_neighbors=K,
        ranking=CLASSIC,
        version=1,
    )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "shop.model"
        started = time.perf_counter()
        save_model(file, model, version)
        saving = time.perf_counter() - started
        mapped, _ = microseconds(lambda _: open_arrays(file, proofread=False), list(range(5)))
        opened, _ = microseconds(lambda _: open_model(file)[0].prepare(), list(range(5)))
        size = file.stat().st_size / 1e6
    print(
        f"\nmodel file: {size:,.0f} MB, saved in {saving:.2f} s; mapped in {mapped / 1e3:.1f} ms; ready to "
        f"answer, checksum and every index checked, in {opened / 1e3:.1f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--short", action="store_true", help="20,000 users")
    matrix = make_matrix(SHORT if parser.parse_args().short else SHAPE)
    similarity = with_items(matrix)
    latencies(matrix, similarity)
    opening(matrix, similarity)


if __name__ == "__main__":
    main()
