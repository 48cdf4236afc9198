"""The model file between the scripts that write it and the service that answers from it."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, insert

import api
import recommendation_engine as re
from recommender.database import connect, writing
from recommender.database.schema import users
from recommender.publishing import kept_file, open_model, read_versions
from recommender.ranking import RANKINGS
from recommender.settings import load_settings
from tests.publishing.test_version_files import NOT_OURS, names_in, number_in
from tests.service.test_api import CATALOG, NO_RATINGS, STARS, fetch, serve, wait_for
from tests.support.mariadb_server import free_port
from tests.support.published import model_of
from tests.support.saved_model import everything
from tests.support.service import wait_until
from tests.support.shop import WHEN, fill


@pytest.fixture
def shop(engine: Engine, env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Engine:
    """A shop in the database of the environment."""
    fill(engine, STARS, CATALOG)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    return engine


def test_versions_of_the_model_file_follow_the_versions_of_the_lists(
    shop: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "models" / "model.rec"
    file.parent.mkdir()
    monkeypatch.setenv("MODEL_FILE", str(file))
    for name in NOT_OURS:
        (file.parent / name).write_text("somebody's own")
    for users_of in ("1", "2", "3", "4"):
        assert re.main(["--save-model", "--users", users_of, "--keep-versions", "3"]) == 0
    out = capsys.readouterr().out
    assert f"model    {file}, 0.0 MB, version 4, in" in out
    kept = ["model.rec.v2", "model.rec.v3", "model.rec.v4"]
    assert names_in(file.parent) == sorted([*NOT_OURS, "model.rec", *kept])
    assert number_in(file) == 4

    assert re.main(["--rollback", "2"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"model    {file}: version 2"
    assert (number_in(file), file.samefile(kept_file(file, 2))) == (2, True)

    kept_file(file, 3).unlink()
    assert re.main(["--rollback", "3"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"model    {file} stays as it is: model.rec.v3 is not there"
    assert number_in(file) == 2

    before = names_in(file.parent)
    assert re.main(["--rollback", "1"]) == 1  # expired
    assert capsys.readouterr().err.startswith("recommendation_engine.py: version 1 cannot be published")
    assert (number_in(file), names_in(file.parent)) == (2, before)


def test_a_file_named_on_the_command_line_needs_no_setting(
    shop: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MODEL_FILE", "")
    monkeypatch.chdir(tmp_path)
    assert re.main(["--save-model", "here.rec"]) == 0
    made = open_model(tmp_path / "here.rec")[1]
    assert (made.number, made.n_ratings) == (1, 8)
    assert re.main(["--save-model", "here.rec", "--if-stale"]) == 0  # the same version, saved again
    assert open_model(tmp_path / "here.rec")[1] == made
    capsys.readouterr()
    assert re.main(["--rollback", "1"]) == 0  # without the setting there is no file to roll back
    assert "model    " not in capsys.readouterr().out


def test_saving_without_a_name_and_a_setting_is_refused_in_one_line(
    shop: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MODEL_FILE", "")
    assert re.main(["--save-model"]) == 1
    assert read_versions(shop) == []  # told before the work, not after
    expected = "--save-model without a name needs the setting MODEL_FILE: give one of them"
    assert capsys.readouterr().err == f"recommendation_engine.py: {expected}\n"


def test_a_file_that_cannot_be_written_is_one_line(
    shop: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "no such folder" / "model.rec"
    assert re.main(["--save-model", str(file)]) == 1
    assert read_versions(shop) == []  # told before the work, not after
    expected = f"--save-model {file}: the folder {file.parent} does not exist; make it or name another"
    assert capsys.readouterr().err == f"recommendation_engine.py: {expected}\n"


@pytest.mark.parametrize("ranking", RANKINGS)
def test_the_file_holds_the_ratings_of_the_database_at_its_saving(
    shop: Engine, tmp_path: Path, ranking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANKING", ranking)
    with writing(shop) as connection:
        connection.execute(insert(users), [{"user_id": NO_RATINGS, "created_at": WHEN}])
    assert re.main(["--save-model", str(tmp_path / "model.rec")]) == 0
    opened, version = open_model(tmp_path / "model.rec")
    matrix, similarity = re.load_model(shop, ranking=ranking)
    facts: dict[str, Any] = {"n_neighbors": 20, "built_at": version.made_at, "ranking": ranking, "version": 1}
    assert everything(opened) == everything(model_of(shop, matrix, similarity, **facts))
    assert [version] == read_versions(shop)


@pytest.fixture(scope="module")
def sold(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The model file of a shop, and the environment with its embedded database."""
    folder = tmp_path_factory.mktemp("sold")
    env = {"DB_HOST": "", "SQLITE_FILE": str(folder / "shop.db"), "MODEL_FILE": ""}
    engine = connect(load_settings(environ=env, env_file=folder / "no.env"), create=True)
    fill(engine, STARS, CATALOG)
    with writing(engine) as connection:
        connection.execute(insert(users), [{"user_id": NO_RATINGS, "created_at": WHEN}])
    engine.dispose()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        assert re.main(["--save-model", str(folder / "model.rec")]) == 0
    return folder / "model.rec", env


