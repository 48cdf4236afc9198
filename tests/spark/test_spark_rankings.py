"""Step 3 with --spark by the rankings that use everything there is, on one shop: the table of the local run.

Some users own products of a niche, others products that go together, so auto chooses the fusion. Others are alone with
what they own, so people of their country and age fill their lists. Some only looked at products, and every third list
gets a new product.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine, bindparam, insert, inspect, update

from recommender.database import writing
from recommender.database.schema import INTERACTION_TYPES, interactions, ratings, users
from recommender.publishing import read_versions
from recommender.spark import Sizes
from tests.evaluation.test_tuning import niches, pairs
from tests.spark.conftest import table
from tests.support.shop import WHEN, fill, product_row
from tests.support.steps import do

SCRIPT = "recommendation_engine.py"
ALONE, ONLY_LOOKED = 30, 20  # users


@pytest.fixture(params=["mariadb"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def owned() -> list[list[str]]:
    """The products of each user, the newest last."""
    found = []
    for name, matrix in (("n", niches(240)), ("p", pairs(120))):
        assert matrix.rated_at is not None
        for start, stop in zip(matrix.steps.indptr[:-1], matrix.steps.indptr[1:], strict=True):
            order = np.argsort(matrix.rated_at[start:stop])
            found.append([f"{name}{column:04}" for column in matrix.steps.indices[start:stop][order]])
    return found + [[f"a{user:04}"] for user in range(ALONE)]


def fill_all_tables(engine: Engine) -> None:
    """Insert ratings at different times, interactions, and people of some countries and ages."""
    rng, everybody = np.random.default_rng(0), dict(enumerate(owned(), start=1))
    stars = {user: {one: float(rng.integers(4, 11)) / 2 for one in theirs} for user, theirs in everybody.items()}
    products = sorted({product for theirs in everybody.values() for product in theirs})
    sold = [product for at, product in enumerate(products) if at % 20 != 3]
    new = [product_row(f"z{number:04}", stars=5.0 - number / 100, category_id=number) for number in range(8)]
    fill(engine, stars, [*(product_row(one, category_id=at % 7) for at, one in enumerate(sold)), *new])
    looked = range(len(everybody) + 1, len(everybody) + ONLY_LOOKED + 1)
    events = [
        {
            "user_id": user,
            "product_id": products[rng.integers(len(products))],
            "interaction_type": INTERACTION_TYPES[rng.integers(len(INTERACTION_TYPES))],
            "created_at": WHEN + dt.timedelta(days=int(rng.integers(30))),
        }
        for user in [*looked, *looked, *range(1, 360, 9)]
    ]
    days = [
        {"whose": user, "what": product, "day": WHEN + dt.timedelta(days=day)}
        for user, theirs in everybody.items()
        for day, product in enumerate(theirs)
    ]
    people = [
        {"whose": user, "where": ("DE", "FR", None)[user % 3], "age": ("18-24", "25-34")[user % 2]}
        for user in range(1, looked.stop, 4)
    ]
    its = (ratings.c.user_id == bindparam("whose")) & (ratings.c.product_id == bindparam("what"))
    with writing(engine) as connection:
        connection.execute(insert(interactions), events)
        connection.execute(insert(users), [{"user_id": user} for user in looked])
        connection.execute(update(ratings).where(its).values(created_at=bindparam("day")), days)
        whose = users.c.user_id == bindparam("whose")
        connection.execute(
            update(users).where(whose).values(country=bindparam("where"), age_group=bindparam("age")), people
        )


def forget_versions(engine: Engine) -> None:
    """Drop all lists: the number of a version decides who gets a new product."""
    with engine.begin() as connection:
        for name in inspect(connection).get_table_names():
            if name.startswith(("recommendations", "model_versions")):
                connection.exec_driver_sql(f"DROP TABLE `{name}`")


@pytest.mark.usefixtures("on_this_session")
def test_by_every_ranking_the_table_is_that_of_the_local_run_whole_and_divided(
    engine: Engine, env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_all_tables(engine)
    env |= {"NEW_PRODUCT_PERCENT": "30"}
    monkeypatch.setattr("recommender.spark.lists.stages.sizes_for", lambda *_of: Sizes(3, 60, 40, 1_500, 4))
    for ranking in ("taste", "items", "auto"):
        options = ("--users", "all", "--ranking", ranking)
        said = do(env, tmp_path, SCRIPT, *options)
        assert ("\nauto     fusion: " in said) == (ranking == "auto")
        local, (version,) = table(engine), read_versions(engine)
        filled = Counter(row[5] for row in local)
        assert min(filled[source] for source in ("segment", "popular", "new")) > 0
        for most in (10**9, 0):
            forget_versions(engine)
            monkeypatch.setattr("recommender.commands.spark_batch.MOST_SAMPLED", most)
            do(env, tmp_path, SCRIPT, *options, "--spark", "local[2]")
            assert table(engine) == local, (ranking, most)
            (made,) = read_versions(engine)
            assert made.settings == version.settings
            assert made.n_rows == version.n_rows == len(local)
        forget_versions(engine)
