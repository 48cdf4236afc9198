"""A report on the ratings, and a forecast of the time and memory that training will take."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recommender.arrays import thread_count
from recommender.fallback import rank_popular
from recommender.items import foresee
from recommender.neighbors import CosineIndex
from recommender.publishing import BLOCK_USERS
from recommender.ranking import rank_products_for_rows
from recommender.shop import HALF_STARS, Profiles, RatingMatrix, Scale

SAMPLE_SHARE = 0.02  # share of the work that is timed, to forecast the rest
LEAST_SAMPLE_WORK = 20_000_000  # multiplications: some 10 ms, long enough for the clock
LEAST_SAMPLE_ROWS = 256


@dataclass(frozen=True)
class Forecast:
    """The cost of a batch for all users: seconds once the ratings are in memory, and the process's peak in bytes."""

    seconds: float
    peak_bytes: int


@dataclass(frozen=True)
class ItemsForecast:
    """The cost of the weights between products (`recommender.items`): seconds on all cores, a rough guess, and bytes.

    ``form``: that of their training, in words.
    """

    seconds: float
    more_bytes: int  # besides the profiles
    form: str


class Words(NamedTuple):
    """The words of a report: what people gave, what of it is counted, and what its products are."""

    given: str = "ratings"
    counted: str = "ratings"
    had: str = "rated products"


OF_RATINGS = Words()
OF_INTERACTIONS = Words("interactions", "products", "products with any")


@dataclass(frozen=True)
class DataReport:
    """Counts and shares of one rating matrix and its catalog."""

    n_users: int  # known: in the table users, or with ratings
    n_products: int  # in the catalog
    n_ratings: int  # without ratings: pairs of a user and a product with an interaction
    median_ratings_per_user: float  # of users with ratings
    density: float  # ratings / (users with ratings x products with ratings)
    share_with_neighbor: float  # of users with ratings
    cold_users: int  # known, without ratings
    cold_products: int  # in the catalog, without ratings
    orphan_products: int  # rated, not in the catalog
    listed_ratings: int  # of products in the catalog
    mean_rating: float
    scale: Scale
    work: int  # multiplications of all pairs: sum over products of raters squared
    words: Words = OF_RATINGS

    def advice(self) -> list[str]:
        """Return plain verdicts, the gravest first, at least one."""
        found, (given, counted, had) = [], self.words
        if 2 * self.listed_ratings < self.n_ratings:
            found.append(
                f"bad: {self.listed_ratings:,} of the {self.n_ratings:,} {counted} are of products in the catalog; "
                f"check that {given} and catalog have the same product ids"
            )
        if self.share_with_neighbor < 0.5:
            found.append(
                f"bad: {1 - self.share_with_neighbor:.0%} of the users share no product with anybody and will get the "
                "popular list; collect more ratings per product, or import a longer history"
            )
        elif self.share_with_neighbor < 0.9:
            found.append(
                f"fair: {1 - self.share_with_neighbor:.0%} of the users share no product with anybody and will get "
                "the popular list"
            )
        if self.median_ratings_per_user < 3:
            found.append(
                f"thin: half of the users have {self.median_ratings_per_user:g} {counted} or fewer; predictions will "
                "often rest on one neighbor"
            )
        if self.orphan_products:
            found.append(
                f"note: {self.orphan_products:,} {had} are not in the catalog; their {given} count for "
                "similarity, but they are not recommended"
            )
        return found or ["good: enough users share enough products for recommendations from neighbors"]

    @property
    def _scale_words(self) -> str:
        return self.scale.noun if self.scale == HALF_STARS else f"{self.scale.noun}, {self.scale.text()}"

    def as_text(self, reading_seconds: float, ahead: Forecast, items: ItemsForecast) -> str:
        """Return the report as a table for a terminal, with the verdict at the end."""
        given, counted, had = self.words
        held = counted, f"mean {self.mean_rating:.2f} {self._scale_words}"
        if counted != given:
            held = "pairs", "of a user and a product; no stars"
        rows = [
            ("users", f"{self.n_users:,}", f"{self.cold_users:,} without {given}"),
            ("products", f"{self.n_products:,}", f"{self.cold_products:,} without {given}"),
            (held[0], f"{self.n_ratings:,}", held[1]),
            (f"{counted} per user", f"{self.median_ratings_per_user:g}", f"median of the users with {given}"),
            ("density", f"{self.density:.4%}", f"of users with {given} x {had}"),
            ("users with a neighbor", f"{self.share_with_neighbor:.1%}", f"of the users with {given}"),
            ("reading took", f"{reading_seconds:.2f} s", f"the {given}, into memory"),
            ("training will take", f"{ahead.seconds:.2f} s", "neighbors and scores of all users"),
            ("", f"{ahead.peak_bytes / 1e6:,.0f} MB", "the most the process holds at a time"),
            ("RANKING=items: about", f"{items.seconds:.1f} s", f"more, for weights between products, {items.form}"),
            ("", f"{items.more_bytes / 1e6:,.0f} MB", "more while they are made"),
        ]
        lines = [f"{name:<22}{value:>14}   {note}" for name, value, note in rows]
        return "\n".join([*lines, *self.advice()])


