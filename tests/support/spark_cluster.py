"""A standalone Spark cluster for the tests: a master and workers, processes on this machine, stopped at the end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

QUICK_START = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"  # of a JVM that runs for some seconds, beside others


class SparkCluster:
    """One master and ``n_workers`` workers of one core each; ``folder`` holds their logs and files."""

    def __init__(self, folder: Path, n_workers: int = 2) -> None:
        spec = find_spec("pyspark")
        assert spec is not None
        assert spec.origin is not None
        self._home, self.folder = Path(spec.origin).parent, folder
        self._processes: list[subprocess.Popen[bytes]] = []
        try:
            self._start("master", "master.Master", "--port", "0")  # the master takes a free one, and tells which
            self.url = self._url_of_the_master()
            for number in range(n_workers):
                files = folder / f"worker{number}"
                files.mkdir()
                options = ["--cores", "1", "--memory", "700m", "--work-dir", str(files), self.url]
                self._start(f"worker{number}", "worker.Worker", *options)
        except BaseException:
            self.stop()
            raise

    def _start(self, name: str, what: str, *options: str) -> None:
        command = [str(self._home / "bin" / "spark-class"), f"org.apache.spark.deploy.{what}"]
        command += ["--host", "127.0.0.1", "--webui-port", "0", *options]
        env = os.environ | {
            "SPARK_HOME": str(self._home),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_DAEMON_MEMORY": "256m",
            "SPARK_DAEMON_JAVA_OPTS": QUICK_START,
            "SPARK_LOCAL_DIRS": str(self.folder / name),
        }
        with (self.folder / f"{name}.log").open("wb") as log:
            self._processes.append(subprocess.Popen(command, stdout=log, stderr=log, env=env))

    def _url_of_the_master(self) -> str:
        """The address that the master has written into its log, once it listens there."""
        deadline = time.monotonic() + 300
        while True:
            said = (self.folder / "master.log").read_text(errors="replace")
            found = re.search(r"Starting Spark master at (spark://\S+)$", said, re.MULTILINE)
            if found is not None:
                return found[1]
            assert self._processes[0].poll() is None, said[-2000:]
            assert time.monotonic() < deadline, said[-2000:]
            time.sleep(0.05)

    def executors(self) -> list[int]:
        """The pids of the executors, by worker; the workers started them."""
        return [child for worker in self._processes[1:] for child in children(worker.pid)]

    def shuffled(self) -> list[Path]:
        """The files in which the executors keep what other tasks read."""
        return list(self.folder.glob("worker*/**/shuffle_*.data"))

    def stop(self) -> None:
        """End all processes, the executors with their workers."""
        executors = self.executors()
        for process in reversed(self._processes):
            process.terminate()
        for process in self._processes:
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(60)
        for executor in executors:  # those of a worker that did not end them
            kill(executor)


def children(pid: int) -> list[int]:
    """The pids of the processes that a process started and that still run."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except OSError:  # it has ended
            continue
        if int(parent) == pid and state != "Z":
            found.append(int(stat.parent.name))
    return sorted(found)


def below(pid: int) -> list[int]:
    """The pids of all processes that came of one."""
    return [one for child in children(pid) for one in (child, *below(child))]


def owns_any_port(pids: Iterable[int], ports: Iterable[int]) -> bool:
    """Tell whether one of the processes has a connection from one of the ``ports`` of this machine."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    wanted = {f"{port:04X}" for port in ports}
    sockets = {f"socket:[{line[9]}]" for line in lines if line[1].rpartition(":")[2] in wanted}
    return any(_target(file) in sockets for pid in pids for file in Path(f"/proc/{pid}/fd").glob("*"))


def _target(file: Path) -> str:
    """What a link refers to; "" if it is gone."""
    try:
        return str(file.readlink())
    except OSError:
        return ""


def kill(pid: int) -> None:
    """End a process as a crash would, if it has not ended."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
