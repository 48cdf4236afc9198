"""A made-up product catalog in the columns of the Kaggle "Amazon Products Dataset 2023", of any size, seeded.

    python -m recommender.sample_catalog --products 20000 --seed 2023 --out .

It replaces the real file (kaggle.com/datasets/asaniczka/amazon-products-dataset-2023-1-4m-products) where that was not
downloaded: every step of the project also runs on the sample. Titles are made from made-up brands and the words in
``recommender.synthetic._words``; addresses point to example.com. Only statistics come from the real file: the shares of
zero prices, unrated products and titles with quotes, the ISBN-like ASINs, the one missing title, about 263 bytes a row.
The shares were counted in a random sample of 10,000 real rows.

Demand is one hidden normal number for each product; boughtInLastMonth, reviews, stars and isBestSeller follow it
loosely. Rows are made in fixed blocks, each from its own random stream, so the block bounds the memory, whatever the
size.
"""

from __future__ import annotations

import csv
import io
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recommender.errors import SettingError
from recommender.paths import refuse_to_replace
from recommender.synthetic import _words as sample_words
from recommender.synthetic._columns import (
    LARGEST_CATALOG,
    dollars_text,
    draw_demand,
    draw_prices,
    make_asins,
    make_image_names,
)
from recommender.synthetic._titles import TitleWords, joined, make_titles, title_words

PRODUCT_COLUMNS = (
    "asin", "title", "imgUrl", "productURL", "stars", "reviews", "price", "listPrice", "category_id", "isBestSeller",
    "boughtInLastMonth",
)  # fmt: skip
CATEGORY_COLUMNS = ("id", "category_name")
# not the real shop's: a made-up ASIN may be that of a real product
IMAGE_ADDRESS, PRODUCT_ADDRESS = "https://media.example.com/images/I/", "https://shop.example.com/dp/"
DEFAULT_PRODUCTS, DEFAULT_SEED = 20_000, 2023
LARGEST_CATEGORY_ID = 270

SIZE_WITH_ODDITIES = 10_000  # from here on one title is missing and one starts with a dash

_BLOCK = 25_000

_Ints = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Plan:
    """The common data of all blocks."""

    n_products: int
    seed: int
    category_ids: _Ints  # (n_categories,) ascending
    category_names: tuple[str, ...]
    department: _Ints  # (n_categories,) department of a category
    order: _Ints  # (n_categories,) category indices in the order of the file
    first_row: _Floats  # (n_categories,) start of category order[k] in the file, as a share of all rows
    typical_price: _Floats  # (n_departments,) dollars
    words: TitleWords
    missing_title: int  # row without a title; -1: none
    dashed_title: int  # row whose title starts with a dash; -1: none


def write_sample_catalog(
    products_path: Path,
    categories_path: Path,
    *,
    n_products: int = DEFAULT_PRODUCTS,
    seed: int = DEFAULT_SEED,
    overwrite: bool = False,
) -> None:
    """Write a catalog of ``n_products`` rows; the same size and seed give the same bytes.

    Both files are written under temporary names and renamed at the end, the products last: if the products file exists,
    both are there and whole. Existing files are kept (SettingError) unless ``overwrite``. SettingError for a size that
    is not in 1..2^29, a negative seed, or a folder that cannot be written to.
    """
    if not 1 <= n_products <= LARGEST_CATALOG:
        raise SettingError(f"--products={n_products}: give a number of products from 1 to {LARGEST_CATALOG}")
    if seed < 0:
        raise SettingError(f"--seed={seed}: give a whole number, 0 or more")
    plan = _make_plan(n_products, seed)
    categories = _categories_csv(plan)
    if not overwrite:
        _refuse_foreign_files(products_path, categories_path, categories)
    for path in (products_path, categories_path):
        refuse_to_replace(path)
    parts = [path.with_name(f"{path.stem}.part{path.suffix}") for path in (products_path, categories_path)]
    try:
        for part in parts:  # left by a killed run; a link of that name must not be followed
            part.unlink(missing_ok=True)
        with parts[0].open("xb") as file:
            _write_products(plan, file)
        with parts[1].open("xb") as file:
            file.write(categories)
        parts[1].replace(categories_path)
        parts[0].replace(products_path)
    except OSError as error:
        message = f"{products_path}: the sample cannot be written there ({error.strerror}); choose another --out"
        raise SettingError(message) from None
    finally:
        for part in parts:
            with suppress(OSError):
                part.unlink()


