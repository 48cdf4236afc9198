"""Answers that take long are made by another thread, so that nobody else waits for them.

A model never changes, so any thread may ask it. Most lists take less time than it takes to ask a thread. What may take
some milliseconds: a filter that nobody asked for lately, which is a pass over a large catalog; a page far down a list,
which is ranked as far as that; and many explanations.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from recommender.model import ServedModel, Wish

LARGE = 200_000  # products of a catalog that takes longer to look through than a thread takes to be asked
DEEP = 200  # products of a list, down to the last one that is asked for
MANY = 20  # explanations

Made = TypeVar("Made")


def takes_long(model: ServedModel, wish: Wish, *, explained: bool = False) -> bool:
    """Tell whether a list may keep others waiting."""
    if wish.offset + wish.limit > DEEP or (explained and wish.limit > MANY):
        return True
    return wish.filters and len(model.products.catalog) >= LARGE and not model.masks.knows(wish)


async def made(make: Callable[[], Made], *, beside: bool) -> Made:
    """Return what ``make`` gives, on another thread if ``beside``."""
    return await asyncio.to_thread(make) if beside else make()
