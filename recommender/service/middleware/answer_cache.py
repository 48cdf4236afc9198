"""A cache of answers that are ready to be sent: the most recently used ones, for the model that is served now.

The key is the decoded path and the raw query. That is enough if an answer depends only on these and the model: a new
model starts with an empty cache; any other change of what is answered must call ``clear``; an answer that must not be
cached has ``Cache-Control: no-store``.

If the bytes are used up, the least recently used answers go first. Answers of an earlier model are freed a few at a
time: freeing 64 MB at once stopped every request for 30 ms and more.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from cachetools import LRUCache

from recommender.model import ServedModel
from recommender.service.model_headers import RawHeader

OVERHEAD = 1_000  # bytes of an answer besides its body: headers, keys, the dictionary's entry
LET_GO = 16  # answers of an earlier model that each `get` frees
LONGEST_QUERY = 200  # bytes; longer queries hardly come twice

Target = tuple[str, bytes]  # path and query


class CachedAnswer(NamedTuple):
    """One answer with status 200, without the headers that differ from one time to the next."""

    route: str
    source: str | None
    etag: bytes
    body: bytes
    about_body: tuple[RawHeader, ...]  # type and length, which a 304 does not have
    headers: tuple[RawHeader, ...]


class AnswerCache:
    """A bounded dictionary of answers, for one model at a time."""

    def __init__(self, capacity: int = 0) -> None:
        self._model: ServedModel | None = None
        self._kept: LRUCache[Target, CachedAnswer] = LRUCache(capacity, _size)
        self._before: deque[LRUCache[Target, CachedAnswer]] = deque()  # of earlier models, to be freed

    @property
    def capacity(self) -> int:
        """The number of bytes there is room for; setting it empties the cache."""
        return int(self._kept.maxsize)

    @capacity.setter
    def capacity(self, capacity: int) -> None:
        self._kept = LRUCache(capacity, _size)

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, model: ServedModel | None, target: Target) -> CachedAnswer | None:
        """Return the answer that exactly this model gave; None if it is not cached."""
        if self._before:
            self._let_go()
        if model is not self._model:
            self.clear()
            self._model = model
            return None
        try:
            return self._kept[target]  # its `get` takes twice as long
        except KeyError:
            return None

    def keep(self, model: ServedModel, target: Target, answer: CachedAnswer) -> None:
        """Cache an answer that ``model`` gave, and drop the oldest ones if there is no room."""
        if model is self._model and _size(answer) <= self.capacity and len(target[1]) <= LONGEST_QUERY:
            self._kept[target] = answer

    def clear(self) -> None:
        """Drop all answers."""
        if self._kept:
            self._before.append(self._kept)
        self._kept = LRUCache(self.capacity, _size)

    def _let_go(self) -> None:
        oldest = self._before[0]
        for _ in range(min(LET_GO, len(oldest))):
            oldest.popitem()
        if not oldest:
            self._before.popleft()


def _size(answer: CachedAnswer) -> int:
    return len(answer.body) + OVERHEAD
