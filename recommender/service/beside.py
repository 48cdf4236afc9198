"""Slow answers are made on another thread, one at a time, so that quick requests go on.

A model never changes, so any thread may read it. Most lists take less time than a call of a thread. These may take some
milliseconds: a filter that is not cached, which is a pass over a large catalog; a page far down a list, which is ranked
down to that page; and many explanations. Two threads would make them no sooner, since Python runs one at a time, and
each would take its share from the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from fastapi import HTTPException, Request

from recommender.errors import OtherPeopleError
from recommender.model import ListRequest, ServedModel
from recommender.service.asked_people import OTHER_PEOPLE, about_people

LARGE = 200_000  # products of a catalog that takes longer to filter than a call of a thread
DEEP = 200  # products of a list, down to the last one of the page
MANY = 20  # explanations
MOST_WAITING = 100  # slow requests: some seconds

Made = TypeVar("Made")


def takes_long(model: ServedModel, list_request: ListRequest, *, explained: bool = False) -> bool:
    """Tell whether a list takes so long that other requests would have to wait."""
    if list_request.offset + list_request.limit > DEEP or (explained and list_request.limit > MANY):
        return True
    return list_request.filters and len(model.products.catalog) >= LARGE and not model.filters.knows(list_request)


class Turns:
    """So many answers at a time on other threads. The others wait, at most ``MOST_WAITING`` of them."""

    def __init__(self, at_a_time: int) -> None:
        self._free, self._waiting = asyncio.Semaphore(at_a_time), 0

    async def make(self, request: Request, model: ServedModel, make: Callable[[], Made]) -> Made:
        """Return what ``make`` gives, an answer of the model. HTTPException if too many wait, OtherPeopleError."""
        if self._waiting >= MOST_WAITING:
            raise HTTPException(503, "too many slow requests are waiting; try again", {"Retry-After": "1"})
        self._waiting += 1
        try:
            async with self._free:
                if await request.is_disconnected():
                    raise HTTPException(400, "the caller has gone")
                if about_people(request.method, request.url.path) and request.app.state.means_others(model):
                    raise OtherPeopleError(OTHER_PEOPLE)
                return await asyncio.to_thread(make)
        finally:
            self._waiting -= 1
