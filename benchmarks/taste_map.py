"""Measure how long the taste map takes, and how well it keeps neighbors, beside the plane of a plain SVD.

    python -m benchmarks.taste_map             # made-up shops of 5,000 and 200,000 users, six ratings each
    python -m benchmarks.taste_map --short     # 2,000 users

Planted tastes (`recommender.synthetic`), one thread, seconds of the processor. "kept" is the trustworthiness at 20
neighbors (Venna and Kaski 2001) by the cosines of the weighted profiles, of 2,000 users drawn by chance: 1 if the
nearest on the map are the nearest in taste, 0.5 if the map is drawn by chance. The size is that of what /map/points
sends, packed by gzip.
"""

from __future__ import annotations

import argparse
import gzip
import time

import numpy as np
import scipy.sparse as sp
from sklearn.decomposition import TruncatedSVD
from sklearn.manifold import trustworthiness

from recommender.model import embed, lay_out
from recommender.neighbors import item_weights, taste_statistics
from recommender.synthetic import CatalogFacts, plant_tastes

RATINGS = 6  # of a user
SAMPLE = 2_000


def made_up(n_users: int, n_products: int) -> sp.csr_array:
    """Return the profiles of a made-up shop, (n_users, n_products)."""
    rng = np.random.default_rng(1)
    catalog = CatalogFacts(
        category_ids=rng.integers(1, 271, n_products),
        stars=np.full(n_products, 4.0),
        reviews=rng.lognormal(5, 2, n_products).astype(np.int64),
        bought_in_last_month=np.zeros(n_products, np.int64),
    )
    model = plant_tastes(catalog, n_users=n_users, n_interactions=0, n_ratings=RATINGS * n_users, seed=3)
    blocks = [block.ratings for block in model.blocks()]
    users, products = (np.concatenate([getattr(one, name) for one in blocks]) for name in ("user", "product"))
    return sp.coo_array((np.ones(len(users)), (users, products)), shape=(n_users, n_products)).tocsr()


def measure(n_users: int, n_products: int) -> None:
    """Print one line of the table."""
    profiles = made_up(n_users, n_products)
    started = time.process_time()
    vectors = embed(profiles)
    embedded, started = time.process_time() - started, time.process_time()
    places = lay_out(vectors)
    laid_out = time.process_time() - started
    weighted = sp.csr_array(profiles @ sp.diags_array(item_weights(taste_statistics(profiles))))
    plane = TruncatedSVD(2, random_state=0).fit_transform(weighted)
    some = np.sort(np.random.default_rng(7).choice(n_users, min(SAMPLE, n_users), replace=False))
    ours, plain = (
        trustworthiness(weighted[some], where[some], n_neighbors=20, metric="cosine") for where in (places, plane)
    )
    low, width = places.min(axis=0), float(np.ptp(places, axis=0).max())
    whole = ((places - low) / width * 65_534).round().astype("<u2")
    sent = len(gzip.compress(whole.T.tobytes() + bytes(n_users), 5))
    times = f"{embedded:.1f} | {laid_out:.1f}"
    print(f"| {n_users:,} | {times} | {ours:.3f} | {plain:.3f} | {sent / 1000:,.0f} KB |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--short", action="store_true", help="2,000 users")
    short = parser.parse_args().short
    print("| users | SVD s | layout s | kept | kept by the SVD's plane | sent |")
    print("|---" * 6 + "|")
    for n_users, n_products in [(2_000, 5_000)] if short else [(5_000, 20_000), (200_000, 100_000)]:
        measure(n_users, n_products)


if __name__ == "__main__":
    main()
