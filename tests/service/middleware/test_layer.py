"""The service's own state: live and ready, metrics, log, request ids; and the requests that it refuses."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine

import api
from recommender.errors import DatabaseError
from recommender.service import ServiceState
from recommender.service.middleware.limits import LARGEST_BODY, LARGEST_TARGET, page_headers, read_body
from recommender.service.middleware.metrics import BUCKETS, ServiceMetrics
from recommender.service.middleware.request_log import TOGETHER, WHOLE, RequestLog, written_whole
from recommender.updates.database_watch import DatabaseWatch
from tests.conftest import ROOT
from tests.service.test_api import serve, wait_for
from tests.support.mariadb_server import free_port
from tests.support.shop import fill

A, B, C = "B00000000A", "B00000000B", "B00000000C"
STARS = {1: {A: 5.0}, 2: {A: 5.0, B: 4.0}}
LIST = "/recommendations/{user_id}"
ID = r"[0-9a-f]{16}-[0-9a-f]+"


@pytest.fixture
def backend() -> str:
    """These tests do not depend on the database."""
    return "sqlite"


@pytest.fixture
def shop_env(engine: Engine, env: dict[str, str]) -> dict[str, str]:
    fill(engine, STARS, [A, B, C])
    return env


@pytest.fixture
def client(shop_env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    for name, value in shop_env.items():
        monkeypatch.setenv(name, value)
    with TestClient(api.create_app(), raise_server_exceptions=False) as client:
        yield client


def samples(client: TestClient) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name.removeprefix("recommender_"), tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def requests(client: TestClient) -> dict[tuple[str, str], float]:
    return {
        (dict(labels)["route"], dict(labels)["status"]): value
        for (name, labels), value in samples(client).items()
        if name == "requests_total"
    }


def test_live_and_ready_tell_the_state_of_the_service(client: TestClient) -> None:
    assert client.get("/live").json() == {"status": "alive"}
    assert client.get("/ready").json() == {"status": "ready"}
    assert client.head("/ready").status_code == 200
    before_the_start = TestClient(api.create_app())
    assert before_the_start.get("/live").status_code == 200
    refused = before_the_start.get("/ready")
    assert refused.status_code == 503
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["detail"] == "the model is not loaded yet"
    assert "model_age_seconds" not in before_the_start.get("/metrics").text


def test_requests_are_counted_by_template_and_status_never_by_path(client: TestClient) -> None:
    for path in ("/recommendations/1", "/recommendations/1", "/recommendations/2", "/recommendations/9", "/live"):
        client.get(path)
    for path in ("/nothing", "/nothing/else", "/recommendations/1/2", "/nothing/"):
        client.get(path)
    client.delete("/recommendations/1")
    client.get("/recommendations/x")
    client.head("/recommendations/2")  # from the cache
    client.head("/recommendations/2?limit=1")
    client.get(f"/products/{A}/similar")
    assert requests(client) == {
        (LIST, "200"): 5,
        (LIST, "404"): 1,
        (LIST, "422"): 1,
        ("/live", "200"): 1,
        ("/products/{product_id}/similar", "200"): 1,
        ("other", "404"): 4,
        ("other", "405"): 1,
    }
    assert requests(client)["/metrics", "200"] == 1  # the one before


def test_an_unforeseen_error_is_counted_under_its_route(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("recommender.model.served_model.ServedModel.select", lambda *_: 1 / 0)
    answer = client.get("/recommendations/1")
    assert answer.status_code == 500
    assert re.fullmatch(ID, answer.headers["x-request-id"])
    assert requests(client) == {(LIST, "500"): 1}


def test_recommendations_are_counted_by_source_also_when_cached(client: TestClient) -> None:
    etag = client.get("/recommendations/1?limit=1").headers["etag"]
    client.get("/recommendations/1?limit=1")
    client.get("/recommendations/1?limit=1", headers={"If-None-Match": etag})
    client.get("/recommendations/2?limit=1")
    client.get("/recommendations/9")
    found = samples(client)
    by_source = {source: found["recommendations_total", (("source", source),)] for source in ("neighbors", "popular")}
    assert by_source == {"neighbors": 3, "popular": 1}


def test_durations_lie_in_cumulative_buckets() -> None:
    metrics = ServiceMetrics(ServiceState())
    for seconds in (0.0001, 0.0002, 0.7, 3.0):
        metrics.count("/x", 200, seconds, None)
    lines = metrics.text().decode().splitlines()
    name = "recommender_request_duration_seconds"
    counts = [float(line.split()[-1]) for line in lines if line.startswith(f"{name}_bucket")]
    assert (BUCKETS[0], BUCKETS[-1]) == (0.0001, 2.5)
    assert counts == [1, *[2] * 11, 3, 3, 4]
    assert f'{name}_count{{route="/x"}} 4.0' in lines
    (total,) = [float(line.split()[-1]) for line in lines if line.startswith(f"{name}_sum")]
    assert total == pytest.approx(3.7003)


def test_the_model_and_the_database_are_measured(client: TestClient) -> None:
    found = {name: value for (name, labels), value in samples(client).items() if not labels}
    assert 0 <= found.pop("model_age_seconds") < 60
    assert 0 <= found.pop("pull_lag_seconds") < 5
    assert found == {
        "model_users": 2,
        "model_products": 3,
        "model_ratings": 3,
        "other_people": 0,
        "database_up": 1,
        "database_errors_total": 0,
        "changed_users": 0,
        "failed_loads_total": 0,
        "dropped_log_lines_total": 0,
    }


def test_a_database_that_is_away_is_counted_and_dated() -> None:
    def refuse() -> Engine:
        raise DatabaseError("away")

    watch = DatabaseWatch(refuse, known_up=False)

    async def three_questions() -> None:
        asking = asyncio.create_task(watch.run())
        while watch.errors < 1:
            await asyncio.sleep(0.01)
        asking.cancel()

    assert not watch.is_up
    assert watch.degraded_since is not None
    asyncio.run(asyncio.wait_for(three_questions(), 60))
    watch.close()
    assert watch.errors == 1
    assert DatabaseWatch(refuse, known_up=True).degraded_since is None


def test_health_tells_the_time_when_it_became_degraded(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "degraded_since" not in client.get("/health").json()
    monkeypatch.setattr("recommender.updates.database_watch.SILENCE", 0.0)
    health = client.get("/health").json()
    assert health["status"] == "degraded"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", health["degraded_since"])


@pytest.mark.parametrize("path", ["/recommendations/1", "/health", "/nothing"])
def test_a_request_id_is_taken_or_made(client: TestClient, path: str) -> None:
    for given in ("a", "A.b_c-9", "x" * 64):
        assert client.get(path, headers={"X-Request-ID": given}).headers["x-request-id"] == given
    for given in ("", "x" * 65, "a b", 'a"b', "a@b.com", "ä".encode().decode("latin-1")):
        answer = client.get(path, headers={b"X-Request-ID": given.encode("latin-1")})
        assert re.fullmatch(ID, answer.headers["x-request-id"])


def exchange(port: int, *requests: bytes) -> list[bytes]:
    """Send the requests on one connection, each after the answer to the one before; return status lines and headers."""
    heads = []
    with closing(socket.create_connection(("127.0.0.1", port), timeout=60)) as connection:
        file = connection.makefile("rb")
        for request in requests:
            connection.sendall(request)
            head = b"".join(iter(file.readline, b"\r\n"))
            if (length := re.search(rb"content-length: (\d+)", head)) and not request.startswith(b"HEAD"):
                file.read(int(length[1]))
            heads.append(head)
    return heads


def get(target: str, *headers: str, method: str = "GET") -> bytes:
    lines = "".join(f"{header}\r\n" for header in ("Host: x", *headers))
    return f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode()


def test_a_real_server_logs_each_request_once_without_any_text_of_the_caller(shop_env: dict[str, str]) -> None:
    port = free_port()
    secrets = "?key=s3cret&email=ann@example.com"
    with serve(shop_env, port) as server:
        try:
            wait_for(port, server)
            agent = "User-Agent: my-agent/1.0"
            exchange(
                port,
                get("/recommendations/1", "X-Request-ID: first", agent),
                get("/recommendations/1", "X-Request-ID: second", agent),
                get(f"/recommendations/1{secrets}", "X-Request-ID: third", agent),
                get(f"/ann@example.com{secrets}", "X-Request-ID: fourth"),
                get("/health", "X-Request-ID: fifth", method="DELETE"),
            )
        finally:
            server.terminate()
        output = server.communicate(timeout=60)[0]
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    found = {line["request_id"]: (line["method"], line["route"], line["status"]) for line in lines}
    assert len(found) == len(lines)
    assert {name: found[name] for name in ("first", "second", "third", "fourth", "fifth")} == {
        "first": ("GET", LIST, 200),
        "second": ("GET", LIST, 200),
        "third": ("GET", LIST, 200),
        "fourth": ("GET", "other", 404),
        "fifth": ("DELETE", "other", 405),
    }
    for line in lines:
        assert list(line) == ["time", "request_id", "method", "route", "status", "duration_ms"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
        assert 0 < line["duration_ms"] < 10_000
    for text in ("s3cret", "example.com", "my-agent", "HTTP/1.1", "/recommendations/1"):
        assert text not in output  # uvicorn's own log lines would hold some of them


def test_a_real_server_refuses_requests_that_are_too_large_and_goes_on(shop_env: dict[str, str]) -> None:
    port = free_port()
    with serve(shop_env | {"REQUEST_LOG": "0"}, port) as server:
        try:
            wait_for(port, server)
            chunk = b"%x\r\n%s\r\n" % (40_000, b"x" * 40_000)
            room = LARGEST_TARGET - len("/recommendations/1?")
            etag = exchange(port, get("/recommendations/1"))[0].split(b"etag: ")[1].split(b"\r\n")[0].decode()
            heads = exchange(
                port,
                get("/recommendations/1"),
                get("/recommendations/1", f"If-None-Match: {etag}"),
                get("/recommendations/1", method="HEAD"),
                get("/recommendations/1?" + "x" * room),
                get("/recommendations/1?" + "x" * (room + 1)),
                get("/health", f"Content-Length: {LARGEST_BODY}") + bytes(LARGEST_BODY),
                get("/recommendations/1", f"Content-Length: {LARGEST_BODY + 1}") + bytes(LARGEST_BODY + 1),
                get("/health", "Transfer-Encoding: chunked") + chunk + b"0\r\n\r\n",
                get("/recommendations/1", "Transfer-Encoding: chunked") + 2 * chunk + b"0\r\n\r\n",
            )
        finally:
            server.terminate()
        output = server.communicate(timeout=60)[0]
    statuses = [int(head.split()[1]) for head in heads]
    assert statuses == [200, 304, 200, 200, 414, 200, 413, 200, 413]
    for status, head in zip(statuses, heads, strict=True):
        assert (b"application/problem+json" in head) is (status >= 400)
        assert b"x-request-id: " in head
    assert b"content-length" not in heads[1]
    assert '"route"' not in output
    assert "HTTP/1.1" not in output


def test_a_body_in_chunks_is_handed_on_whole() -> None:
    async def read(pieces: list[bytes]) -> bytes | None:
        messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
        messages[-1]["more_body"] = False

        async def receive() -> dict[str, object]:
            return messages.pop(0)

        refused, again = await read_body(receive, 60)
        return None if refused else bytes((await again())["body"])

    assert asyncio.run(read([b"ab", b"", b"c"])) == b"abc"
    assert asyncio.run(read([bytes(LARGEST_BODY - 1), b"x"])) == bytes(LARGEST_BODY - 1) + b"x"
    assert asyncio.run(read([bytes(LARGEST_BODY), b"x", b"never read"])) is None


def test_the_docs_page_may_run_its_own_script_and_load_nothing_else(client: TestClient) -> None:
    page = client.get("/docs")
    assert page.status_code == 200
    headers = {name: page.headers[name] for name in ("x-content-type-options", "referrer-policy", "x-frame-options")}
    assert list(headers.values()) == ["nosniff", "no-referrer", "DENY"]
    policy = dict(part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in policy["script-src"]
    assert re.search(r"'sha256-[A-Za-z0-9+/]{43}='", policy["script-src"])
    assert "http" not in page.headers["content-security-policy"]
    assert "content-security-policy" not in client.get("/recommendations/1").headers


def test_the_docs_load_everything_from_the_service_under_any_prefix(client: TestClient) -> None:
    page = client.get("/docs").text
    loaded = re.findall(r'<(?:script|link)[^>]* (?:src|href)="([^"]+)', page) + re.findall(r"url: '([^']+)'", page)
    assert set(loaded) == {"docs/swagger-ui-bundle.js", "docs/swagger-ui.css", "data:,", "openapi.json"}
    for address, kind in (
        ("docs/swagger-ui-bundle.js", "text/javascript"),
        ("docs/swagger-ui.css", "text/css"),
        ("openapi.json", "application/json"),
    ):
        answer = client.get(f"/{address}")
        assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (200, kind)
        assert len(answer.content) > 10_000
    assert client.get("/redoc").status_code == 404


def test_the_hash_of_a_pages_script_is_made_from_its_text() -> None:
    # printf 'alert(1)' | openssl dgst -sha256 -binary | base64
    policy = dict(page_headers(b"<script>alert(1)</script>"))[b"content-security-policy"]
    assert b"'sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI='" in policy


def test_other_sites_may_not_read_the_answers(client: TestClient) -> None:
    answer = client.get("/recommendations/1", headers={"Origin": "https://example.com"})
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_pipe_gets_at_most_what_it_takes_whole_and_a_file_all_lines_at_once(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    with (tmp_path / "log").open("w") as file:
        assert (written_whole(writing), written_whole(file.fileno())) == (WHOLE, TOGETHER)
    os.close(reading)
    os.close(writing)
    assert written_whole(writing) == WHOLE  # it is closed


@pytest.mark.parametrize(("whole", "n_pieces"), [(WHOLE, 6), (TOGETHER, 1)])
def test_log_lines_are_written_in_pieces_of_whole_lines(whole: int, n_pieces: int) -> None:
    written: list[str] = []
    log = RequestLog(written.append, whole=whole)

    async def many() -> None:
        for number in range(200):
            log.add(f"id-{number}", 'G"T', "/x", 200, 0.0015)
        log.close()

    asyncio.run(many())
    assert all(len(piece) <= whole and piece.endswith("\n") for piece in written)
    assert len(written) == n_pieces
    lines = [json.loads(line) for line in "".join(written).splitlines()]
    assert [line["request_id"] for line in lines] == [f"id-{number}" for number in range(200)]
    assert {(line["method"], line["duration_ms"]) for line in lines} == {("other", 1.5)}


def test_a_log_line_is_written_without_waiting_for_another_request() -> None:
    written: list[str] = []
    log = RequestLog(written.append)

    async def one() -> None:
        log.add("only", "GET", "/x", 200, 0.001)
        while not written:
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(one(), 60))
    log.close()
    assert len(written) == 1


def test_a_log_reader_that_stops_reading_stops_no_request_and_dropped_lines_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("recommender.service.middleware.request_log.PATIENCE", 0.1)
    written, begun, reads = list[str](), threading.Event(), threading.Event()

    def write(lines: str) -> None:
        begun.set()
        reads.wait(60)
        written.append(lines)

    log = RequestLog(write)

    async def pieces(*names: str) -> None:
        for name in names:
            log.add(name, "GET", "/x", 200, 0.001)
            log.add(name, "GET", "/y", 200, 0.001)
            log.flush()

    asyncio.run(pieces("first"))
    assert begun.wait(60)  # it is being written and waits for the reader
    monkeypatch.setattr(
        "recommender.service.middleware.request_log.WAITING", 3 * log._given + 50
    )  # bytes: three pieces
    asyncio.run(pieces("second", "third", "fourth", "fifth"))
    assert log.dropped == 4
    log.close()  # returns, although nobody reads
    reads.set()
    while len(written) < 3:
        time.sleep(0.01)
    assert [json.loads(line)["request_id"] for line in "".join(written).splitlines()] == [
        *["first", "first", "second", "second", "third", "third"]
    ]


def test_the_end_of_the_service_waits_for_a_slow_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recommender.service.middleware.request_log.PATIENCE", 60)
    written, reads = list[str](), threading.Event()

    def write(lines: str) -> None:
        reads.wait(60)
        written.append(lines)

    log = RequestLog(write)

    async def pieces() -> None:
        for number in range(10):
            log.add(str(number), "GET", "/x", 200, 0.001)
            log.flush()

    asyncio.run(pieces())
    assert written == []
    threading.Timer(0.1, reads.set).start()  # after the end has begun
    log.close()
    assert len(written) == 10


def test_lines_that_cannot_be_written_are_counted() -> None:
    def write(_lines: str) -> None:
        raise OSError(28, "No space left on device")

    log = RequestLog(write)

    async def two() -> None:
        log.add("a", "GET", "/x", 200, 0.001)
        log.add("b", "GET", "/x", 200, 0.001)

    asyncio.run(two())
    log.close()
    assert log.dropped == 2


def test_a_real_server_whose_output_nobody_reads_goes_on_and_ends(shop_env: dict[str, str]) -> None:
    port, (unread, output) = free_port(), os.pipe()
    fcntl.fcntl(output, fcntl.F_SETPIPE_SZ, 4_096)
    command = [sys.executable, "-m", "uvicorn", "api:app", "--port", str(port), "--log-level", "error"]
    server = subprocess.Popen(command, cwd=ROOT, env=os.environ | shop_env, stdout=output, text=True)
    try:
        wait_for(port, server)
        heads = exchange(port, *[get("/recommendations/1")] * 300)  # some 50 KB of lines
        assert {head.split(b"\r\n", 1)[0] for head in heads} == {b"HTTP/1.1 200 OK"}
    finally:
        server.send_signal(signal.SIGINT)  # then the interpreter ends as after any program
        server.wait(timeout=60)
        os.close(output)
        lines = os.read(unread, 8_192)  # the lines that the pipe took
        os.close(unread)
    assert server.returncode in (0, -signal.SIGINT), server.returncode  # not aborted
    assert 0 < len(lines) <= 4_096
    assert lines[:1] + lines[-2:] == b"{}\n"  # whole lines
