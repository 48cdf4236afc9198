"""Figures about few people, as whoever asks may see them: too coarse to find one of those people by them.

A cosine to three digits is as good as a name: it is the same from either side, so whoever sees 0.788 in the lists of
two people knows that each is the other's neighbor, and then whose product it is that "a neighbor" has. Rounded down to
a few steps it is that of many pairs. A mean of one or two people is a rating of theirs.
"""

from __future__ import annotations

from bisect import bisect_right

FEWEST = 3  # people whose mean is told
STEPS = (0.0, 0.1, 0.2, 0.5)


def coarse(similarity: float) -> float:
    """The largest of ``STEPS`` that the similarity reaches.

    >>> [coarse(similarity) for similarity in (0.788, 0.5, 0.199, 0.004, 1.0)]
    [0.5, 0.5, 0.1, 0.0, 0.5]
    """
    return STEPS[max(0, bisect_right(STEPS, similarity) - 1)]


def mean_of_many(mean: float | None, people: int) -> float | None:
    """The mean, None if it is of fewer than ``FEWEST`` people.

    >>> mean_of_many(4.5, 3), mean_of_many(4.5, 2)
    (4.5, None)
    """
    return mean if people >= FEWEST else None
