"""Time the load of a catalog against the database's own tool and against pandas, in one run.

    python -m benchmarks.load                 # 1,426,337 rows, the size of the Kaggle file; about 6 minutes
    python -m benchmarks.load --short         # 100,000 rows, one round
    python -m benchmarks.load --rows 500000

The targets are a private MariaDB server with default settings and SQLite files. Ours is the whole ``python to_rds.py``,
from the start of the interpreter to its end, with every check. The floor is the database's own client on the same file,
into the same table with the same keys, without a check: ``LOAD DATA LOCAL INFILE``, and ``.import``, which needs the
row numbers in the file (they are written into a copy before the clock starts). Times are medians; the memory is the
peak of the process. The kinds take turns within a round, since the machine may be busier in one minute than in another.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pandas as pd
from sqlalchemy import create_engine
from sqlalchemy.schema import CreateIndex, CreateTable

from recommender.database import connect
from recommender.database.schema import PRODUCT_COLUMNS, products
from recommender.settings import PROJECT_ROOT, Settings, load_settings
from recommender.synthetic import write_sample_catalog
from tests.support.mariadb_server import MariaDBServer

ROWS, SHORT_ROWS, ROUNDS = 1_426_337, 100_000, 3
Measured = tuple[float, float]  # seconds, MB


def timed(command: list[str], env: dict[str, str], statement: str = "") -> Measured:
    """Run a process; return its seconds and peak memory.

    The memory comes from /proc: the figure of ``wait4`` also counts the parent's memory before the ``exec``.
    """
    started = time.perf_counter()
    process = subprocess.Popen(
        command, env=os.environ | env, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    assert process.stdin
    process.stdin.write(statement.encode())
    process.stdin.close()
    peak = float("nan")
    while process.poll() is None:
        time.sleep(0.01)
        with suppress(OSError, IndexError):
            peak = int(Path(f"/proc/{process.pid}/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
    if process.returncode:
        raise SystemExit(f"{command[0]} failed with status {process.returncode}")
    return time.perf_counter() - started, peak


def ours(env: dict[str, str], folder: Path) -> Measured:
    """Time ``python to_rds.py``."""
    files = ["--products", str(folder / "p.csv"), "--categories", str(folder / "c.csv")]
    os.chdir(folder)  # for rejected_rows.csv
    return timed([sys.executable, str(PROJECT_ROOT / "to_rds.py"), *files], env)


def client_load_data(server: MariaDBServer, settings: Settings, folder: Path) -> Measured:
    """Time the ``mariadb`` client's LOAD DATA into a new table with our keys."""
    engine = connect(settings, create=True)
    products.drop(engine, checkfirst=True)
    products.create(engine)
    engine.dispose()
    columns = ", ".join("@best" if name == "isBestSeller" else name for name in PRODUCT_COLUMNS)
    statement = (
        f"LOAD DATA LOCAL INFILE '{folder / 'p.csv'}' INTO TABLE amazon_products CHARACTER SET utf8mb4 "
        "FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '\"' ESCAPED BY '' LINES TERMINATED BY '\\n' IGNORE 1 LINES "
        f"({columns}) SET isBestSeller = (@best = 'True');"
    )
    command = ["mariadb", "--no-defaults", "--local-infile=1", f"--host={server.host}", f"--port={server.port}"]
    command += [f"--user={server.user}", settings.db_name]
    return timed(command, {"MYSQL_PWD": server.password}, statement)


def sqlite_import(folder: Path) -> Measured:
    """Time the ``sqlite3`` shell's .import into a new file with our keys."""
    file = folder / "import.db"
    file.unlink(missing_ok=True)
    engine = create_engine(f"sqlite:///{file}")
    ddl = str(CreateTable(products).compile(engine))
    ddl += "".join(f";\n{CreateIndex(index).compile(engine)}" for index in products.indexes)
    commands = f"{ddl};\n.import --csv --skip 1 {folder / 'numbered.csv'} amazon_products\n"
    return timed(["sqlite3", str(file)], {}, commands)


def pandas_to_sql(settings: Settings, folder: Path) -> Measured:
    """Time the usual code: read_csv in pieces, to_sql, without a key or a check."""
    started = time.perf_counter()
    engine = connect(settings, create=True)
    for n, chunk in enumerate(pd.read_csv(folder / "p.csv", chunksize=50_000)):
        chunk.to_sql("amazon_products", engine, if_exists="append" if n else "replace", index=False)
    engine.dispose()
    return time.perf_counter() - started, float("nan")


