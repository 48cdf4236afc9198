"""Step 2 on both databases: it makes the asked rows, repeats itself, and never touches rows of others."""

from __future__ import annotations

import csv
import datetime as dt
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sqlalchemy import Engine, Table, delete, insert, select, text, update

import load_recommendation_data as step2
from recommender.commands.shop_import import database_time
from recommender.database import existing_tables, writing
from recommender.database.cursor_reader import read_cursor
from recommender.database.schema import interactions, metadata, products, ratings, user_id_map, users
from recommender.errors import ForeignDataError, InputFileError, SettingError, StepOrderError, TooManyRejectedError
from recommender.settings import Settings
from recommender.updates import optional_tables
from recommender.updates.change_feed import ChangeFeed
from tests.support.shop import WHEN, fill, product_row
from tests.support.steps import do

Make = Callable[..., Settings]


def write_ratings(file: Path, *lines: str, header: str = "user_id,product_id,rating,timestamp") -> Path:
    file.write_text("\n".join([header, *lines, ""]), encoding="utf-8")
    return file


@pytest.fixture
def catalog(engine: Engine) -> Engine:
    rng = np.random.default_rng(1)
    rows = [
        product_row(f"B{number:09d}", category_id=number % 12 + 1, boughtInLastMonth=int(rng.pareto(1) * 10))
        for number in range(400)
    ]
    fill(engine, {}, rows)
    return engine


@pytest.fixture
def small(make_settings: Make) -> Settings:
    return make_settings(NUM_USERS=200, NUM_INTERACTIONS=2_000, NUM_RATINGS=900)


def contents(engine: Engine, *tables: Table) -> list[list[tuple[Any, ...]]]:
    with engine.connect() as connection:
        return [sorted(tuple(row) for row in connection.execute(select(table))) for table in tables]


SHOPPERS = (users, interactions, ratings)


def test_step_2_makes_exactly_the_asked_numbers_linked_to_real_products(catalog: Engine, small: Settings) -> None:
    assert step2.generate(catalog, small, seed=1, replace=False)
    people, events, stars = contents(catalog, *SHOPPERS)
    assert [len(people), len(events), len(stars)] == [200, 2_000, 900]
    user_ids = {row[0] for row in people}
    assert user_ids == set(range(1, 201))
    assert len({row[2] for row in people}) == 200  # e-mail addresses
    (catalog_rows,) = contents(catalog, products)
    known = {row[1] for row in catalog_rows}
    assert {row[2] for row in events} <= known
    assert {row[1] for row in stars} <= known
    assert {row[1] for row in events} | {row[0] for row in stars} <= user_ids
    assert len({row[:2] for row in stars}) == 900
    assert {float(row[2]) for row in stars} <= {1.0, 2.0, 3.0, 4.0, 5.0}
    assert sum(row[2] >= 4 for row in stars) > 600
    kinds = [sum(row[3] == kind for row in events) for kind in ("view", "click", "add_to_cart", "purchase")]
    assert kinds == sorted(kinds, reverse=True)
    assert kinds[-1] > 0


def test_two_seeded_runs_agree_to_the_last_row_and_another_seed_does_not(catalog: Engine, small: Settings) -> None:
    step2.generate(catalog, small, seed=1, replace=False)
    first = contents(catalog, *SHOPPERS)
    step2.generate(catalog, small, seed=2, replace=False)
    other = contents(catalog, *SHOPPERS)
    step2.generate(catalog, small, seed=1, replace=False)
    assert contents(catalog, *SHOPPERS) == first
    assert all(one != two for one, two in zip(first, other, strict=True))


def test_a_repeated_run_does_nothing(catalog: Engine, small: Settings) -> None:
    assert step2.generate(catalog, small, seed=1, replace=False)
    before = contents(catalog, *SHOPPERS)
    assert not step2.generate(catalog, small, seed=1, replace=False)
    assert contents(catalog, *SHOPPERS) == before


def test_a_changed_catalog_makes_new_shoppers(catalog: Engine, small: Settings) -> None:
    step2.generate(catalog, small, seed=1, replace=False)
    with writing(catalog) as connection:
        connection.execute(delete(products).where(products.c.asin == "B000000000"))
    assert step2.generate(catalog, small, seed=1, replace=False)
    assert "B000000000" not in {row[1] for row in contents(catalog, ratings)[0]}


