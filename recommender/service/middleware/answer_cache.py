"""Answers that are ready to be sent, the most recently asked for, for the model that is served now.

An answer is kept under the decoded path and the raw query it was given for. That is enough as long as it depends on
nothing but these and the model: a model that takes another's place starts with none; whatever else changes what is
answered must call ``clear``; an answer that must not be kept says so with ``Cache-Control: no-store``.

Least recently used ones go first when the bytes are used up. Those of a model that is not served any more are let go a
few at a time: 64 MB of them at once stopped every request for 30 ms and more.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import NamedTuple

from recommender.model.served_model import ServedModel
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
        self.capacity = capacity  # bytes
        self._model: ServedModel | None = None
        self._kept: OrderedDict[Target, Answer] = OrderedDict()
        self._before: deque[OrderedDict[Target, Answer]] = deque()  # never asked again
        self._bytes = 0

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
        answer = self._kept.get(target)
        if answer is not None:
            self._kept.move_to_end(target)
        return answer

    def keep(self, model: ServedModel, target: Target, answer: Answer) -> None:
        """Keep an answer that ``model`` gave, and let the oldest go if there is no room."""
        size = len(answer.body) + OVERHEAD
        if model is not self._model or size > self.capacity or len(target[1]) > LONGEST_QUERY:
            return
        if (before := self._kept.pop(target, None)) is not None:
            self._bytes -= len(before.body) + OVERHEAD
        self._kept[target] = answer
        self._bytes += size
        while self._bytes > self.capacity:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= len(oldest.body) + OVERHEAD

    def clear(self) -> None:
        """Forget all of them."""
        if self._kept:
            self._before.append(self._kept)
        self._kept, self._bytes = OrderedDict(), 0

    def _let_go(self) -> None:
        oldest = self._before[0]
        for _ in range(min(LET_GO, len(oldest))):
            oldest.popitem()
        if not oldest:
            self._before.popleft()
