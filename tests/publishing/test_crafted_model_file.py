"""A model file with a right checksum and any content is refused in one line, or every route answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from httpx2 import ASGITransport, AsyncClient
from numpy.typing import NDArray

import api
from recommender.errors import DatabaseError, ModelFileError
from recommender.publishing import open_arrays, open_model, save_model
from recommender.publishing._array_file import save_arrays
from recommender.service import ApiKeys
from recommender.updates import ModelUpdater, SavedModel
from tests.service.test_api import STARS, A
from tests.support.saved_model import small_of_all, version_of
from tests.support.service import KEY, WITH_KEY

PRODUCT, USER = A, min(STARS)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a small model of every ranking; auto is a fusion."""
    file, model = tmp_path_factory.mktemp("saved") / "model.rec", small_of_all()
    save_model(file, model, version_of(model))
    return file


class Crafted:
    """Files that differ from a good one in one thing, and the answers of a service that opened them."""

    def __init__(self, saved: Path, folder: Path) -> None:
        self.arrays, self.facts = open_arrays(saved)
        self._file = folder / "model.rec"
        self.app = api.create_app()
        self.app.state.api_keys, self.app.state.default_limit = ApiKeys(KEY), 10
        self.app.layer.log.enabled = False
        self.n_refused = self.n_served = 0

    def faults(self, arrays: dict[str, NDArray[Any]], facts: Any) -> list[str]:
        """The fault of the service with such a file; empty if the file is refused or every route answers."""
        save_arrays(self._file, arrays, facts)
        try:
            model, _ = open_model(self._file)
            model.prepare()
        except ModelFileError as error:
            self.n_refused += 1
            return [] if len(str(error).splitlines()) == 1 else [str(error)]
        self.n_served += 1
        watch = ModelUpdater(self.app.state, _no_database, SavedModel(self._file), known_up=True)
        watch.serve(model)
        self.app.state.updater = watch
        statuses = asyncio.run(self._ask_all())
        watch.close()
        return [f"{path}: {status}" for path, status in statuses if status >= 500]

    async def _ask_all(self) -> list[tuple[str, int]]:
        transport = ASGITransport(self.app, raise_app_exceptions=False)
        async with AsyncClient(transport=transport, base_url="http://shop", headers=WITH_KEY) as client:
            return [(path, (await client.request(way, path, **more)).status_code) for way, path, more in questions()]


def _no_database() -> Any:
    raise DatabaseError("there is none")


def questions() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """One request for each route that reads the model."""
    for user in (USER, max(STARS)):
        yield "GET", f"/recommendations/{user}?explain=true", {}
        yield "GET", f"/recommendations/{user}?ranking=taste&explain=true&limit=100", {}
        yield "GET", f"/recommendations/{user}?ranking=taste&category_id=1&max_price=50&diversity=1", {}
        for ranking in ("items", "auto"):
            yield "GET", f"/recommendations/{user}?ranking={ranking}&explain=true&limit=100", {}
            yield "GET", f"/recommendations/{user}?ranking={ranking}&category_id=1&max_price=50&diversity=1", {}
        yield "GET", f"/users/{user}/neighbors?ranking=taste", {}
        yield "GET", f"/users/{user}/ratings", {}
    yield "GET", "/popular?min_stars=1&limit=100", {}
    yield "GET", f"/products/{PRODUCT}", {}
    yield "GET", f"/products/{PRODUCT}/similar", {}
    yield "GET", "/health", {}
    yield "GET", "/metrics", {}
    yield "POST", "/recommendations/batch", {"json": {"user_ids": sorted(STARS), "ranking": "taste"}}
    for ranking in ("classic", "taste", "items", "auto"):
        yield "POST", f"/recommendations?ranking={ranking}", {"json": {"ratings": [{"product_id": PRODUCT}]}}


