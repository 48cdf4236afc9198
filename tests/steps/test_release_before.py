"""A database, tables and model file of the release before go on to work through the same four bare commands."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, text

import api
from recommender.database import connected, is_mysql
from recommender.errors import ModelFileError
from recommender.settings import load_settings
from tests.conftest import new_database
from tests.support.mariadb_server import MariaDBServer
from tests.support.release_before import FILE, HIGHEST, IDS, TEXTS, leave, leave_model_file
from tests.support.service import KEY, WITH_KEY, wait_until
from tests.support.steps import do, refuse, start

PRODUCTS = ["--products", "amazon_products.csv", "--categories", "amazon_categories.csv"]
SIZES = {"NUM_USERS": "12", "NUM_INTERACTIONS": "3", "NUM_RATINGS": "72"}
WIDE = {("amazon_products", "asin"), ("product_ratings", "product_id"), ("user_interactions", "product_id")}
_TABLES = {
    "amazon_products": "asin, title, price", "users": "*", "user_id_map": "*", "user_interactions": "*",
    "product_ratings": "*", "recommendations": "user_id, `rank`, product_id, predicted_rating, source",
    "model_versions": "version, state, fingerprint, n_ratings, n_rows, settings", "live_deletions": "*",
}  # fmt: skip


@pytest.fixture
def old(engine: Engine, env: dict[str, str], tmp_path: Path, kind: str) -> Engine:
    """The database of a shop of that kind."""
    leave(engine, tmp_path, kind)
    return engine


def steps(env: dict[str, str], folder: Path) -> list[str]:
    """What the first three commands print; the made-up shop's second one finds nothing to do."""
    said = [do(env, folder, "to_rds.py", *PRODUCTS), do(env | SIZES, folder, "load_recommendation_data.py")]
    return [*said, do(env, folder, "recommendation_engine.py")]


def state(engine: Engine) -> dict[str, Any]:
    """Every row but its times of making, and the shop's own view and index."""
    said: dict[str, Any] = {}
    with engine.connect() as connection:
        for table, columns in _TABLES.items():
            columns = columns if is_mysql(engine) else columns.replace("`", '"')
            rows = connection.execute(text(f"SELECT {columns} FROM {table}"))
            said[table] = sorted(tuple(map(str, row)) for row in rows)
        said["view"] = connection.execute(text("SELECT COUNT(*), COUNT(interaction_type) FROM ours_too")).one()[:]
        if is_mysql(engine):
            asked = text(
                "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = DATABASE() "
                "AND column_type = 'varchar(64)' AND collation_name = 'utf8mb4_bin' AND column_name <> 'table_name'"
            )
            said["wide"] = {(row[0], row[1]) for row in connection.execute(asked)}
            asked = text(
                "SELECT column_name FROM information_schema.statistics WHERE table_schema = DATABASE() "
                "AND index_name = 'ours' ORDER BY seq_in_index"
            )
        else:
            asked = text("SELECT name FROM pragma_index_info('ours') ORDER BY seqno")
        said["index"] = list(connection.execute(asked).scalars())
    return said


