"""Items, and auto that chose items or a fusion, from the batch to the service: the same lists, and live ratings."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, delete, insert, select, update

import api
import recommendation_engine as re
from recommender.database import writing
from recommender.database.schema import interactions, model_versions, recommendations
from recommender.errors import SettingError
from recommender.evaluation import tuning
from recommender.publishing import read_versions
from recommender.ranking import (
    FUSION,
    ITEMS,
    TASTE,
    AutoParameters,
    FusionParameters,
    ItemParameters,
    TasteParameters,
    chosen_parameters,
)
from tests.support.service import KEY, WITH_KEY
from tests.support.shop import WHEN, fill, product_row

N_PEOPLE, N_PRODUCTS = 60, 48
CATALOG = [f"B{number:09d}" for number in range(N_PRODUCTS)]
BY_INTERACTION = 401  # has no rating
NOTHING = 402  # has no product
ITEM_PARAMETERS = ItemParameters(ridge=3.0, half_life=4.0, damping=0.1)
CHOICES = {
    TASTE: AutoParameters(taste=TasteParameters(7, 0.6)),
    ITEMS: AutoParameters(ITEMS, items=ITEM_PARAMETERS),
    FUSION: AutoParameters(
        FUSION,
        TasteParameters(9, 0.4),
        ItemParameters(ridge=3.0, half_life=4.0, damping=0.1),
        FusionParameters(0.7, 10.0),
    ),
}
Client = Any


def histories() -> dict[int, dict[str, float]]:
    """Four groups of taste with eleven products each. The last three people have few others near them, or nobody."""
    draw, stars = np.random.default_rng(4), dict[int, dict[str, float]]()
    common = [product for at, product in enumerate(CATALOG) if at % 12 != 11]
    for person in range(1, N_PEOPLE - 2):
        group = CATALOG[12 * (person % 4) : 12 * (person % 4) + 11]
        chosen = [*draw.choice(group, int(draw.integers(2, 7)), replace=False), str(draw.choice(common))]
        stars[person] = {str(product): int(draw.integers(2, 11)) / 2 for product in chosen}
    alone = {CATALOG[11]: 4.0}, {CATALOG[23]: 5.0, CATALOG[35]: 2.0}, {CATALOG[23]: 3.0}
    return stars | dict(zip(range(N_PEOPLE - 2, N_PEOPLE + 1), alone, strict=True))


@pytest.fixture
def shop(engine: Engine, env: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Engine:
    rows = [product_row(product, category_id=at % 5, price=float(at)) for at, product in enumerate(CATALOG)]
    fill(engine, histories() | {BY_INTERACTION: {}, NOTHING: {}}, rows)
    events = [
        {"user_id": BY_INTERACTION, "product_id": product, "interaction_type": "purchase", "created_at": WHEN}
        for product in CATALOG[:2]
    ]
    with writing(engine) as connection:
        connection.execute(insert(interactions), events)
    for name, value in (env | {"MODEL_FILE": "", "API_KEY": KEY, "REQUEST_LOG": "0"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return engine


@pytest.fixture
def choose(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """``choose(FUSION)`` lets auto choose that on any ratings."""

    def chosen(kind: str) -> None:
        found = tuning.Tuned(CHOICES[kind], 60)
        for module in ("recommender.model.training", "recommender.evaluation.comparison"):
            monkeypatch.setattr(f"{module}.tune", lambda *_, **__: found)

    return chosen


@contextmanager
def serving(monkeypatch: pytest.MonkeyPatch, ranking: str, model_file: Path | None = None) -> Iterator[Client]:
    monkeypatch.setenv("RANKING", ranking)
    monkeypatch.setenv("MODEL_FILE", str(model_file or ""))
    with TestClient(api.create_app(), headers=WITH_KEY) as client:
        yield client


def batch_rows(engine: Engine) -> dict[int, list[Any]]:
    """The rows that the batch wrote, by user."""
    c, found = recommendations.c, dict[int, list[Any]]()
    wanted = c.user_id, c.product_id, c.predicted_rating, c.source, c.support, c.n_neighbors
    with engine.connect() as connection:
        for user, *row in connection.execute(select(*wanted).order_by(c.user_id, c["rank"])):
            found.setdefault(user, []).append(row)
    return found


def same_as_in_the_batch(client: Client, rows: dict[int, list[Any]]) -> set[str]:
    """Compare each list of the service with the batch's. Return all sources."""
    seen, model = set(), client.app.state.model
    for user, listed in rows.items():
        answer = client.get(f"/recommendations/{user}")
        items, told = answer.json()["recommendations"], model.recommend(user, 10).recommendations
        sources = [source for *_, source, _, _ in listed]
        assert [item["product_id"] for item in items] == [product for product, *_ in listed]
        assert [item["predicted_rating"] for item in items] == [round(stars, 3) for _, stars, *_ in listed]
        assert [item.source for item in told] == sources
        for item, (_, stars, source, support, n_neighbors) in zip(told, listed, strict=True):
            evident = source in (ITEMS, FUSION, "neighbors")
            assert (item.predicted_rating, item.support) == (stars, support if evident else 0.0)
            assert item.n_neighbors == (n_neighbors if evident else 0)
            assert evident == (support is not None) == (n_neighbors is not None)
        whole = {source for source in sources if source in (ITEMS, FUSION, "neighbors")}
        given = whole.pop() if len(whole) == 1 and set(sources) == whole else None
        rankings = sum(source in (ITEMS, FUSION, "neighbors") for source in sources)
        wanted = "popular" if not rankings else sources[0] if rankings == len(sources) else "mixed"
        assert given is None or given == wanted
        assert answer.headers["x-recommendation-source"] == wanted
        counts = {source: sources.count(source) for source in sources}
        assert dict(part.split("=") for part in answer.headers["x-recommendation-sources"].split(", ")) == {
            source: str(count) for source, count in counts.items()
        }
        seen |= {answer.headers["x-recommendation-source"], *sources}
    return seen


