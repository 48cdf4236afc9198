"""Answers that are ready to be sent, the most recently asked for, for the model that is served now.

An answer is kept under the decoded path and the raw query it was given for. That is enough as long as it depends on
nothing but these and the model: a model that takes another's place starts with none; whatever else changes what is
answered must call ``clear``; an answer that must not be kept says so with ``Cache-Control: no-store``.

Least recently used ones go first when the bytes are used up. Those of a model that is not served any more are let go a
few at a time: 64 MB of them at once stopped every request for 30 ms and more.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from cachetools import LRUCache

from recommender.model import ServedModel
from recommender.service.model_headers import RawHeader

OVERHEAD = 1_000  # bytes that an answer takes besides its body: headers, keys, the dictionary's entry
LET_GO = 16  # of a model before, by each question
LONGEST_QUERY = 200  # bytes; nobody asks the same long question twice

Target = tuple[str, bytes]  # path and query


class Answer(NamedTuple):
    """One answer with status 200, without the headers that differ from one time to the next."""

    route: str
    source: str | None
    etag: bytes
    body: bytes
    about_body: tuple[RawHeader, ...]  # type and length, which a 304 has not
    headers: tuple[RawHeader, ...]


class Answers:
    """A bounded dictionary of answers for one model at a time."""

    def __init__(self, capacity: int = 0) -> None:
        self._model: ServedModel | None = None
        self._kept: LRUCache[Target, Answer] = LRUCache(capacity, _size)
        self._before: deque[LRUCache[Target, Answer]] = deque()  # never asked again

    @property
    def capacity(self) -> int:
        """Bytes that there is room for; given anew it begins with no answers."""
        return int(self._kept.maxsize)

    @capacity.setter
    def capacity(self, capacity: int) -> None:
        self._kept = LRUCache(capacity, _size)

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, model: ServedModel | None, target: Target) -> Answer | None:
        """The answer that this very model gave, None if it is not here."""
        if self._before:
            self._let_go()
        if model is not self._model:
            self.clear()
            self._model = model
            return None
        return self._kept.get(target)

    def keep(self, model: ServedModel, target: Target, answer: Answer) -> None:
        """Keep an answer that ``model`` gave, and let the oldest go if there is no room."""
        if model is self._model and _size(answer) <= self.capacity and len(target[1]) <= LONGEST_QUERY:
            self._kept[target] = answer

    def clear(self) -> None:
        """Forget all of them."""
        if self._kept:
            self._before.append(self._kept)
        self._kept = LRUCache(self.capacity, _size)

    def _let_go(self) -> None:
        oldest = self._before[0]
        for _ in range(min(LET_GO, len(oldest))):
            oldest.popitem()
        if not oldest:
            self._before.popleft()


def _size(answer: Answer) -> int:
    return len(answer.body) + OVERHEAD
