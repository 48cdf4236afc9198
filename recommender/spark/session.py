"""The Spark session of a batch: started quietly, checked before any work, stopped at the end.

What is missing or wrong is one line that says what to install, set or mend. The JVM and the Python workers write their
logs into a temporary file; ``verbose`` lets them through. The database's password never is a setting of Spark, since
settings show in its web page and in its event log.

The workers run this package's own compiled code, so each needs the same Python and the same version of the package,
best at the same path. A first tiny job compares both.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from recommender.errors import SettingError, SparkError
from recommender.spark.causes import cause_in, explained

if TYPE_CHECKING:
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

MARIADB_JAR = Path("/usr/share/java/mariadb-java-client.jar")  # of Debian's libmariadb-java
MARIADB_DRIVER, MYSQL_DRIVER = "org.mariadb.jdbc.Driver", "com.mysql.cj.jdbc.Driver"
JAVA = 17  # the oldest that Spark 4 runs on
CONNECT_WAIT = 5.0  # seconds for a master to accept a connection
EXECUTOR_WAIT = {"spark": 60.0}  # seconds for the first executor; a queue of YARN or Kubernetes may take longer
LONG_WAIT = 600.0
ROOT = Path(__file__).resolve().parents[2]
_MASTER = re.compile(r"local(\[([1-9]\d{0,3}|\*)(, *[1-9]\d{0,3})?\])?|spark://[^/]+|yarn|k8s://.+")
_PANDAS = "PySpark does not yet fully support pandas"  # no part of pandas is used here

Told = Callable[[str], object]


@contextmanager
def spark_session(
    master: str, *, jar: Path | None = None, verbose: bool = False, wait: float | None = None
) -> Iterator[SparkSession]:
    """Yield a session on ``master``, whose workers have been checked; stop it at the end.

    ``jar``: the JDBC driver that executors load. ``verbose``: show Spark's log. ``wait``: seconds for the first
    executor. Raises SettingError for a master that is none, SparkError for whatever else stops the start. Errors of
    Spark inside the block become a SparkError of one line, or the error of this project that a worker raised.
    """
    _check_master(master)
    pyspark = _pyspark()
    _check_java()
    with warnings.catch_warnings(), tempfile.TemporaryFile() as log:
        warnings.filterwarnings("ignore", message=_PANDAS, category=FutureWarning)
        output = None if verbose else log
        with _python_of_workers():
            context = _started(pyspark, master, jar, output, log)
        try:
            with explained(verbose=verbose):
                _wait_for_executors(context, master, wait)
                check_workers(context)
                yield pyspark.sql.SparkSession(context)
        finally:
            _stop(context)


def jdbc_jar(given: Path | None) -> tuple[Path, str]:
    """Return the file of the JDBC driver and the name of its class: by default MariaDB's of Debian. SparkError."""
    file = (given or MARIADB_JAR).absolute()
    if not file.is_file():
        if given is not None:
            raise SparkError(f"--jdbc-jar {given} is no file: name the jar of MariaDB Connector/J or MySQL Connector/J")
        raise SparkError(
            f"no JDBC driver: {file} is missing: apt-get install libmariadb-java, or name a jar with --jdbc-jar"
        )
    try:
        with zipfile.ZipFile(file) as archive:
            held = set(archive.namelist())
    except (OSError, zipfile.BadZipFile):
        raise SparkError(f"--jdbc-jar {file} is not readable as a jar: name that of MariaDB Connector/J") from None
    for driver in (MARIADB_DRIVER, MYSQL_DRIVER):
        if f"{driver.replace('.', '/')}.class" in held:
            return file, driver
    raise SparkError(f"--jdbc-jar {file} holds neither {MARIADB_DRIVER} nor {MYSQL_DRIVER}: name one that does")


