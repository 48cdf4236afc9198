"""The rivals of a tuning: nDCG@10 of many parameters of taste, of items and of their fusion, for the same users.

Neighbors are searched for once, and each ridge is trained once. The other parameters cost a ranking each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recommender.arrays import run_blocks, thread_count
from recommender.evaluation import metrics
from recommender.evaluation.result import K
from recommender.evaluation.split import Split, trainable_log
from recommender.items import ItemWeights
from recommender.neighbors import BLOCK_ROWS, damping_divisors
from recommender.ranking import (
    DEPTH,
    FUSION,
    ITEMS,
    AutoParameters,
    FusionParameters,
    ItemParameters,
    ItemProfiles,
    ItemRanker,
    ItemVotes,
    RankedByTaste,
    TasteParameters,
    TasteRanker,
    empty_lists,
    fuse,
    rank_taste_for_rows,
    train_item_weights,
)
from recommender.shop import Interactions, Profiles, build_profiles


class Family(NamedTuple):
    """Rivals of one kind, and ``ndcg`` (n_rivals, n_users), nDCG@10 of each for each user."""

    parameters: list[AutoParameters]
    ndcg: NDArray[np.float64]

    def of(self, rival: AutoParameters) -> NDArray[np.float64]:
        """Return the figures of one rival, (n_users,)."""
        found: NDArray[np.float64] = self.ndcg[self.parameters.index(rival)]
        return found


class Rivals:
    """The users of a validation cut, and what ranks for them."""

    def __init__(
        self,
        split: Split,
        rows: NDArray[np.int64],
        log: Interactions | None,
        weights: NDArray[np.float64] | None,
        *,
        most_neighbors: int,
        n_threads: int | None = None,
    ) -> None:
        """Take the rows (n_users,) of test users; ``log`` and ``weights`` as `build_profiles` does."""
        self.rows, self._train, self._n_threads = rows, split.train, n_threads
        self.profiles: Profiles = build_profiles(split.train, trainable_log(split, log, weights), weights)
        self._taste = TasteRanker(
            self.profiles.confidences, split.train.steps, times=self.profiles.times,
            recommendable=split.train.recommendable, n_threads=n_threads, scale=split.train.scale,
        )  # fmt: skip
        relevant = split.relevant[rows]
        self._n_relevant = np.diff(relevant.indptr)
        self._wanted = np.repeat(np.arange(rows.size), self._n_relevant) * split.train.shape[1] + relevant.indices
        self._trained: dict[float, ItemWeights] = {}  # by ridge
        self._asked: dict[float, ItemProfiles] = {}  # by half-life
        self._near = self._taste.index.top_k(most_neighbors, rows=rows, n_threads=n_threads)  # (n_users, most) each

    def taste(self, rivals: Sequence[TasteParameters]) -> Family:
        """Measure parameters of taste."""
        found = [self._ndcg(self._by_taste(rival, K).columns) for rival in rivals]
        return Family([AutoParameters(taste=rival) for rival in rivals], np.array(found))

    def items(self, rivals: Sequence[ItemParameters]) -> Family:
        """Measure parameters of items."""
        found = [self._ndcg(self._by_items(rival, K).columns) for rival in rivals]
        return Family([AutoParameters(ITEMS, items=rival) for rival in rivals], np.array(found))

    def fusions(self, taste: TasteParameters, items: ItemParameters, rivals: Sequence[FusionParameters]) -> Family:
        """Measure fusions of one taste and one items."""
        near, liked = self._by_taste(taste, DEPTH), self._by_items(items, DEPTH)
        found = [self._ndcg(fuse(near, liked, rival, K).columns) for rival in rivals]
        return Family([AutoParameters(FUSION, taste, items, rival) for rival in rivals], np.array(found))

    def _by_taste(self, parameters: TasteParameters, n: int) -> RankedByTaste:
        votes, (near, close) = self._taste.votes.damped(parameters.damping, self._train.recommendable), self._near
        k = parameters.n_neighbors
        return rank_taste_for_rows(votes, self.rows, near[:, :k], close[:, :k], n=n, n_threads=self._n_threads)

    def _by_items(self, parameters: ItemParameters, n: int) -> RankedByTaste:
        """Return the lists by items, without stars."""
        train, damping = self._train, float(parameters.damping)
        divisor = damping_divisors(self._taste.index.statistics, damping)
        votes = ItemVotes(self._weights(parameters), self._asking(parameters), divisor, train.recommendable / divisor)
        out, bars = empty_lists(self.rows.size, n), votes.bars(None)

        def block(start: int, stop: int) -> None:
            votes.rank(self.rows[start:stop], bars, out.at(slice(start, stop)))

        run_blocks(block, self.rows.size, block_rows=BLOCK_ROWS, n_threads=thread_count(self._n_threads))
        out.stars[:], out.n_raters[:] = 0.0, 0
        return out

    def _weights(self, parameters: ItemParameters) -> ItemWeights:
        """Return B of the parameters' ridge. It is trained once."""
        if parameters.ridge not in self._trained:
            weights = train_item_weights(self.profiles, parameters, n_threads=self._n_threads)
            self._trained[parameters.ridge] = weights
        return self._trained[parameters.ridge]

    def _asking(self, parameters: ItemParameters) -> ItemProfiles:
        """Return the profiles as they ask under the parameters' half-life. They are made once."""
        if parameters.half_life not in self._asked:
            weights, recommendable = self._weights(parameters), self._train.recommendable
            ranker = ItemRanker.of(self._taste, weights, self.profiles, parameters, recommendable)
            self._asked[parameters.half_life] = ranker.item_votes.profiles
        return self._asked[parameters.half_life]

    def _ndcg(self, lists: NDArray[np.int32]) -> NDArray[np.float64]:
        """Return nDCG@10 of the lists (n_users, K), (n_users,)."""
        keys = np.arange(self.rows.size)[:, None] * self._train.shape[1] + lists
        return metrics.ndcg_at((lists >= 0) & np.isin(keys, self._wanted), self._n_relevant, K)