def write_files(folder: Path, rows: int) -> None:
    """Write the catalog, and the copy with row numbers that .import needs."""
    write_sample_catalog(folder / "p.csv", folder / "c.csv", n_products=rows)
    with (folder / "p.csv").open("rb") as source, (folder / "numbered.csv").open("wb") as target:
        for n, line in enumerate(source):  # no title of the sample contains a line end
            target.write(b"%d,%s" % (n, line) if n else b"id," + line)


def settings_for(folder: Path, server: MariaDBServer | None, name: str) -> tuple[dict[str, str], Settings]:
    """Return the environment and the settings of the database or file ``name``."""
    env = {"DB_HOST": "", "SQLITE_FILE": str(folder / f"{name}.db"), "DB_SSL_CA": ""}
    if server:
        env |= server.environment(name)
    return env, load_settings(environ=env, env_file=folder / "no.env")


def empty(folder: Path, server: MariaDBServer, name: str) -> None:
    """Drop what the round before has loaded."""
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {name}")
    for file in folder.glob(f"{name}.db*"):
        file.unlink()


def measure(folder: Path, server: MariaDBServer, rounds: int) -> dict[tuple[str, str], list[Measured]]:
    """Return seconds and memory of every kind, round by round; pandas runs only once, as it takes so long."""
    found: dict[tuple[str, str], list[Measured]] = {}
    into_server, into_file = settings_for(folder, server, "ours"), settings_for(folder, None, "ours")
    kinds: list[tuple[str, str, Callable[[], Measured]]] = [
        (
            "MariaDB",
            "mariadb LOAD DATA",
            lambda: client_load_data(server, settings_for(folder, server, "client")[1], folder),
        ),
        ("MariaDB", "to_rds.py", lambda: ours(into_server[0], folder)),
        ("SQLite", "sqlite3 .import", lambda: sqlite_import(folder)),
        ("SQLite", "to_rds.py", lambda: ours(into_file[0], folder)),
    ]
    pandas_kinds: list[tuple[str, str, Callable[[], Measured]]] = [
        ("MariaDB", "pandas to_sql", lambda: pandas_to_sql(settings_for(folder, server, "pandas")[1], folder)),
        ("SQLite", "pandas to_sql", lambda: pandas_to_sql(settings_for(folder, None, "pandas")[1], folder)),
    ]
    for n in range(rounds):
        empty(folder, server, "ours")
        for database, kind, run in kinds if n else [*kinds, *pandas_kinds]:
            found.setdefault((database, kind), []).append(run())
            print(f"round {n + 1}: {database}, {kind}: {found[database, kind][-1][0]:.1f} s", file=sys.stderr)
    return found


def report(found: dict[tuple[str, str], list[Measured]], rows: int) -> None:
    """Print the table: medians, the ratio to the database's own tool, the promised ratio."""
    floors = {"MariaDB": "mariadb LOAD DATA", "SQLite": "sqlite3 .import"}
    promised = {"MariaDB": 1.25, "SQLite": 1.0}
    print(f"\n{rows:,} rows, medians of {max(map(len, found.values()))} rounds; promised for {ROWS:,} rows\n")
    print("| into | with | seconds | rows/s | ratio | promised | peak MB |\n|---|---|---:|---:|---:|---:|---:|")
    for (database, kind), results in sorted(found.items()):
        seconds, memory = (statistics.median(result[n] for result in results) for n in (0, 1))
        # the ratio of each round, then their median
        pairs = zip(results, found[database, floors[database]], strict=False)
        ratio = statistics.median(mine[0] / floor[0] for mine, floor in pairs)
        limit = f"<= {promised[database]}" if kind == "to_rds.py" else ""
        shown = "" if memory != memory else f"{memory:.0f}"
        print(f"| {database} | {kind} | {seconds:.1f} | {rows / seconds:,.0f} | {ratio:.2f} | {limit} | {shown} |")


def main() -> None:
    """Read the options, start the server, measure, print."""
    parser = argparse.ArgumentParser(description="Loading a catalog: ours, the databases' own tools, pandas.")
    parser.add_argument("--rows", type=int, default=None, help=f"(default: {ROWS:,})")
    parser.add_argument("--short", action="store_true", help=f"{SHORT_ROWS:,} rows, one round")
    options = parser.parse_args()
    rows = options.rows or (SHORT_ROWS if options.short else ROWS)
    folder = Path(tempfile.mkdtemp(prefix="recommender-bench-"))
    server = MariaDBServer(folder)
    try:
        server.start()
        write_files(folder, rows)
        report(measure(folder, server, 1 if options.short else ROUNDS), rows)
    finally:
        server.stop()
        os.chdir(PROJECT_ROOT)
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
