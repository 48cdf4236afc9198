"""Filters that nobody asked for before, on a large catalog: looked through beside the event loop.

A filter is one pass over the catalog, and for a ranking by taste another over what was rated: some milliseconds of 1.4
million products, which every other request would wait. Both are of the catalog and the ratings that the model was made
of, which never change, so a thread may make them while the model is asked; the event loop only keeps what it made.
"""

from __future__ import annotations

import asyncio

from recommender.model import Kept, ServedModel, Wish, allowed_products
from recommender.ranking import BY_TASTE, TasteSimilarity

LARGE = 200_000  # products; a smaller catalog is looked through in less time than a thread takes to be asked


def is_missing(model: ServedModel, wish: Wish) -> bool:
    """Is this a filter of a large catalog that was not asked for lately?"""
    return wish.filters and len(model.products.catalog) >= LARGE and not model.masks.knows(wish)


async def make_filter(model: ServedModel, wish: Wish, ranking: str | None) -> None:
    """Have the filter of a wish made and kept, if it is missing; another model may be served afterwards."""
    if is_missing(model, wish):
        model.masks.take(wish, await asyncio.to_thread(_made, model, wish, ranking or model.ranking))


def _made(model: ServedModel, wish: Wish, ranking: str) -> Kept:
    """The mask and all that a list needs of it."""
    allowed = allowed_products(wish, model.products, model.categories)
    kept = Kept(allowed, model.matrix.recommendable)
    _ = kept.without
    if ranking in BY_TASTE and isinstance(model.similarity, TasteSimilarity):
        kept.bars(ranking, model.similarity.ranker(ranking))
    return kept
