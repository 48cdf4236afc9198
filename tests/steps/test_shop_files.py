"""A shop's own interactions and people, beside ratings or alone: files in, tables, and what stops an import."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, Table, create_engine, insert, select

from recommender.database import existing_tables, writing
from recommender.database.schema import interactions, metadata, products, ratings, user_id_map, users
from tests.support.shop import WHEN, product_row
from tests.support.steps import do, refuse

A, B, C = (f"B00000000{letter}" for letter in "ABC")
STEP = "load_recommendation_data.py"
Env = dict[str, str]
Load = Callable[..., str]
EVENTS = f"""visitor,item,event,time,transactionid,session_id,qty,price
ann,{A},view,2024-01-01,,s1,,
ben,{A},transaction,2024-01-02,o-7,s2,2,9.5
ann,{B},addtocart,2024-01-03,,s1,,
ann,{A},view,2024-01-04,,s3,,
"""
PEOPLE = """id,country,birth_year,sex,full_name,email
cem,TR,1990,m,Cem C,cem@example.com
ann,NL,1950,f,Ann A,Ann@example.com
ann,BE,1950,f,Ann A,ann@example.com
dora,NL,-1,,,ANN@example.com
"""


@pytest.fixture
def shop(engine: Engine, env: Env, tmp_path: Path) -> Env:
    metadata.create_all(engine, tables=[products])
    with writing(engine) as connection:
        connection.execute(insert(products), [product_row(asin) for asin in (A, B, C)])
    (tmp_path / "events.csv").write_text(EVENTS)
    (tmp_path / "people.csv").write_text(PEOPLE)
    (tmp_path / "stars.csv").write_text(f"user,item,stars,time\nben,{A},5,2024-02-01\nzoe,{C},4,2023-01-01\n")
    return env


@pytest.fixture
def load(shop: Env, tmp_path: Path) -> Load:
    return lambda *options: do(shop, tmp_path, STEP, *options)


def contents(engine: Engine, table: Table, *names: str) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        columns = [table.c[name] for name in names]
        return [tuple(row) for row in connection.execute(select(*columns).order_by(*table.primary_key))]


def names_of(engine: Engine) -> dict[int, str]:
    return {int(number): str(name) for number, name in contents(engine, user_id_map, "user_id", "external_id")}


def test_interactions_alone_fill_the_log_with_all_that_the_file_says(load: Load, engine: Engine) -> None:
    out = load("--interactions", "events.csv")
    assert "interaction_type = event, timestamp = time (ISO 8601), order_id = transactionid, session_id" in out
    assert "events.csv: 4 rows = 4 loaded + 0 rejected" in out
    who = names_of(engine)
    kept = contents(engine, interactions, "user_id", "product_id", "interaction_type", "order_id", "session_id")
    assert [(who[user], *rest) for user, *rest in kept] == [
        ("ann", A, "view", None, "s1"),
        ("ben", A, "purchase", "o-7", "s2"),
        ("ann", B, "add_to_cart", None, "s1"),
        ("ann", A, "view", None, "s3"),
    ]
    assert contents(engine, interactions, "quantity", "value") == [(None, None), (2, 9.5), (None, None), (None, None)]
    assert contents(engine, ratings, "user_id") == []
    people = {who[user]: at.isoformat()[:10] for user, at in contents(engine, users, "user_id", "created_at")}
    assert people == {"ann": "2024-01-01", "ben": "2024-01-02"}
    assert "nothing to do" in load("--interactions", "events.csv")


def test_one_person_has_one_number_in_all_files_and_keeps_it(load: Load, engine: Engine) -> None:
    files = ["--ratings", "stars.csv", "--interactions", "events.csv", "--users", "people.csv"]
    load(*files)
    who = names_of(engine)
    assert sorted(who.values()) == ["ann", "ben", "cem", "dora", "zoe"]
    rated = [(who[user], product) for user, product in contents(engine, ratings, "user_id", "product_id")]
    assert rated == [("ben", A), ("zoe", C)]
    assert [who[user] for (user,) in contents(engine, interactions, "user_id")] == ["ann", "ben", "ann", "ann"]
    facts = contents(engine, users, "user_id", "country", "age_group", "gender", "name", "email")
    assert {who[user]: rest for user, *rest in facts} == {
        "ann": ["BE", "65+", "f", None, None],
        "ben": [None] * 5,
        "cem": ["TR", "35-44", "m", None, None],
        "dora": ["NL", None, None, None, None],
        "zoe": [None] * 5,
    }
    load(*files, "--with-names", "--with-emails")
    assert names_of(engine) == who
    told = {who[user]: rest for user, *rest in contents(engine, users, "user_id", "name", "email")}
    assert told["ann"] == ["Ann A", "ann@example.com"]
    assert told["dora"] == [None, None]  # ann has that e-mail


def test_people_without_any_event_are_users_too(load: Load, shop: Env, engine: Engine, tmp_path: Path) -> None:
    load("--interactions", "events.csv", "--users", "people.csv")
    assert len(contents(engine, users, "user_id")) == 4
    assert "ranking  auto" in do(shop, tmp_path, "recommendation_engine.py", "--users", "all")


def test_a_file_that_is_not_given_again_is_not_lost(load: Load, shop: Env, tmp_path: Path, engine: Engine) -> None:
    load("--ratings", "stars.csv")
    message = refuse(shop, tmp_path, STEP, "--interactions", "events.csv")
    assert "the ratings of stars.csv would go: give --ratings FILE as well" in message
    load("--ratings", "stars.csv", "--interactions", "events.csv")
    message = refuse(shop, tmp_path, STEP, "--ratings", "stars.csv")
    assert "the interactions of events.csv would go: give --interactions FILE as well" in message
    load("--interactions", "events.csv", "--replace")
    assert contents(engine, ratings, "user_id") == []


def test_a_newer_file_without_most_people_or_ratings_says_so(load: Load, engine: Engine, tmp_path: Path) -> None:
    def load_ratings(people: range, products: str = A) -> str:
        rows = [f"u{user},{product},{1 + user % 5},2024-01-01" for user in people for product in products.split()]
        (tmp_path / "stars.csv").write_text("\n".join(["user,item,stars,time", *rows, ""]))
        return load("--ratings", "stars.csv")

    said, gone = "stars.csv: most of what was there is gone", "import that one before you run step 3"
    assert said not in load_ratings(range(10), f"{A} {B} {C}")
    assert said not in load_ratings(range(5), f"{A} {B} {C}")  # half of them
    out = load_ratings(range(3, 10), A)  # 2 of the 5 people, 7 of the 15 ratings
    assert f"{said}. Before: people 5, ratings 15; now: people 7, ratings 7, people from before 2. If" in out
    assert out.count(said) == out.count(gone) == 1
    assert said in load_ratings(range(20, 27), A)  # as many others
    assert len(contents(engine, users, "user_id")) == 7
    load("--interactions", "events.csv", "--replace")
    (tmp_path / "events.csv").write_text("\n".join([*EVENTS.splitlines()[:2], ""]))
    out = load("--interactions", "events.csv")
    assert "Before: people 2, interactions 4; now: people 1, interactions 1, people from before 1. If" in out
    (tmp_path / "events.csv").write_text(EVENTS.replace("ann", "eva"))
    assert "most of what was there" not in load("--interactions", "events.csv", "--replace")  # it insists


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--users", "p.csv"], "--users is for --ratings FILE or --interactions FILE: give it with one of them"),
        (["--ratings", "r.csv", "--with-names"], "--with-names is for --users FILE: give both"),
        (["--ratings", "r.csv", "--interaction-type", "view"], "--interaction-type is for --interactions FILE: give"),
        (["--ratings", "r.csv", "--user-columns", "id"], "--user-columns is for --users FILE: give both"),
        (
            ["--interactions", "e.csv", "--columns", "user=visitor", "--interaction-columns", "user=visitor"],
            "--columns and --interaction-columns are both of e.csv: give one",
        ),
    ],
)
def test_options_that_do_not_fit_together_are_refused(tmp_path: Path, options: list[str], message: str) -> None:
    env = {"DB_HOST": "", "SQLITE_FILE": str(tmp_path / "shop.db")}
    assert message in refuse(env, tmp_path, STEP, *options)


def test_a_dry_run_tells_of_all_files_and_writes_nothing(load: Load, engine: Engine) -> None:
    out = load("--interactions", "events.csv", "--users", "people.csv", "--columns", "user=visitor", "--dry-run")
    assert "events.csv: 4 rows = 4 loaded + 0 rejected" in out
    assert "people.csv: 4 rows = 3 loaded + 1 replaced by a later row + 0 rejected" in out
    assert "example.com" not in out  # e-mails are not even read
    assert interactions.name not in existing_tables(engine)


def test_interactions_with_other_products_stop_the_import(shop: Env, tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_text("user,item,event\n1,C000000001,view\n2,C000000002,view\n")
    message = refuse(shop, tmp_path, STEP, "--interactions", "events.csv")
    assert "events.csv: 0 of its 2 interactions are of products in the catalog" in message


def test_a_log_of_the_release_before_goes_on_to_work(shop: Env, tmp_path: Path, engine: Engine) -> None:
    """Its table has neither order_id, session_id, quantity nor value."""
    increment = "AUTOINCREMENT" if engine.dialect.name == "sqlite" else "AUTO_INCREMENT"
    sizes = ["--num-users", "50", "--num-ratings", "60", "--num-interactions", "0"]
    do(shop, tmp_path, STEP, *sizes)
    with writing(engine) as connection:
        connection.exec_driver_sql("DROP TABLE user_interactions")
        connection.exec_driver_sql(
            f"CREATE TABLE user_interactions (interaction_id INTEGER PRIMARY KEY {increment}, user_id BIGINT NOT NULL, "
            "product_id CHAR(10) NOT NULL, interaction_type VARCHAR(11) NOT NULL, created_at DATETIME NOT NULL)"
        )
    assert "nothing to do" in do(shop, tmp_path, STEP, *sizes)
    with writing(engine) as connection:
        row = {"user_id": 1, "product_id": A, "interaction_type": "view", "created_at": WHEN}
        connection.execute(insert(interactions).values(row))
    do(shop, tmp_path, "recommendation_engine.py", "--ranking", "taste")
    assert "user_interactions was changed" in refuse(shop, tmp_path, STEP, *sizes, "--seed", "3")
    do(shop, tmp_path, STEP, "--interactions", "events.csv", "--replace")
    assert len(contents(engine, interactions, "order_id")) == 4


PUBLIC: dict[str, tuple[str, list[str], list[tuple[str, str, str]]]] = {
    "Retailrocket events.csv": (
        "timestamp,visitorid,event,itemid,transactionid\n"
        f"1433221332117,257597,view,{A},\n1433224214164,9,addtocart,{B},\n",
        [],
        [("257597", A, "view"), ("9", B, "add_to_cart")],
    ),
    "yoochoose-clicks.dat": (
        f"1,2014-04-07T10:51:09.277Z,{A},0\n2,2014-04-07T10:54:09.868Z,{B},S\n",
        ["--columns", "user,time,product,_", "--interaction-type", "click"],
        [("1", A, "click"), ("2", B, "click")],
    ),
    "yoochoose-buys.dat": (
        f"420374,2014-04-06T18:44:58.314Z,{A},12462,1\n",
        ["--columns", "user,time,product,price,quantity"],
        [("420374", A, "purchase")],
    ),
    "Instacart, joined": (
        f"order_id,user_id,eval_set,order_number,product_id,add_to_cart_order,reordered\n2,202279,prior,3,{A},1,1\n",
        [],
        [("202279", A, "purchase")],
    ),
    "OnlineRetail.csv": (
        "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
        f"536365,{A},CREAM CUPID,6,12/1/2010 8:26,2.55,17850,United Kingdom\n",
        [],
        [("17850", A, "purchase")],
    ),
    "usersha1-artmbid-artname-plays.tsv": (
        f"00000c289a1829a8\t{A}\tbetty blowtorch\t2137\n",
        ["--columns", "user,product,_,plays", "--interaction-type", "view"],
        [("00000c289a1829a8", A, "view")],
    ),
    "goodreads_interactions.csv": (
        f"user_id,book_id,is_read,rating,is_reviewed\n0a,{A},1,5,0\n1b,{B},0,0,0\n",
        ["--interaction-type", "view"],
        [("0a", A, "view"), ("1b", B, "view")],
    ),
}


@pytest.mark.parametrize("name", PUBLIC)
def test_public_files_go_in_as_they_are_downloaded(tmp_path: Path, name: str) -> None:
    text, options, wanted = PUBLIC[name]
    (tmp_path / "shop.db").touch()
    (tmp_path / name).write_text(text)
    env = {"DB_HOST": "", "SQLITE_FILE": str(tmp_path / "shop.db")}
    do(env, tmp_path, STEP, "--interactions", name, *options)
    engine = create_engine(f"sqlite:///{tmp_path / 'shop.db'}")
    who = names_of(engine)  # none for whole numbers
    found = contents(engine, interactions, "user_id", "product_id", "interaction_type")
    assert [(who.get(user, str(user)), *rest) for user, *rest in found] == wanted
    assert len(contents(engine, users, "user_id")) == len(wanted)
    engine.dispose()
