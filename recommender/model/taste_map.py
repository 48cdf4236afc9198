"""The taste map: every user with a profile a point in the plane, near to those who like the same.

    profiles    c_uj * w_j of the taste similarity (`recommender.neighbors.taste_index`), rows of length 1
    SVD         64 dimensions (Halko et al. 2011), rows of length 1 again: the dot product is the likeness
    landmarks   all users, at most 20,000 drawn by chance, laid out by t-SNE (van der Maaten 2014) from the SVD's plane
    the others  at the mean of the places of their three most similar landmarks, weighted by similarity^8, jittered
    regions     k-means of the places; named by the categories that more people have there than in the whole shop

t-SNE keeps who is near to whom, and says nothing by long distances or by directions. The same profiles and seed give
the same map on one machine. One thread: on a busy machine several wait for each other, and a map has time. scikit-learn
is loaded when a map is made, so a service that only shows one is spared it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from recommender.model.served_model import ServedModel
from recommender.neighbors import item_weights, taste_statistics
from recommender.ranking import TasteSimilarity
from recommender.shop import build_profiles

DIMENSIONS = 64
MOST_LANDMARKS = 20_000
PERPLEXITY = 30  # neighbors that count in a layout
ITERATIONS = 500
ASKED, SHARPNESS = 3, 8  # landmarks that place another user, and the power of their similarities
JITTER = 0.004  # of the width of the map: two users of the same landmarks are two points
FEWEST_LAID_OUT = 8  # fewer users stand on the SVD's plane
LARGEST = 65_534  # of a coordinate; one more is no place
MOST_REGIONS, PEOPLE_OF_A_REGION = 16, 25
NAMES, PRIOR = 3, 5.0  # categories of a region; people as everywhere that stand in for the unknown
FEWEST_PEOPLE = 3  # who make a category typical, fewer only where all are fewer
BLOCK = 512  # users placed at a time: 160 MB of similarities to 20,000 landmarks and their order

Places = NDArray[np.float32]


class Typical(NamedTuple):
    """A category that is frequent in a region."""

    category_id: int
    lift: float  # the share, divided by that of everybody
    share: float  # of the region's people, who have a product of it


class Region(NamedTuple):
    """A region of the map: its middle, its size, and what is typical of it."""

    x: int  # of the middle, as places are
    y: int
    radius: int  # half of the region's people are within it
    people: int
    categories: list[Typical]  # most typical first


@dataclass(frozen=True, eq=False)
class TasteMap:
    """The places of n users: 0 to `LARGEST` to the right and downwards."""

    user_ids: NDArray[np.int64]  # (n,) stored numbers, ascending
    places: NDArray[np.uint16]  # (n, 2)
    regions_of: NDArray[np.uint8]  # (n,)
    regions: list[Region]


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute in one thread; scikit-learn has to be loaded before its threads can be limited."""
    import sklearn.manifold  # noqa: F401

    with threadpool_limits(1):
        yield


def map_tastes(model: ServedModel, *, seed: int = 0) -> TasteMap:
    """Return the map of all users of the model who have a profile; empty without any."""
    similarity, matrix = model.similarity, model.matrix
    known = similarity.profiles if isinstance(similarity, TasteSimilarity) else build_profiles(matrix)
    rows = np.flatnonzero(np.diff(known.confidences.indptr))
    profiles = sp.csr_array(known.confidences[rows])
    places = _as_whole(lay_out(embed(profiles, seed), seed) if len(rows) else np.empty((0, 2), np.float32))
    numbers = _cluster(places, seed)
    typical = _typical(profiles, model.categories.codes[profiles.indices], numbers, model.categories.ids)
    regions = [_region(places[numbers == number], names) for number, names in enumerate(typical)]
    return TasteMap(matrix.user_ids[rows].astype(np.int64), places, numbers, regions)


@_one_thread()
def embed(profiles: sp.csr_array, seed: int = 0) -> NDArray[np.float32]:
    """Return the profiles (n, n_products) as unit vectors (n, at most `DIMENSIONS`) of tastes."""
    from sklearn.decomposition import TruncatedSVD

    weights = item_weights(taste_statistics(profiles))
    weighted = sp.csr_array((profiles.data * weights[profiles.indices], profiles.indices, profiles.indptr))
    weighted.resize(profiles.shape)
    lengths = np.sqrt(weighted.power(2).sum(axis=1))
    units = sp.csr_array(sp.diags_array(1.0 / lengths) @ weighted)
    n = min(DIMENSIONS, min(units.shape) - 1)
    vectors = units.toarray() if n < 2 else TruncatedSVD(n, random_state=seed).fit_transform(units)
    return _units(np.asarray(vectors, np.float32))


