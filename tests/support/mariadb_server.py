"""A private MariaDB server for the tests, with its own data directory, socket and port; stopped at the end."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pymysql

PORTS = range(11_000, 32_768)  # those above are given to connections; chromium opens none to 10080


def free_port() -> int:
    """A TCP port without a listener at this moment, and which no connection takes later."""
    while True:
        port = secrets.choice(PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class MariaDBServer:
    """One ``mariadbd`` process; ``root`` logs in over TCP with ``password``."""

    host = "127.0.0.1"
    user = "tester"
    password = "p@ss:w/o#r%d"  # every character that breaks an address put together by hand

    def __init__(self, folder: Path, options: Sequence[str] = ()) -> None:
        self.folder = folder
        self.options = list(options)
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        (folder / "tmp").mkdir(parents=True)
        # a starting server deletes temporary tables, also those of another server in the same folder
        self._env = os.environ | {"TMPDIR": str(folder / "tmp")}
        self._install()

    @staticmethod
    def available() -> bool:
        """Whether the server's program is on PATH (or where Debian keeps it)."""
        return MariaDBServer._program("mariadbd") is not None

    @staticmethod
    def _program(name: str) -> str | None:
        return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")

    def _install(self) -> None:
        program = self._program("mariadb-install-db")
        assert program, "mariadb-install-db is not on PATH: apt-get install mariadb-server"
        command = [program, "--no-defaults", f"--datadir={self.folder / 'data'}", "--skip-test-db"]
        command += ["--auth-root-authentication-method=normal"]
        done = subprocess.run(command + self._user(), capture_output=True, text=True, env=self._env, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def _user(self) -> list[str]:
        return ["--user=root"] if os.geteuid() == 0 else []

    def start(self) -> None:
        """Start the server and wait until it answers; the test user is made on the first start."""
        program = self._program("mariadbd")
        assert program
        command = [program, "--no-defaults", f"--datadir={self.folder / 'data'}", f"--port={self.port}"]
        command += [f"--socket={self.folder / 's.sock'}", "--bind-address=127.0.0.1", "--skip-name-resolve"]
        command += [f"--pid-file={self.folder / 'pid'}", "--innodb-log-file-size=64M", *self._user(), *self.options]
        with (self.folder / "server.log").open("ab") as log:
            log_start = log.tell()
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=self._env)
        self._wait_until_ready(log_start)
        with self.connect() as connection, connection.cursor() as cursor:
            for host in ("127.0.0.1", "localhost"):
                cursor.execute(f"CREATE USER IF NOT EXISTS '{self.user}'@'{host}' IDENTIFIED BY %s", (self.password,))
                cursor.execute(f"GRANT ALL ON *.* TO '{self.user}'@'{host}'")

    def _wait_until_ready(self, log_start: int) -> None:
        assert self.process
        deadline = time.monotonic() + 60
        while True:
            written = (self.folder / "server.log").read_bytes()[log_start:]
            if b"ready for connections" in written:
                return
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(written.decode(errors="replace")[-2000:])
            time.sleep(0.02)

    def environment(self, database: str) -> dict[str, str]:
        """The settings of a database on this server."""
        access = {"DB_HOST": self.host, "DB_PORT": str(self.port), "DB_USER": self.user, "DB_PASSWORD": self.password}
        return access | {"DB_NAME": database, "DB_SSL_CA": ""}

    def connect(self, database: str | None = None) -> pymysql.connections.Connection:
        """A plain driver connection over the socket as root, apart from the project's own code."""
        return pymysql.connect(
            unix_socket=str(self.folder / "s.sock"),
            user="root",
            database=database,
            charset="utf8mb4",
            autocommit=True,
            local_infile=True,
        )

    def connections_left(self, database: str, seconds: float = 60) -> int:
        """The number of connections in ``database`` when it no longer falls, or after ``seconds``."""
        deadline = time.monotonic() + seconds
        with self.connect() as connection, connection.cursor() as cursor:
            while True:
                cursor.execute("SELECT COUNT(*) FROM information_schema.processlist WHERE db = %s", (database,))
                ((left,),) = cursor.fetchall()
                if left == 0 or time.monotonic() > deadline:
                    return int(left)
                time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop the process (SIGKILL: as a crash would) and wait for its end."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(timeout=60)


@contextmanager
def own_server() -> Iterator[MariaDBServer]:
    """A server in a new folder until the end of the block; it may be killed meanwhile."""
    folder = Path(tempfile.mkdtemp(prefix="recommender-mariadb-"))
    server = MariaDBServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)
