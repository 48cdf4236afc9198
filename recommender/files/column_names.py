"""Which column of a file is which: by known names, by the option ``--columns``, or by what the columns hold.

The names are those of the public files of MovieLens, Amazon, Goodreads, Book-Crossing, Yelp, Retailrocket, Last.fm and
others, and of the exports of Shopify and WooCommerce. Case, and all but letters and digits, count for nothing:
``User-ID`` is ``userid``; ``Order #`` is ``ordernumber``. If a file has several names of one column, the one that
stands first here is taken. So a column that can only hold ids comes before ``product``, which may hold names.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from recommender.errors import InputFileError, SettingError
from recommender.files.dialects import NUMBER
from recommender.files.sources import listed
from recommender.files.times import MOST, looks_like_time

USER = """user_id userid user reviewerid reviewer customer_id customer member_id member visitorid visitor shopper_id
    buyer_id client_id person_id account_id profile_id uid customer_user_id customer_user customer_number
    customer_email billing_email email_billing author_email comment_author_email email comment_author author user_name
    username"""
PRODUCT = """product_id productid parent_asin asin item_id movieid sku product_sku variant_sku lineitem_sku sku_number
    product_number item_number product item movie isbn book_id book business_id artistid track_id song_id game_id
    anime_id recipe_id beer_id stock_code product_code article_id article variant_id content_id product_handle handle
    comment_post_id ean gtin upc"""
RATING = """rating stars overall score book_rating star_rating user_rating review_rating review_score review_overall
    rating_value grade"""
TIME = """timestamp unix_review_time review_unix_time unix_time time datetime date created_at review_date rated_at
    comment_date_gmt comment_date rating_date date_added event_time ts submitted_at updated_at date_updated
    review_time"""
PRODUCT_NAMES: Names = {
    "asin": "sku product_id product_code item_id sku_number product_number item_number parent_asin variant_sku isbn "
    "book_id movie_id stock_code handle id",
    "title": "name product_title product_name item_name description",
    "imgUrl": "image_url image images image_src image_link",
    "productURL": "url product_url permalink link",
    "stars": "rating average_rating avg_rating",
    "reviews": "review_count reviews_count rating_count ratings_count num_reviews total_sales",
    "price": "regular_price variant_price unit_price sale_price",
    "listPrice": "list_price compare_at_price variant_compare_at_price msrp",
    "category_id": "",
    "category_name": "category categories product_category main_category product_type type genres",
    "isBestSeller": "best_seller bestseller is_featured",
    "boughtInLastMonth": "bought_in_last_month",
}
NO_NAME = ("", "-", "_")
_ASIN = re.compile(r"[A-Z0-9]{10}")
_WHOLE = re.compile(r"[0-9]{1,19}")

Names = Mapping[str, str]  # our name: all the names of that column, best first
RATING_NAMES: Names = {"user_id": USER, "product_id": PRODUCT, "rating": RATING, "timestamp": TIME}


class ColumnTable:
    """The known names of some columns."""

    def __init__(self, names: Names) -> None:
        """``names``: our names, each with the other names of that column, separated by blanks, best first."""
        self._rank: dict[str, tuple[str, int]] = {}
        for ours, others in names.items():
            for rank, other in enumerate([ours, *others.split()]):
                self._rank.setdefault(_plain(other), (ours, rank))
        self.ours = tuple(names)

    def ours_of(self, name: str) -> str:
        """Return our name of a file's column, "" if it is unknown."""
        return self._rank.get(_plain(name), ("", 0))[0]

    def places(self, header: Sequence[str]) -> dict[str, int]:
        """Return where our columns are among those of a file."""
        found: dict[str, tuple[int, int]] = {}
        for place, name in enumerate(header):
            ours, rank = self._rank.get(_plain(name), ("", 0))
            if ours and (ours not in found or rank < found[ours][0]):
                found[ours] = (rank, place)
        return {ours: place for ours, (_, place) in found.items()}


class GivenColumns(NamedTuple):
    """What ``--columns`` says: the names of all columns in their order, or the file's names of some of ours."""

    in_order: tuple[str, ...] = ()
    named: Mapping[str, str] = {}  # ours: the file's, "" for none


