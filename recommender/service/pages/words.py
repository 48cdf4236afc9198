"""Values as a reader sees them: numbers, prices, stars, times, and ids in an address."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

NOT_KNOWN = "–"
_UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))


def count(number: int | None) -> str:
    """Return a whole number with commas.

    >>> count(1426337), count(None)
    ('1,426,337', '–')
    """
    return NOT_KNOWN if number is None else f"{number:,}"


def share(part: float | None) -> str:
    """Return a share as a percentage.

    >>> share(0.875), share(0.0004), share(None)
    ('88 %', '<1 %', '–')
    """
    if part is None:
        return NOT_KNOWN
    return "<1 %" if 0 < part < 0.005 else f"{part:.0%}".replace("%", " %")


def many(number: int | None, one: str, more: str = "") -> str:
    """Return a number and what is counted, which is one or more.

    >>> many(1, "rating"), many(2000, "rating"), many(1, "person", "people"), many(0, "person", "people")
    ('1 rating', '2,000 ratings', '1 person', '0 people')
    """
    return f"{count(number)} {one if number == 1 else more or one + 's'}"


def money(price: float | None, currency: str) -> str:
    """Return a price.

    >>> money(1299.5, "USD"), money(None, "USD")
    ('1,299.50 USD', '–')
    """
    return NOT_KNOWN if price is None else f"{price:,.2f} {currency}"


def stars(value: float | None, digits: int = 1) -> str:
    """Return a rating as a number, shortened; a whole one without a fraction.

    >>> stars(4.712), stars(5.0), stars(None), stars(4.712, 3)
    ('4.7', '5', '–', '4.712')
    """
    if value is None:
        return NOT_KNOWN
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def in_stars(value: float, digits: int = 1) -> str:
    """Return a rating in words.

    >>> in_stars(1.0), in_stars(4.712, 2)
    ('1 star', '4.71 stars')
    """
    text = stars(value, digits)
    return f"{text} star{'' if text == '1' else 's'}"


def ago(seconds: float | None) -> str:
    """Return a time span in its largest unit.

    >>> ago(7300), ago(1), ago(0.2), ago(None)
    ('2 hours', '1 second', 'a moment', '–')
    """
    if seconds is None:
        return NOT_KNOWN
    for size, unit in _UNITS:
        if seconds >= size:
            n = int(seconds // size)
            return f"{n:,} {unit}{'s' if n > 1 else ''}"
    return "a moment"


def milliseconds(seconds: float | None) -> str:
    """Return a duration in milliseconds.

    >>> milliseconds(0.0004), milliseconds(0.25), milliseconds(1.0)
    ('0.4 ms', '250 ms', '1 s')
    """
    if seconds is None:
        return NOT_KNOWN
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"


def moment(time: datetime | str) -> str:
    """Return a UTC time to the minute; texts are those of the API."""
    found = datetime.fromisoformat(time) if isinstance(time, str) else time
    return f"{found:%Y-%m-%d %H:%M} UTC"


def one_segment(text: object) -> str:
    """Return an id as one segment of a path.

    >>> one_segment("a/b c?#%"), one_segment(42), one_segment("..")
    ('a%2Fb%20c%3F%23%25', '42', '%2E%2E')
    """
    encoded = quote(str(text), safe="")
    return encoded.replace(".", "%2E") if encoded in (".", "..") else encoded


def query_of(pairs: Iterable[tuple[str, Any]]) -> str:
    """Return a query with its question mark, without the pairs that have no value; empty without any.

    >>> query_of([("ranking", "taste"), ("rate", "B/1:4.5"), ("offset", None)])
    '?ranking=taste&rate=B%2F1%3A4.5'
    """
    text = urlencode([(name, value) for name, value in pairs if value not in (None, "")])
    return f"?{text}" if text else ""


SOURCES = {
    "neighbors": "people of the same taste",
    "items": "products that go together",
    "fusion": "taste and products together",
    "segment": "people of the same country and age",
    "popular": "what is popular",
    "new": "new products",
    "none": "nobody: an empty list",
}


def sources(counts: str) -> str:
    """Return in words what the header ``X-Recommendation-Sources`` says.

    >>> sources("neighbors=6, new=1"), sources("")
    ('6 by people of the same taste, 1 by new products', '')
    """
    pairs = [part.partition("=") for part in counts.split(", ") if part]
    return ", ".join(f"{n} by {SOURCES.get(source, source)}" for source, _, n in pairs)


SUPPORT = {
    "neighbors": "the sum of their similarities",
    "items": "the sum of what this shopper's products add",
    "fusion": "its score in both rankings together",
}
FORMULAS = {  # to be formatted with `AutoParameters`, whose constants auto may have chosen
    "classic": (
        "Similarity is the cosine of two people's ratings: Σ r(u, i) · r(v, i) / (‖r(u)‖ · ‖r(v)‖).",
        "The stars are predicted: Σ similarity · stars / Σ similarity, over the nearest people who rated the product.",
        "The highest stars come first, then the highest Σ similarity.",
    ),
    "taste": (
        "Similarity counts the products that both have, rare ones more and those of long ago less.",
        "The order is Σ similarity over the nearest people who have the product, divided by raters^{taste.damping:g}.",
        "The stars are predicted: the shopper's usual stars for such a product, corrected by Σ similarity · (stars of "
        "a neighbor - usual stars of that neighbor) / (Σ similarity + 3).",
    ),
    "items": (
        "Each product that the shopper has speaks for others, with a weight learned from all people (EASE^R).",
        "The order is Σ recency · stars / highest stars · weight over the shopper's products, divided by "
        "raters^{items.damping:g}.",
        "The stars are predicted by the nearest people.",
    ),
    "fusion": (
        "Two lists are merged: of the people of the nearest taste, and of the products that go together.",
        "The order is (1 - w) / (k + rank by people) + w / (k + rank by products), with w = {fusion.weight:g} and "
        "k = {fusion.constant:g}.",
        "The stars are predicted by the nearest people.",
    ),
    "others": (
        "Nobody near this shopper is known, so the list holds what people of the same country and age, or all, like.",
        "The stars are (Σ stars + 10 · mean of all) / (ratings + 10): ten average ratings stand for those that are "
        "not there yet.",
    ),
}

FILTERS = {
    "count": count,
    "many": many,
    "share": share,
    "money": money,
    "stars": stars,
    "in_stars": in_stars,
    "ago": ago,
    "milliseconds": milliseconds,
    "moment": moment,
    "segment": one_segment,
    "sources": sources,
}