CASES = [("items", None), ("auto", ITEMS), ("auto", FUSION), ("auto", TASTE)]


@pytest.mark.parametrize(("ranking", "kind"), CASES)
def test_the_service_gives_the_lists_of_the_batch_and_of_a_model_file(
    shop: Engine, choose: Any, ranking: str, kind: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    choose(kind or TASTE)
    file = tmp_path / "model.rec"
    assert re.main(["--ranking", ranking, "--users", "all", "--save-model", str(file)]) == 0
    (version,) = read_versions(shop)
    assert version.settings["ranking"] == ranking
    if kind is not None:
        assert chosen_parameters(version.settings) == CHOICES[kind]
    rows = batch_rows(shop)
    assert len(rows) == N_PEOPLE + 1  # everybody with a product
    source = "neighbors" if kind == TASTE else kind or ITEMS
    assert re.main(["--ranking", ranking, "--users", "all", "--if-stale"]) == 0
    assert len(read_versions(shop)) == 1

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("the version says what was chosen")

    monkeypatch.setattr("recommender.model.training.tune", never)
    for saved in (None, file):
        with serving(monkeypatch, ranking, saved) as client:
            assert client.get("/health").json()["model_version"] == 1
            assert same_as_in_the_batch(client, rows) >= {source, "mixed", "popular"}
            one = client.get("/recommendations/1?limit=2")
            assert one.headers["x-recommendation-source"] == source
            assert one.headers["x-recommendation-sources"] == f"{source}=2"
            assert client.get(f"/recommendations/{NOTHING}").headers["x-recommendation-source"] == "popular"
            everybody = client.post("/recommendations/batch", json={"user_ids": [1, 2, 3], "limit": 4}).json()
            assert everybody["results"] == [client.get(f"/recommendations/{u}?limit=4").json() for u in (1, 2, 3)]
            text = client.get("/metrics").text
            assert f'source="{source}"' in text


def test_a_ranking_that_is_not_loaded_is_409_in_every_route(shop: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(monkeypatch, "taste") as client:
        for ranking in ("items", "auto"):
            basket = {"ratings": [{"product_id": CATALOG[0]}]}
            for answer in (
                client.get(f"/recommendations/1?ranking={ranking}"),
                client.get(f"/recommendations/1?ranking={ranking}&explain=true"),
                client.get(f"/users/1/neighbors?ranking={ranking}"),
                client.post(f"/recommendations?ranking={ranking}", json=basket),
                client.post("/recommendations/batch", json={"user_ids": [1], "ranking": ranking}),
            ):
                assert answer.status_code == 409, answer.request.url
                detail = f"ranking {ranking} is not in this model: make it with RANKING={ranking}"
                assert answer.json()["detail"] == detail
    with serving(monkeypatch, "items") as client:
        for ranking in ("classic", "taste", "items"):
            assert client.get(f"/recommendations/1?ranking={ranking}").status_code == 200
        assert client.get("/recommendations/1?ranking=auto").status_code == 409


@pytest.mark.parametrize(("ranking", "kind"), [("items", None), ("auto", FUSION)])
def test_a_basket_is_answered_as_a_user_with_these_ratings(
    shop: Engine, choose: Any, ranking: str, kind: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(kind or TASTE)
    with serving(monkeypatch, ranking) as client:
        mine = [CATALOG[0], CATALOG[3], CATALOG[13]]
        answer = client.post("/recommendations", json={"ratings": [{"product_id": product} for product in mine]})
        assert answer.status_code == 200
        assert answer.headers["x-recommendation-source"] in (kind or ITEMS, "mixed")
        listed = [item["product_id"] for item in answer.json()["recommendations"]]
        assert len(listed) == 10
        assert not set(listed) & set(mine)
        filtered = client.post(
            "/recommendations?category_id=1&diversity=2&limit=5",
            json={"ratings": [{"product_id": product} for product in mine]},
        ).json()["recommendations"]
        assert all(CATALOG.index(item["product_id"]) % 5 == 1 for item in filtered)
        assert len(filtered) == 2


@pytest.mark.parametrize(("ranking", "kind"), [("items", None), ("auto", ITEMS), ("auto", FUSION)])
def test_a_rating_counts_at_once(
    shop: Engine, choose: Any, ranking: str, kind: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(kind or TASTE)
    with serving(monkeypatch, ranking) as client:
        before = client.get(f"/recommendations/{NOTHING}")
        assert before.headers["x-recommendation-source"] == "popular"
        sent = client.post("/ratings", json={"user_id": NOTHING, "product_id": CATALOG[12], "rating": 5})
        assert sent.status_code in (200, 201, 204), sent.text
        after = client.get(f"/recommendations/{NOTHING}?limit=3")
        assert after.headers["x-recommendation-source"] == (kind or ITEMS)
        listed = [item["product_id"] for item in after.json()["recommendations"]]
        assert CATALOG[12] not in listed
        assert all(12 <= CATALOG.index(product) < 24 for product in listed[:2])  # of the group of this product
        whole = client.get("/recommendations/1?limit=40").json()["recommendations"]
        best = whole[0]["product_id"]
        client.post("/ratings", json={"user_id": 1, "product_id": best, "rating": 1})
        assert best not in {
            item["product_id"] for item in client.get("/recommendations/1?limit=40").json()["recommendations"]
        }
        assert client.delete(f"/users/1/ratings/{best}").status_code < 300
        assert client.get("/recommendations/1?limit=40").json()["recommendations"] == whole


@pytest.mark.parametrize(
    ("kind", "formula"),
    [
        (TASTE, "divided by raters^0.6."),
        (ITEMS, "divided by raters^0.3."),
        (FUSION, "with w = 0.7 and k = 10."),
    ],
)
def test_a_page_shows_the_constants_that_auto_chose_and_those_of_taste_beside_them(
    shop: Engine, kind: str, formula: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = CHOICES[kind]._replace(items=ITEM_PARAMETERS._replace(damping=0.3))
    monkeypatch.setattr("recommender.model.training.tune", lambda *_, **__: tuning.Tuned(chosen, 60))
    with serving(monkeypatch, "auto") as client:
        page = client.get("/shoppers/1?ranking=auto&beside=taste", headers={"Accept": "text/html"}).text
    assert formula in page
    assert "divided by raters^0.2." in page


def test_an_auto_version_of_an_earlier_release_is_served_by_its_parameters(
    shop: Engine, choose: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(TASTE)
    assert re.main(["--ranking", "auto", "--users", "all"]) == 0
    rows = batch_rows(shop)
    change_settings(shop, lambda settings: settings.pop("chosen"))
    choose(FUSION)  # not asked
    with serving(monkeypatch, "auto") as client:
        assert client.get("/health").json()["model_version"] == 1
        assert "neighbors" in same_as_in_the_batch(client, rows)
        assert client.app.state.model.similarity.parameters == CHOICES[TASTE]


def change_settings(engine: Engine, change: Callable[[dict[str, Any]], object]) -> None:
    """Change what the first version says of itself."""
    settings = dict(read_versions(engine)[0].settings)
    change(settings)
    with writing(engine) as connection:
        changed = update(model_versions).where(model_versions.c.version == 1).values(settings=json.dumps(settings))
        connection.execute(changed)


DAMAGED: dict[str, Callable[[dict[str, Any]], object]] = {
    "no such choice": lambda settings: settings.update(chosen="best"),
    "no items": lambda settings: settings.pop("items"),
    "items in words": lambda settings: settings.update(items="many"),
    "items without a ridge": lambda settings: settings["items"].pop("ridge"),
    "a ridge below 0": lambda settings: settings["items"].update(ridge=-5),
    "a fusion of text": lambda settings: settings["fusion"].update(weight="half"),
    "a fusion of more than all": lambda settings: settings["fusion"].update(weight=2),
    "too many neighbors": lambda settings: settings.update(n_neighbors=10**12),
    "neighbors of nothing": lambda settings: settings.update(n_neighbors=None),
}


@pytest.mark.parametrize("backend", ["sqlite"])
@pytest.mark.parametrize("fault", DAMAGED)
def test_damaged_settings_of_a_version_are_told_in_one_line(
    shop: Engine, choose: Any, fault: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    choose(FUSION)
    assert re.main(["--ranking", "auto", "--users", "5"]) == 0
    change_settings(shop, DAMAGED[fault])
    capsys.readouterr()
    assert re.main(["--ranking", "auto", "--users", "5", "--force"]) == 0
    out, err = capsys.readouterr()
    told = [line for line in out.splitlines() if "the settings of version 1 cannot be ranked by" in line]
    assert len(told) == 1
    assert "Traceback" not in out + err
    with writing(shop) as connection:
        connection.execute(delete(model_versions).where(model_versions.c.version == 2))
        connection.execute(update(model_versions).values(state="published"))
    said = "^the settings of version 1 do not say what auto chose: make another version"
    with pytest.raises(SettingError, match=said), serving(monkeypatch, "auto"):
        pass
    with serving(monkeypatch, "taste") as client:  # does not need them
        assert client.get("/recommendations/1?ranking=auto").status_code == 409
