"""The model as it would be if a person had given some ratings: for one question, and never served."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from recommender.errors import UnknownProductError
from recommender.live.live_model import LiveModel
from recommender.live.users import UserRecord


def with_ratings(model: LiveModel, record: UserRecord, ratings: Mapping[str, int], now: int) -> LiveModel:
    """Return the model that would follow if the user of the record gave these ratings, in steps, at ``now``.

    0 steps take a rating away. It answers as the model does after `recommender.updates.writes.store_rating`. The
    successors of ``model`` share no memory with it that grows, so any thread may call this. UnknownProductError.
    """
    for product in ratings:
        if model.products.find(product) is None:
            raise UnknownProductError(product)
    first_given = {product: time for product, _, time in record.ratings}
    kept = [row for row in record.ratings if row[0].decode() not in ratings]
    given = [
        (product.encode(), steps, first_given.get(product.encode(), now)) for product, steps in ratings.items() if steps
    ]
    supposed = replace(record, ratings=tuple(sorted([*kept, *given])), _profiles={})
    return model.forked().after([supposed], {})
