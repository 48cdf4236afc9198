"""Each product has one number: the matrix's columns first, then products only in the catalog, by ascending id."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa

from recommender.live.columns import LiveColumns
from recommender.shop import NOT_IN_CATALOG, Product, ProductCatalog, Products

CATALOG = [f"B{number:09d}" for number in (1, 2, 4, 6, 7)]
IN_MATRIX = [f"B{number:09d}" for number in (2, 5, 6)]  # 5 has left the catalog
IDS = [*IN_MATRIX, *(f"B{number:09d}" for number in (1, 4, 7))]  # by column


def products() -> Products:
    titles = pa.array([f"title of {product}" for product in CATALOG])
    numbers = np.arange(1.0, 6.0)
    catalog = ProductCatalog(np.array(CATALOG, "S10"), titles, numbers, numbers, numbers.astype(np.int32))
    return Products.of(np.array(IN_MATRIX, "S10"), catalog)


def test_products_only_in_the_catalog_are_numbered_after_the_matrix() -> None:
    numbered = products()
    assert numbered.catalog_rows.tolist() == [1, -1, 3, 0, 2, 4]
    assert (len(numbered), numbered.n_in_matrix) == (6, 3)
    assert [numbered.id_of(column) for column in range(6)] == IDS
    assert [numbered.find(product) for product in IDS] == list(range(6))
    assert [numbered.column_of(product) for product in IDS] == [0, 1, 2, None, None, None]
    for nowhere in ("B000000000", "B000000003", "B000000009", "", "\u00e9"):
        assert numbered.find(nowhere) is None


def test_facts_ids_and_titles_belong_to_the_same_column() -> None:
    numbered = products()
    assert numbered.facts(1) is NOT_IN_CATALOG
    for column, product in enumerate(IDS):
        title = f"title of {product}" if product in CATALOG else None
        price = CATALOG.index(product) + 1.0 if product in CATALOG else None
        assert numbered.facts(column)[:2] == (title, price)
    columns = np.array([5, 1, 3, 3], np.int32)
    assert numbered.ids(columns).to_pylist() == [IDS[column] for column in columns]
    assert numbered.titles(columns).to_pylist() == [numbered.facts(int(column)).title for column in columns]


def test_all_products_come_from_the_matrix_or_the_catalog_if_the_other_is_empty() -> None:
    full = products()
    none, nothing = full.matrix_ids[:0], Products.of(full.matrix_ids, _first(full.catalog, 0))
    assert nothing.catalog_rows.tolist() == [-1, -1, -1]
    assert nothing.find(IN_MATRIX[2]) == 2
    alone = Products.of(none, full.catalog)
    assert alone.catalog_rows.tolist() == [0, 1, 2, 3, 4]
    assert [alone.find(product) for product in CATALOG] == [0, 1, 2, 3, 4]
    assert LiveColumns(alone, np.zeros(0, np.bool_)).columns_of(np.array(CATALOG, "S10")).tolist() == [0, 1, 2, 3, 4]


def _first(catalog: ProductCatalog, n: int) -> ProductCatalog:
    names = ("product_ids", "titles", "prices", "stars", "category_ids")
    return replace(catalog, **{name: getattr(catalog, name)[:n] for name in names})


def test_later_products_have_the_last_numbers_and_are_sorted_by_id_among_the_others() -> None:
    base = products()
    first, came = LiveColumns(base, np.array([True, False, True])), Product("came", 1.0, None, None)
    second = first.added([(b"B000000008", came), (b"B000000003", None)])
    live = second.added([(b"B000000000", came), (b"B00000000Z", came), (b"B00000000A", came)])
    assert (len(first), first.find("B000000008"), len(second), second.find("B000000000")) == (6, None, 8, None)
    ids = [*IDS, "B000000008", "B000000003", "B000000000", "B00000000Z", "B00000000A"]
    columns = np.arange(11, dtype=np.int32)
    assert len(live) == 11
    assert [live.id_of(column) for column in range(11)] == ids
    assert [live.find(product) for product in ids] == live.columns_of(np.array(ids, "S10")).tolist() == list(range(11))
    assert live.columns_of(np.array(["B000000009"], "S10")).tolist() == [-1]
    assert [live.facts(column) for column in (6, 7)] == [came, NOT_IN_CATALOG]
    assert live.recommendable(columns).tolist() == [True, False, True, True, True, True, True, False, True, True, True]
    between, within = live.keys(columns)
    assert [ids[column] for column in np.lexsort((within, between)).tolist()] == sorted(ids)
    assert base.find("B000000008") is None