@pytest.mark.parametrize("table", [users, ratings, interactions], ids=lambda table: table.name)
def test_others_rows_are_never_replaced_without_replace(catalog: Engine, small: Settings, table: Table) -> None:
    row = {
        "users": {"user_id": 7, "name": "A real shopper", "created_at": WHEN},
        "product_ratings": {
            "user_id": 7,
            "product_id": "B000000001",
            "rating": 4.5,
            "created_at": WHEN,
            "updated_at": WHEN,
        },
        "user_interactions": {
            "user_id": 7,
            "product_id": "B000000001",
            "interaction_type": "view",
            "created_at": WHEN,
        },
    }[table.name]
    with writing(catalog) as connection:
        connection.execute(insert(table), [row])
    before = contents(catalog, *SHOPPERS)
    with pytest.raises(ForeignDataError, match=f"{table.name} holds rows that this script did not make.*--replace"):
        step2.generate(catalog, small, seed=1, replace=False)
    assert contents(catalog, *SHOPPERS) == before
    assert step2.generate(catalog, small, seed=1, replace=True)
    assert [len(rows) for rows in contents(catalog, *SHOPPERS)] == [200, 2_000, 900]


CHANGES: dict[str, Any] = {
    "a rating added": insert(ratings).values(
        user_id=7_000, product_id="B000000001", rating=4.5, created_at=WHEN, updated_at=WHEN
    ),
    "a rating changed": update(ratings)
    .where(ratings.c.user_id == 5)
    .values(rating=0.5, updated_at=dt.datetime(2025, 5, 5)),
    "a user added": insert(users).values(user_id=7_000, created_at=WHEN),
    "a user deleted": delete(users).where(users.c.user_id == 3),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_rows_written_after_step_2_are_not_replaced(catalog: Engine, small: Settings, change: Any) -> None:
    step2.generate(catalog, small, seed=1, replace=False)
    with writing(catalog) as connection:
        connection.execute(change)
    before = contents(catalog, *SHOPPERS)
    with pytest.raises(ForeignDataError, match="was changed since this script filled it"):
        step2.generate(catalog, small, seed=2, replace=False)
    assert not step2.generate(catalog, small, seed=1, replace=False)  # same again: nothing to do, nothing lost
    assert contents(catalog, *SHOPPERS) == before


def test_a_users_table_of_another_layout_is_refused_even_when_empty(catalog: Engine, small: Settings) -> None:
    with writing(catalog) as connection:
        connection.execute(text("DROP TABLE users"))
        connection.execute(text("CREATE TABLE users (login VARCHAR(20))"))
    with pytest.raises(ForeignDataError, match="users holds rows|table users has"):
        step2.generate(catalog, small, seed=1, replace=False)
    assert "users" in existing_tables(catalog)


def test_step_2_before_step_1_names_step_1(engine: Engine, small: Settings) -> None:
    with pytest.raises(StepOrderError, match="python to_rds.py"):
        step2.generate(engine, small, seed=1, replace=False)
    metadata.create_all(engine)
    with pytest.raises(StepOrderError, match="python to_rds.py"):
        step2.generate(engine, small, seed=1, replace=False)


def test_more_ratings_than_pairs_are_refused_and_nothing_is_changed(catalog: Engine, make_settings: Make) -> None:
    with pytest.raises(SettingError, match="NUM_RATINGS=900"):
        step2.generate(catalog, make_settings(NUM_USERS=2, NUM_RATINGS=900, NUM_INTERACTIONS=1), seed=1, replace=False)
    assert contents(catalog, *SHOPPERS) == [[], [], []]


def test_emptied_tables_are_filled_again(catalog: Engine, small: Settings) -> None:
    step2.generate(catalog, small, seed=1, replace=False)
    before = contents(catalog, *SHOPPERS)
    with writing(catalog) as connection:
        connection.execute(delete(ratings))
    assert step2.generate(catalog, small, seed=1, replace=True)
    assert contents(catalog, *SHOPPERS) == before


def test_replace_brings_changed_tables_back(catalog: Engine, small: Settings) -> None:
    step2.generate(catalog, small, seed=1, replace=False)
    before = contents(catalog, *SHOPPERS)
    with writing(catalog) as connection:
        connection.execute(CHANGES["a rating added"])
    assert step2.generate(catalog, small, seed=1, replace=True)
    assert contents(catalog, *SHOPPERS) == before
    assert not step2.generate(catalog, small, seed=1, replace=True)  # unchanged: nothing to replace


def test_a_shops_own_ratings_are_imported_and_faulty_rows_reported(
    catalog: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    file = write_ratings(
        tmp_path / "mine.csv",
        "zoë,B000000001,4.5,1547589356.557",
        "bob,B000000001,5,2024-01-31T12:00:00Z",
        "bob,B000000001,0.5,1547589356",  # a repeated pair: this row counts
        "bob,..,5,1547589356",
        "bob,B000000002,4.75,1547589356",
        "bob,B000000002,five,1547589356",
        ",B000000002,5,1547589356",
        "eve,B999999999,3,1547589356",  # not in the catalog: kept
        "eve,B000000003,3,yesterday",
    )
    with pytest.raises(
        TooManyRejectedError, match=r"4 of 9 rows were rejected, more than the allowed 0.*--max-rejected"
    ):
        step2.import_ratings(catalog, file, replace=False)
    assert contents(catalog, ratings) == [[]]
    assert step2.import_ratings(catalog, file, replace=False, max_rejected=5)
    assert "9 rows = 3 loaded + 1 replaced by a later row + 5 rejected" in capsys.readouterr().out
    assert contents(catalog, user_id_map) == [[(1, "bob"), (2, "eve"), (3, "zoë")]]
    assert [(row[0], row[1], float(row[2])) for row in contents(catalog, ratings)[0]] == [
        (1, "B000000001", 0.5),
        (2, "B999999999", 3.0),
        (3, "B000000001", 4.5),
    ]
    assert contents(catalog, ratings)[0][2][3] == dt.datetime(2019, 1, 15, 21, 55, 56, 557_000)
    assert [row[0] for row in contents(catalog, users)[0]] == [1, 2, 3]
    with (tmp_path / "rejected_rows.csv").open(encoding="utf-8", newline="") as report:
        assert [int(row["line"]) for row in csv.DictReader(report)] == [5, 6, 7, 8, 10]


def test_ratings_of_other_products_than_the_catalogs_are_refused_with_the_figures(
    catalog: Engine,
    env: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    header = "user_id,product_id,rating"
    known = [f"{user},B00000000{user},5" for user in range(1, 5)]
    others = [f"{user},X000000001,4" for user in range(1, 6)]
    write_ratings(tmp_path / "half.csv", *known, *others[:4], header=header)
    write_ratings(tmp_path / "less.csv", *known, *others, header=header)
    assert step2.main(["--ratings", "half.csv"]) == 0
    before = contents(catalog, *SHOPPERS)
    capsys.readouterr()
    assert step2.main(["--ratings", "less.csv"]) == 1
    assert capsys.readouterr().err == (
        "load_recommendation_data.py: less.csv: 4 of its 9 ratings are of products in the catalog: check that both "
        "have the same product ids, or give --force; the tables are as they were\n"
    )
    assert contents(catalog, *SHOPPERS) == before
    assert step2.main(["--ratings", "less.csv", "--force"]) == 0
    assert len(contents(catalog, ratings)[0]) == 9


def test_a_made_up_catalog_stands_in_the_way_of_no_ratings(
    catalog: Engine, env: dict[str, str], tmp_path: Path
) -> None:
    with writing(catalog) as connection:
        connection.execute(update(products).values(productURL="https://shop.example.com/dp/B0"))
    write_ratings(tmp_path / "mine.csv", "1,B000000001,5", "2,X1,4", "2,X2,4", header="user_id,product_id,rating")
    assert (
        "mine.csv: 1 of its 3 ratings are of products in the catalog, which is made up: python to_rds.py --products "
        "FILE loads yours\n"
    ) in do(env, tmp_path, "load_recommendation_data.py", "--ratings", "mine.csv")
    assert len(contents(catalog, ratings)[0]) == 3


def test_ratings_may_come_before_the_catalog(catalog: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with writing(catalog) as connection:
        connection.execute(delete(products))
    file = write_ratings(tmp_path / "mine.csv", "5,B000000001,4.5", header="user_id,product_id,rating")
    assert step2.import_ratings(catalog, file, replace=False)


def test_max_rejected_sets_another_limit_for_ratings(
    catalog: Engine,
    env: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    rows = [f"{user},B00000000{1 + user % 5},{(5, 'five')[user % 10 > 4]:>4}" for user in range(120)]
    write_ratings(tmp_path / "mine.csv", *rows, header="user_id,product_id,rating")
    assert step2.main(["--ratings", "mine.csv"]) == 1
    told = capsys.readouterr().err  # how many are allowed is an estimate while the file is read
    assert re.search(
        r"rows were rejected, more than the allowed \d\d \(the first: line 7: rating 'five' is not a", told
    )
    assert contents(catalog, ratings) == [[]]
    assert step2.main(["--ratings", "mine.csv", "--max-rejected", "59"]) == 1
    assert step2.main(["--ratings", "mine.csv", "--max-rejected", "60"]) == 0
    assert "60 rejected (see rejected_rows.csv)" in capsys.readouterr().out
    assert step2.main(["--ratings", "mine.csv", "--max-rejected", "few"]) == 1
    assert "--max-rejected 'few' is not a whole number" in capsys.readouterr().err


def test_the_same_file_again_does_nothing_and_a_newer_file_replaces_it(
    catalog: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = write_ratings(tmp_path / "mine.csv", "5,B000000001,4.5", header="user_id,product_id,rating")
    assert step2.import_ratings(catalog, file, replace=False)
    assert not step2.import_ratings(catalog, file, replace=False)
    write_ratings(file, "5,B000000001,4.5", "6,B000000001,4", header="user_id,product_id,rating")
    assert step2.import_ratings(catalog, file, replace=False)
    assert [row[:2] for row in contents(catalog, ratings)[0]] == [(5, "B000000001"), (6, "B000000001")]


def test_a_rating_without_a_time_has_an_unknown_time_and_is_noticed_as_new(
    catalog: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    before, cursor = database_time(catalog), read_cursor(catalog)
    header = "user_id,product_id,rating,timestamp"
    rows = ("5,B000000001,4.5,", "5,B000000002,4,2024-01-01", "6,B000000001,4,")
    assert step2.import_ratings(catalog, write_ratings(tmp_path / "mine.csv", *rows, header=header), replace=False)
    after, given = database_time(catalog), dt.datetime(2024, 1, 1)
    with catalog.connect() as connection:
        c = ratings.c
        rated = connection.execute(select(c.created_at, c.updated_at).order_by(c.user_id, c.product_id)).all()
        assert connection.execute(select(users.c.created_at).order_by(users.c.user_id)).scalars().all() == [given, None]
    assert [row.created_at for row in rated] == [None, given, None]
    assert before <= rated[0].updated_at == rated[2].updated_at <= after
    assert rated[1].updated_at == given
    with catalog.connect() as connection:  # a running service, whose model is older than the load
        assert {5, 6} <= ChangeFeed(cursor, optional_tables(catalog)).look(connection).users
    assert "mine.csv: 2 ratings have no time (created_at is NULL): what is hidden of them to" in capsys.readouterr().out
    assert not step2.import_ratings(catalog, tmp_path / "mine.csv", replace=False)  # nothing to do, on any day


def test_a_table_of_the_previous_release_accepts_a_file_without_times(
    catalog: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That table requires a time for each rating, so the import replaces the table."""
    monkeypatch.chdir(tmp_path)
    columns = "user_id BIGINT NOT NULL, product_id CHAR(10) NOT NULL, rating DECIMAL(2,1) NOT NULL"
    times = "created_at DATETIME(6) NOT NULL, updated_at DATETIME(6) NOT NULL, PRIMARY KEY (user_id, product_id)"
    with writing(catalog) as connection:
        connection.execute(text("DROP TABLE IF EXISTS product_ratings"))
        connection.execute(text(f"CREATE TABLE product_ratings ({columns}, {times})"))
    file = write_ratings(tmp_path / "mine.csv", "5,B000000001,4.5", header="user_id,product_id,rating")
    assert step2.import_ratings(catalog, file, replace=False)
    with catalog.connect() as connection:
        assert connection.execute(select(ratings.c.created_at)).scalars().all() == [None]


def test_real_ratings_replace_made_up_shoppers_and_not_the_other_way_round(
    catalog: Engine, small: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    step2.generate(catalog, small, seed=1, replace=False)
    file = write_ratings(tmp_path / "mine.csv", "5,B000000001,4.5", header="user_id,product_id,rating")
    assert step2.import_ratings(catalog, file, replace=False)
    assert [len(rows) for rows in contents(catalog, *SHOPPERS)] == [1, 0, 1]
    with pytest.raises(ForeignDataError, match=r"imported from mine\.csv.*--replace"):
        step2.generate(catalog, small, seed=1, replace=False)
    assert [len(rows) for rows in contents(catalog, *SHOPPERS)] == [1, 0, 1]


def test_an_unusable_ratings_file_changes_nothing(
    catalog: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    header = "user_id,product_id,rating"
    good = write_ratings(tmp_path / "good.csv", "5,B000000001,4.5", header=header)
    step2.import_ratings(catalog, good, replace=False)
    before = contents(catalog, *SHOPPERS)
    bad = {
        "missing.csv": (None, "does not exist"),
        "empty.csv": ("", "is empty"),
        "header.csv": (f"{header}\n", "has a header and no rows"),
        "column.csv": ("user_id,product_id\n1,B000000001\n", "no column rating"),
        "wrong.csv": (f"{header}\n" + "x,y,z\n" * 500, "rows were rejected"),
    }
    for name, (text_, message) in bad.items():
        if text_ is not None:
            (tmp_path / name).write_text(text_)
        with pytest.raises(InputFileError, match=message):
            step2.import_ratings(catalog, tmp_path / name, replace=False)
        assert contents(catalog, *SHOPPERS) == before


@pytest.mark.parametrize(
    "change",
    [
        update(users).where(users.c.user_id == 1).values(name="A real name"),
        update(interactions).where(interactions.c.user_id == 1).values(product_id="B000000ZZZ"),
    ],
    ids=["a name", "a product of an interaction"],
)
def test_an_edit_that_changes_no_count_is_noticed_too(catalog: Engine, small: Settings, change: Any) -> None:
    step2.generate(catalog, small, seed=1, replace=False)
    with writing(catalog) as connection:
        assert connection.execute(change).rowcount > 0
    before = contents(catalog, *SHOPPERS)
    with pytest.raises(ForeignDataError, match="was changed since this script filled it"):
        step2.generate(catalog, small, seed=2, replace=False)
    assert contents(catalog, *SHOPPERS) == before


def test_a_column_that_somebody_added_is_not_dropped(catalog: Engine, small: Settings) -> None:
    step2.generate(catalog, small, seed=1, replace=False)
    with writing(catalog) as connection:
        connection.execute(text("ALTER TABLE users ADD COLUMN phone VARCHAR(20)"))
    with pytest.raises(ForeignDataError, match="table users has a column phone"):
        step2.generate(catalog, small, seed=2, replace=False)


@pytest.mark.parametrize("value", ["x", "1", "[]", "{}", '{"made_from": 1}', '{"users": [1]}', "null"])
def test_rows_with_a_damaged_note_count_as_others_rows(catalog: Engine, small: Settings, value: str) -> None:
    step2.generate(catalog, small, seed=1, replace=False)
    with writing(catalog) as connection:
        connection.execute(text("UPDATE data_origin SET value = :value"), {"value": value})
    with pytest.raises(ForeignDataError, match="users holds rows that this script did not make"):
        step2.generate(catalog, small, seed=1, replace=False)


def test_the_first_word_of_a_title_is_its_brand_in_any_case_and_any_catalog() -> None:
    titles = ["Milbury Socks", "MILBURY hat", "Orlio", None, "", "Orlio  Tea", "Élan vital"]
    brands = step2.brand_ids(pa.chunked_array([titles[:3], titles[3:]], pa.string())).tolist()
    assert brands[0] == brands[1] != brands[2] == brands[5]
    assert brands[3] == brands[4] == 0
    assert len(set(brands)) == 4
    assert step2.brand_ids(pa.chunked_array([["Orlio"]], pa.string())).tolist() == [brands[2]]
    assert step2.brand_ids(pa.chunked_array([], pa.string())).tolist() == []
