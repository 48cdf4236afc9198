"""Whatever keeps Spark from starting is one line, at once, and nothing is left behind."""

from __future__ import annotations

import gc
import platform
import socket
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from recommender.errors import DatabaseError, RecommenderError, SettingError, SparkError
from recommender.spark import session
from recommender.spark.causes import explained
from recommender.spark.one_version import of_one_version
from recommender.spark.session import (
    MARIADB_DRIVER,
    MYSQL_DRIVER,
    check_workers,
    jdbc_jar,
    package_version,
    spark_session,
)
from tests.conftest import ROOT
from tests.support.mariadb_server import free_port


def refused(master: str, **options: Any) -> str:
    """The one line of a session that does not start."""
    with pytest.raises(RecommenderError) as error, spark_session(master, **options):
        pass
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    "master",
    [
        "",
        "locale",
        "local[x]",
        "local[0]",
        "local[99999999999]",
        "local[2,0]",
        "spark://",
        "http://host:1",
        "spark://host",
        "spark://h:x",
    ],
)
def test_a_master_that_is_none_is_one_line(master: str) -> None:
    with (
        pytest.raises(SettingError, match="--spark '.*' is no master of Spark|is not HOST:PORT"),
        spark_session(master),
    ):
        pass


def forget_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process start another session; that of other tests may run in it."""
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    for name in ("_active_spark_context", "_gateway", "_jvm"):
        monkeypatch.setattr(SparkContext, name, None)
    monkeypatch.setattr(SparkSession, "_instantiatedSession", None)


def test_a_jvm_that_ends_while_it_starts_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """The words of its error are in the JVM, which cannot be asked any more."""
    forget_the_session(monkeypatch)
    monkeypatch.setattr("recommender.spark.session._check_master", lambda _master: None)
    assert refused("local[0]").startswith("--spark local[0]: Spark does not start (")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # pyspark leaves a pipe of the JVM open
def test_a_setting_of_the_site_that_spark_refuses_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    forget_the_session(monkeypatch)
    monkeypatch.setenv("SPARK_CONF_DIR", str(tmp_path))
    (tmp_path / "spark-defaults.conf").write_text("spark.submit.deployMode cluster\n")
    line = 'Spark does not start (Cluster deploy mode is not compatible with master "local")'
    assert line in refused("local[2]")
    gc.collect()


def test_a_master_that_cannot_be_reached_is_one_line() -> None:
    port = free_port()
    line = refused(f"spark://127.0.0.1:{port}")
    assert line == (
        f"--spark spark://127.0.0.1:{port}: no connection (127.0.0.1:{port}: Connection refused); "
        "check the address and that it runs"
    )
    assert "no connection (nowhere.invalid:7077: " in refused("spark://nowhere.invalid:7077")


def test_without_pyspark_the_line_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyspark", None)
    monkeypatch.setitem(sys.modules, "pyspark.sql", None)
    line = refused("local[2]")
    assert line.startswith("--spark: pyspark cannot be imported (")
    assert line.endswith("pip install -r requirements-spark.txt")


def test_without_java_or_with_an_old_one_the_line_says_which_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("pyspark")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    remedy = "apt-get install openjdk-17-jre-headless, or set JAVA_HOME to Java 17 or newer"
    assert refused("local[2]") == f"--spark needs Java, and there is no java on PATH: {remedy}"
    old = tmp_path / "bin" / "java"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    old.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    said = "'openjdk version \"11.0.2\" 2019-01-15'"
    assert refused("local[2]") == f"--spark: {old} says {said}, and Spark needs Java 17 or newer: {remedy}"


def test_a_jar_is_known_by_the_driver_it_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jar = tmp_path / "j.jar"
    for driver in (MARIADB_DRIVER, MYSQL_DRIVER, "org.other.Driver"):
        with zipfile.ZipFile(jar, "w") as archive:
            archive.writestr(f"{driver.replace('.', '/')}.class", "")
        if driver == "org.other.Driver":
            with pytest.raises(SparkError, match="holds neither org.mariadb.jdbc.Driver nor com.mysql.cj"):
                jdbc_jar(jar)
        else:
            assert jdbc_jar(jar) == (jar, driver)
    jar.write_text("no jar")
    with pytest.raises(SparkError, match=r"j.jar is not readable as a jar"):
        jdbc_jar(jar)
    with pytest.raises(SparkError, match="--jdbc-jar .*/nowhere.jar is no file"):
        jdbc_jar(tmp_path / "nowhere.jar")
    monkeypatch.setattr("recommender.spark.session.MARIADB_JAR", tmp_path / "nowhere.jar")
    with pytest.raises(SparkError, match="apt-get install libmariadb-java, or name a jar with --jdbc-jar"):
        jdbc_jar(None)


def test_the_version_of_the_package_differs_with_its_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "recommender").mkdir()
    (tmp_path / "recommender" / "a.py").write_text("x = 1\n")
    monkeypatch.setattr("recommender.spark.session.ROOT", tmp_path)
    before = package_version()
    assert package_version() == before
    (tmp_path / "recommender" / "a.py").write_text("x = 2\n")
    assert package_version() != before


def test_an_error_of_a_worker_is_its_own_line_and_another_one_its_last_cause(spark: Any) -> None:
    def ours(_rows: Any) -> Any:
        raise DatabaseError("MySQL database shop at db:3306 as me: access denied; check DB_USER")

    def theirs(_rows: Any) -> Any:
        return [1 // 0]

    for work, kind, line in (
        (ours, DatabaseError, "MySQL database shop at db:3306 as me: access denied; check DB_USER"),
        (theirs, SparkError, "Spark: ZeroDivisionError: integer division or modulo by zero; --verbose shows its log"),
    ):
        with pytest.raises(kind) as error, explained():
            spark.sparkContext.range(1).mapPartitions(work).collect()
        assert str(error.value) == line
    with pytest.raises(SparkError, match="^Spark: .*PATH_NOT_FOUND.*nowhere") as error, explained():
        spark.read.parquet("/nowhere")
    assert "\n" not in str(error.value)


def test_a_worker_with_another_package_or_python_is_one_line(spark: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    host, mine = socket.gethostname(), platform.python_version()
    context = spark.sparkContext
    check_workers(context)
    monkeypatch.setattr("recommender.spark.session.package_version", lambda: "of another release")
    with pytest.raises(SparkError) as error:
        check_workers(context)
    here = f"install this version at {ROOT} on every worker"
    assert str(error.value) == f"the worker on {host} has another version of this package: {here}"
    monkeypatch.setattr(context, "pythonExec", "/nowhere/python9")
    with pytest.raises(SparkError) as error, explained():
        check_workers(context)
    remedy = "set PYSPARK_PYTHON to a Python that all workers have"
    assert str(error.value) == f"Spark: a worker cannot run /nowhere/python9: {remedy}; --verbose shows its log"
    monkeypatch.undo()
    monkeypatch.setattr("recommender.spark.session.platform.python_version", lambda: "3.99.1")
    with pytest.raises(SparkError) as error:
        check_workers(context)
    same = "set PYSPARK_PYTHON to the same everywhere"
    assert str(error.value) == f"the worker on {host} has Python {mine}, this is 3.99.1: {same}"


def test_work_on_a_worker_that_came_later_with_another_package_is_one_line(
    spark: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def same(batches: Any) -> Any:
        return batches

    frame = spark.range(3, numPartitions=1)
    assert frame.mapInArrow(of_one_version(same), "id long").count() == 3
    monkeypatch.setattr("recommender.spark.one_version.version_here", lambda: "of another release")
    with pytest.raises(SparkError) as error, explained():
        frame.mapInArrow(of_one_version(same), "id long").count()
    here = f"install this version at {ROOT} on every worker"
    assert str(error.value) == f"the worker on {socket.gethostname()} has another version of this package: {here}"


def test_all_work_on_arrow_batches_asks_for_the_version() -> None:
    for file in (ROOT / "recommender" / "spark").rglob("*.py"):
        source = file.read_text()
        assert source.count(".mapInArrow(") == source.count(".mapInArrow(of_one_version("), file


def test_the_jars_of_the_site_stay_beside_the_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = tmp_path / "jdbc.jar"
    monkeypatch.setenv("SPARK_CONF_DIR", str(tmp_path))
    assert session._settings("local[2]", ours)["spark.jars"] == str(ours)
    defaults = ["# spark.jars /no.jar", "spark.jars.packages a:b:1", "spark.jars  /a.jar ", "spark.jars=/b.jar,/c.jar"]
    (tmp_path / "spark-defaults.conf").write_text("\n".join(defaults))
    assert session._settings("local[2]", ours)["spark.jars"] == f"/b.jar,/c.jar,{ours}"
    assert "spark.jars" not in session._settings("local[2]", None)
