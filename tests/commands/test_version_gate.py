"""A version of no lists, or of far fewer than the published one, is kept, not published."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, delete, func, insert, select
from starlette.testclient import TestClient

import api
from recommender.commands.version_gate import judge_lists, reason_of
from recommender.database import writing
from recommender.database.schema import products, ratings, recommendations
from recommender.publishing import Version, read_versions
from tests.steps.test_recommendation_engine import matrix_of
from tests.support.shop import fill, product_row
from tests.support.steps import Process, call

SCRIPT = "recommendation_engine.py"
IDS = [f"B{number:09d}" for number in range(12)]
USERS = range(1, 13)
# everybody has two of the twelve products, each of which two people have
STARS = {user: {IDS[user - 1]: 5.0, IDS[user % 12]: 4.0} for user in USERS}
MATRIX = matrix_of(STARS)


def version(number: int, users: int, n_rows: int, n: int = 10, people: str | None = None) -> Version:
    settings = {"users": users, "n": n} | ({"people": people} if people else {})
    return Version(number, dt.datetime(2026, 1, 31, tzinfo=dt.UTC), "", 24, settings, n_rows=n_rows)


PUBLISHED = version(6, users=10, n_rows=80)  # 8 rows a user


@pytest.mark.parametrize(
    ("new", "published", "enough"),
    [
        (version(7, 10, 0), None, False),  # the first version: nobody has a list
        (version(7, 10, 1), None, True),
        (version(7, 10, 40), PUBLISHED, True),  # 4 rows a user, half of 8
        (version(7, 10, 39), PUBLISHED, False),
        (version(7, 10, 15, n=3), PUBLISHED, True),  # 3 rows a user are asked for, half of them are 1.5
        (version(7, 10, 14, n=3), PUBLISHED, False),
        (version(7, 5, 20), PUBLISHED, True),  # a sample of 5 of the 12 users: half of 8 rows each
        (version(7, 5, 19), PUBLISHED, False),
        (version(7, 12, 48), PUBLISHED, True),  # all 12 users
        (version(7, 12, 47), PUBLISHED, False),
        (version(7, 12, 96), version(6, users=24, n_rows=192), True),  # all users, who are half as many as before
        (version(7, 12, 95), version(6, users=24, n_rows=192), False),
        (version(7, 12, 12, people="2-b"), version(6, users=24, n_rows=192, people="1-a"), True),  # of other people
        (version(7, 12, 12), version(6, users=0, n_rows=0), True),
    ],
)
def test_a_version_needs_half_of_the_rows_that_the_published_one_has_for_as_many_users(
    new: Version, published: Version | None, enough: bool
) -> None:
    judged, publish = judge_lists(new, published, matrix=MATRIX)
    assert (publish, reason_of(judged) == "") == (enough, enough)
    forced, publish = judge_lists(new, published, matrix=MATRIX, force=True)
    assert publish
    assert reason_of(forced) == reason_of(judged)
    if not enough:
        assert ((judged.metrics or {})["verdict"], (forced.metrics or {})["verdict"]) == ("refused", "forced")


@pytest.fixture
def step(engine: Engine, env: dict[str, str], tmp_path: Path) -> Any:
    """``step("--force")`` runs step 3 on a shop of twelve users and products."""
    fill(engine, STARS, IDS)
    return lambda *options: call(env | {"RANKING": "classic"}, tmp_path, SCRIPT, *options)


def of_other_ids(engine: Engine) -> None:
    """Put a catalog of other ids in the place of the products that people rated."""
    with writing(engine) as connection:
        connection.execute(delete(products))
        connection.execute(insert(products), [product_row(f"X{number:09d}") for number in range(12)])


def states(engine: Engine) -> list[tuple[int, str, int]]:
    return [(one.number, one.state, one.n_rows) for one in read_versions(engine)]


def rows(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(select(func.count()).select_from(recommendations)).scalar_one())


def only_line(done: Process) -> str:
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("warning")]
    return line


def test_a_version_without_any_list_does_not_replace_lists_unless_forced(step: Any, engine: Engine) -> None:
    assert step().returncode == 0
    before = rows(engine)
    assert before == 12 * 10  # everybody gets the ten products that he or she has not rated
    of_other_ids(engine)
    refused = step()
    assert refused.returncode == 3
    assert only_line(refused) == (
        "recommendation_engine.py: version 2 is kept, not published: none of its 12 users gets a list (0 of the 12 "
        "products in the ratings are in the catalog); run with --force to publish it anyway"
    )
    assert states(engine) == [(1, "published", before), (2, "kept", 0)]
    assert rows(engine) == before
    assert step("--if-stale").returncode == 0  # as after any refusal: the lists of this data are there, and kept
    forced = step("--if-stale", "--force")
    assert forced.returncode == 0
    assert "warning  published by --force: none of its 12 users gets a list" in forced.stderr
    assert (rows(engine), states(engine)[-1]) == (0, (3, "published", 0))


def test_a_first_version_without_any_list_is_kept_and_the_service_starts(
    step: Any, engine: Engine, env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    of_other_ids(engine)
    assert step().returncode == 3
    assert states(engine) == [(1, "kept", 0)]
    for name, value in (env | {"RANKING": "classic"}).items():
        monkeypatch.setenv(name, value)
    with TestClient(api.create_app()) as client:
        answer = client.get("/recommendations/1")
        assert (answer.status_code, answer.json()["recommendations"]) == (200, [])
        assert answer.headers["x-model-version"] == "none"


def test_far_fewer_lists_are_kept_with_the_figures(step: Any, engine: Engine) -> None:
    assert step("--users", "all").returncode == 0
    with writing(engine) as connection:
        connection.execute(delete(ratings).where(ratings.c.user_id > 5))
    refused = step("--users", "all")
    assert refused.returncode == 3
    # 5 users with 6 products among them, of which each has rated two
    assert "it has far fewer lists: 20 rows for 5 users; version 1, the published one, has 120 for 12" in only_line(
        refused
    )
    assert rows(engine) == 120
    assert step("--users", "all", "--force").returncode == 0
    assert rows(engine) == 20


def test_a_sample_of_few_users_is_published_after_lists_for_all(step: Any, engine: Engine) -> None:
    assert step("--users", "all").returncode == 0
    assert step("--users", "3").returncode == 0
    assert rows(engine) == 3 * 10