def service(env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> TestClient:
    for name, value in ({"MODEL_FILE": "", "API_KEY": KEY} | env).items():
        monkeypatch.setenv(name, value)
    return TestClient(api.create_app(), headers=WITH_KEY)


@pytest.mark.parametrize("kind", ["seed"])
def test_the_four_commands_go_on(
    old: Engine, env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = state(old)
    said = steps(env, tmp_path)
    assert "amazon_products: 16 loaded + 0 duplicates + 0 rejected" in said[0]
    assert "nothing to do: the tables hold exactly this already" in said[1]
    assert "72 ratings of 12 users on 16 products" in said[2]
    after = state(old)
    same = ["amazon_products", "users", "user_id_map", "user_interactions", "product_ratings", "view", "index"]
    assert {name: after[name] for name in same} == {name: before[name] for name in same}
    assert (after["view"], after["index"]) == ((72, 2), ["product_id", "rating"])
    if is_mysql(old):
        assert after["wide"] >= WIDE
    assert [row[:2] for row in after["model_versions"]] == [("1", "kept"), ("2", "published")]
    with service(env, monkeypatch) as client:
        listed = client.get("/recommendations/1").json()["recommendations"]
        assert [entry["product_id"] for entry in listed] == [row[2] for row in _listed(after, "1")]
        assert client.post("/ratings", json={"user_id": 0, "product_id": IDS[0], "rating": 5}).status_code == 201
        assert client.get("/recommendations/0").json()["user_id"] == 0
    assert "version 1 of 2024-01-31" in do(env, tmp_path, "recommendation_engine.py", "--rollback", "1")
    assert [row[4] for row in _listed(state(old), "1")] == ["neighbors"]


def _listed(found: dict[str, Any], user: str) -> list[tuple[str, ...]]:
    return sorted((row for row in found["recommendations"] if row[0] == user), key=lambda row: int(row[1]))


@pytest.mark.parametrize("kind", ["text"])
def test_a_shop_of_text_ids_keeps_its_numbers_and_speaks_its_texts(
    old: Engine, env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "--replace" in refuse(env, tmp_path, "load_recommendation_data.py")
    do(env, tmp_path, "recommendation_engine.py")
    found = state(old)
    assert {row[0] for row in found["recommendations"]} == set(TEXTS.values())
    with service(env, monkeypatch) as client:
        answer = client.get("/recommendations/C-0003").json()
        assert answer["user_id"] == "C-0003"
        assert [entry["product_id"] for entry in answer["recommendations"]] == [
            row[2] for row in _listed(found, "C-0003")
        ]
        assert client.get("/recommendations/3").status_code == 404
    refused = refuse(env, tmp_path, "recommendation_engine.py", "--rollback", "1")
    assert "version 1 is of an earlier release, which wrote inner numbers" in refused
    assert state(old)["recommendations"] == found["recommendations"]
    again = tmp_path / FILE
    again.write_text(again.read_text() + f"A-new one,{IDS[0]},5\n")
    do(env, tmp_path, "load_recommendation_data.py", "--ratings", FILE)
    with old.connect() as connection:
        rows = connection.execute(text("SELECT user_id, external_id FROM user_id_map ORDER BY user_id")).all()
    assert [tuple(row) for row in rows] == [*TEXTS.items(), (HIGHEST + 1, "A-new one")]


@pytest.mark.parametrize("kind", ["seed"])
def test_a_model_file_is_refused_with_the_command_that_makes_it_anew(
    old: Engine, env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "shop.model"
    leave_model_file(file)
    env |= {"MODEL_FILE": str(file)}
    command = "python recommendation_engine.py --save-model"
    with pytest.raises(ModelFileError, match=f"has format version '3', this .* reads 5: save it again with {command}"):
        service(env, monkeypatch).__enter__()
    do(env, tmp_path, "recommendation_engine.py", "--save-model")
    with service(env, monkeypatch) as client:
        assert client.get("/recommendations/1").headers["X-Model-Version"] == "2"


def test_a_step_that_is_killed_while_a_column_is_widened_ends_as_one_that_was_not(
    mariadb: MariaDBServer, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    found, last = [], "product_ratings"
    for killed in (True, False):
        folder = tmp_path / str(killed)
        folder.mkdir()
        with (
            new_database("mariadb", folder, request) as env,
            connected(load_settings(environ=env, env_file=folder / "no.env"), create=True) as engine,
        ):
            leave(engine, folder, "seed")
            if killed:
                _kill_while_it_waits_for(last, engine, env, folder, mariadb)
                assert (last, "product_id") not in state(engine)["wide"]
            steps(env, folder)
            found.append(state(engine))
    assert found[0] == found[1]
    assert found[0]["wide"] >= WIDE


def _kill_while_it_waits_for(
    table: str, engine: Engine, env: dict[str, str], folder: Path, mariadb: MariaDBServer
) -> None:
    """Kill step 1 when its ALTER has copied the rows of ``table`` and waits for a reader to let the table go."""
    asked = "SELECT state FROM information_schema.processlist WHERE db = %s AND info LIKE %s"
    with mariadb.connect() as watcher, watcher.cursor() as cursor, engine.connect() as reader:
        reader.execute(text(f"SELECT COUNT(*) FROM {table}")).scalar_one()

        def states() -> list[str]:
            cursor.execute(asked, (env["DB_NAME"], f"ALTER TABLE {table} MODIFY product_id %"))
            return [row[0] for row in cursor.fetchall()]

        with start(env, folder, "to_rds.py", *PRODUCTS) as process:
            wait_until(lambda: states() == ["Waiting for table metadata lock"])
            process.send_signal(signal.SIGKILL)
            process.communicate()
        wait_until(lambda: not states())  # the server notices it
