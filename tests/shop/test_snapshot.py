"""`--if-stale` makes new lists if any data of the lists has changed, and only then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sqlalchemy import Engine, delete, insert, select, text, update

import recommendation_engine as re
from recommender.database import around, writing
from recommender.database.schema import interactions, model_versions, products, ratings, recommendations, users
from recommender.publishing import BatchJob, read_versions
from recommender.ranking import ClassicRanking
from recommender.shop import People, ProductCatalog, Snapshot, build_rating_matrix
from tests.support.shop import WHEN, fill, product_row

A, B, C, D, E = (f"B00000000{letter}" for letter in "ABCDE")
STARS = {1: {A: 5.0}, 2: {A: 5.0, B: 4.0, C: 5.0}, 3: {A: 1.0, B: 5.0}, 4: {D: 3.0}}
EVENT = {"user_id": 4, "product_id": A, "interaction_type": "purchase", "created_at": WHEN}
RATING = {"user_id": 4, "product_id": C, "rating": 3.0, "created_at": WHEN, "updated_at": WHEN}


@pytest.fixture
def stale(engine: Engine, env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., bool]:
    """``stale("--ranking", "taste")``: whether ``--if-stale`` makes a new version of the shop in ``engine``."""
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    fill(engine, STARS, [A, B, C, D])
    with writing(engine) as connection:
        connection.execute(update(users).values(country="Spain", age_group="65+"))
        connection.execute(insert(interactions).values(EVENT | {"user_id": 1, "product_id": B}))

    def run(*arguments: str) -> bool:
        before = len(read_versions(engine))
        assert re.main(["--if-stale", "--force", *arguments]) == 0
        return len(read_versions(engine)) > before

    return run


def of(product: str, **values: Any) -> Any:
    return update(products).where(products.c.asin == product).values(**values)


BOTH: dict[str, Any] = {
    "a title": of(A, title="Renamed"),
    "no title": of(A, title=None),
    "a title of a product that nobody rated": insert(products).values(product_row(E)),
    "a category": of(B, category_id=7),
    "stars": of(B, stars=1.0),
    "a price": of(C, price=5.0),
    "a product that has left": delete(products).where(products.c.asin == E),
    "a new person": insert(users).values(user_id=99, created_at=WHEN),
    "a rating": insert(ratings).values(RATING),
}
BY_TASTE: dict[str, Any] = {
    "an interaction": insert(interactions).values(EVENT),
    "a segment": update(users).where(users.c.user_id == 2).values(country="France"),
    "the name of a segment": update(users).values(country="Portugal"),
}
NEITHER: dict[str, Any] = {
    "what no list or answer holds": of(A, imgUrl="https://example.com/other.jpg", reviews=7),
    "a name": update(users).where(users.c.user_id == 2).values(name="Ann", email="ann@example.com"),
}


@pytest.mark.parametrize("ranking", ["classic", "taste"])
def test_new_lists_are_made_if_any_data_of_the_lists_changes_and_only_then(
    engine: Engine, stale: Callable[..., bool], ranking: str
) -> None:
    assert stale("--ranking", ranking)
    assert not stale("--ranking", ranking)
    for name, statement in (BOTH | BY_TASTE | NEITHER).items():
        with writing(engine) as connection:
            connection.execute(statement)
        expected = name in BOTH or (name in BY_TASTE and ranking == "taste")
        assert stale("--ranking", ranking) == expected, name
        assert not stale("--ranking", ranking), name


def test_renamed_products_are_in_the_lists_at_once(engine: Engine, stale: Callable[..., bool]) -> None:
    assert stale()
    with writing(engine) as connection:
        connection.execute(text("UPDATE amazon_products SET title = 'New name'"))
    assert stale()
    with engine.connect() as connection:
        assert set(connection.execute(select(recommendations.c.product_name)).scalars()) == {"New name"}


def test_other_settings_make_new_lists(stale: Callable[..., bool]) -> None:
    taste = ("--ranking", "taste", "--keep-versions", "9")
    assert stale(*taste)
    assert stale(*taste, "--interaction-weights", "purchase=1")
    assert stale(*taste, "--new-product-percent", "50")
    assert stale(*taste, "--top-n-recommendations", "2")
    assert stale(*taste)  # the lists of the first version are still there, but readers have others
    assert not stale(*taste)


def test_a_version_of_the_previous_release_is_replaced_once(engine: Engine, stale: Callable[..., bool]) -> None:
    assert stale()
    matrix, _ = re.load_model(engine)
    with writing(engine) as connection:
        connection.execute(update(model_versions).values(fingerprint=matrix.fingerprint()))
    assert [stale(), stale()] == [True, False]


def test_a_version_records_the_fingerprint_of_its_sources(engine: Engine, stale: Callable[..., bool]) -> None:
    assert stale()
    matrix, similarity = re.load_model(engine)
    (version,) = read_versions(engine)
    assert version.fingerprint == BatchJob(np.arange(4), 10, ClassicRanking(matrix, similarity, 20)).fingerprint(
        around(engine, matrix)
    )


NO_RATINGS = build_rating_matrix(
    np.empty(0, np.int64),
    np.empty(0, "S10"),
    np.empty(0, np.int32),
    np.empty(0, np.int8),
    in_catalog=np.empty(0, np.bool_),
)


def sources(titles: list[str | None], in_stock: list[bool] | None = None, users: int = 2) -> Snapshot:
    n = len(titles)
    catalog = ProductCatalog(
        np.array([f"B{number:09d}" for number in range(n)], "S10"),
        pa.array(titles, pa.string()),
        np.ones(n),
        np.ones(n),
        np.ones(n, np.int32),
        None if in_stock is None else np.array(in_stock),
    )
    nothing = pa.chunked_array([pa.nulls(users, pa.string())])
    return Snapshot(NO_RATINGS, catalog, People(np.arange(users, dtype=np.int64), nothing, nothing))


def test_these_catalogs_have_different_fingerprints() -> None:
    """The border between two titles counts, and an empty title differs from a missing one."""
    cases: list[tuple[list[str | None], list[bool] | None]] = [
        ([], None),
        (["ab", "c"], None),
        (["a", "bc"], None),
        (["abc", ""], None),
        (["abc", None], None),
        ([None, "abc"], None),
        (["ab", "c"], [True, True]),
        (["ab", "c"], [True, False]),
    ]
    found = [sources(*case).fingerprint("0", by_taste=False) for case in cases]
    assert len(set(found)) == len(found)
    assert sources(["ab", "c"]).fingerprint("0", by_taste=False) == found[1]
    assert sources(["ab", "c"], users=3).fingerprint("0", by_taste=False) != found[1]


def test_the_fingerprint_of_a_slice_depends_only_on_the_titles_of_the_slice() -> None:
    whole, part = sources(["x", "ab", "c"]), sources(["ab", "c"])
    sliced = Snapshot(
        NO_RATINGS,
        ProductCatalog(
            part.catalog.product_ids, whole.catalog.titles[1:], part.catalog.prices, part.catalog.stars,
            part.catalog.category_ids,
        ),
        part.people,
    )  # fmt: skip
    assert sliced.fingerprint("0", by_taste=False) == part.fingerprint("0", by_taste=False)