def mutations(array: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """The array with the smallest, the largest and odd values at its ends, in another order, and in another length."""
    if not array.size:
        return
    kind = array.dtype.kind
    if kind == "f":
        values: list[Any] = [np.nan, np.inf, -np.inf, -1.0, np.finfo(array.dtype).max]
    elif kind == "b":
        values = []
        yield _with(array.view(np.uint8), 0, 7).view(np.bool_)
    else:
        limits = np.iinfo(array.dtype)
        values = [limits.min, limits.max, 0, 200 if limits.max == 255 else 5]
    for value in values:
        yield _with(array, 0, value)
        yield _with(array, -1, value)
    yield np.ascontiguousarray(array[::-1])
    yield array[:-1].copy()


def _with(array: NDArray[Any], place: int, value: Any) -> NDArray[Any]:
    changed = array.copy()
    changed.reshape(-1)[place] = value
    return changed


def test_any_value_in_any_array_is_refused_or_every_route_answers(saved: Path, tmp_path: Path) -> None:
    crafted, faults = Crafted(saved, tmp_path), dict[str, list[str]]()
    for name, array in crafted.arrays.items():
        for at, changed in enumerate(mutations(array)):
            if found := crafted.faults(crafted.arrays | {name: changed}, crafted.facts):
                faults[f"{name}, mutation {at}"] = found
    assert faults == {}
    assert crafted.n_refused > crafted.n_served > 50


FACTS: dict[str, Callable[[dict[str, Any]], object]] = {
    "a time without a zone": lambda facts: facts["version"].update(made_at="2026-01-01T00:00:00"),
    "a time before there was one": lambda facts: facts["version"].update(made_at="0001-01-01T00:00:00+00:00"),
    "a version in words": lambda facts: facts["version"].update(number="six"),
    "a version that is true": lambda facts: facts["version"].update(number=True),
    "a version below 1": lambda facts: facts["version"].update(number=0),
    "a state of tomorrow": lambda facts: facts["version"].update(state="loved"),
    "settings in words": lambda facts: facts["version"].update(settings="many"),
    "metrics in words": lambda facts: facts["version"].update(metrics="good"),
    "more neighbors than memory": lambda facts: facts.update(n_neighbors=10**12),
    "parameters of one": lambda facts: facts.update(parameters=[5]),
    "more neighbors by taste than memory": lambda facts: facts.update(parameters=[10**12, 0.2]),
    "a power that is no number": lambda facts: facts.update(parameters=[5, float("nan")]),
    "auto of nothing": lambda facts: facts.update(parameters={"chosen": "best"}),
    "auto of a number": lambda facts: facts.update(parameters=7),
    "items without parameters": lambda facts: facts["parameters"].pop("items"),
    "items in words": lambda facts: facts["parameters"].update(items="many"),
    "a half-life in words": lambda facts: facts["parameters"]["items"].update(half_life="long"),
    "a half-life below 0": lambda facts: facts["parameters"]["items"].update(half_life=-1.0),
    "a half-life that is no number": lambda facts: facts["parameters"]["items"].update(half_life=float("nan")),
    "a half-life without end": lambda facts: facts["parameters"]["items"].update(half_life=float("inf")),
    "a power of products beyond all": lambda facts: facts["parameters"]["items"].update(damping=5.0),
    "a fusion without a constant": lambda facts: facts["parameters"]["fusion"].pop("constant"),
    "a fusion of more than all": lambda facts: facts["parameters"]["fusion"].update(weight=1.5),
    "a fusion of less than nothing": lambda facts: facts["parameters"]["fusion"].update(weight=-0.5),
    "a fusion by minus one": lambda facts: facts["parameters"]["fusion"].update(constant=-1.0),
    "items of no ridge": lambda facts: facts["parameters"]["items"].update(ridge=0.0),
    "auto without parameters": lambda facts: facts.update(ranking="auto", parameters=None),
    "more than all products new": lambda facts: facts.update(new_product_percent=101),
    "a weight too few": lambda facts: facts.update(weights=[1.0, 1.0]),
    "a weight below 0": lambda facts: facts.update(weights=[-1.0, 1.0, 1.0, 1.0]),
    "a weight without end": lambda facts: facts.update(weights=[float("inf"), 1.0, 1.0, 1.0]),
    "a cursor of three": lambda facts: facts.update(cursor=[1, 2, 3]),
    "a cursor beyond the calendar": lambda facts: facts.update(cursor=[2**62, 0, 0, 0]),
    "a gap of three": lambda facts: facts.update(cursor=[1, 2, 3, 4, [[1, 2, 3]], [], [], []]),
    "a gap of texts": lambda facts: facts.update(cursor=[1, 2, 3, 4, [["1", "2"]], [], [], []]),
    "a gap beyond all ids": lambda facts: facts.update(cursor=[1, 2, 3, 4, [], [[1, 2**70]], [], []]),
    "a tick without its rows": lambda facts: facts.update(cursor=[1, 2, 3, 4, [], [], [[1]], []]),
    "a span without an end": lambda facts: facts.update(cursor=[1, 2, 3, 4, [], [], [], [5]]),
    "a cursor below 0": lambda facts: facts.update(cursor=[0, -1, 0, 0]),
    "segments without names": lambda facts: facts.update(segment_names=[[1, 2]]),
    "segments of one name": lambda facts: facts.update(segment_names=[["NL"]]),
    "rows left out of nothing": lambda facts: facts.update(left_out={"everything": 1}),
    "rows left out in words": lambda facts: facts.update(left_out={"users.user_id": "many"}),
    "people of a number": lambda facts: facts.update(people=7),
}


@pytest.mark.parametrize("fault", FACTS)
def test_impossible_facts_are_refused(saved: Path, tmp_path: Path, fault: str) -> None:
    arrays, facts = open_arrays(saved)
    FACTS[fault](facts)
    save_arrays(tmp_path / "model.rec", arrays, facts)
    with pytest.raises(ModelFileError, match="does not hold together") as caught:
        open_model(tmp_path / "model.rec")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("missing", ["all", "weights", "indptr"])
def test_auto_by_items_without_the_weights_is_refused(saved: Path, tmp_path: Path, missing: str) -> None:
    arrays, facts = open_arrays(saved)
    kept = {
        name: array
        for name, array in arrays.items()
        if not name.startswith("items.") or (missing != "all" and name != f"items.{missing}")
    }
    assert len(kept) < len(arrays)
    save_arrays(tmp_path / "model.rec", kept, facts)
    with pytest.raises(ModelFileError, match="does not hold together") as caught:
        open_model(tmp_path / "model.rec")
    assert len(str(caught.value).splitlines()) == 1


def test_weights_of_other_products_are_refused(saved: Path, tmp_path: Path) -> None:
    arrays, facts = open_arrays(saved)
    starts = arrays["items.indptr"]
    for other in (np.append(starts, starts[-1]), starts[1:] - starts[1]):
        save_arrays(tmp_path / "model.rec", arrays | {"items.indptr": other}, facts)
        with pytest.raises(ModelFileError, match="does not hold together"):
            open_model(tmp_path / "model.rec")


@pytest.mark.parametrize("name", ["product_ids", "catalog.product_ids"])
@pytest.mark.parametrize(("place", "value"), [(0, 0xC3), (0, 0), (9, 0x80), (3, 0), (4, 7), (9, 0x20)])
def test_a_product_id_that_is_no_text_is_refused(
    saved: Path, tmp_path: Path, name: str, place: int, value: int
) -> None:
    arrays, facts = open_arrays(saved)
    save_arrays(tmp_path / "model.rec", arrays | {name: _with(arrays[name], place, value)}, facts)
    with pytest.raises(ModelFileError, match=f"{name} (are not UTF-8|have NUL|are no product ids)"):
        open_model(tmp_path / "model.rec")
