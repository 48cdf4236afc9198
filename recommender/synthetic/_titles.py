"""Titles of the sample catalog: brand, adjective, thing, features, audience, variant, joined from word tables by Arrow.

The shares of unusual titles are those of a random sample of 10,000 rows of the Kaggle file.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recommender.synthetic import _words as words

INCH_TITLE, SPECIAL_TITLE, EMOJI_TITLE, LONG_TITLE, SPACED_TITLE = 0.079, 0.0535, 0.0006, 0.0004, 0.0005
SAME_TITLE = 0.027  # 1,385,430 of 1,426,337 real titles are distinct
ADJECTIVE, FEATURE, AUDIENCE, VARIANT, SIZE = 0.88, (0.99, 0.95, 0.85, 0.65), 0.7, 0.55, 0.6
TITLE_LENGTH, LONGEST_TITLE = 200, 306  # characters that the shop allows; of a few titles that are longer
SEPARATORS, SEPARATOR_SHARES = (", ", " - ", " | "), (0.46, 0.3, 0.24)
BRANDS_PER_DEPARTMENT = 60

_Ints = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float64]
_Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class TitleWords:
    """Word tables, department after department; each word contains its separator, so a title is a plain join."""

    n_departments: int
    inch_share: _Floats  # (n_departments,) share of titles with a measure in inches, 0 where none fits
    brands: pa.StringArray  # (n_departments * 60,)
    adjectives: pa.StringArray  # (n_departments * 8,) " Adjective"
    features: pa.StringArray  # (3 * n_departments * 8,) ", Feature"; a block for each separator
    audiences: pa.StringArray  # (n_departments * 4,) " for Audience"
    variants: pa.StringArray  # (n_departments * 12,) ", Variant"
    sizes: pa.StringArray  # (n_departments * 12,) " Size"
    things: pa.StringArray  # (n_categories * 4,) " Thing"


def title_words(
    departments: Sequence[words.Department], department_share: _Floats, rng: np.random.Generator
) -> TitleWords:
    """Return the tables, with invented brands. ``department_share`` (n_departments,): share of the rows, sums to 1."""
    brands = [start + end for start in words.BRAND_STARTS for end in words.BRAND_ENDS]
    wanted = np.arange(len(departments) * BRANDS_PER_DEPARTMENT) % len(brands)
    in_inches = np.array([department.variant in words.KINDS_IN_INCHES for department in departments])
    share = INCH_TITLE / max(float(department_share[in_inches].sum()), INCH_TITLE)
    variants = [words.VARIANTS[department.variant] for department in departments]
    return TitleWords(
        n_departments=len(departments),
        inch_share=np.where(in_inches, share, 0.0),
        brands=pa.array([brands[i] for i in rng.permutation(len(brands))[wanted]]),
        adjectives=_table(" ", (department.adjectives for department in departments)),
        features=pa.concat_arrays([_table(mark, (d.features for d in departments)) for mark in SEPARATORS]),
        audiences=_table(" for ", (department.audiences for department in departments)),
        variants=_table(", ", (variant for variant, _ in variants)),
        sizes=_table(" ", (sizes for _, sizes in variants)),
        things=_table(" ", (things for department in departments for things in department.categories.values())),
    )


def make_titles(tables: TitleWords, category: _Ints, department: _Ints, rng: np.random.Generator) -> pa.StringArray:
    """Return one title for each row; ``category`` and ``department`` have shape (n,)."""
    n = len(category)

    def pick(table: pa.StringArray, group: _Ints | int, size: int, wanted: float | _Floats) -> pa.StringArray:
        """Return a random word of the ``size`` words of the row's group where wanted, else null, which a join skips."""
        return table.take(pa.array(group * size + rng.integers(0, size, n), mask=rng.random(n) >= wanted))

    brand = (rng.random(n) ** 2 * BRANDS_PER_DEPARTMENT).astype(np.int64)  # some brands sell much more than others
    first, step = rng.integers(0, words.FEATURES, n), 1 + 2 * rng.integers(0, 4, n)  # odd: no feature comes twice
    separator = rng.choice(len(SEPARATORS), n, p=SEPARATOR_SHARES) * tables.n_departments
    features = [
        _features(tables, separator + department, first + k * step, rng.random(n) < wanted)
        for k, wanted in enumerate(FEATURE)
    ]
    title = joined(
        tables.brands.take(pa.array(department * BRANDS_PER_DEPARTMENT + brand)),
        pick(tables.adjectives, department, words.ADJECTIVES, ADJECTIVE),
        pick(tables.things, category, words.THINGS, 1.0),
        pick(_table(" ", [words.INCHES]), 0, len(words.INCHES), tables.inch_share[department]),
        pick(_table(" ", [words.SPECIAL]), 0, len(words.SPECIAL), SPECIAL_TITLE),
        *features,
        pick(tables.audiences, department, words.AUDIENCES, AUDIENCE),
        pick(tables.variants, department, words.VARIANT_WORDS, VARIANT),
        pick(tables.sizes, department, words.VARIANT_WORDS, SIZE),
        pick(_table(" ", [words.EMOJI]), 0, len(words.EMOJI), EMOJI_TITLE),
    )
    title = pc.utf8_trim_whitespace(pc.utf8_slice_codeunits(title, 0, TITLE_LENGTH))
    return _with_oddities(title, tables, department, rng)


def joined(*parts: pa.StringArray) -> pa.StringArray:
    """Return the parts of each row joined without a separator, nulls left out."""
    return pc.binary_join_element_wise(*parts, "", null_handling="skip")


def _with_oddities(
    title: pa.StringArray, tables: TitleWords, department: _Ints, rng: np.random.Generator
) -> pa.StringArray:
    """Make a few titles equal to the one before, far too long, or surrounded by spaces."""
    n = len(title)
    row = np.arange(n)
    row[1:] -= rng.random(n - 1) < SAME_TITLE
    title = title.take(pa.array(row))
    long = rng.random(n) < LONG_TITLE
    more = [_features(tables, department, np.full(n, k), long) for k in (*range(words.FEATURES), *range(4))]
    space = pa.array([" "] * n, pa.string(), mask=rng.random(n) >= SPACED_TITLE)
    title = pc.utf8_slice_codeunits(joined(title, *more), 0, LONGEST_TITLE)
    return joined(space, title) if rng.random() < 0.5 else joined(title, space)


def _features(tables: TitleWords, group: _Ints, number: _Ints, wanted: _Flags) -> pa.StringArray:
    return tables.features.take(pa.array(group * words.FEATURES + number % words.FEATURES, mask=~wanted))


def _table(separator: str, groups: Iterable[Sequence[str]]) -> pa.StringArray:
    return pa.array([separator + word for group in groups for word in group])
