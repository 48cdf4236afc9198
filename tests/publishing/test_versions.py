"""Versions of the lists are published, kept, rolled back to and expire; each is whole at any moment, also if killed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, select, text, update

import recommendation_engine as re
from recommender.database import around, existing_tables, writing
from recommender.database.own_tables import kept_table
from recommender.database.schema import model_versions, recommendations
from recommender.database.staging._mysql import ServerStage
from recommender.database.staging._sqlite import SqliteStage
from recommender.errors import ForeignDataError, UnknownVersionError
from recommender.publishing import BatchJob, Version, current_version, published_version, read_versions, roll_back
from recommender.ranking import ClassicRanking
from recommender.settings import Settings
from tests.support.published import write_lists
from tests.support.service import wait_until
from tests.support.shop import fill

A, B, C, D = (f"B00000000{letter}" for letter in "ABCD")
STARS = {1: {A: 5.0}, 2: {A: 5.0, B: 4.0, C: 5.0}, 3: {A: 1.0, B: 5.0}, 4: {D: 3.0}}


@pytest.fixture
def batch(engine: Engine) -> Callable[..., Version]:
    """``batch(users)`` publishes the lists of this many users and keeps three versions."""
    fill(engine, STARS, [A, B, C, D])
    matrix, similarity = re.load_model(engine)

    def run(users: int, keep: int = 3, publish: bool = True) -> Version:
        job = BatchJob(np.arange(users), 10, ClassicRanking(matrix, similarity, 20))
        return write_lists(engine, matrix, similarity, job, keep_versions=keep, publish=publish)

    return run


def served(engine: Engine, table: str = recommendations.name) -> list[int]:
    """The users with a list in the table."""
    with engine.connect() as connection:
        return sorted(connection.execute(text(f"SELECT DISTINCT user_id FROM {table}")).scalars())


def states(engine: Engine) -> dict[int, str]:
    return {version.number: version.state for version in read_versions(engine)}


def list_tables(engine: Engine) -> set[str]:
    return {name for name in existing_tables(engine) if name.startswith("recommendations")}


def test_a_batch_is_published_and_the_previous_one_is_kept_unchanged(
    engine: Engine, batch: Callable[..., Version]
) -> None:
    first, second = batch(4), batch(2)
    assert (first.number, second.number) == (1, 2)
    assert states(engine) == {1: "kept", 2: "published"}
    assert served(engine) == [1, 2]
    assert served(engine, kept_table(1)) == [1, 2, 3, 4]
    assert published_version(read_versions(engine)) == second


def test_a_version_records_the_data_and_settings_it_was_made_from(
    engine: Engine, batch: Callable[..., Version]
) -> None:
    made = batch(2)
    matrix, similarity = re.load_model(engine)
    noted = read_versions(engine)[0]
    assert noted == made == Version.from_dict(made.to_dict())
    ranking = ClassicRanking(matrix, similarity, 20)
    assert (noted.n_ratings, noted.fingerprint) == (
        7,
        BatchJob(np.arange(2), 10, ranking).fingerprint(around(engine, matrix)),
    )
    assert noted.settings == {"users": 2, "n": 10, "ranking": "classic", "n_neighbors": 20}
    with engine.connect() as connection:
        assert noted.n_rows == len(connection.execute(select(recommendations)).all())


def test_only_the_newest_versions_are_kept_and_the_expired_ones_stay_on_record(
    engine: Engine, batch: Callable[..., Version]
) -> None:
    for users in (1, 2, 3, 4, 1):
        batch(users)
    assert states(engine) == {1: "expired", 2: "expired", 3: "kept", 4: "kept", 5: "published"}
    assert list_tables(engine) == {"recommendations", kept_table(3), kept_table(4)}
    batch(2, keep=1)
    assert list_tables(engine) == {"recommendations"}


def test_a_roll_back_publishes_the_kept_lists_and_keeps_the_published_ones(
    engine: Engine, batch: Callable[..., Version]
) -> None:
    for users in (1, 2, 3):
        batch(users)
    assert roll_back(engine, 1).number == 1
    assert states(engine) == {1: "published", 2: "kept", 3: "kept"}
    assert (served(engine), served(engine, kept_table(3))) == ([1], [1, 2, 3])
    assert roll_back(engine, 1).number == 1  # it is published already
    assert roll_back(engine, 3).number == 3
    assert (served(engine), served(engine, kept_table(1))) == ([1, 2, 3], [1])
    assert list_tables(engine) == {"recommendations", kept_table(1), kept_table(2)}


def test_a_roll_back_to_a_missing_version_names_the_kept_ones(engine: Engine, batch: Callable[..., Version]) -> None:
    with pytest.raises(UnknownVersionError, match="version 1 cannot be published: no version is kept"):
        roll_back(engine, 1)
    for users in (1, 2, 3, 4):
        batch(users)
    for number in (1, 9):
        with pytest.raises(UnknownVersionError, match=f"version {number} cannot be published: those kept are 2, 3"):
            roll_back(engine, number)
    with writing(engine) as connection:
        connection.execute(text(f"DROP TABLE {kept_table(2)}"))
    with pytest.raises(UnknownVersionError, match="version 2 cannot be published"):
        roll_back(engine, 2)
    assert served(engine) == [1, 2, 3, 4]


def test_a_version_that_is_only_kept_does_not_change_the_published_lists(
    engine: Engine, batch: Callable[..., Version]
) -> None:
    batch(2)
    kept = batch(3, publish=False)
    assert (kept.number, kept.state) == (2, "kept")
    assert states(engine) == {1: "published", 2: "kept"}
    assert (served(engine), served(engine, kept_table(2))) == ([1, 2], [1, 2, 3])
    roll_back(engine, 2)
    assert served(engine) == [1, 2, 3]


def test_a_version_of_the_same_ratings_and_settings_is_found_if_readers_have_it_or_it_was_rolled_back(
    engine: Engine, batch: Callable[..., Version]
) -> None:
    one, two = batch(1), batch(2)
    assert current_version(engine, one.fingerprint, one.settings) is None  # other lists are published since
    roll_back(engine, 1)
    assert current_version(engine, one.fingerprint, one.settings) is not None
    assert current_version(engine, two.fingerprint, two.settings) is not None
    roll_back(engine, 2)
    assert current_version(engine, two.fingerprint, two.settings) == two
    assert current_version(engine, "other", two.settings) is None
    assert current_version(engine, two.fingerprint, dict(two.settings) | {"n": 9}) is None
    with writing(engine) as connection:
        connection.execute(text("DELETE FROM recommendations WHERE user_id = 1"))
        connection.execute(text(f"DROP TABLE {kept_table(1)}"))
    assert current_version(engine, two.fingerprint, two.settings) is None
    assert current_version(engine, one.fingerprint, one.settings) is None


def test_a_run_killed_at_the_swap_changes_nothing_and_the_next_one_cleans_up(
    engine: Engine, batch: Callable[..., Version], monkeypatch: pytest.MonkeyPatch
) -> None:
    for users in (1, 2, 3):
        batch(users)
    before = (states(engine), served(engine), list_tables(engine))

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    for stage_class in (ServerStage, SqliteStage):
        monkeypatch.setattr(stage_class, "_swap", killed)
    with pytest.raises(KeyboardInterrupt):
        batch(4)
    with pytest.raises(KeyboardInterrupt):
        roll_back(engine, 1)
    monkeypatch.undo()
    assert (states(engine), served(engine), list_tables(engine)) == before
    # killed between the renaming and the dropping: the expired lists are still there
    with writing(engine) as connection:
        connection.execute(update(model_versions).where(model_versions.c.version == 1).values(state="expired"))
    batch(4)
    assert kept_table(1) not in existing_tables(engine)


def test_a_reader_sees_one_whole_version_while_others_are_published(
    engine: Engine, batch: Callable[..., Version]
) -> None:
    sizes = {users: batch(users).n_rows for users in (1, 4)}
    seen, done = [], threading.Event()

    def read() -> None:
        while not done.is_set():
            with engine.connect() as connection:
                seen.append(connection.execute(text("SELECT COUNT(*) FROM recommendations")).scalar_one())

    reader = threading.Thread(target=read)
    reader.start()
    for users in (1, 4, 1, 4):
        batch(users)
        roll_back(engine, read_versions(engine)[-2].number)
    wait_until(lambda: len(seen) > 5)
    done.set()
    reader.join()
    assert set(seen) <= set(sizes.values())


def test_a_table_of_versions_that_somebody_else_wrote_to_is_refused(
    engine: Engine, batch: Callable[..., Version]
) -> None:
    batch(1)
    with writing(engine) as connection:
        connection.execute(update(model_versions).values(settings="no json"))
    with pytest.raises(ForeignDataError, match="model_versions holds a row that is not ours"):
        batch(1)
    assert served(engine) == [1]


def test_the_script_lists_versions_rolls_back_and_refuses_unknown_versions(
    engine: Engine,
    batch: Callable[..., Version],
    settings: Settings,
    env: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert re.main(["--list-versions"]) == 0
    assert capsys.readouterr().out == "no version yet: python recommendation_engine.py makes one\n"
    batch(1)
    batch(2)
    assert re.main(["--rollback", "1"]) == 0
    assert capsys.readouterr().out.startswith("version 1 of 20")
    assert re.main(["--list-versions"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines.pop(0)[:2] == ["version", "state"]
    assert [line[:2] for line in lines] == [["2", "kept"], ["1", "published"]]
    assert re.main(["--rollback", "5"]) == 1
    assert capsys.readouterr().err == ("recommendation_engine.py: version 5 cannot be published: those kept are 2\n")
    assert re.main(["--if-stale", "--users", "2"]) == 0
    assert "batch    unchanged: version 2 (kept) holds the lists" in capsys.readouterr().out


def test_lists_for_all_are_made_again_after_a_batch_for_fewer(
    env: dict[str, str], engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(engine, STARS, [A, B, C, D])
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    for users in ("all", "1", "all", "all"):
        assert re.main(["--users", users, "--if-stale"]) == 0
    assert states(engine) == {1: "kept", 2: "kept", 3: "published"}
