"""Text ids of users in a model file: they come back as they were, and ids that do not fit are refused in one line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

import api
from recommender.errors import ModelFileError
from recommender.live import LiveModel
from recommender.model import ServedModel
from recommender.publishing import open_arrays, open_model, save_model
from recommender.publishing._array_file import save_arrays
from recommender.shop import TextIds
from tests.shop.test_user_ids import NAMES
from tests.support.saved_model import small, version_of


def named(names: list[str]) -> ServedModel:
    """The small model, whose people have these names, the first ones in the order of their numbers."""
    model = small()
    numbers = model.known_users
    names = sorted(names, key=str.encode)[: len(numbers)]
    ids = TextIds.made(np.array([name.encode() for name in names]), numbers)
    return replace(model, matrix=replace(model.matrix, ids=ids))


N_PEOPLE = len(small().known_users)


@settings(max_examples=25, deadline=None)
@given(st.lists(NAMES, min_size=N_PEOPLE, max_size=N_PEOPLE, unique=True))
def test_any_text_ids_come_back_as_they_were(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    file, model = tmp_path_factory.mktemp("named") / "model.rec", named(names)
    save_model(file, model, version_of(model))
    found, _ = open_model(file)
    for name in names:
        number = model.number_of(name)
        assert (found.number_of(name), found.ids.of(number)) == (number, name)
        assert found.recommend(number, 5) == model.recommend(number, 5)
    assert found.matrix.fingerprint() == model.matrix.fingerprint()


@settings(max_examples=25, deadline=None)
@given(st.lists(NAMES, min_size=N_PEOPLE, max_size=N_PEOPLE, unique=True))
def test_any_text_id_goes_through_paths_queries_and_json(names: list[str]) -> None:
    app, model = api.create_app(), LiveModel.of(named(names))
    app.state.model = model
    app.layer.log.enabled = False
    client = TestClient(app)
    many = client.post("/recommendations/batch", json={"user_ids": names}).json()
    assert [one["user_id"] for one in many["results"]] == names
    for name, of_batch in zip(names, many["results"], strict=True):
        assert client.get("/recommendations", params={"user_id": name}).json() == of_batch
        if name != "batch":
            assert client.get(f"/recommendations/{quote(name, safe='')}").json() == of_batch


def faults(arrays: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What may be wrong with the ids of a file."""
    texts, numbers = arrays["ids.texts"].copy(), arrays["ids.numbers"]
    hole, half = texts.copy(), texts.copy()
    hole[0, 0], half[0, 0] = 0, 0xC3
    return {
        "no order": {"ids.texts": texts[::-1].copy()},
        "twice": {"ids.texts": np.repeat(texts[:1], len(texts), axis=0)},
        "a NUL": {"ids.texts": hole},
        "no UTF-8": {"ids.texts": half},
        "another type": {"ids.texts": texts.astype(np.int32)},
        "one dimension": {"ids.texts": texts.ravel()},
        "too few": {"ids.numbers": numbers[1:]},
        "one number for two": {"ids.numbers": np.zeros_like(numbers)},
        "below 0": {"ids.numbers": numbers - 100},
        "other people": {"ids.numbers": numbers + 1_000},
        "another order": {"ids.numbers": numbers[::-1].copy()},
    }


def test_ids_that_do_not_fit_are_refused_in_one_line(tmp_path: Path) -> None:
    model, file = named([f"{letter}é" for letter in "abcdefghijklmnop"]), tmp_path / "model.rec"
    save_model(file, model, version_of(model))
    arrays, facts = open_arrays(file)
    for fault, wrong in faults(arrays).items():
        save_arrays(tmp_path / "wrong.rec", arrays | wrong, facts)
        with pytest.raises(ModelFileError, match="--save-model") as error:
            open_model(tmp_path / "wrong.rec")
        assert "\n" not in str(error.value), fault
