"""Rows into tables: unchanged, all or nothing, whatever goes wrong."""

from __future__ import annotations

import pyarrow as pa
import pytest
from sqlalchemy import Engine, select

from recommender.bulk_load import LoadCount, staged
from recommender.database import existing_tables
from recommender.errors import DatabaseError
from recommender.schema import categories, products


def category_batch(*rows: tuple[int, str]) -> pa.RecordBatch:
    return pa.record_batch({"id": pa.array([r[0] for r in rows], pa.int32()), "category_name": [r[1] for r in rows]})


def product_batch(asins: list[str], title: str = "t") -> pa.RecordBatch:
    n = len(asins)
    return pa.record_batch(
        {
            "asin": asins,
            "title": [f"{title}{i}" for i in range(n)],
            "imgUrl": pa.nulls(n, pa.string()),
            "productURL": pa.nulls(n, pa.string()),
            "stars": [4.5] * n,
            "reviews": [0] * n,
            "price": [0.1] * n,
            "listPrice": [1e-7] * n,
            "category_id": [1] * n,
            "isBestSeller": [True] * n,
            "boughtInLastMonth": [2**31 - 1] * n,
        }
    )


def read(engine: Engine, table=categories):
    names = [c for c in table.c if c.name != "id" or table is categories]
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(select(*names).order_by(*table.primary_key.columns))]


def test_smoke(engine):
    with staged(engine, [categories, products]) as stage:
        assert stage.load(categories, [category_batch((1, "a\tb\n\\N 'x' \"y\" 😀\0z"), (2, ""))]) == LoadCount(2, 2)
        assert stage.load(products, [product_batch(["A", "B", "A", "C", "B"])], skip_duplicates=True) == LoadCount(5, 3)
        stage.publish()
    assert read(engine) == [(1, "a\tb\n\\N 'x' \"y\" 😀\0z"), (2, "")]
    got = read(engine, products)
    assert [r[:2] for r in got] == [("A", "t0"), ("B", "t1"), ("C", "t3")]
    assert got[0][2:] == (None, None, 4.5, 0, 0.1, 1e-7, 1, True, 2**31 - 1)
    with staged(engine, [categories, products], append=True) as stage:
        stage.load(categories, [category_batch((2, "two"))])
        stage.load(products, [product_batch(["C", "D"], "new")], skip_duplicates=True)
        stage.publish()
    assert [r[:2] for r in read(engine, products)] == [("A", "t0"), ("B", "t1"), ("C", "new0"), ("D", "new1")]
    with pytest.raises(DatabaseError), staged(engine, [products]) as stage:
        stage.load(products, [product_batch(["C", "C"], "new")])
        stage.publish()
    with pytest.raises(DatabaseError), staged(engine, [categories]) as stage:
        stage.load(categories, [category_batch((1, "a"), (1, "b"))])
    assert [r[:2] for r in read(engine, products)] == [("A", "t0"), ("B", "t1"), ("C", "new0"), ("D", "new1")]
    assert existing_tables(engine) == {"amazon_products", "amazon_categories"}
    with staged(engine, [categories]) as stage:
        assert stage.load(categories, [category_batch((1, "a"), (1, "b"))], skip_duplicates=True) == LoadCount(2, 1)
