"""The service: shape of answers, all kinds of users, hostile parameters, a database that goes away, a real server."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, delete, insert, update

import api
import recommendation_engine
from recommender.database import connected, writing
from recommender.database.schema import metadata, products, users
from recommender.errors import RecommenderError, StepOrderError
from recommender.settings import Settings, load_settings
from tests.conftest import BACKENDS, ROOT, require_mariadb
from tests.support.deadlines import as_released
from tests.support.mariadb_server import MariaDBServer, free_port
from tests.support.service import read_only_service, wait_until
from tests.support.shop import WHEN, fill, product_row

A, B, C, D, E = (f"B00000000{letter}" for letter in "ABCDE")
# mu = 32/8 = 4; popular: A (3 ratings), then B (2), then E (5 stars), C (5), D (3) by damped mean and id
STARS = {1: {A: 5.0}, 2: {A: 5.0, B: 4.0, C: 5.0}, 3: {A: 1.0, B: 5.0}, 4: {D: 3.0}, 2**63 - 1: {E: 4.0}}
NO_RATINGS = 77
CATALOG = [
    product_row(A, title='Ångström 🍵 tea, "green"', price=29.99),
    product_row(B, title=None, price=0.0),
    product_row(C, price=19_731.81),
    product_row(D),
    product_row(E),
]


def stock(engine: Engine) -> None:
    fill(engine, STARS, CATALOG)
    with writing(engine) as connection:
        connection.execute(insert(users), [{"user_id": NO_RATINGS, "created_at": WHEN}])


@pytest.fixture
def shop(engine: Engine) -> Engine:
    stock(engine)
    return engine


@pytest.fixture(scope="module", params=BACKENDS)
def reading(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service on the shop that the tests only read."""
    with read_only_service(request.param, tmp_path_factory.mktemp("shop"), request, stock) as client:
        yield client


@pytest.fixture
def client(shop: Engine, env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    with TestClient(api.create_app(), raise_server_exceptions=False) as client:
        yield client


def test_the_answer_has_exactly_the_promised_shape(reading: TestClient) -> None:
    near, far = 25 / (5 * 66**0.5), 5 / (5 * 26**0.5)
    response = reading.get("/recommendations/1?limit=2")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-recommendation-source"] == "neighbors"
    predicted = round((near * 4 + far * 5) / (near + far), 3)
    assert response.text == json.dumps(
        {
            "user_id": 1,
            "recommendations": [
                {
                    "rank": 1,
                    "product_id": C,
                    "product_name": f"Product {C}",
                    "predicted_rating": 5.0,
                    "price": 19_731.81,
                },
                {"rank": 2, "product_id": B, "product_name": None, "predicted_rating": predicted, "price": None},
            ],
        },
        separators=(",", ":"),
        ensure_ascii=False,
    )


def test_a_short_list_is_topped_up_with_popular_products(reading: TestClient) -> None:
    response = reading.get("/recommendations/1")
    assert response.headers["x-recommendation-source"] == "mixed"
    items = response.json()["recommendations"]
    assert [item["product_id"] for item in items] == [C, B, E, D]  # A is rated
    assert [item["predicted_rating"] for item in items[2:]] == [round((4 + 40) / 11, 3), round((3 + 40) / 11, 3)]


@pytest.mark.parametrize(
    ("user", "expected"),
    [(NO_RATINGS, [A, B, C, E, D]), (4, [A, B, C, E]), (2**63 - 1, [A, B, C, D])],
    ids=["no ratings", "no neighbors", "the largest id"],
)
def test_a_user_without_neighbors_gets_the_popular_list(reading: TestClient, user: int, expected: list[str]) -> None:
    response = reading.get(f"/recommendations/{user}")
    assert response.status_code == 200
    assert response.headers["x-recommendation-source"] == "popular"
    assert response.json()["user_id"] == user
    assert [item["product_id"] for item in response.json()["recommendations"]] == expected


def test_an_unknown_user_is_a_404_that_names_the_id(reading: TestClient) -> None:
    response = reading.get("/recommendations/4711")
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["status"] == 404
    assert "4711" in response.json()["detail"]


HOSTILE_IDS = ["-0", "-1", "+1", "01", "1.0", "1_0", "%201", "1%20", "1e0", "abc", "%D9%A1", "null", "NaN", "1%00"]
HOSTILE_IDS += ["00", str(2**63), str(10**30), "0x1", "1;DROP", "%EF%BC%91", "१"]


@pytest.mark.parametrize("user", HOSTILE_IDS)
def test_an_invalid_user_id_is_a_422(reading: TestClient, user: str) -> None:
    response = reading.get(f"/recommendations/{user}")
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["detail"].startswith("user_id: must be a whole number from 0 to")
    assert [error["parameter"] for error in response.json()["errors"]] == ["user_id"]


@pytest.mark.parametrize("limit", ["0", "101", "-1", "+5", "05", "5.0", "", "%205", "abc", "9" * 400])
def test_a_limit_out_of_range_is_a_422(reading: TestClient, limit: str) -> None:
    response = reading.get(f"/recommendations/1?limit={limit}")
    assert response.status_code == 422
    assert response.json()["errors"] == [
        {
            "parameter": "limit",
            "value": unquote_plus(limit)[:100],
            "message": "must be a whole number from 1 to 100",
        }
    ]


def test_both_faults_of_a_request_are_named(reading: TestClient) -> None:
    errors = reading.get("/recommendations/x?limit=x").json()["errors"]
    assert [error["parameter"] for error in errors] == ["user_id", "limit"]


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nothing", 404), ("DELETE", "/health", 405), ("GET", "/nothing/", 404)]
)
def test_errors_of_the_framework_are_problem_json_too(reading: TestClient, method: str, path: str, status: int) -> None:
    response = reading.request(method, path)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert isinstance(response.json()["detail"], str)


