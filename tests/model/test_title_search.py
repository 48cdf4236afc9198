"""Products by words of their titles: a search equals a look at every title, the most popular first."""

from __future__ import annotations

import pytest

from recommender.model import ServedModel, find_by_title, title_search
from tests.support.saved_model import build

A, B, C, D, E, F = (f"B00000000{letter}" for letter in "ABCDEF")
CATALOG: dict[str, tuple[str | None, float]] = {
    A: ("Green tea in bags", 3.0),
    B: ("Tea kettle, 100% STEEL", 20.0),
    C: ("Grüner Tee (.*)", 30.0),
    D: (None, 4.0),
    E: ("Steel wool", 12.0),
}


def shop() -> ServedModel:
    """B has three ratings, A and C one each; nobody rated E, and F is not in the catalog."""
    return build({1: {B: 5.0, F: 5.0}, 2: {B: 4.0, A: 4.0}, 3: {B: 2.0, C: 1.0}}, CATALOG)


@pytest.mark.parametrize("block", [1, 2, 50_000])
@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("tea", [B, A]),
        ("TEA green", [A]),
        ("steel", [B, E]),
        ("GRÜNER", [C]),
        (".*", [C]),
        ("%", [B]),
        ("teapot", []),
        ("e", [B, A, C, E]),
    ],
)
def test_titles_that_hold_all_words_are_found_most_ratings_first(
    words: str, found: list[str], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(title_search, "BLOCK", block)
    model = shop()
    for n in (1, 2, 10):
        columns = find_by_title(model, words.split(), n)
        assert [model.products.id_of(column) for column in columns] == found[:n]
