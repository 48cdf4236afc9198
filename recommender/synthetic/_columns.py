"""Columns of the sample catalog other than the title: ASINs, image names, demand, prices.

The shares are those of a random sample of 10,000 rows of the Kaggle file.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recommender.synthetic._titles import joined

LARGEST_CATALOG = 2**29  # in a larger one the ISBN-like ASINs would repeat
NO_PRICE, NO_LIST_PRICE, NO_STARS = 0.022, 0.748, 0.095
NOT_BOUGHT, BEST_SELLER, REVIEWED = 0.636, 0.006, 0.235  # REVIEWED: of the products with stars
ISBN_ASIN, SHARED_IMAGE = 0.0014, 0.03

_BOUGHT = np.array([50, *range(100, 1000, 100), *range(1000, 10_000, 1000), *range(10_000, 100_001, 10_000)])
_BASE36 = np.frombuffer(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", dtype=np.uint8)
_BASE64 = np.frombuffer(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz+-", dtype=np.uint8)
_CENTS, _CENT_SHARES = (99, 95, 98, 97, 49, 0, 50), (0.79, 0.055, 0.045, 0.03, 0.03, 0.035, 0.015)
_ANY_CENTS = 0.3

_Ints = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float64]


def make_asins(rows: _Ints, rng: np.random.Generator) -> pa.StringArray:
    """Return distinct ASINs: "B0" and 8 characters; a few are ISBN-10 numbers, with leading zeros or a final X."""
    n = len(rows)
    text = np.empty((n, 10), dtype=np.uint8)
    text[:, 0], text[:, 1] = ord("B"), ord("0")
    text[:, 2] = rng.choice(np.frombuffer(b"001456789BBBCCCC", dtype=np.uint8), n)
    value = _scrambled(rows, bits=36)  # 2^36 < 36^7: seven characters
    for column in range(9, 2, -1):
        value, digit = np.divmod(value, 36)
        text[:, column] = _BASE36[digit]
    book = np.flatnonzero(rng.random(n) < ISBN_ASIN)
    number = _scrambled(rows[book], bits=29)  # 2^29 < 10^9: nine digits
    digits = number[:, None] // 10 ** np.arange(8, -1, -1) % 10
    check = -(digits * np.arange(10, 1, -1)).sum(axis=1) % 11
    text[book, :9] = digits + ord("0")
    text[book, 9] = np.frombuffer(b"0123456789X", dtype=np.uint8)[check]
    return _fixed_width(text)


def _scrambled(values: _Ints, *, bits: int) -> _Ints:
    """Return a one-to-one shuffle of the whole numbers below 2^bits: odd multipliers and shifts can be undone."""
    mask = np.uint64(2**bits - 1)
    mixed = values.astype(np.uint64)
    for factor, addend in ((0x9E3779B97F4A7C15, 0x1234567), (0xD6E8FEB86659FD93, 0x7654321)):
        mixed = (mixed * np.uint64(factor) + np.uint64(addend)) & mask
        mixed ^= mixed >> np.uint64(bits // 2)
    return mixed.astype(np.int64)


def make_image_names(n: int, rng: np.random.Generator) -> pa.StringArray:
    """Return 11 characters for each product; some products share the image of the product before."""
    text = np.empty((n, 11), dtype=np.uint8)
    text[:] = _BASE64[rng.integers(0, 64, (n, 11), dtype=np.uint8)]
    text[:, 0] = rng.choice(np.frombuffer(b"5678", dtype=np.uint8), n)
    shared = 1 + np.flatnonzero(rng.random(n - 1) < SHARED_IMAGE)
    text[shared] = text[shared - 1]
    return _fixed_width(text)


def _fixed_width(text: npt.NDArray[np.uint8]) -> pa.StringArray:
    """Return the rows of ASCII codes (n, width) as n strings, without a copy of each."""
    n, width = text.shape
    ends = np.arange(n + 1, dtype=np.int32) * width
    return pa.StringArray.from_buffers(n, pa.py_buffer(ends), pa.py_buffer(np.ascontiguousarray(text)))


def draw_demand(n: int, rng: np.random.Generator) -> tuple[_Ints, _Ints, npt.NDArray[np.bool_], _Ints]:
    """Return (stars in tenths, reviews, best seller, bought in the last month), all driven by one hidden demand."""
    from scipy.special import ndtr  # here, since step 2 loads this module and draws no catalog

    demand = rng.normal(size=n)

    def rank(weight: float) -> _Floats:  # uniform in 0..1, correlated with demand
        result: _Floats = ndtr(weight * demand + np.sqrt(1 - weight**2) * rng.normal(size=n))
        return result

    shares = 1.0 / np.arange(1, len(_BOUGHT) + 1) ** 1.1
    steps = NOT_BOUGHT + (1 - NOT_BOUGHT) * np.cumsum(shares / shares.sum())
    level = rank(0.8)
    bought = np.where(level < NOT_BOUGHT, 0, _BOUGHT[np.minimum(np.searchsorted(steps, level), len(_BOUGHT) - 1)])
    rated = rank(0.6) >= NO_STARS
    stars = np.clip(np.rint(44.5 + 1.2 * demand - 3 * rng.gamma(1.5, 0.7, n) + 3), 10, 50).astype(np.int64)
    reviewed = rated & (rank(0.3) > 1 - REVIEWED)
    reviews = np.where(reviewed, 1 + rng.lognormal(5.5 + 0.8 * demand, 1.7, n), 0.0).astype(np.int64)
    best_seller = rank(0.9) > 1 - BEST_SELLER
    return np.where(rated, stars, 0), reviews, best_seller, bought


def draw_prices(typical: _Floats, rng: np.random.Generator) -> tuple[_Ints, _Ints]:
    """Return (price, list price) in cents; 0 where the shop shows none. Half of the prices end in .99."""
    n = len(typical)
    luxury = np.where(rng.random(n) < 0.01, 8.0, 1.0)
    dollars = np.floor(np.clip(typical * luxury * rng.lognormal(-0.27, 0.85, n), 1, 19_731)).astype(np.int64)
    cents = np.where(rng.random(n) < _ANY_CENTS, rng.integers(0, 100, n), rng.choice(_CENTS, n, p=_CENT_SHARES))
    price = dollars * 100 + cents
    list_price = (price * (1.05 + rng.gamma(1.5, 0.15, n))).astype(np.int64) // 100 * 100 + 99
    list_price = np.where(rng.random(n) < NO_LIST_PRICE, 0, list_price)
    return np.where(rng.random(n) < NO_PRICE, 0, price), list_price


def dollars_text(cents: _Ints) -> pa.StringArray:
    """Return cents as dollars in Python's shortest form: 1999 -> 19.99, 2000 -> 20.0, 0 -> 0.0."""
    fractions = pa.array([f".{c:02d}".rstrip("0") if c else ".0" for c in range(100)])
    return joined(pc.cast(pa.array(cents // 100), pa.string()), fractions.take(pa.array(cents % 100)))
