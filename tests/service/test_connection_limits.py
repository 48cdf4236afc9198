"""Slow, silent and greedy clients of a real server are limited, and others are answered meanwhile."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy import Engine
from uvicorn import Config, Server

from recommender.service import connection_limits
from recommender.service.connection_limits import (
    LARGEST_HEAD,
    LARGEST_REQUEST,
    MOST_PIPELINED,
    ConnectionLimits,
)
from tests.support.service import fetch, uvicorn, wait_until
from tests.support.shop import fill, product_row

MANY = 200  # connections of a kind
PATIENCE = 60  # seconds until others are answered, on a busy machine
PRODUCTS = [f"B{number:09d}" for number in range(120)]
GET = b"GET /recommendations/1?limit=100 HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /recommendations/batch HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"

NOT_TAKEN = "does not take the answers"  # of 1.8 MB each
_IDS = json.dumps({"user_ids": list(range(1, 41)), "limit": 100}).encode()
_POSTED = POST + b"Content-Length: %d\r\n\r\n%s" % (len(_IDS), _IDS)
# the bytes that each sends at first, and then again and again
SLOW: dict[str, tuple[bytes, bytes]] = {
    "says nothing": (b"", b""),
    "half a head": (GET[:40], b""),
    "a head byte by byte": (b"GET /recommendations/1 HTTP/1.1\r\nX-Long: ", b"x"),
    "a header again and again": (GET[:-2], b"X-More: 1\r\n"),
    "empty lines": (b"\r\n", b"\r\n"),
    "half a body": (POST + b"Content-Length: 1000\r\n\r\n{", b""),
    "a body byte by byte": (POST + b"Content-Length: 1000\r\n\r\n{", b" "),
    "a body that a GET need not have": (GET[:-2] + b"Content-Length: 1000\r\n\r\n", b"x"),
    "chunks byte by byte": (CHUNKED, b"1\r\n \r\n"),
    "half a chunk": (CHUNKED + b"ff\r\n", b" "),
    "an extension of a chunk without an end": (CHUNKED + b"1;", b"x"),
    "trailers without an end": (CHUNKED + b"2\r\n{}\r\n0\r\n", b"X-More: 1\r\n"),
    "a body that was refused": (POST + b"Content-Length: 99999999\r\n\r\n", b"x"),
    "a body of no route": (b"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n", b""),
    "nothing after an answer": (GET, b""),
    "a next request byte by byte": (GET + GET[:4], b"/"),
    NOT_TAKEN: (3 * _POSTED, b""),
}


@pytest.fixture
def backend() -> str:
    return "sqlite"


@pytest.fixture
def shop_env(engine: Engine, env: dict[str, str]) -> dict[str, str]:
    catalog = [product_row(product, title="x" * 300) for product in PRODUCTS]
    stars = {user: {PRODUCTS[0]: 5.0} for user in range(1, 41)} | {41: dict.fromkeys(PRODUCTS, 4.0)}
    fill(engine, stars, catalog)
    return env | {"REQUEST_LOG": "0", "REQUEST_TIMEOUT": "1"}


@contextmanager
def connections(port: int, how_many: int, first: bytes = b"") -> Iterator[list[socket.socket]]:
    """As many connections, with a small buffer for unread bytes."""
    with ExitStack() as opened:
        found = []
        for _ in range(how_many):
            one = opened.enter_context(socket.socket())
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            one.settimeout(60)
            one.connect(("127.0.0.1", port))
            one.sendall(first)
            one.setblocking(False)
            found.append(one)
        yield found


def ended(one: socket.socket) -> bool:
    """Whether the server has closed this connection. Its answers are read."""
    try:
        while one.recv(65_536):
            pass
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def files_of(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def megabytes(pid: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) / 1_024


def ask(port: int) -> float:
    """The seconds that another client waits for an answer."""
    started = time.monotonic()
    assert fetch(port, f"/recommendations/1?limit={1 + int(started * 1_000) % 90}")[0] == 200
    return time.monotonic() - started


@pytest.mark.parametrize("options", [(), ("--http", "h11")], ids=["httptools", "h11"])
def test_slow_clients_are_disconnected_and_others_are_answered_meanwhile(
    shop_env: dict[str, str], tmp_path: Path, options: tuple[str, ...]
) -> None:
    many, at_once = (20, len(SLOW)) if options else (MANY, 4)
    with uvicorn(shop_env, tmp_path / "log", "--timeout-keep-alive", "1", *options) as (port, server):
        ask(port)
        files, memory = files_of(server.pid), megabytes(server.pid)

        def at_rest() -> bool:
            return files_of(server.pid) <= files + 5

        for kinds in _groups(list(SLOW), at_once):
            with ExitStack() as opened:
                counts = {kind: min(many, 50) if kind == NOT_TAKEN else many for kind in kinds}
                held = {kind: opened.enter_context(connections(port, counts[kind], SLOW[kind][0])) for kind in kinds}
                slowest = [ask(port)]

                def all_let_go(held: dict[str, list[socket.socket]] = held, slowest: list[float] = slowest) -> bool:
                    for kind, ones in held.items():
                        _send(ones, SLOW[kind][1])
                    slowest.append(ask(port))
                    for kind in held.keys() - {NOT_TAKEN}:
                        held[kind] = [one for one in held[kind] if not ended(one)]
                    # a client that does not read cannot see this; only the server knows
                    return not any(held[kind] for kind in held.keys() - {NOT_TAKEN}) and at_rest()

                try:
                    wait_until(all_let_go)
                except AssertionError:
                    counts = {kind: len(ones) for kind, ones in held.items()}
                    pytest.fail(f"still held: {counts}, {files_of(server.pid) - files} of them by the server")
                assert max(slowest) < PATIENCE
        assert megabytes(server.pid) < memory + 200


def _groups(names: list[str], size: int) -> list[list[str]]:
    return [names[start : start + size] for start in range(0, len(names), size)]


def _send(ones: list[socket.socket], more: bytes) -> None:
    for one in ones if more else ():
        with suppress(OSError):
            one.send(more)


def answer_to(port: int, *sent: bytes) -> bytes:
    """All bytes that come back until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as one:
        with suppress(ConnectionError):
            for part in sent:
                one.sendall(part)
        received = b""
        with suppress(ConnectionError):
            while part := one.recv(65_536):
                received += part
        return received


