"""Charts as SVG, drawn on the server: they need no script, print well, and follow the colors of the page.

Each chart has a table beside it in the template, so nobody needs to see it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

WIDTH, HEIGHT = 420, 200
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 12, 30  # margins


class Tick(NamedTuple):
    """A mark on an axis, at a position in the drawing."""

    at: float
    text: str


class Curve(NamedTuple):
    """A curve: its points as SVG writes them, each point, and the ticks of both axes."""

    path: str
    points: list[tuple[float, float]]
    across: list[Tick]
    up: list[Tick]


def log_log(pairs: Sequence[tuple[int, int]]) -> Curve:
    """Return the curve of pairs of whole numbers from 1, both axes by powers of ten."""
    most_x, most_y = (max((pair[axis] for pair in pairs), default=1) for axis in (0, 1))
    wide, high = math.log10(max(most_x, 10)), math.log10(max(most_y, 10))
    points = [(_x(math.log10(x) / wide), _y(math.log10(y) / high)) for x, y in pairs]
    across = [Tick(_x(power / wide), _short(10**power)) for power in range(int(wide) + 1)]
    up = [Tick(_y(power / high), _short(10**power)) for power in range(int(high) + 1)]
    return Curve(_path(points), points, across, up)


def over_time(values: Sequence[tuple[str, float]]) -> Curve:
    """Return the curve of values from 0 on, evenly spaced, each with its name on the axis."""
    top = _nice(max((value for _, value in values), default=1.0))
    last = max(len(values) - 1, 1)
    middle = 0.5 if len(values) == 1 else 0.0
    points = [(_x(place / last + middle), _y(value / top)) for place, (_, value) in enumerate(values)]
    shown = range(0, len(values), max(1, -(-len(values) // 8)))
    across = [Tick(points[place][0], values[place][0]) for place in shown]
    return Curve(_path(points), points, across, [Tick(_y(part / 2), f"{top * part / 2:.3g}") for part in range(3)])


def shares(numbers: Sequence[float]) -> list[float]:
    """Return each number as a part of the largest, for a row of bars.

    >>> shares([1, 4, 0]), shares([])
    ([0.25, 1.0, 0.0], [])
    """
    most = max(numbers, default=0)
    return [number / most if most else 0.0 for number in numbers]


def _x(part: float) -> float:
    return round(LEFT + part * (WIDTH - LEFT - RIGHT), 1)


def _y(part: float) -> float:
    return round(HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM), 1)


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x} {y}" for x, y in points) if points else ""


def _short(number: int) -> str:
    """Return a power of ten in few characters.

    >>> _short(100), _short(10_000), _short(1_000_000)
    ('100', '10k', '1M')
    """
    if number < 1_000:
        return str(number)
    return f"{number // 1_000}k" if number < 1_000_000 else f"{number // 1_000_000}M"


def _nice(value: float) -> float:
    """Return the next of 1, 2 or 5 times a power of ten.

    >>> _nice(0.2922), _nice(3.0), _nice(0.0)
    (0.5, 5.0, 1.0)
    """
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return float(next(step * power for step in (1, 2, 5, 10) if step * power >= value))
