"""Models to be saved, and all questions that tests ask them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recommender.errors import UnknownUserError
from recommender.fallback import ColdStart, rank_popular
from recommender.model import ServedModel
from recommender.model.training import cold_start_of
from recommender.neighbors import CosineIndex, SimilarProducts
from recommender.publishing import Version
from recommender.ranking import (
    CLASSIC,
    FUSION,
    TASTE,
    AutoParameters,
    ItemParameters,
    TasteParameters,
    TasteSimilarity,
    train_item_weights,
)
from recommender.shop import (
    HALF_STARS,
    ProductCatalog,
    Products,
    Profiles,
    RatingMatrix,
    Scale,
    Segments,
    build_profiles,
    known_prices,
)
from tests.service.test_api import NO_RATINGS, STARS, A, B, C, D
from tests.steps.test_recommendation_engine import matrix_of

Arrays = dict[str, NDArray[Any]]
Stars = dict[int, dict[str, float]]

MADE_AT = dt.datetime(2026, 1, 31, 12, 30, 15, 123_456, tzinfo=dt.UTC)


def build(
    stars: Stars,
    catalog: Mapping[str, tuple[str | None, float]],
    *,
    others: list[int] | None = None,
    k: int = 20,
    taste: bool = False,
    parameters: AutoParameters | None = None,
    n_categories: int | None = None,
    scale: Scale = HALF_STARS,
) -> ServedModel:
    """A model of these ratings, this catalog (id -> title, price), and these users without ratings.

    ``parameters``: those of auto. If they need the item model, the model can also rank by items.
    ``n_categories``: the products are spread over this many categories in turn; None: each has its own category.
    """
    ids = sorted(catalog)
    matrix = matrix_of(stars, set(catalog))
    if scale != HALF_STARS:  # 5 stars become its highest rating
        matrix = replace(matrix, steps=matrix.steps * np.int8(scale.most // HALF_STARS.most), scale=scale)
    rated_at = np.arange(matrix.n_ratings)[::-1].copy()
    profiles = build_profiles(replace(matrix, rated_at=rated_at))
    weights = train_item_weights(profiles, parameters.items) if parameters and parameters.needs_items else None
    by_taste = TasteSimilarity.of(matrix, profiles, parameters=parameters, item_weights=weights)
    known = np.union1d(matrix.user_ids, np.array(others or [], np.int64))
    products = Products.of(
        matrix.product_ids,
        ProductCatalog(
            product_ids=np.array([name.encode() for name in ids]),
            titles=pa.array([catalog[product][0] for product in ids], pa.string()),
            prices=known_prices(np.array([catalog[product][1] for product in ids], np.float64)),
            stars=np.arange(len(ids)) / 2,
            category_ids=np.arange(len(ids), dtype=np.int32) % np.int32(n_categories or len(ids)),
        ),
    )
    return ServedModel(
        matrix=matrix,
        similarity=by_taste if taste else CosineIndex(matrix.steps, most=scale.most),
        similar_products=SimilarProducts(matrix),
        popular_when_built=rank_popular(matrix),
        products=products,
        known_users=known,
        known_segments=(known % 3 - 1).astype(np.int32) if taste else np.empty(0, np.int32),
        cold_start=ladder_of(matrix, profiles, products) if taste else None,
        built_at=MADE_AT,
        n_neighbors=k,
        ranking=TASTE if taste else CLASSIC,
        version=6,
        new_product_percent=50,
    )


def ladder_of(matrix: RatingMatrix, profiles: Profiles, products: Products) -> ColdStart:
    """Two segments; every third user id is in none; products without ratings are new."""
    codes = (matrix.user_ids % 3 - 1).astype(np.int32)
    return cold_start_of(matrix, profiles, products, Segments((("BE", "18-24"), ("NL", "65+")), codes))


def version_of(model: ServedModel, number: int = 6) -> Version:
    metrics = {"ndcg": 0.25, "unknown": None}
    facts = {"users": 500, "n_neighbors": model.n_neighbors, "ranking": "Ångström 🍵"}
    return Version(number, MADE_AT, model.matrix.fingerprint(), model.matrix.n_ratings, facts, 17, metrics)


def everything(model: ServedModel, *, lengths: tuple[int, ...] = (1, 10, 14)) -> dict[Any, Any]:
    """Everything that the service tells: every answer at several lengths, and every product in full."""
    known = model.known_users.tolist()
    said: dict[Any, Any] = {
        (user, n, ranking): model.recommend(user, n, ranking)
        for user in known
        for n in lengths
        for ranking in model.rankings
    }
    columns = range(model.matrix.shape[1])
    said["similar"] = [[a.tolist() for a in model.similar_products.similar(column, 5)] for column in columns]
    said["rankings"] = model.rankings
    said["ids"] = [model.products.id_of(column) for column in range(len(model.products))]
    said["columns"] = [model.products.facts(column) for column in columns]
    said["catalog"] = [model.products.catalog.product(place) for place in range(len(model.products.catalog))]
    said["default"] = [model.recommend(user, 10) for user in known[:5]]
    said["facts"] = model.built_at, model.n_neighbors, model.ranking, model.version, model.matrix.n_ratings
    for unknown in (0, 4711, 2**63 - 1):
        try:
            said["unknown", unknown] = model.recommend(unknown, 1)
        except UnknownUserError as error:
            said["unknown", unknown] = str(error)
    return said


def arrays_of(model: ServedModel) -> Arrays:
    """Every array of a model."""
    csr, catalog = model.matrix.steps, model.products.catalog
    buffers = {f"titles.{place}": buffer for place, buffer in enumerate(catalog.titles.buffers()) if buffer}
    return {
        "steps": csr.data, "indices": csr.indices, "indptr": csr.indptr, "user_ids": model.matrix.user_ids,
        "product_ids": model.matrix.product_ids, "recommendable": model.matrix.recommendable,
        "popular.columns": model.popular.columns, "popular.predicted": model.popular.predicted,
        "places": model.products.catalog_rows, "known_segments": model.known_segments, "known_users": model.known_users,
        "catalog.product_ids": catalog.product_ids,
        "prices": catalog.prices, "stars": catalog.stars, "category_ids": catalog.category_ids,
        **profile_arrays(model), **{f"similar.{k}": a for k, a in model.similar_products.arrays().items()},
        **{name: np.frombuffer(buffer, np.uint8) for name, buffer in buffers.items()},
    }  # fmt: skip


def profile_arrays(model: ServedModel) -> Arrays:
    if not isinstance(model.similarity, TasteSimilarity):
        return model.similarity.arrays()
    assert model.cold_start is not None
    prepared = model.similarity.prepared_arrays()
    prepared |= {f"ladder.{name}": array for name, array in model.cold_start.arrays().items()}
    for number in ("taste.index.shop", "ladder.mean", "items.ridge", "items.local"):
        prepared.pop(number, None)
    return prepared | {f"profiles.{place}": array for place, array in enumerate(model.similarity.profiles.arrays())}


SMALL_CATALOG: dict[str, tuple[str | None, float]] = {
    A: ('Ångström 🍵 tea, "green"', 29.99),
    B: (None, 0.0),
    C: ("x" * 2_000, 19_731.81),
    D: ("", 1e-3),
}


def small(*, taste: bool = False, parameters: AutoParameters | None = None, scale: Scale = HALF_STARS) -> ServedModel:
    """All kinds of users: with neighbors, without neighbors, without ratings. E is rated and has left the catalog."""
    return build(STARS, SMALL_CATALOG, others=[NO_RATINGS], taste=taste, parameters=parameters, scale=scale)


def small_of_all() -> ServedModel:
    """The same with every ranking; auto is a fusion."""
    items = ItemParameters(ridge=0.5, half_life=1.0)
    return small(taste=True, parameters=AutoParameters(FUSION, TasteParameters(3, 0.6), items))
