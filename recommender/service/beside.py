"""Slow answers are made on another thread, so that no other request waits for them.

A model never changes, so any thread may use it. Most lists take less time than a call of a thread. These may take some
milliseconds: a filter without recent use, which is a pass over a large catalog; a page far down a list, which is ranked
down to that page; and many explanations.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from recommender.model import ListRequest, ServedModel

LARGE = 200_000  # products of a catalog that takes longer to filter than a call of a thread
DEEP = 200  # products of a list, down to the last one of the page
MANY = 20  # explanations

Made = TypeVar("Made")


def takes_long(model: ServedModel, list_request: ListRequest, *, explained: bool = False) -> bool:
    """Tell whether a list takes so long that other requests would have to wait."""
    if list_request.offset + list_request.limit > DEEP or (explained and list_request.limit > MANY):
        return True
    return list_request.filters and len(model.products.catalog) >= LARGE and not model.filters.knows(list_request)


async def made(make: Callable[[], Made], *, beside: bool) -> Made:
    """Return the result of ``make``, run on another thread if ``beside``."""
    return await asyncio.to_thread(make) if beside else make()
