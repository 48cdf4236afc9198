"""Entries: a number (of a row, a column or a place) and the steps of a rating in one word, as compiled code reads them.

Scales of up to 15 steps take words of 32 bits, 4 of them for the rating. Longer scales take words of 64 bits, 8 of them
for the rating. Compiled code tells the two by the width of a word (`_shift_of` in each file of it).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recommender.neighbors._cosine_kernels import NARROW_BITS, WIDE_BITS

MOST_NARROW, MOST_WIDE = (1 << NARROW_BITS) - 1, (1 << WIDE_BITS) - 1
Entries = NDArray[np.unsignedinteger]


def entry_type(most: float) -> type[Any]:
    """Return the dtype of entries whose ratings are at most ``most``, 255 or below."""
    return np.uint32 if most <= MOST_NARROW else np.uint64


def bits_of(entries: Entries) -> int:
    """Return the number of bits of the rating in these entries."""
    return NARROW_BITS if entries.itemsize == 4 else WIDE_BITS


def entries_of(numbers: NDArray[Any], steps: NDArray[Any], kind: Any) -> Entries:
    """Return the entries, of dtype ``kind``, of these numbers and ratings, (n,) each."""
    words = numbers.astype(kind)
    entries: Entries = words << kind(bits_of(words)) | steps.astype(kind)
    return entries


def numbers_of(entries: Entries) -> Entries:
    """Return the numbers of these entries."""
    numbers: Entries = entries >> entries.dtype.type(bits_of(entries))
    return numbers


def steps_of(entries: Entries) -> NDArray[np.int8]:
    """Return the ratings of these entries, in steps."""
    return (entries & entries.dtype.type((1 << bits_of(entries)) - 1)).astype(np.int8)