def _refuse_foreign_files(products_path: Path, categories_path: Path, categories: bytes) -> None:
    """Raise SettingError if a file exists, except our own categories that a kill between the renames left."""
    kept = products_path if products_path.exists() or products_path.is_symlink() else None
    if kept is None and categories_path.is_file() and categories_path.read_bytes() != categories:
        kept = categories_path
    if kept is not None:
        raise SettingError(f"{kept} exists and is kept: move it away, choose another folder or give --overwrite")


def _make_plan(n_products: int, seed: int) -> _Plan:
    """Draw the common data of all blocks: category ids and sizes, brands, the rows with an oddity."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0,)))
    departments = sample_words.departments()
    names = tuple(name for department in departments for name in department.categories)
    department_of = np.repeat(np.arange(len(departments)), [len(d.categories) for d in departments])
    order = rng.permutation(len(names))
    size = rng.lognormal(0.0, 0.8, len(names))
    size /= size.sum()
    missing, dashed = rng.choice(n_products, 2, replace=False) if n_products >= SIZE_WITH_ODDITIES else (-1, -1)
    return _Plan(
        n_products=n_products,
        seed=seed,
        category_ids=np.sort(rng.choice(LARGEST_CATEGORY_ID, len(names), replace=False)) + 1,
        category_names=names,
        department=department_of,
        order=order,
        first_row=np.cumsum(size[order]) - size[order],
        typical_price=np.array([department.typical_price for department in departments]),
        words=title_words(departments, np.bincount(department_of, size).astype(np.float64), rng),
        missing_title=int(missing),
        dashed_title=int(dashed),
    )


def _categories_csv(plan: _Plan) -> bytes:
    """Return the categories file, by ascending id."""
    text = io.StringIO()
    rows = zip(plan.category_ids.tolist(), plan.category_names, strict=True)
    csv.writer(text, lineterminator="\n").writerows([CATEGORY_COLUMNS, *rows])
    return text.getvalue().encode()


def _write_products(plan: _Plan, file: IO[bytes]) -> None:
    """Write the header and all blocks."""
    file.write((",".join(PRODUCT_COLUMNS) + "\n").encode())
    for block, start in enumerate(range(0, plan.n_products, _BLOCK)):
        rng = np.random.default_rng(np.random.SeedSequence(plan.seed, spawn_key=(1, block)))
        file.write(_block_csv(plan, np.arange(start, min(start + _BLOCK, plan.n_products)), rng))


def _block_csv(plan: _Plan, rows: _Ints, rng: np.random.Generator) -> memoryview:
    """Return the lines of ``rows`` as CSV bytes."""
    n = len(rows)
    share = (rows + 0.5) / plan.n_products
    category = plan.order[np.searchsorted(plan.first_row, share, side="right") - 1]  # (n,) 0..247
    asin = make_asins(rows, rng)
    title = _titles(plan, rows, category, rng)
    stars, reviews, best_seller, bought = draw_demand(n, rng)
    price, list_price = draw_prices(plan.typical_price[plan.department[category]], rng)
    image = pc.binary_join_element_wise(IMAGE_ADDRESS, make_image_names(n, rng), "._AC_UL320_.jpg", "")
    lines = pc.binary_join_element_wise(
        asin,
        _quoted(title),
        image,
        pc.binary_join_element_wise(PRODUCT_ADDRESS, asin, ""),
        pa.array([f"{tenths / 10:.1f}" for tenths in range(51)]).take(pa.array(stars)),
        pc.cast(pa.array(reviews), pa.string()),
        dollars_text(price),
        dollars_text(list_price),
        pc.cast(pa.array(plan.category_ids[category]), pa.string()),
        pa.array(["False", "True"]).take(pa.array(best_seller.astype(np.int8))),
        pc.binary_join_element_wise(pc.cast(pa.array(bought), pa.string()), "\n", ""),
        ",",
    )
    ends = np.frombuffer(lines.buffers()[1], dtype=np.int32, count=n + 1)
    return memoryview(lines.buffers()[2])[: int(ends[-1])]


def _titles(plan: _Plan, rows: _Ints, category: _Ints, rng: np.random.Generator) -> pa.StringArray:
    """Return the titles of ``rows``, with the one that is missing and the one that starts like a formula."""
    title = make_titles(plan.words, category, plan.department[category], rng)
    dash = pa.array(["- "] * len(rows), pa.string(), mask=rows != plan.dashed_title)
    return pc.if_else(pa.array(rows == plan.missing_title), "", joined(dash, title))


def _quoted(title: pa.StringArray) -> pa.StringArray:
    """Return the titles as CSV fields (RFC 4180): in quotes if they contain a comma or a quote."""
    special = pc.match_substring_regex(title, '[",]')
    doubled = pc.replace_substring(title, '"', '""')
    return pc.if_else(special, pc.binary_join_element_wise('"', doubled, '"', ""), title)
