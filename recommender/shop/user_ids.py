"""The rule for user ids: whole numbers from 0 to 2^63 - 1, or text; a shop has one kind.

A text id obeys the rule of product ids (`recommender.shop.ids`). Releases before stored texts of up to 255 characters:
an id that is known already stays valid up to that length, so that nobody is lost.

Inside, a user is a stored number: a shop's whole number itself, or the number that `recommender.database.identities`
gives to a text. `UserIds` translates at the edges, and knows the order of the shop's own ids, which decides ties:
whole numbers by value, texts by their bytes of UTF-8. Order keys are whole numbers in that order, so compiled code
never compares texts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recommender.shop.ids import ID_LENGTH

LONGEST_USER_ID = ID_LENGTH  # characters of a new id
LONGEST_KNOWN_ID = 255  # characters of an id that an earlier release stored
LARGEST_USER_ID = 2**63 - 1
UserId = int | str  # as the shop spells it
_BITS = 32
_LAST = (1 << _BITS) - 1  # the low half of the order key of a person of the snapshot
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")


def number_of(text: str) -> int | None:
    """Return the whole number from 0 to 2^63 - 1 that a text is, in plain digits; None for any other text.

    >>> number_of("42"), number_of("0"), number_of("042"), number_of("42.0")
    (42, 0, None, None)
    """
    return int(text) if _NUMBER.fullmatch(text) and int(text) <= LARGEST_USER_ID else None


class UserIds:
    """The ids of a shop of whole numbers: each is its own stored number and order key."""

    is_text = False

    def number_of(self, user_id: object) -> int | None:
        """Return the stored number of a shop's id; None if it cannot be anybody's."""
        if isinstance(user_id, (int, np.integer)) and not isinstance(user_id, bool):
            return int(user_id) if 0 <= int(user_id) <= LARGEST_USER_ID else None
        return None

    def of(self, number: int) -> UserId:
        """Return the shop's id of a stored number."""
        return number

    def all_of(self, numbers: NDArray[np.int64]) -> NDArray[Any]:
        """Return the shop's ids of stored numbers (n,): int64, or bytes of UTF-8."""
        return numbers

    def keys(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the order keys of stored numbers (n,)."""
        return numbers

    def at(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the stored numbers of people of the snapshot by their order keys (n,)."""
        return keys

    def know(self, numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell which stored numbers have an id (n,)."""
        return np.ones(len(numbers), np.bool_)

    def with_later(self, names: Mapping[int, str]) -> UserIds:
        """Return the ids with those of people who came later, by their stored numbers."""
        del names
        return self

    def arrays(self) -> list[NDArray[Any]]:
        """Return what tells these ids from others, for a fingerprint and a file."""
        return []


NUMBERS_AS_THEY_ARE = UserIds()


@dataclass(frozen=True, eq=False)
class TextIds(UserIds):
    """The ids of a shop of texts: those of a snapshot (m,), and those of the people who came later.

    ``texts`` (m,) bytes of UTF-8, distinct, ascending; ``numbers`` (m,): the stored number of each. ``later``: ids by
    stored number. Where a text has two numbers, since its person was erased and came again, the later one counts.
    """

    texts: NDArray[np.bytes_]
    numbers: NDArray[np.int64]
    later: Mapping[int, str] = field(default_factory=dict)

    is_text = True

    @classmethod
    def made(cls, texts: NDArray[np.bytes_], numbers: NDArray[np.int64]) -> TextIds:
        """Return the ids of people in any order."""
        order = np.argsort(texts, kind="stable")
        return cls(texts[order], numbers[order])

    def number_of(self, user_id: object) -> int | None:
        if not isinstance(user_id, str):
            return None
        if (number := self._later_numbers.get(user_id)) is not None:
            return number
        try:
            text = user_id.encode()
        except UnicodeEncodeError:
            return None
        if len(text) > self.texts.dtype.itemsize or text.endswith(b"\0"):
            return None  # numpy would copy all ids to compare them with a longer one
        at = int(self.texts.searchsorted(text))
        return int(self.numbers[at]) if at < len(self.texts) and self.texts[at] == text else None

    def of(self, number: int) -> UserId:
        if (name := self.later.get(number)) is not None:
            return name
        place = self._places(np.array([number]))[0]
        return str(self.texts[place].decode()) if place >= 0 else str(number)

    def all_of(self, numbers: NDArray[np.int64]) -> NDArray[Any]:
        places = self._places(numbers)
        if (places >= 0).all() and not self.later:
            return self.texts[places]
        return np.array([str(self.of(number)).encode() for number in numbers.tolist()], np.bytes_)

    def keys(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        keys = self._places(numbers) << _BITS | _LAST
        if self.later:
            known, theirs = self._later_keys
            at = np.minimum(np.searchsorted(known, numbers), len(known) - 1)
            keys = np.where(known[at] == numbers, theirs[at], keys)
        return keys

    def at(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        found: NDArray[np.int64] = self.numbers[keys >> _BITS]
        return found

    def know(self, numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
        return self._places(numbers) >= 0

    def with_later(self, names: Mapping[int, str]) -> TextIds:
        new = {number: name for number, name in names.items() if self.of(number) != name or self._unknown(number)}
        return replace(self, later={**self.later, **new}) if new else self

    def arrays(self) -> list[NDArray[Any]]:
        return [self.texts, self.numbers]

    def _unknown(self, number: int) -> bool:
        return number not in self.later and not self.know(np.array([number]))[0]

    def _places(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the place of each stored number among the snapshot's texts (n,); -1: none."""
        order, ascending = self._by_number
        if not len(order):
            return np.full(len(numbers), -1, np.int64)
        at = np.minimum(np.searchsorted(ascending, numbers), len(order) - 1)
        return np.where(ascending[at] == numbers, order[at], -1)

    @cached_property
    def _by_number(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        order = np.argsort(self.numbers)
        return order, self.numbers[order]

    @cached_property
    def _later_numbers(self) -> dict[str, int]:
        return {name: number for number, name in sorted(self.later.items())}

    @cached_property
    def _later_keys(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the stored numbers of those who came later, ascending, and the order key of each.

        The key's high half is the number of the snapshot's texts before it, the low half the place among the later.
        """
        texts = np.array([name.encode() for name in self.later.values()], np.bytes_)
        numbers, place = np.array(list(self.later), np.int64), np.empty(len(texts), np.int64)
        place[np.argsort(texts, kind="stable")] = np.arange(len(texts))
        keys = np.searchsorted(self.texts, texts).astype(np.int64) << _BITS | place
        order = np.argsort(numbers)
        return numbers[order], keys[order]