def statuses(received: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3})", received)]


def test_absurd_requests_are_refused_and_others_are_answered(shop_env: dict[str, str], tmp_path: Path) -> None:
    body = json.dumps({"user_ids": [1]}).encode()
    whole = POST + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    close = b"Connection: close\r\n"
    last = GET[:-2] + close + b"\r\n"
    with uvicorn(shop_env, tmp_path / "log") as (port, server):
        ask(port)
        files, memory = files_of(server.pid), megabytes(server.pid)
        for length in (b"99999999999999999999999", b"-1", b"1e3", b"0x10", b"1\r\nContent-Length: 2"):
            assert statuses(answer_to(port, POST + b"Content-Length: %s\r\n\r\n{" % length)) in ([400], [413]), length
        for length in (b"9999999999999", b"9223372036854775807"):
            assert statuses(answer_to(port, POST + close + b"Content-Length: %s\r\n\r\n{" % length)) == [413]
        for chunk in (b"ffffffffffffffffff", b"-1", b"g", b"0x5", b"7fffffffffffffff;" + b"x" * 100):
            received = answer_to(port, CHUNKED + chunk + b"\r\n{}")
            assert statuses(received) in ([400], [408]), chunk
        # a GET with a body is one request; the bytes after it are another
        with_body = GET[:-2] + b"Content-Length: 300\r\n\r\n" + GET[:2].ljust(300, b"x")
        assert statuses(answer_to(port, with_body + last)) == [200, 200]
        in_chunks = GET[:-2] + b"Transfer-Encoding: chunked\r\n\r\n2\r\nGE\r\n0\r\n\r\n"
        assert statuses(answer_to(port, in_chunks + last)) == [200, 200]
        assert statuses(answer_to(port, whole * 3 + last)) == [200, 200, 200, 200]
        # a head without an end, a body without an end, within and between chunks
        endless = [b"X-%d: " % number + b"y" * 1_000 + b"\r\n" for number in range(LARGEST_HEAD // 1_000 * 20)]
        assert statuses(answer_to(port, GET[:-2], *endless)) in ([431], [])
        assert statuses(answer_to(port, b"GET /" + b"x" * 20 * LARGEST_HEAD)) in ([431], [])
        extension = [b"x" * 10_000] * (20 * LARGEST_REQUEST // 10_000)
        assert statuses(answer_to(port, CHUNKED + b"1;", *extension)) in ([400], [408], [])
        trailers = [b"X-T: 1\r\n" * 1_000] * 200
        assert statuses(answer_to(port, CHUNKED + b"2\r\n{}\r\n0\r\n", *trailers)) in ([400], [408], [])
        ask(port)
        wait_until(lambda: files_of(server.pid) <= files + 5)
        assert megabytes(server.pid) < memory + 100


def test_the_number_of_requests_sent_ahead_is_limited(shop_env: dict[str, str], tmp_path: Path) -> None:
    """A chunk of 200,000 bytes can hold 5,000 requests. Each takes some kilobytes until it is answered."""
    least = b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n"
    last = least[:-2] + b"Connection: close\r\n\r\n"
    with uvicorn(shop_env, tmp_path / "log") as (port, server):
        assert statuses(answer_to(port, least * (MOST_PIPELINED - 1) + last)) == [200] * MOST_PIPELINED
        memory = megabytes(server.pid)
        with ExitStack() as opened:
            flood = [opened.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60)) for _ in range(50)]
            for one in flood:
                one.setblocking(False)
                _send([one], least * 5_000)
            waited = ask(port)
            wait_until(lambda: all(ended(one) for one in flood))
        assert waited < PATIENCE
        assert megabytes(server.pid) < memory + 100


def test_connections_above_the_limit_make_room_for_new_requests(shop_env: dict[str, str], tmp_path: Path) -> None:
    env = shop_env | {"CONNECTION_LIMIT": "50", "REQUEST_TIMEOUT": "600"}
    with uvicorn(env, tmp_path / "log", "--timeout-keep-alive", "600") as (port, server):
        ask(port)
        files = files_of(server.pid)
        kinds = ("says nothing", "half a head", "half a body", "nothing after an answer")
        with ExitStack() as opened:
            held = []
            for kind in kinds:
                held += opened.enter_context(connections(port, MANY, SLOW[kind][0]))
                assert ask(port) < PATIENCE
                wait_until(lambda: files_of(server.pid) <= files + 50)
            wait_until(lambda: sum(not ended(one) for one in held) <= 50)
            for _ in range(20):
                assert ask(port) < PATIENCE


def test_an_unforeseen_error_of_a_look_is_logged_once_and_the_looks_go_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    limits, looks = ConnectionLimits(10, 1.0), list[float]()

    def failing(now: float) -> None:
        looks.append(now)
        if len(looks) > 3:
            limits._servers.clear()  # ends the looks
        raise LookupError("a fault of ours")

    monkeypatch.setattr(connection_limits, "EVERY", 0.001)
    monkeypatch.setattr(limits, "look", failing)
    limits._servers.append(Server(Config("api:app", log_config=None)))
    asyncio.run(limits.run())
    assert len(looks) == 4
    assert [record.levelname for record in caplog.records if record.exc_info] == ["ERROR"]


def test_an_idle_connection_within_the_servers_own_time_is_kept(shop_env: dict[str, str], tmp_path: Path) -> None:
    """A proxy keeps connections for minutes. With a longer --timeout-keep-alive the server never closes one first."""
    with (
        uvicorn(shop_env, tmp_path / "log", "--timeout-keep-alive", "60") as (port, _),
        connections(port, 1) as (silent,),
        connections(port, 1, GET) as (idle,),
    ):
        wait_until(lambda: ended(silent))  # after one second and the next check
        assert _taken(idle).count(b"HTTP/1.1 200") == 1
        idle.send(GET)
        wait_until(lambda: b"HTTP/1.1 200" in _taken(idle))


def _taken(one: socket.socket) -> bytes:
    received = b""
    with suppress(BlockingIOError):
        while part := one.recv(65_536):
            received += part
    return received
