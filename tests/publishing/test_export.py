"""The file of the published lists equals the table, in every form."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from datetime import UTC
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pa_parquet
import pytest
from sqlalchemy import Engine, select, update

import recommendation_engine as re
from recommender.database import writing
from recommender.database.schema import recommendations
from recommender.errors import SettingError
from recommender.publishing import BatchJob, Version, export, export_lists, roll_back
from recommender.ranking import ClassicRanking
from tests.support.published import write_lists
from tests.support.shop import fill

A, B, C, D = (f"B00000000{letter}" for letter in "ABCD")
STARS = {1: {A: 5.0}, 2: {A: 5.0, B: 4.0, C: 5.0}, 3: {A: 1.0, B: 5.0}, 4: {D: 3.0}}
NAMES = {A: '=1+1, "quoted"\r\nsecond line', B: None, C: "Größe 5 🧤", D: "-2"}

Publish = Callable[[int], Version]


@pytest.fixture
def publish(engine: Engine) -> Publish:
    """``publish(users)`` publishes the lists of this many users, of products with odd names."""
    fill(engine, STARS, list(NAMES))
    matrix, similarity = re.load_model(engine)

    def run(users: int) -> Version:
        job = BatchJob(np.arange(users), 10, ClassicRanking(matrix, similarity, 20))
        version = write_lists(engine, matrix, similarity, job, keep_versions=3)
        with writing(engine) as connection:
            for product, name in NAMES.items():
                named = update(recommendations).where(recommendations.c.product_id == product)
                connection.execute(named.values(product_name=name))
        return version

    return run


def table(engine: Engine) -> list[dict[str, Any]]:
    """The rows of the table, in the order of users and ranks."""
    ordered = select(recommendations).order_by(recommendations.c.user_id, recommendations.c["rank"])
    with engine.connect() as connection:
        rows = [dict(row) for row in connection.execute(ordered).mappings()]
    return [row | {"generated_at": row["generated_at"].replace(tzinfo=UTC)} for row in rows]


def as_texts(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"generated_at": f"{row['generated_at'].replace(tzinfo=None).isoformat(timespec='microseconds')}Z"}


@pytest.mark.parametrize("block", [50_000, 2])
def test_each_form_holds_the_rows_of_the_table(
    engine: Engine, publish: Publish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(export, "BLOCK_ROWS", block)
    publish(4)
    rows = table(engine)
    assert {row["product_name"] for row in rows} == set(NAMES.values())
    assert any(row["support"] is None for row in rows)  # from popular
    files = {form: tmp_path / f"lists.{form}" for form in ("parquet", "csv", "jsonl")}
    for file in files.values():
        assert export_lists(engine, file) == (1, len(rows))
    assert pa_parquet.read_table(files["parquet"]).to_pylist() == rows
    assert [json.loads(line) for line in files["jsonl"].read_bytes().splitlines()] == [as_texts(row) for row in rows]
    with files["csv"].open(encoding="utf-8", newline="") as opened:
        read = list(csv.DictReader(opened))
    assert [dict(row) for row in read] == [
        {name: "" if value is None else _number(value) for name, value in as_texts(row).items()} for row in rows
    ]


def _number(value: Any) -> str:
    return str(value).removesuffix(".0")


def test_the_script_writes_the_published_version_and_not_the_newest(
    engine: Engine, publish: Publish, env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    publish(4)
    of_first = table(engine)
    publish(1)
    roll_back(engine, 1)
    file = tmp_path / "lists.jsonl"
    assert re.main(["--export", str(file)]) == 0
    assert capsys.readouterr().out.startswith(f"export   {file}: {len(of_first)} rows of version 1, 0.0 MB")
    assert [json.loads(line) for line in file.read_bytes().splitlines()] == [as_texts(row) for row in of_first]


def test_a_name_of_another_form_is_refused_before_the_database_is_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("DB_HOST", "127.0.0.1")
    monkeypatch.setenv("DB_PORT", "1")
    assert re.main(["--export", "lists.xlsx"]) == 1
    told = "--export lists.xlsx: the name must end with .parquet, .csv, .jsonl, which says what is written\n"
    assert capsys.readouterr().err == f"recommendation_engine.py: {told}"


def test_without_a_version_the_error_names_the_step(
    engine: Engine, env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    fill(engine, STARS, list(NAMES))
    assert re.main(["--export", str(tmp_path / "lists.csv")]) == 1
    error = capsys.readouterr().err
    assert error.endswith(": no version is published: run python recommendation_engine.py first\n")
    assert not list(tmp_path.glob("*lists*"))


def test_an_old_file_stays_if_the_new_one_cannot_be_written(
    engine: Engine, publish: Publish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(4)
    file = tmp_path / "lists.parquet"
    export_lists(engine, file)
    before = file.read_bytes()

    def full(*_arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pa_parquet.ParquetWriter, "write_batch", full)
    with pytest.raises(SettingError, match=r"lists\.parquet cannot be written \(No space left on device\)"):
        export_lists(engine, file)
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.glob("*lists*")] == ["lists.parquet"]


def test_a_version_without_lists_is_an_empty_file_with_all_columns(
    engine: Engine, publish: Publish, tmp_path: Path
) -> None:
    publish(1)
    with writing(engine) as connection:
        connection.execute(recommendations.delete())
    file = tmp_path / "lists.parquet"
    assert export_lists(engine, file) == (1, 0)
    assert pa_parquet.read_table(file).column_names == recommendations.columns.keys()