@_one_thread()
def lay_out(vectors: NDArray[np.float32], seed: int = 0, *, most: int = MOST_LANDMARKS) -> Places:
    """Return places (n, 2) of unit vectors (n, d); ``most``: landmarks."""
    if len(vectors) <= most:
        return _landmarks(vectors, seed)
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.choice(len(vectors), most, replace=False))
    others = np.setdiff1d(np.arange(len(vectors)), chosen)
    known, found = _landmarks(vectors[chosen], seed), np.empty((len(vectors), 2), np.float32)
    found[chosen] = known
    noise = rng.normal(0.0, JITTER * np.ptp(known, axis=0).max(), (len(others), 2))
    for start in range(0, len(others), BLOCK):
        some = others[start : start + BLOCK]
        found[some] = _beside(vectors[some], vectors[chosen], known) + noise[start : start + BLOCK]
    return found


def _landmarks(vectors: NDArray[np.float32], seed: int) -> Places:
    plane = np.zeros((len(vectors), 2), np.float32)
    plane[:, : min(2, vectors.shape[1])] = vectors[:, :2]
    if len(vectors) < FEWEST_LAID_OUT or len(np.unique(vectors, axis=0)) < FEWEST_LAID_OUT:
        return plane
    from sklearn.manifold import TSNE

    perplexity = min(PERPLEXITY, (len(vectors) - 1) / 4)
    start = plane / max(float(plane[:, 0].std()), 1e-6) * 1e-4  # as t-SNE wants it: small
    method = TSNE(2, perplexity=perplexity, init=start, max_iter=ITERATIONS, random_state=seed)
    return np.asarray(method.fit_transform(vectors), np.float32)


def _beside(vectors: NDArray[np.float32], landmarks: NDArray[np.float32], places: Places) -> Places:
    """Return the weighted mean places of the most similar landmarks of each vector."""
    alike = vectors @ landmarks.T  # (m, n_landmarks)
    best = np.argpartition(-alike, ASKED, axis=1)[:, :ASKED]
    weights = np.maximum(np.take_along_axis(alike, best, axis=1), 1e-3) ** SHARPNESS
    means: Places = np.einsum("mk,mkd->md", weights, places[best]) / weights.sum(axis=1, keepdims=True)
    return means


def _units(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    units: NDArray[np.float32] = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return units


def _as_whole(places: Places) -> NDArray[np.uint16]:
    """Return places in whole numbers; both axes have one scale, and the map is in the middle of its square."""
    if not len(places):
        return np.empty((0, 2), np.uint16)
    low, high = places.min(axis=0), places.max(axis=0)
    width = max(float((high - low).max()), 1e-9)
    moved = (places - (low + high) / 2) / width + 0.5
    whole: NDArray[np.uint16] = np.clip(np.round(moved * LARGEST), 0, LARGEST).astype(np.uint16)
    return whole


@_one_thread()
def _cluster(places: NDArray[np.uint16], seed: int) -> NDArray[np.uint8]:
    """Return the region of each place (n,); regions are numbered from the largest on."""
    n = min(MOST_REGIONS, len(places) // PEOPLE_OF_A_REGION, len(np.unique(places, axis=0)))
    if n < 2:
        return np.zeros(len(places), np.uint8)
    from sklearn.cluster import KMeans

    labels = KMeans(n, n_init=4, random_state=seed).fit_predict(places.astype(np.float32))
    order = np.argsort(-np.bincount(labels, minlength=n), kind="stable")
    numbers: NDArray[np.uint8] = np.argsort(order).astype(np.uint8)[labels]
    return numbers


def _typical(
    profiles: sp.csr_array, codes: NDArray[np.int32], numbers: NDArray[np.uint8], ids: NDArray[np.int32]
) -> list[list[Typical]]:
    """Return the typical categories of each region; ``codes`` (nnz,): the category of each product of the profiles.

    The lift is damped: `PRIOR` people who are as everybody are added to each region.
    """
    n, known = int(numbers.max()) + 1 if len(numbers) else 0, codes >= 0
    rows = np.repeat(np.arange(profiles.shape[0]), np.diff(profiles.indptr))[known]
    owned = np.unique(rows.astype(np.int64) * max(len(ids), 1) + codes[known])  # each person and category once
    rows, owned = np.divmod(owned, max(len(ids), 1))
    counts, people = np.zeros((n, len(ids))), np.bincount(numbers, minlength=n)[:, None]  # (n, n_categories), (n, 1)
    np.add.at(counts, (numbers[rows], owned), 1.0)
    everywhere = np.maximum(counts.sum(axis=0) / max(len(numbers), 1), 1e-12)
    lifts = (counts + PRIOR * everywhere) / (people + PRIOR) / everywhere
    lifts[counts < np.minimum(FEWEST_PEOPLE, people)] = 0.0
    shares = counts / np.maximum(people, 1)
    return [
        [
            Typical(int(ids[code]), round(float(lifts[row, code]), 2), round(float(shares[row, code]), 4))
            for code in np.lexsort((-counts[row], -lifts[row]))[:NAMES].tolist()
            if lifts[row, code] > 0
        ]
        for row in range(n)
    ]


def _region(places: NDArray[np.uint16], typical: list[Typical]) -> Region:
    middle = np.median(places.astype(np.float64), axis=0)
    radius: Any = np.median(np.hypot(*(places - middle).T))
    return Region(round(float(middle[0])), round(float(middle[1])), round(float(radius)), len(places), typical)