def describe(matrix: RatingMatrix, *, n_users: int, n_catalog: int, words: Words = OF_RATINGS) -> DataReport:
    """Return the report. ``n_users``: known users; ``n_catalog``: products in the catalog."""
    ratings = matrix.steps
    raters = _raters(matrix)  # (n_products,)
    shared = raters[ratings.indices] > 1  # (n_ratings,) another user rated it too: cosine > 0
    has_neighbor = np.add.reduceat(shared, ratings.indptr[:-1]) > 0  # (n_rows,) every row has a rating
    return DataReport(
        n_users=n_users,
        n_products=n_catalog,
        n_ratings=matrix.n_ratings,
        median_ratings_per_user=float(np.median(np.diff(ratings.indptr))),
        density=matrix.n_ratings / (matrix.shape[0] * matrix.shape[1]),
        share_with_neighbor=float(has_neighbor.mean()),
        cold_users=n_users - matrix.shape[0],
        cold_products=n_catalog - int((matrix.recommendable & (raters > 0)).sum()),
        orphan_products=int((~matrix.recommendable).sum()),
        listed_ratings=int(raters[matrix.recommendable].sum()),
        mean_rating=matrix.mean_rating,
        scale=matrix.scale,
        work=int((raters**2).sum()),
        words=words,
    )


def forecast(
    matrix: RatingMatrix, index: CosineIndex, *, n_neighbors: int, n: int, rng: np.random.Generator
) -> Forecast:
    """Time neighbors and scores of random users, and scale up by the work: sum over a user's products of raters.

    Memory: the peak of this process, which has read the ratings and made the index as training does, and the blocks of
    users that training will hold in addition.
    """
    rows, share = _sample(matrix, rng)
    _train(matrix, index, rows[:2], n_neighbors, n)  # loads compiled code before the measurement
    started = time.perf_counter()
    _train(matrix, index, rows, n_neighbors, n)
    seconds = (time.perf_counter() - started) / share
    # the ratings and the index are in memory by now; making them took more than they hold
    blocks = BLOCK_USERS * (12 * n_neighbors + 60 * n)
    return Forecast(seconds, peak_bytes() + blocks)


def foresee_items(profiles: Profiles) -> ItemsForecast:
    """Return what the weights between products of these profiles will take, by arithmetic alone."""
    confidences = profiles.confidences
    lengths = np.diff(confidences.indptr).astype(np.int64)
    found = foresee(lengths[lengths > 0], int(np.count_nonzero(np.bincount(confidences.indices))))
    cut = f", the rarest {found.longest:,} products of a user" if found.longest < lengths.max(initial=0) else ""
    form = f"local form{cut}" if found.local else "dense form"
    form += f" (dense up to {found.most_dense:,} users or products here)"
    return ItemsForecast(found.cpu_seconds / thread_count(None), found.n_bytes, form)


def peak_bytes() -> int:
    """Return the peak of this process's resident memory so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1_024 * peak


def _raters(matrix: RatingMatrix) -> NDArray[np.int64]:
    return np.bincount(matrix.steps.indices, minlength=matrix.shape[1])


def _sample(matrix: RatingMatrix, rng: np.random.Generator) -> tuple[NDArray[np.int64], float]:
    """Return random rows that hold about SAMPLE_SHARE of the work, and the share that they hold."""
    ratings = matrix.steps
    work = np.add.reduceat(_raters(matrix)[ratings.indices], ratings.indptr[:-1])  # (n_rows,)
    order = rng.permutation(matrix.shape[0])
    done = np.cumsum(work[order])
    wanted = max(SAMPLE_SHARE * done[-1], LEAST_SAMPLE_WORK)
    n_rows = max(int(np.searchsorted(done, wanted)) + 1, LEAST_SAMPLE_ROWS)
    rows = np.sort(order[:n_rows])
    # a row takes some time for any number of products: half of the share counts work, half counts rows
    return rows, float(work[rows].sum() / done[-1] + len(rows) / len(order)) / 2


def _train(matrix: RatingMatrix, index: CosineIndex, rows: NDArray[np.int64], n_neighbors: int, n: int) -> None:
    neighbors, similarities = index.top_k(n_neighbors, rows=rows)
    rank_products_for_rows(
        matrix.steps,
        rows,
        neighbors,
        similarities,
        n=n,
        recommendable=matrix.recommendable,
        scale=matrix.scale.unit,
    )
    rank_popular(matrix)
