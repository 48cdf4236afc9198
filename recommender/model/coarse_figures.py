"""Figures about few people, made so coarse that nobody can identify one of these people by them.

A cosine to three digits is as good as a name. It is the same from either side: if the lists of two people show 0.788,
each is the other's neighbor, and the product that "a neighbor" has is that person's. Rounded down to a few steps, the
cosine fits many pairs. A mean of one or two people reveals a rating of theirs.
"""

from __future__ import annotations

from bisect import bisect_right

FEWEST = 3  # people, for a mean to be shown
STEPS = (0.0, 0.1, 0.2, 0.5)


def coarse(similarity: float) -> float:
    """Return the largest of ``STEPS`` that the similarity reaches.

    >>> [coarse(similarity) for similarity in (0.788, 0.5, 0.199, 0.004, 1.0)]
    [0.5, 0.5, 0.1, 0.0, 0.5]
    """
    return STEPS[max(0, bisect_right(STEPS, similarity) - 1)]


def mean_of_many(mean: float | None, people: int) -> float | None:
    """Return the mean; None if it is of fewer than ``FEWEST`` people.

    >>> mean_of_many(4.5, 3), mean_of_many(4.5, 2)
    (4.5, None)
    """
    return mean if people >= FEWEST else None