def given_columns(text: str | None, table: ColumnTable) -> GivenColumns:
    """Read ``user,product,rating,time`` or ``user_id=buyer,rating=points``. SettingError."""
    if not text:
        return GivenColumns()
    try:
        parts = [part.strip() for part in next(csv.reader([text], strict=True))]
    except csv.Error as error:
        raise SettingError(f"--columns {text!r} cannot be read ({error})") from None
    pairs = [tuple(side.strip() for side in part.partition("=")[::2]) for part in parts if "=" in part]
    names = [name for name, _ in pairs] if pairs else [part for part in parts if part not in NO_NAME]
    ours = [table.ours_of(name) for name in names]
    if pairs and len(pairs) < len(parts):
        raise SettingError(f"--columns {text!r}: give NAME=COLUMN for each, or all the columns' names in their order")
    if pairs and "" in ours:
        raise SettingError(f"--columns {text!r}: {names[ours.index('')]!r} is none of {', '.join(table.ours)}")
    twice = [name for name in ours if name and ours.count(name) > 1]
    if twice:
        raise SettingError(f"--columns {text!r} names {twice[0]} twice")
    if pairs:
        return GivenColumns(named=dict(zip(ours, (column for _, column in pairs), strict=True)))
    return GivenColumns(in_order=tuple("" if part in NO_NAME else table.ours_of(part) or part for part in parts))


def found_columns(path: object, header: Sequence[str], table: ColumnTable, given: GivenColumns) -> dict[str, int]:
    """Return where our columns are among those of a file with this header. InputFileError: a name is not there."""
    places = table.places(header)
    for ours, name in given.named.items():
        places.pop(ours, None)
        same = [place for place, other in enumerate(header) if other == name] or [
            place for place, other in enumerate(header) if _plain(other) == _plain(name)
        ]
        if name not in NO_NAME:
            if not same:
                raise InputFileError(f"{path}: no column {name} among {listed(header)}: see --columns")
            places = {other: place for other, place in places.items() if place != same[0]} | {ours: same[0]}
    twice = [header[place] for place in places.values() if header.count(header[place]) > 1]
    if twice:
        raise InputFileError(f"{path}: the header names the column {twice[0]!r} twice: rename one")
    return places


def guessed_rating_columns(rows: Sequence[Sequence[str]]) -> dict[str, int]:
    """Tell user, product, rating and time apart by their values; nothing unless it is plain.

    The ids are first, the user before the product unless only the first looks like ASINs or ISBNs. A rating that
    stands behind the time has two values or more: it might be a category or a quantity.
    """
    columns = [list(column) for column in zip(*rows, strict=True)]
    if len(columns) not in (3, 4) or any(not _most(column, str) for column in columns[:2]):
        return {}
    rated = [_most(column, _half_star) for column in columns]
    timed = [looks_like_time(column) for column in columns]
    places = {"user_id": 0, "product_id": 1}
    if rated[2] and not timed[2] and (len(columns) == 3 or timed[3]):
        places |= {"rating": 2} | ({"timestamp": 3} if len(columns) == 4 else {})
    elif len(columns) == 4 and timed[2] and rated[3] and len(set(columns[3])) > 1:
        places |= {"timestamp": 2, "rating": 3}
    else:
        return {}
    if timed[0] or timed[1]:
        return {}
    asins = [_most(column, _ASIN.fullmatch) for column in columns[:2]]
    numbers = [_most(column, _WHOLE.fullmatch) for column in columns[:2]]
    if asins == [True, False]:
        return places | {"user_id": 1, "product_id": 0}
    return places if asins == [False, True] or any(numbers) else {}


def _most(values: Sequence[str], kind: Callable[[str], object]) -> bool:
    return sum(bool(kind(value)) for value in values) >= MOST * len(values)


def _half_star(text: str) -> bool:
    if not NUMBER.fullmatch(text):
        return False
    value = float(text.replace(",", "."))
    return 0.5 <= value <= 5 and (2 * value).is_integer()


def _plain(name: str) -> str:
    return "".join(character for character in name.casefold().replace("#", "number") if character.isalnum())