def test_an_unforeseen_error_shows_no_trace(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recommender.model.served_model.ServedModel.select", lambda *_: 1 / 0)
    response = client.get("/recommendations/1")
    assert response.status_code == 500
    assert response.headers["content-type"] == "application/problem+json"
    assert "Zero" not in response.text
    assert "Traceback" not in response.text


def test_health_counts_the_users_products_and_ratings_of_the_served_model(client: TestClient) -> None:
    health = client.get("/health").json()
    assert {name: health[name] for name in ("status", "users", "products", "ratings")} == {
        "status": "ok",
        "users": 6,
        "products": 5,
        "ratings": 8,
    }
    built = time.mktime(time.strptime(health["model_built_at"], "%Y-%m-%dT%H:%M:%SZ")) - time.timezone
    assert abs(time.time() - built) < 60


def test_a_product_that_leaves_the_catalog_never_breaks_an_answer(client: TestClient, shop: Engine) -> None:
    with writing(shop) as connection:
        connection.execute(delete(products).where(products.c.asin == C))
        connection.execute(update(products).values(title=None))
    assert client.get("/recommendations/1").status_code == 200  # from memory


def test_a_rated_product_that_is_not_in_the_catalog_is_never_recommended(
    shop: Engine, env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    with writing(shop) as connection:
        connection.execute(delete(products).where(products.c.asin == C))
    with TestClient(api.create_app()) as client:
        for user in (1, NO_RATINGS):
            items = client.get(f"/recommendations/{user}").json()["recommendations"]
            assert C not in [item["product_id"] for item in items]


def test_openapi_documents_every_route_with_an_example(reading: TestClient) -> None:
    document = reading.get("/openapi.json").json()
    filters = ["limit", "offset", "category_id", "min_price", "max_price", "min_stars", "exclude", "diversity"]
    filters.append("in_stock_only")
    parameters = {
        "/recommendations/{user_id}": ["user_id", *filters, "ranking", "explain", "If-None-Match"],
        "/products/{product_id}/similar": ["product_id", "limit", "If-None-Match"],
        "/products/{product_id}": ["product_id", "If-None-Match"],
        "/similar": ["product_id", "limit", "If-None-Match"],
        "/products": ["product_id", "If-None-Match"],
        "/products/{product_id}/figures": ["product_id"],
        "/figures": ["product_id"],
        "/users": ["kind", "country", "age_group", "limit"],
        "/popular": [*filters, "If-None-Match"],
        "/titles": ["title", "limit"],
        "/users/{user_id}/neighbors": ["user_id", "limit", "ranking"],
        "/users/{user_id}/ratings": ["user_id", "limit", "offset"],
    }
    by_path = [path for path in parameters if "{user_id}" in path]
    by_query = {path.replace("/users", "").replace("/{user_id}", ""): parameters[path] for path in by_path}
    parameters |= by_query
    writes = {"/ratings", "/rating", "/interactions", "/recommendations", "/recommendations/batch"}
    writes |= {"/users/{user_id}", "/users/{user_id}/ratings/{product_id}", "/users", "/ratings/{product_id}"}
    assert set(document["paths"]) == {
        *("/health", "/live", "/ready", "/metrics", "/overview.json", "/versions.json"),
        *("/users/{user_id}/what-if", "/what-if"),
        *("/map.json", "/map/shopper", "/map/points", "/map/points/{point}"),
        *parameters,
        *writes,
    }
    for operation in (operation for methods in document["paths"].values() for operation in methods.values()):
        bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
        kinds = [kind for body in bodies for kind in body.get("content", {}).items()]
        contents = [content for name, content in kinds if name != "application/octet-stream"]  # bytes are described
        assert all(content["example"] for content in contents)
        assert contents
        assert all("example" in parameter for parameter in operation.get("parameters", []))
    for path, names in parameters.items():
        operation = document["paths"][path]["get"]
        assert [parameter["name"] for parameter in operation["parameters"]] == names
        assert {"200", "422", *(["404"] if "{" in path else [])} <= set(operation["responses"])


def test_a_start_before_step_2_names_the_step(
    engine: Engine, env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    fill(engine, {}, [A])
    with pytest.raises(StepOrderError, match="python load_recommendation_data.py"), TestClient(api.create_app()):
        pass


def serve(env: dict[str, str], port: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "uvicorn", "api:app", "--host", "127.0.0.1", "--port", str(port)]
    return subprocess.Popen(
        command, cwd=ROOT, env=os.environ | env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def fetch(address: str) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(address, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def wait_for(port: int, server: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert server.poll() is None, server.stdout and server.stdout.read()
        try:
            fetch(f"http://127.0.0.1:{port}/health")
        except urllib.error.URLError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("the server did not answer within 60 s")


def test_a_real_server_answers_a_real_request_and_stops_on_sigterm(shop: Engine, env: dict[str, str]) -> None:
    port = free_port()
    with serve(env, port) as server:
        try:
            wait_for(port, server)
            curl = ["curl", "-sS", "-i", f"http://127.0.0.1:{port}/recommendations/1?limit=1"]
            answer = subprocess.run(curl, capture_output=True, text=True, check=True).stdout
            assert answer.startswith("HTTP/1.1 200 OK")
            assert '"recommendations":[{"rank":1,"product_id":"B00000000C"' in answer
            assert fetch(f"http://127.0.0.1:{port}/recommendations/042")[0] == 422
        finally:
            server.terminate()
        output = server.communicate(timeout=60)[0]
        assert server.returncode in (0, -signal.SIGTERM)  # uvicorn raises the signal again after its orderly end
        assert "Application shutdown complete." in output
        assert "Traceback" not in output


@pytest.mark.usefixtures("client", "freezing")
def test_the_garbage_collector_skips_the_loaded_application_while_it_serves() -> None:
    app = api.create_app()
    with TestClient(app):
        assert not any(entry is app for entry in gc.get_objects())
    assert any(entry is app for entry in gc.get_objects())


def test_a_server_started_too_early_says_so_in_one_line(engine: Engine, env: dict[str, str]) -> None:
    metadata.create_all(engine)
    with serve(env, free_port()) as server:
        output = server.communicate(timeout=60)[0]
    assert server.returncode != 0
    assert "run python to_rds.py first" in output
    assert "Traceback" not in output
    assert MariaDBServer.password not in output


def test_reads_go_on_from_memory_while_the_server_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_mariadb()
    server = MariaDBServer(tmp_path)
    server.start()
    for name, value in server.environment("shop").items():
        monkeypatch.setenv(name, value)
    settings: Settings = load_settings()
    with connected(settings, create=True) as engine:
        fill(engine, STARS, CATALOG)
    with TestClient(api.create_app()) as client:
        before = client.get("/recommendations/1").json()
        assert client.get("/health").json()["status"] == "ok"
        with as_released():
            server.stop()
            wait_until(lambda: client.get("/health").json()["status"] == "degraded")
            assert client.get("/recommendations/1").json() == before
            server.start()
            wait_until(lambda: client.get("/health").json()["status"] == "ok")
    server.stop()


def test_the_api_computes_with_the_settings_of_the_engine(
    shop: Engine, env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (env | {"TOP_N_SIMILAR_USERS": "1"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(recommendation_engine, "TOP_N_RECOMMENDATIONS", 1)
    with TestClient(api.create_app()) as client:
        items = client.get("/recommendations/1").json()["recommendations"]
    assert [item["product_id"] for item in items] == [C]
    monkeypatch.setenv("TOP_N_SIMILAR_USERS", "many")
    with pytest.raises(RecommenderError, match="TOP_N_SIMILAR_USERS='many'"), TestClient(api.create_app()):
        pass


def test_a_limit_given_twice_is_refused(reading: TestClient) -> None:
    response = reading.get("/recommendations/1?limit=1&limit=5")
    assert response.status_code == 422
    assert response.json()["errors"] == [{"parameter": "limit", "value": "5", "message": "must be given once"}]


@pytest.mark.parametrize("path", ["/health", "/recommendations/1"])
def test_head_answers_as_get_without_a_body(reading: TestClient, path: str) -> None:
    get, head = reading.get(path), reading.head(path)
    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["content-length"] == get.headers["content-length"]


def test_the_default_limit_never_exceeds_the_largest_limit(
    shop: Engine, env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (env | {"TOP_N_RECOMMENDATIONS": "500"}).items():
        monkeypatch.setenv(name, value)
    app = api.create_app()
    with TestClient(app) as client:
        assert client.get("/recommendations/1").status_code == 200
        assert app.state.default_limit == 100


def test_similar_products_come_with_cosine_and_evidence(reading: TestClient) -> None:
    # A: 5 of user 1, 5 of user 2, 1 of user 3; B: 4 of user 2, 5 of user 3; C: 5 of user 2
    to_b = (5 * 4 + 1 * 5) / (51**0.5 * 41**0.5)
    to_c = 25 / (51**0.5 * 5)
    response = reading.get(f"/products/{A}/similar")
    assert response.status_code == 200
    assert response.json() == {
        "product_id": A,
        "similar": [
            {
                "rank": 1,
                "product_id": C,
                "product_name": f"Product {C}",
                "similarity": round(to_c, 3),
                "users_in_common": 1,
                "price": 19_731.81,
            },
            {
                "rank": 2,
                "product_id": B,
                "product_name": None,
                "similarity": round(to_b, 3),
                "users_in_common": 2,
                "price": None,
            },
        ],
    }
    assert [item["rank"] for item in reading.get(f"/products/{A}/similar?limit=1").json()["similar"]] == [1]
    assert reading.head(f"/products/{A}/similar").status_code == 200


def test_a_product_that_nobody_rated_is_similar_to_none_and_an_unknown_one_is_a_404(
    client: TestClient, shop: Engine, env: dict[str, str]
) -> None:
    with writing(shop) as connection:
        connection.execute(insert(products), [product_row("B0000NEVER")])
    with TestClient(api.create_app()) as fresh:
        assert fresh.get("/products/B0000NEVER/similar").json() == {"product_id": "B0000NEVER", "similar": []}
    missing = client.get("/products/B0000NEVER/similar")
    assert missing.status_code == 404
    assert missing.json()["detail"] == "product B0000NEVER is unknown: it is neither in the catalog nor rated"


@pytest.mark.parametrize("product", ["x" * 65, "%20B08N5WRWN", "B08N5WRWN%00", "..%2F..%2Fetc%09", "%FF", "a%C2%85b"])
def test_an_invalid_product_id_is_refused(reading: TestClient, product: str) -> None:
    response = reading.get(f"/products/{product}/similar?limit=0")
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert [error["parameter"] for error in response.json()["errors"]] == ["product_id", "limit"]


def test_a_request_may_ask_for_the_other_ranking(reading: TestClient) -> None:
    plain = reading.get("/recommendations/1")
    assert reading.get("/recommendations/1?ranking=classic").text == plain.text
    by_taste = reading.get("/recommendations/1?ranking=taste").json()["recommendations"]
    assert [item["product_id"] for item in by_taste[:2]] != [
        item["product_id"] for item in plain.json()["recommendations"][:2]
    ]
    assert {item["product_id"] for item in by_taste} == {B, C, D, E}
    refused = reading.get("/recommendations/1?ranking=best")
    assert refused.status_code == 422
    assert refused.json()["errors"] == [
        {"parameter": "ranking", "value": "best", "message": "must be classic or taste or items or auto"}
    ]
    assert reading.get("/recommendations/1?ranking=taste&ranking=taste").status_code == 422
