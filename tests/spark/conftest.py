"""One Spark session on this machine for all tests that can share it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from recommender.spark.session import MARIADB_JAR, spark_session
from tests.support.spark_cluster import QUICK_START


def require_spark() -> None:
    """Skip the test with the reason if there is no pyspark, Java or driver; with CI=true, fail."""
    there = {
        "pyspark: pip install -r requirements-spark.txt": find_spec("pyspark") is not None,
        "java on PATH: apt-get install openjdk-17-jre-headless": shutil.which("java") is not None,
        f"{MARIADB_JAR}: apt-get install libmariadb-java": MARIADB_JAR.is_file(),
    }
    reasons = [f"no {what}" for what, found in there.items() if not found]
    if reasons and os.environ.get("CI") == "true":
        pytest.fail("; ".join(reasons))
    if reasons:
        pytest.skip("; ".join(reasons))


@pytest.fixture(scope="session")
def spark_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with Spark's settings of these tests, as a site has one: small, and without web page."""
    folder = tmp_path_factory.mktemp("spark-settings")
    lines = {
        "spark.ui.enabled": "false",
        "spark.driver.memory": "1g",
        "spark.driver.extraJavaOptions": QUICK_START,
        "spark.executor.extraJavaOptions": QUICK_START,
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.local.dir": folder / "local",
        "spark.sql.warehouse.dir": folder / "warehouse",
    }
    (folder / "spark-defaults.conf").write_text("".join(f"{name} {value}\n" for name, value in lines.items()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARK_CONF_DIR", str(folder))
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        yield folder


@pytest.fixture(scope="session")
def spark(spark_settings: Path) -> Iterator[Any]:
    """A session on two threads of this machine."""
    require_spark()
    with spark_session("local[2]", jar=MARIADB_JAR) as spark:
        yield spark


@pytest.fixture
def on_this_session(spark: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the script use the session of the tests, which has started already."""

    @contextmanager
    def there(*_arguments: Any, **_options: Any) -> Any:
        yield spark

    monkeypatch.setattr("recommender.commands.spark_batch.spark_session", there)


def table(engine: Engine) -> list[tuple[Any, ...]]:
    """All rows of the lists, without the time."""
    columns = "user_id, `rank`, product_id, product_name, predicted_rating, source, support, n_neighbors"
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(f"SELECT {columns} FROM recommendations ORDER BY 1, 2"))]
