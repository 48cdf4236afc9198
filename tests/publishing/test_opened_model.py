"""A file whose parts do not fit together is refused, although its checksum is right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from recommender.errors import ModelFileError
from recommender.publishing import open_arrays, open_model
from recommender.publishing._array_file import save_arrays
from tests.support.saved_model import Arrays

Change = Callable[[NDArray[Any]], NDArray[Any]]


def put(place: int, value: Any) -> Change:
    """A change of one value."""

    def change(array: NDArray[Any]) -> NDArray[Any]:
        array.reshape(-1)[place] = value
        return array

    return change


def shorter(array: NDArray[Any]) -> NDArray[Any]:
    return array[:-1]


def all_zero(array: NDArray[Any]) -> NDArray[Any]:
    return np.zeros_like(array)


# the small model: 5 users, 5 products of which 4 are in the catalog, 8 ratings
INCONSISTENT: dict[str, tuple[str, Change]] = {
    "a rating of a product beyond the last": ("ratings.indices", put(-1, 5)),
    "a norm that is no number": ("cosine.packed.inverse", put(-1, np.nan)),
    "a rating of a product before the first": ("ratings.indices", put(0, -1)),
    "a rating too few": ("ratings.steps", shorter),
    "ratings that go on beyond the end": ("ratings.indptr", put(-1, 9)),
    "ratings of a user that end before they begin": ("ratings.indptr", put(2, 7)),
    "ratings that begin late": ("ratings.indptr", put(0, 1)),
    "ratings of a user too few": ("ratings.indptr", shorter),
    "ratings in another type": ("ratings.steps", lambda array: array.astype(np.float64)),
    "starts in another type": ("ratings.indptr", lambda array: array.astype(np.float64)),
    "a user too few": ("user_ids", shorter),
    "users in another type": ("user_ids", lambda array: array.astype(np.float64)),
    "known users in another type": ("known_users", lambda array: array.astype(np.float32)),
    "a product too few": ("product_ids", shorter),
    "product ids without characters": ("product_ids", lambda array: array[:, :0]),
    "product ids in a row": ("product_ids", lambda array: array.reshape(-1)),
    "a flag too few": ("recommendable", shorter),
    "flags in another type": ("recommendable", lambda array: array.astype(np.int8)),
    "a popular product beyond the last": ("popular.columns", put(0, 5)),
    "a popular product before the first": ("popular.columns", put(0, -1)),
    "popular products in another type": ("popular.columns", lambda array: array.astype(np.float64)),
    "popular products without a rating": ("popular.predicted", shorter),
    "a place beyond the catalog": ("places", put(0, 4)),
    "a place before the catalog": ("places", put(0, -2)),
    "a place too few": ("places", shorter),
    "a price too few": ("catalog.prices", shorter),
    "a star too few": ("catalog.stars", shorter),
    "a category too few": ("catalog.category_ids", shorter),
    "an id too few": ("catalog.product_ids", shorter),
    "a title too few": ("catalog.titles.length", put(0, 3)),
    "more titles than there are": ("catalog.titles.length", put(0, 2**62)),
    "less than no titles": ("catalog.titles.length", put(0, -1)),
    "no number of titles": ("catalog.titles.length", shorter),
    "a title that ends beyond the last": ("catalog.titles.1", put(-2, 255)),
    "no ends of titles": ("catalog.titles.1", lambda array: array[:0]),
    "titles without characters": ("catalog.titles.2", lambda array: array[:0]),
    "characters that are no text": ("catalog.titles.2", put(0, 255)),
    "validity cut off": ("catalog.titles.0", lambda array: array[:0]),
    "a cosine of a row beyond the last": ("cosine.packed.rows", put(0, 5)),
    "a cosine of a row before the first": ("cosine.packed.rows", put(0, -1)),
    "a position twice": ("cosine.packed.positions", all_zero),
    "a list beyond the last row": ("cosine.packed.lists", put(-1, 2**32 - 1)),
    "a column beyond the last": ("cosine.packed.ratings", put(0, 2**32 - 1)),
    "lists that go on beyond the end": ("cosine.packed.list_starts", put(-1, 99)),
    "a profile of a product beyond the last": ("profiles.indices", put(-1, 5)),
    "a profile that goes on beyond the end": ("profiles.indptr", put(-1, 9)),
    "a profile too few": ("profiles.confidences", shorter),
    "a profile in another type": ("profiles.confidences", lambda array: array.astype(np.float32)),
    "a time too few": ("profiles.times", shorter),
    "times in another type": ("profiles.times", lambda array: array.astype(np.float64)),
    "a cosine in another type": ("cosine.packed.inverse", lambda array: array.astype(np.float64)),
}  # fmt: skip


@pytest.mark.parametrize("fault", INCONSISTENT)
def test_a_file_whose_parts_do_not_fit_together_is_refused_although_its_checksum_is_right(
    saved: Path, tmp_path: Path, fault: str
) -> None:
    name, change = INCONSISTENT[fault]
    file = rewritten(saved, tmp_path, lambda arrays, facts: arrays.update({name: change(arrays[name].copy())}))
    assert_refused(file)


def test_a_price_of_0_in_a_file_of_the_release_before_is_not_known(saved: Path, tmp_path: Path) -> None:
    known = open_model(saved)[0].products.catalog.prices
    assert known[0] > 0
    prices = put(0, 0.0)(known.copy())
    file = rewritten(saved, tmp_path, lambda arrays, facts: arrays.update({"catalog.prices": prices}))
    catalog = open_model(file)[0].products.catalog
    assert catalog.product(0).price is None
    assert np.array_equal(catalog.prices[1:], known[1:], equal_nan=True)


MISSING = sorted(open_name for open_name in ("places", "user_ids", "catalog.titles.1", "cosine.packed.rows"))
FACTS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no version": lambda facts: facts.pop("version"),
    "no ranking": lambda facts: facts.pop("ranking"),
    "a ranking of tomorrow": lambda facts: facts.update(ranking="magic"),
    "no number of neighbors": lambda facts: facts.pop("n_neighbors"),
    "no neighbors": lambda facts: facts.update(n_neighbors=0),
    "endless neighbors": lambda facts: facts.update(n_neighbors=float("inf")),
    "a version in words": lambda facts: facts.update(version="six"),
    "a version made at no time": lambda facts: facts["version"].update(made_at="yesterday"),
    "a version made at a number": lambda facts: facts["version"].update(made_at=5),
    "a version of tomorrow": lambda facts: facts["version"].update(color="red"),
}


@pytest.mark.parametrize("name", MISSING)
def test_a_file_without_one_of_its_arrays_is_refused(saved: Path, tmp_path: Path, name: str) -> None:
    assert_refused(rewritten(saved, tmp_path, lambda arrays, facts: arrays.pop(name)))


@pytest.mark.parametrize("fault", FACTS)
def test_a_file_with_faulty_facts_is_refused(saved: Path, tmp_path: Path, fault: str) -> None:
    assert_refused(rewritten(saved, tmp_path, lambda arrays, facts: FACTS[fault](facts)))


def test_facts_that_are_no_table_are_refused(saved: Path, tmp_path: Path) -> None:
    file = tmp_path / "model.rec"
    wrong: list[Any] = [[], 5, None, "text", {}]
    for facts in wrong:
        save_arrays(file, open_arrays(saved)[0], facts)
        assert_refused(file)


def test_starts_of_rows_that_overlap_are_refused_also_without_any_rating(saved: Path, tmp_path: Path) -> None:
    def no_ratings_but_starts(arrays: Arrays, facts: dict[str, Any]) -> None:
        arrays["ratings.indptr"] = np.array([0, 900_000, 0, 0, 0, 0], np.int32)  # scipy checks only the last one

    assert_refused(rewritten(saved, tmp_path, no_ratings_but_starts))


def rewritten(saved: Path, folder: Path, change: Callable[[Arrays, dict[str, Any]], Any]) -> Path:
    """A changed copy of the file, with the checksum of its new content."""
    arrays, facts = open_arrays(saved)
    change(arrays, facts)
    save_arrays(folder / "model.rec", arrays, facts)
    open_arrays(folder / "model.rec")  # the checksum is right
    return folder / "model.rec"


def assert_refused(file: Path) -> None:
    with pytest.raises(ModelFileError) as caught:
        open_model(file)
    message = str(caught.value)
    assert message.startswith(f"{file} does not hold together (")
    assert message.endswith("): save it again with python recommendation_engine.py --save-model")
    assert len(message.splitlines()) == 1
