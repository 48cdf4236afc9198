"""The training: from a snapshot of the shop to a trained model, and to the model that answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from recommender.evaluation import tune
from recommender.fallback import ColdStart, build_cold_start, find_new_products, rank_popular
from recommender.items import ItemWeights
from recommender.model.served_model import ServedModel
from recommender.neighbors import CosineIndex, SimilarProducts
from recommender.ranking import (
    AUTO,
    BY_TASTE,
    CLASSIC,
    ITEMS,
    AutoParameters,
    ItemParameters,
    TasteSimilarity,
    train_item_weights,
)
from recommender.shop import (
    Interactions,
    Products,
    Profiles,
    RatingMatrix,
    Segments,
    Snapshot,
    build_profiles,
    distinct,
    sampled,
)


@dataclass(frozen=True)
class ModelSettings:
    """The settings of training and answers; ``weights``: the weight of each kind of interaction."""

    n_neighbors: int  # of the classic ranking
    ranking: str = CLASSIC  # the default of a request
    new_product_percent: int = 0  # of the lists by taste
    weights: tuple[float, ...] = ()


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained model. ``similarity`` is that of the users of the matrix ``shop.ratings``."""

    shop: Snapshot
    similarity: CosineIndex
    settings: ModelSettings


def train(
    snapshot: Snapshot,
    settings: ModelSettings,
    *,
    parameters: AutoParameters | None = None,
    all_rankings: bool = False,
) -> Trained:
    """Train for ``settings.ranking``, or for all rankings if ``all_rankings``.

    ``parameters``: those of the auto ranking. None: if that is the ranking, they are chosen on these ratings, which
    takes seconds.
    """
    if not (all_rankings or settings.ranking in BY_TASTE):
        shop = snapshot.for_classic()
        return Trained(shop, CosineIndex(shop.ratings.steps, most=shop.ratings.scale.most), settings)
    shop, tuned = snapshot.for_taste(), settings.ranking == AUTO and parameters is None
    given, items = (shop.ratings, shop.log, settings.weights), settings.ranking == ITEMS
    similarity = train_taste(*given, parameters=parameters, tuned=tuned, items=items)
    return Trained(shop, similarity, settings)


def train_taste(
    matrix: RatingMatrix,
    log: Interactions | None,
    weights: Sequence[float],
    *,
    parameters: AutoParameters | None = None,
    tuned: bool = False,
    items: bool = False,
) -> TasteSimilarity:
    """Return the similarities by taste; ``weights``: the weight of each kind of interaction.

    ``matrix`` has its times, and rows and columns for users and products that only ``log`` knows. ``parameters``:
    those of the auto ranking; ``tuned``: choose them on these ratings, which takes seconds. ``items``: train the item
    model also if auto does not need it. Of a large shop, `learned` sees a sample (`recommender.shop.sample`).
    """
    profiles = build_profiles(matrix, log, np.array(weights, np.float64))
    some, theirs = sampled(matrix, log)
    given = profiles if some is matrix else None
    parameters, item_weights = learned(
        some, theirs, weights, parameters=parameters, tuned=tuned, items=items, profiles=given
    )
    similarity = TasteSimilarity.of(matrix, profiles, parameters=parameters)
    similarity.item_weights, similarity.weights = item_weights, tuple(weights)
    return similarity


def learned(
    matrix: RatingMatrix,
    log: Interactions | None,
    weights: Sequence[float],
    *,
    parameters: AutoParameters | None = None,
    tuned: bool = False,
    items: bool = False,
    profiles: Profiles | None = None,
) -> tuple[AutoParameters | None, ItemWeights | None]:
    """Return the parameters of auto, and the weights between products if they are needed, as in `train_taste`.

    ``matrix`` and ``log`` are those of the sample, with all columns of the shop. ``profiles``: theirs; None: they are
    built.
    """
    counted = np.array(weights, np.float64)
    if tuned:
        parameters = tune(matrix, log, counted).parameters
    needed = parameters is not None and parameters.needs_items
    if not (items or needed):
        return parameters, None
    known = build_profiles(matrix, log, counted) if profiles is None else profiles
    return parameters, train_item_weights(known, parameters.items if parameters and needed else ItemParameters())


def serve(trained: Trained, *, built_at: datetime, version: int | None = None) -> ServedModel:
    """Return the model that answers: known users, popular products, and for lists by taste the cold start."""
    shop, similarity, settings = trained.shop, trained.similarity, trained.settings
    matrix, catalog, people = shop.ratings, shop.catalog, shop.people
    known = distinct(matrix.user_ids, people.user_ids)
    products = Products.of(matrix.product_ids, catalog)
    ladder, known_segments = None, np.empty(0, np.int32)
    segment_names: tuple[tuple[str, str], ...] = ()
    if isinstance(similarity, TasteSimilarity):
        everybody = distinct(known, matrix.user_ids)
        segments = people.segments(everybody)
        segment_names = segments.names
        known_segments = segments.at(np.searchsorted(everybody, known)).codes
        raters = segments.at(np.searchsorted(everybody, matrix.user_ids))
        ladder = cold_start_of(matrix, similarity.profiles, products, raters)
    return ServedModel(
        matrix=matrix,
        similarity=similarity,
        similar_products=SimilarProducts(matrix),
        popular_when_built=rank_popular(matrix),
        products=products,
        known_users=known,
        known_segments=known_segments,
        cold_start=ladder,
        built_at=built_at,
        n_neighbors=settings.n_neighbors,
        ranking=settings.ranking,
        version=version,
        new_product_percent=settings.new_product_percent,
        weights=settings.weights,
        segment_names=segment_names,
        cursor=matrix.cursor,
        people=matrix.people,
        left_out={**matrix.left_out, **catalog.left_out, **people.left_out},
    )


def cold_start_of(matrix: RatingMatrix, profiles: Profiles, products: Products, segments: Segments) -> ColdStart:
    """Return the cold start for lists by taste: segments of users, popular products of now, new products.

    ``segments``: of the matrix's users.
    """
    new = find_new_products(
        profiles.raters(),
        matrix.recommendable,
        products.catalog_rows,
        stars=products.catalog.stars,
        category_ids=products.catalog.category_ids,
    )
    return build_cold_start(matrix, profiles, segments=segments.codes, n_segments=len(segments), new=new)
