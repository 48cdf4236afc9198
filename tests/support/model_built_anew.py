"""The oracle of the live model: a model newly built from the tables, with the published statistics of an older one."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sqlalchemy import Engine

from recommender.database import read_snapshot
from recommender.fallback import ColdStart
from recommender.fallback._cold_start_kernels import Ladder, New
from recommender.items import ItemWeights
from recommender.model import ModelSettings, Recommendation, ServedModel, Trained, serve
from recommender.neighbors import TasteStatistics
from recommender.ranking import (
    FUSION,
    AutoParameters,
    FusionParameters,
    ItemParameters,
    TasteParameters,
    TasteSimilarity,
    train_item_weights,
)
from recommender.shop import RatingMatrix, Snapshot, build_profiles

WEIGHTS = (0.2, 0.5, 1.0, 2.0)
AUTO = AutoParameters(
    FUSION, TasteParameters(7, 0.5), ItemParameters(ridge=2.0, half_life=3.0, damping=0.2), FusionParameters(0.5, 10.0)
)
BUILT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def build(engine: Engine, older: ServedModel | None = None) -> ServedModel:
    """A model of the present tables, with the statistics and the cold start of ``older``."""
    return build_of(read_snapshot(engine), older)


def build_of(snapshot: Snapshot, older: ServedModel | None = None) -> ServedModel:
    """The same from a snapshot."""
    shop = snapshot.for_taste()
    matrix = shop.ratings
    profiles = build_profiles(matrix, shop.log, np.array(WEIGHTS))
    statistics = None if older is None else _statistics(older, matrix)
    weights = train_item_weights(profiles, AUTO.items) if older is None else _weights(older, matrix)
    similarity = TasteSimilarity.of(matrix, profiles, parameters=AUTO, statistics=statistics, item_weights=weights)
    settings = ModelSettings(n_neighbors=5, new_product_percent=40, weights=WEIGHTS)
    model = serve(Trained(shop, similarity, settings), built_at=BUILT, version=3)
    return model if older is None else replace(model, cold_start=_ladder(older, model))


def _statistics(older: ServedModel, matrix: RatingMatrix) -> TasteStatistics:
    known = _similarity(older).taste.index.statistics
    columns = _places(older.matrix.product_ids, matrix.product_ids)
    rows = older.matrix.rows_of(matrix.user_ids)
    return TasteStatistics(
        known.n_users,
        np.where(columns >= 0, known.raters[columns], 1),
        known.mu,
        np.where(columns >= 0, known.item_bias[columns], 0.0),
        np.where(rows >= 0, known.user_bias[rows], 0.0),
    )


def _weights(older: ServedModel, matrix: RatingMatrix) -> ItemWeights:
    """The older model's weights between products, in the columns of the new matrix."""
    known = _similarity(older).item_weights
    assert known is not None
    n_older, n_now = older.matrix.shape[1], matrix.shape[1]
    old = sp.csr_array((known.weights, known.columns, known.indptr), shape=(n_older, n_older)).tocoo()
    columns = _places(matrix.product_ids, older.matrix.product_ids)
    kept = (columns[old.coords[0]] >= 0) & (columns[old.coords[1]] >= 0)
    coords = columns[old.coords[0][kept]], columns[old.coords[1][kept]]
    new = sp.coo_array((old.data[kept], coords), shape=(n_now, n_now)).tocsr()
    new.sort_indices()
    return ItemWeights(
        new.indptr.astype(np.int64), new.indices.astype(np.int32), new.data, known.ridge, local=known.local
    )


def _ladder(older: ServedModel, model: ServedModel) -> ColdStart:
    """The older model's values, in the columns of the new model."""
    assert older.cold_start is not None
    assert model.cold_start is not None
    ladder, new = older.cold_start.ladder, older.cold_start.new
    ours = np.array([model.products.id_of(column).encode() for column in range(len(model.products))])
    order = np.argsort(ours)

    def moved(columns: NDArray[np.int32]) -> NDArray[np.int32]:
        names = np.array([older.products.id_of(column).encode() for column in columns.tolist()], np.bytes_)
        return order[np.searchsorted(ours[order], names)].astype(np.int32)

    known = [older.products.find(model.products.id_of(column)) for column in range(len(model.products))]
    stars = np.array(
        [older.cold_start.mean if at is None or at >= len(ladder.stars) else ladder.stars[at] for at in known],
        np.float64,
    )
    columns = _places(older.matrix.product_ids, model.matrix.product_ids)
    category_of = np.where(columns >= 0, new.category_of[columns], -1).astype(np.int32)
    return replace(
        model.cold_start,
        ladder=Ladder(moved(ladder.popular), ladder.shares, ladder.starts, moved(ladder.own), ladder.scores, stars),
        new=New(moved(new.columns), new.sums, new.starts, category_of),
        mean=older.cold_start.mean,
    )


def _places(among: NDArray[Any], wanted: NDArray[Any]) -> NDArray[np.intp]:
    at = np.minimum(np.searchsorted(among, wanted), len(among) - 1)
    return np.where(among[at] == wanted, at, -1)


def _similarity(model: ServedModel) -> TasteSimilarity:
    assert isinstance(model.similarity, TasteSimilarity)
    return model.similarity


def as_told(model: ServedModel, found: list[Recommendation]) -> list[tuple[Any, ...]]:
    """All facts of the recommendations, by product id."""
    return [
        (
            model.products.id_of(r.column),
            None if math.isnan(r.predicted_rating) else r.predicted_rating,  # NaN does not equal itself
            r.support,
            r.n_neighbors,
            r.source,
            *model.products.facts(r.column),
        )
        for r in found
    ]


class SeenNear(NamedTuple):
    """A neighbor, by product id."""

    similarity: float
    owned: dict[str, int]
    shared: set[str]


class Seen(NamedTuple):
    """A user's ratings and neighborhood, by product id; neighbors by user id, nearest first."""

    rated: dict[str, int]
    own: set[str]
    near: dict[int, SeenNear]


def as_seen(model: ServedModel, user_id: int, ranking: str) -> Seen:
    """A model's answers about a user and the user's neighbors."""

    def named(columns: NDArray[np.int32], steps: NDArray[np.int8]) -> dict[str, int]:
        return {model.products.id_of(c): s for c, s in zip(columns.tolist(), steps.tolist(), strict=True)}

    def ids(columns: NDArray[np.int32]) -> set[str]:
        return {model.products.id_of(column) for column in columns.tolist()}

    hood = model.neighborhood(user_id, ranking)
    near = {
        user: SeenNear(hood.similarities.tolist()[at], named(*hood.owned[at]), ids(hood.shared(at)))
        for at, user in enumerate(hood.user_ids.tolist())
    }
    return Seen(named(*model.ratings_of(user_id)), ids(hood.own), near)
