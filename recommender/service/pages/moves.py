"""What moved in a list: up, down, new, gone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Move(NamedTuple):
    """The move of one product: its kind, and in words."""

    kind: str  # up, down, new
    words: str


class Moves(NamedTuple):
    """The moves of the products of a list, by id, without those that have not moved. ``gone``: in the old order."""

    by_product: Mapping[str, Move]
    gone: Sequence[str]


def moves_between(before: Sequence[str], now: Sequence[str]) -> Moves:
    """Return what moved from one list to the next.

    >>> moves_between(["A", "B", "C"], ["B", "A", "D"])
    Moves(by_product={'B': Move(kind='up', words='up 1'), 'A': Move(kind='down', words='down 1'), \
'D': Move(kind='new', words='new')}, gone=['C'])
    """
    ranks = {product: rank for rank, product in enumerate(before)}
    moves: dict[str, Move] = {}
    for rank, product in enumerate(now):
        if product not in ranks:
            moves[product] = Move("new", "new")
        elif steps := ranks[product] - rank:
            kind = "up" if steps > 0 else "down"
            moves[product] = Move(kind, f"{kind} {abs(steps)}")
    there = set(now)
    return Moves(moves, [product for product in before if product not in there])