def package_version() -> str:
    """Return a digest of this package's source, which two machines have in common if they run the same version."""
    digest = hashlib.blake2b(digest_size=8)
    package = ROOT / "recommender"
    for file in sorted(package.rglob("*.py")):
        digest.update(f"{file.relative_to(package)}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _check_master(master: str) -> None:
    if not _MASTER.fullmatch(master):
        known = "local[2], spark://host:7077, yarn or k8s://https://host:port"
        raise SettingError(f"--spark {master[:200]!r} is no master of Spark: give one such as {known}")
    if not master.startswith("spark://"):
        return
    reasons = []
    for place in master.removeprefix("spark://").split(","):
        host, _, port = place.rpartition(":")
        if not (host and port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
            raise SettingError(
                f"--spark {master[:200]!r}: {place[:100]!r} is not HOST:PORT, such as spark.example:7077"
            )
        try:
            socket.create_connection((host.strip("[]"), int(port)), CONNECT_WAIT).close()
            return
        except (OSError, UnicodeError) as error:
            reasons.append(f"{place}: {getattr(error, 'strerror', None) or error}")
    raise SparkError(f"--spark {master}: no connection ({'; '.join(reasons)}); check the address and that it runs")


def _pyspark() -> Any:
    try:
        import pyspark.sql
    except ImportError as error:
        reason = f"pyspark cannot be imported ({error})"
        raise SparkError(f"--spark: {reason}: pip install -r requirements-spark.txt") from None
    return pyspark


def _check_java() -> None:
    home = os.environ.get("JAVA_HOME")
    program = shutil.which("java", path=f"{home}/bin") if home else shutil.which("java")
    remedy = f"apt-get install openjdk-{JAVA}-jre-headless, or set JAVA_HOME to Java {JAVA} or newer"
    if program is None:
        where = f"no bin/java in JAVA_HOME={home}" if home else "no java on PATH"
        raise SparkError(f"--spark needs Java, and there is {where}: {remedy}")
    try:
        told = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=60, check=False).stderr
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SparkError(f"--spark: {program} does not run ({type(error).__name__}): {remedy}") from None
    found = re.search(r'version "(\d+)', told)
    if found is None or int(found[1]) < JAVA:
        said = told.strip().splitlines() or ["nothing"]
        raise SparkError(f"--spark: {program} says {said[0][:200]!r}, and Spark needs Java {JAVA} or newer: {remedy}")


@contextmanager
def _python_of_workers() -> Iterator[None]:
    """Let the workers run this Python, unless PYSPARK_PYTHON names theirs."""
    set_here = "PYSPARK_PYTHON" not in os.environ
    if set_here:
        os.environ["PYSPARK_PYTHON"] = sys.executable
    try:
        yield
    finally:
        if set_here:
            del os.environ["PYSPARK_PYTHON"]


def _settings(master: str, jar: Path | None) -> dict[str, str]:
    """Return what this batch needs of Spark. All else is as the site has set it (``SPARK_CONF_DIR``)."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    found = {
        "spark.master": master,
        "spark.app.name": "product recommendations",
        "spark.log.level": "ERROR",
        "spark.driver.maxResultSize": "0",  # what comes to the driver is bounded by the catalog
        "spark.ui.showConsoleProgress": "false",
        "spark.executorEnv.PYTHONPATH": path,
        "spark.python.daemon.module": "recommender.spark.daemon",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.python.unix.domain.socket.enabled": "true",  # over TCP each task waits 40 ms for a delayed ACK
        "spark.python.unix.domain.socket.dir": "/tmp",  # the default, a folder of YARN, may have too long a path
        # with another one for frames than for RDDs, an executor would start the daemon twice
        "spark.sql.execution.pyspark.udf.simplifiedTraceback.enabled": "false",
    }
    return found | ({"spark.jars": ",".join([*_jars_of_site(), str(jar)])} if jar else {})


def _jars_of_site() -> list[str]:
    """Return ``spark.jars`` of ``spark-defaults.conf``, which ours would replace: those of a file system, as s3a."""
    from pyspark.find_spark_home import _find_spark_home

    folder = os.environ.get("SPARK_CONF_DIR") or Path(_find_spark_home(), "conf")
    file = Path(folder, "spark-defaults.conf")
    said = file.read_text(errors="replace") if file.is_file() else ""
    return re.findall(r"^\s*spark\.jars[\s=:]+(\S.*?)\s*$", said, re.M)[-1:]


def _started(pyspark: Any, master: str, jar: Path | None, output: IO[bytes] | None, log: IO[bytes]) -> SparkContext:
    """Start the JVM and a context in it. SparkError with the last cause that the log names."""
    from pyspark.java_gateway import launch_gateway

    if pyspark.SparkContext._active_spark_context is not None:
        raise SparkError("--spark: a Spark session runs in this process already: stop it first")
    conf = pyspark.SparkConf(False)
    conf.setAll(list(_settings(master, jar).items()))
    gateway = None
    try:
        gateway = launch_gateway(  # type: ignore[no-untyped-call]
            conf, {"stdout": output, "stderr": output}
        )
        context: SparkContext = pyspark.SparkContext(conf=conf, gateway=gateway)
    except Exception as error:
        _forget(gateway)
        log.seek(0)
        reason = cause_in(error) or type(error).__name__
        if "JAVA_GATEWAY_EXITED" in reason:  # it tells no cause
            reason = _last_cause(log.read().decode(errors="replace")) or reason
        raise SparkError(f"--spark {master}: Spark does not start ({reason}); --verbose shows its log") from None
    return context


def _last_cause(log: str) -> str:
    """Return the last error in a log of the JVM; empty without one."""
    found = re.findall(
        r"^(?:Caused by: |Exception in thread \S+ )?(?:[\w$]+\.)+\w*(?:Exception|Error): (.+)$", log, re.M
    )
    found += re.findall(r"^Error: (.+)$", log, re.M)
    return str(found[-1])[:300] if found else ""


def _stop(context: SparkContext) -> None:
    gateway = context._gateway
    with suppress(Exception):  # a JVM that died has nothing to stop
        context.stop()
    _forget(gateway)


def _forget(gateway: Any) -> None:
    """End the JVM, so that the next session of this process starts one with its own jars and log."""
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    SparkContext._gateway = SparkContext._jvm = SparkContext._active_spark_context = None
    SparkSession._instantiatedSession = None
    if gateway is None:
        return
    with suppress(Exception):
        gateway.shutdown()
    process = getattr(gateway, "proc", None)
    if process is not None:
        process.stdin.close()  # the JVM ends when its standard input does
        with suppress(subprocess.TimeoutExpired):
            process.wait(30)


def _wait_for_executors(context: SparkContext, master: str, wait: float | None) -> None:
    """Wait until the cluster has given the first executor. SparkError."""
    if master.startswith("local"):
        return
    seconds = wait if wait is not None else EXECUTOR_WAIT.get(master.partition(":")[0], LONG_WAIT)
    deadline = time.monotonic() + seconds
    tracker: Any = context._jsc.sc().statusTracker()
    while len(tracker.getExecutorInfos()) < 2:  # the driver is one
        if time.monotonic() > deadline:
            lacking = "does the master answer, and has it workers with a free core and spark.executor.memory to spare?"
            raise SparkError(f"--spark {master}: no executor came within {seconds:g} s: {lacking}")
        time.sleep(0.05)


def check_workers(context: SparkContext) -> None:
    """Compare Python and this package on the workers with those here, in a tiny job. SparkError."""
    wanted = package_version()
    tasks = max(2, context.defaultParallelism)
    for host, version, found in set(context.range(tasks, numSlices=tasks).mapPartitions(_probe()).collect()):
        if version != (mine := platform.python_version()):
            raise SparkError(
                f"the worker on {host} has Python {version}, this is {mine}: set PYSPARK_PYTHON to the same everywhere"
            )
        if found != wanted:
            other = "has another version of this package"
            if found.startswith("!"):
                other = f"cannot import this package ({found[1:]})"
            raise SparkError(f"the worker on {host} {other}: install this version at {ROOT} on every worker")


def _probe() -> Callable[[Any], Sequence[tuple[str, str, str]]]:
    """Return a function for the workers; it is sent whole, since a worker may lack this package."""

    def probe(_rows: Any) -> Sequence[tuple[str, str, str]]:
        import platform

        version, host = platform.python_version(), platform.node()
        try:
            from recommender.spark.session import package_version
        except Exception as error:
            return [(host, version, f"!{type(error).__name__}: {error}"[:300])]
        return [(host, version, package_version())]

    return probe