def test_the_service_answers_from_the_file_while_the_database_is_down(
    sold: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, env = sold
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    paths = [f"/recommendations/{user}{limit}" for user in (*STARS, NO_RATINGS) for limit in ("", "?limit=2")]
    paths += ["/recommendations/4711", "/recommendations/0"]
    with TestClient(api.create_app()) as client:
        expected = {path: (client.get(path).status_code, client.get(path).json()) for path in paths}
        healthy = client.get("/health").json()
    assert (healthy["status"], healthy["users"], healthy["products"], healthy["ratings"]) == ("ok", 6, 5, 8)
    port, made_at = free_port(), open_model(file)[1].made_at
    down = {"DB_HOST": "127.0.0.1", "DB_PORT": str(free_port()), "DB_PASSWORD": "s3cret!", "MODEL_FILE": str(file)}
    with serve(env | down, port) as server:
        try:
            wait_for(port, server)
            address = f"http://127.0.0.1:{port}"
            assert {path: fetch(address + path) for path in paths} == expected
            built = {"status": "degraded", "model_built_at": f"{made_at:%Y-%m-%dT%H:%M:%SZ}"}
            status, health = fetch(f"{address}/health")
            assert health.pop("degraded_since")
            assert health.pop("reason") == "the database does not answer"
            for counted in (health, healthy):
                assert counted.pop("changes_seen_at")
            assert (status, health) == (200, healthy | built)
        finally:
            server.terminate()
        output = server.communicate(timeout=60)[0]
    assert "Application shutdown complete." in output
    assert "Traceback" not in output
    assert "s3cret!" not in output


def test_a_service_with_a_file_says_ok_once_the_database_answers(
    sold: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, env = sold
    for name, value in (env | {"MODEL_FILE": str(file)}).items():
        monkeypatch.setenv(name, value)
    app = api.create_app()
    with TestClient(app) as client:
        wait_until(lambda: client.get("/health").json()["status"] == "ok")
        assert client.get("/recommendations/1").status_code == 200
        assert app.state.model is not None
        assert app.state.model.version == 1


def test_a_service_whose_file_cannot_be_used_does_not_start_and_says_why_in_one_line(
    sold: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    whole, missing, cut = sold[0].read_bytes(), tmp_path / "missing.rec", tmp_path / "cut.rec"
    cut.write_bytes(whole[:-1])
    reasons = {missing: "does not exist: python recommendation_engine.py", cut: "is truncated or no model file ("}
    with ExitStack() as stack:  # both at once: the imports take most of the time
        servers = {
            file: stack.enter_context(serve(sold[1] | {"MODEL_FILE": str(file)}, free_port())) for file in reasons
        }
        for file, server in servers.items():
            output = server.communicate(timeout=60)[0]
            assert server.returncode != 0
            (line,) = [line for line in output.splitlines() if str(file) in line]
            assert f"api.py: {file} {reasons[file]}" in line
            assert "Traceback" not in output
