"""The reason of an empty list is true."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.support.shop import fill
from tests.support.steps import call

A, B, C, D = (f"B00000000{letter}" for letter in "ABCD")
SHARES = "other users share a product with this one"


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize("ranking", ["classic", "taste"])
@pytest.mark.parametrize(
    ("stars", "catalog", "reason"),
    [
        ({1: {A: 5.0}, 2: {B: 5.0, C: 4.0}}, [A, B, C], "no other user shares a product with this one"),
        # found: three users share it, and none of their products is in the catalog
        ({1: {A: 5.0}} | {user: {A: 4.0, B: 5.0} for user in (2, 3, 4)}, [C, D],
         f"3 {SHARES}, and none of their other products is in the catalog"),
        ({1: {A: 5.0, B: 4.0}, 2: {A: 4.0}, 3: {B: 1.0}, 4: {C: 5.0}}, [A, B, C],
         f"2 {SHARES}, and have no other product"),
        ({1: {A: 5.0}, 2: {A: 4.0, B: 3.0}}, [A],
         "one other user shares a product with this one, and none of their other products is in the catalog"),
    ],
    ids=["nobody", "not in the catalog", "nothing else", "one user"],
)  # fmt: skip
def test_the_reason_of_an_empty_list_is_true(
    engine: Engine,
    env: dict[str, str],
    tmp_path: Path,
    ranking: str,
    stars: dict[int, dict[str, float]],
    catalog: list[str],
    reason: str,
) -> None:
    fill(engine, stars, catalog)
    done = call(env, tmp_path, "recommendation_engine.py", "--ranking", ranking, "--user", "1", "--force")
    assert done.returncode == 0, done.stderr
    assert f"Recommendations for user 1:\n  none: {reason}\n" in done.stdout


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_user_of_the_table_users_who_has_no_ratings_is_told_so(
    engine: Engine, env: dict[str, str], tmp_path: Path
) -> None:
    fill(engine, {1: {A: 5.0}, 2: {A: 4.0, B: 3.0}, 3: {}}, [A, B])
    done = call(env, tmp_path, "recommendation_engine.py", "--user", "3", "--ranking", "classic")
    assert done.returncode == 1
    assert done.stderr == (
        "recommendation_engine.py: user 3 is unknown: the matrix has those who rated a product, and by taste those "
        "with an interaction\n"
    )


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_nearest_users_without_another_product_are_the_reason(
    engine: Engine, env: dict[str, str], tmp_path: Path
) -> None:
    fill(engine, {1: {A: 5.0}, 2: {A: 4.0}, 3: {A: 1.0, B: 5.0}}, [A, B])
    options = ("--ranking", "classic", "--user", "1", "--top-n-similar-users", "1", "--force")
    done = call(env, tmp_path, "recommendation_engine.py", *options)
    assert f"  none: 2 {SHARES}, and the ranking finds none of their other products for this one\n" in done.stdout
