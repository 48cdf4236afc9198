"""Scales of ratings: any whole number of steps from 1 to 127."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recommender.errors import SettingError
from recommender.shop import HALF_STARS, Scale


@pytest.mark.parametrize(
    ("given_as", "least", "most", "digits", "text"),
    [
        (("0.5", "5", "0.5"), 1, 10, (2, 1), "0.5 to 5.0 in half steps"),
        ((1, 10, 1), 1, 10, (2, 0), "1 to 10 in whole steps"),
        ((1, 100, 1), 1, 100, (3, 0), "1 to 100 in whole steps"),
        ((1, 1, 1), 1, 1, (1, 0), "1"),
        ((10, 100, 10), 1, 10, (3, 0), "10 to 100 in steps of 10"),
        (("2.50", "10.0", "0.25"), 10, 40, (4, 2), "2.50 to 10.00 in steps of 0.25"),
        (("0.01", "1.27", "0.01"), 1, 127, (3, 2), "0.01 to 1.27 in steps of 0.01"),
    ],
)
def test_a_scale_has_whole_steps_and_a_width(
    given_as: tuple[object, object, object], least: int, most: int, digits: tuple[int, int], text: str
) -> None:
    scale = Scale.of(*given_as)
    assert (scale.least, scale.most, (scale.digits, scale.decimals), scale.text()) == (least, most, digits, text)
    assert Scale.from_json(scale.to_json()) == scale
    assert len(scale.values) == most - least + 1
    assert [float(value) for value in scale.values] == [scale.stars_of(steps) for steps in range(least, most + 1)]


@pytest.mark.parametrize(
    ("given_as", "why"),
    [
        ((0, 10, 1), "starts at 0 or below, and 0 means unrated"),
        ((-5, 5, 1), "starts at 0 or below, and 0 means unrated"),
        ((1, 10, 0), "needs a step of 0.01 or more"),
        ((1, 10, -1), "needs a step of 0.01 or more"),
        ((1, 2, "0.005"), "needs a step of 0.01 or more, of two decimals at most"),
        ((1, 2, "0.125"), "needs a step of 0.01 or more, of two decimals at most"),
        ((5, 1, 1), "ends before it starts"),
        ((1, 5, 2), "does not consist of whole steps"),
        ((1, "5.5", 1), "does not consist of whole steps"),
        ((1, 128, 1), "has 128 steps up to its end: 127 are the most"),
        ((1, 1000, 1), "from 1 to 1000 by 1 has 1000 steps"),
        (("NaN", 5, 1), "is not of plain numbers"),
        ((1, "Infinity", 1), "is not of plain numbers"),
        (("one", 5, 1), "is not of numbers"),
    ],
)
def test_what_is_no_scale_is_refused_in_one_line(given_as: tuple[object, object, object], why: str) -> None:
    with pytest.raises(SettingError, match=why) as caught:
        Scale.of(*given_as)
    assert "\n" not in str(caught.value)


STEPS = st.sampled_from([Decimal(text) for text in ("0.01", "0.1", "0.25", "0.3", "0.5", "1", "2", "3", "10")])


@given(STEPS, st.integers(1, 127), st.integers(1, 127))
def test_every_rating_has_its_steps_also_where_a_float_is_not_exact(step: Decimal, one: int, other: int) -> None:
    least, most = sorted((one, other))
    scale = Scale.of(least * step, most * step, step)
    steps = np.arange(least, most + 1)
    found = scale.steps_of([scale.stars_of(number) for number in steps.tolist()])
    assert found is not None
    assert found.tolist() == steps.tolist()
    noisy = scale.steps_of(steps * float(step))  # 3 * 0.1 is not 0.3
    assert noisy is not None
    assert noisy.tolist() == steps.tolist()
    between = (most - 0.5) * float(step)
    for wrong in (between, (least - 1) * float(step), (most + 1) * float(step), -float(step), np.nan, np.inf):
        assert scale.steps_of([float(step) * least, wrong]) is None


def test_the_default_is_half_stars_up_to_5() -> None:
    assert HALF_STARS.values == ["0.5", "1.0", "1.5", "2.0", "2.5", "3.0", "3.5", "4.0", "4.5", "5.0"]
    assert (HALF_STARS.unit, HALF_STARS.ends, HALF_STARS.middle) == (0.5, (0.5, 5.0), 2.75)
    assert Scale.of("0.50", "5.0", 0.5) == HALF_STARS
