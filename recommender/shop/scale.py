"""The scale of a shop's ratings: a rating is a whole number of equal steps, 1 to 127 of them.

    half stars up to 5 (the default)    1 to 10     1 to 100     likes (1)

Ratings are stored and shown as the shop gives them, and computed with as whole numbers of steps, value / step. A cosine
does not change by a factor, so the numbers give the cosines of the values. It does change by a shift, and 0 means
unrated, so a scale starts above 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recommender.errors import SettingError

MOST_STEPS = 127  # a number of steps is an int8
FINEST = Decimal("0.01")
_LARGEST = Decimal(1_000_000)
_NAMES = "RATING_MIN, RATING_MAX, RATING_STEP"
_EQUAL = 5e-10  # ratings that agree in nine decimals are the same


@dataclass(frozen=True)
class Scale:
    """The ratings from ``low`` to ``high``, a ``step`` apart, as exact decimals.

    SettingError unless 0 < low <= high, both are whole multiples of the step, the step is 0.01 or more and of at most
    two decimals, and high is at most 127 steps.
    """

    low: Decimal
    high: Decimal
    step: Decimal

    def __post_init__(self) -> None:
        def require(holds: bool, why: str) -> None:
            if not holds:
                low, high, step = (_plain(value) if _is_plain(value) else value for value in self._parts)
                raise SettingError(f"{_NAMES}: a scale of ratings from {low} to {high} by {step} {why}")

        require(all(map(_is_plain, self._parts)), "is not of plain numbers")
        require(self.step >= FINEST and not self.step % FINEST, "needs a step of 0.01 or more, of two decimals at most")
        require(self.low > 0, "starts at 0 or below, and 0 means unrated: move it up, as --zero-is lowest does")
        require(self.low <= self.high, "ends before it starts: give the lowest and the highest rating")
        require(not self.low % self.step and not self.high % self.step, "does not consist of whole steps")
        require(self.most <= MOST_STEPS, f"has {self.most} steps up to its end: {MOST_STEPS} are the most")

    @classmethod
    def of(cls, low: object, high: object, step: object) -> Self:
        """Return the scale with these ends, given as numbers or as text. SettingError."""
        try:
            return cls(*(Decimal(str(value)).normalize() for value in (low, high, step)))
        except InvalidOperation:
            said = f"a scale of ratings from {low!r} to {high!r} by {step!r} is not of numbers"
            raise SettingError(f"{_NAMES}: {said}") from None

    @classmethod
    def from_json(cls, values: Any) -> Self:
        """Return the scale of `to_json`. ValueError for anything else, SettingError for a scale that is none."""
        if not isinstance(values, Mapping) or not all(isinstance(values.get(n), str) for n in ("low", "high", "step")):
            raise ValueError("its scale of ratings has no low, high and step")
        return cls.of(values["low"], values["high"], values["step"])

    def to_json(self) -> dict[str, str]:
        """Return the scale for a file or a table."""
        return {"low": _plain(self.low), "high": _plain(self.high), "step": _plain(self.step)}

    @property
    def _parts(self) -> tuple[Decimal, Decimal, Decimal]:
        return self.low, self.high, self.step

    @cached_property
    def unit(self) -> float:
        """The value of one step."""
        return float(self.step)

    @cached_property
    def is_binary(self) -> bool:
        """Whether the step is a power of two: then a float64 holds every rating exactly."""
        return all(not number & (number - 1) for number in self.step.as_integer_ratio())

    @cached_property
    def least(self) -> int:
        """The number of steps of the lowest rating."""
        return int(self.low / self.step)

    @cached_property
    def most(self) -> int:
        """The number of steps of the highest rating."""
        return int(self.high / self.step)

    @cached_property
    def ends(self) -> tuple[float, float]:
        """The lowest and the highest rating."""
        return float(self.low), float(self.high)

    @property
    def middle(self) -> float:
        """The middle of the scale, in its own unit."""
        return float((self.low + self.high) / 2)

    @property
    def decimals(self) -> int:
        """The number of decimals that a rating needs, 0 to 2."""
        return max(0, -int(self.step.normalize().as_tuple().exponent))

    @property
    def digits(self) -> int:
        """The number of decimal digits that a rating needs, those after the point included."""
        return len(str(int(self.high))) + self.decimals

    def stars_of(self, steps: int) -> float:
        """Return the rating of a number of steps, as the shop writes it: 0.3, not 3 * 0.1.

        >>> Scale.of("0.1", 1, "0.1").stars_of(3), HALF_STARS.stars_of(9)
        (0.3, 4.5)
        """
        return float(self._values[steps])

    def steps_of(self, values: ArrayLike) -> NDArray[np.int8] | None:
        """Return the number of steps of each rating (n,); None if one of them is not on the scale (NaN is not).

        >>> HALF_STARS.steps_of([0.5, 5.0]).tolist(), HALF_STARS.steps_of([4.3]), Scale.of(1, 10, 1).steps_of([11])
        ([1, 10], None, None)
        """
        given = np.asarray(values, np.float64)
        exact = given / self.unit  # rounded, unless the unit is binary
        steps = np.floor(exact) if self.is_binary else np.rint(exact)
        if not ((steps >= self.least) & (steps <= self.most)).all():
            return None
        found: NDArray[np.int8] = steps.astype(np.int8)
        on_it = exact == steps if self.is_binary else np.abs(given - self._values[found]) < _EQUAL
        return found if on_it.all() else None

    def holds(self, values: ArrayLike) -> NDArray[np.bool_]:
        """Tell which of the ratings (n,) are on the scale.

        >>> HALF_STARS.holds([0.5, 0.6, 5.5]).tolist()
        [True, False, False]
        """
        given = np.asarray(values, np.float64)
        inside = (given > self.ends[0] - _EQUAL) & (given < self.ends[1] + _EQUAL)  # NaN is not
        steps = np.rint(np.where(inside, given, self.unit) / self.unit).astype(np.int8)
        near = np.abs(given - self._values[steps]) <= (0.0 if self.is_binary else _EQUAL)
        on_it: NDArray[np.bool_] = inside & near
        return on_it

    def step_of(self, value: float) -> int | None:
        """Return the number of steps of one rating; None if it is not on the scale."""
        found = self.steps_of([value])
        return None if found is None else int(found[0])

    @cached_property
    def _values(self) -> NDArray[np.float64]:
        """The float64 next to each number of steps, from 0 to 127."""
        return np.array([float(self.step * steps) for steps in range(MOST_STEPS + 1)])

    @property
    def values(self) -> list[str]:
        """All ratings of the scale, ascending, as text: for the default ``0.5`` to ``5.0``."""
        return [f"{self.step * steps:.{self.decimals}f}" for steps in range(self.least, self.most + 1)]

    @property
    def noun(self) -> str:
        """What a rating counts: stars on the default scale, else points."""
        return "stars" if self == HALF_STARS else "points"

    def text(self, noun: str = "") -> str:
        """Return the scale in words; ``noun`` comes after the ends.

        >>> HALF_STARS.text(" stars"), Scale.of(1, 10, 1).text(), Scale.of(1, 1, 1).text()
        ('0.5 to 5.0 stars in half steps', '1 to 10 in whole steps', '1')
        """
        low, high = (f"{end:.{self.decimals}f}" for end in (self.low, self.high))
        if low == high:
            return f"{low}{noun}"
        known = {Decimal(1): "whole steps", Decimal("0.5"): "half steps"}
        return f"{low} to {high}{noun} in {known.get(self.step, f'steps of {_plain(self.step)}')}"


def _is_plain(value: Decimal) -> bool:
    return value.is_finite() and abs(value) <= _LARGEST


def _plain(value: Decimal) -> str:
    return f"{value.normalize():f}"


HALF_STARS = Scale.of("0.5", 5, "0.5")
