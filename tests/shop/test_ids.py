"""Product ids: what one is, and the same ids, their order and their places as texts and as bytes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recommender.shop import all_are_ids, checked_product_id, is_product_id, product_id_bytes, product_id_texts
from recommender.shop.ids import number_before, place_of, places_of
from tests.support.product_ids import ODD, PRODUCT_IDS

NO_IDS = ["", " ", " a", "a ", "a\u00a0", "\u3000a", "\u2028a", ".", "..", "a\tb", "a\0", "\x7f", "a\x85b", "x" * 65]
NO_IDS += ["é" * 65, "a\ufffdb", "\uffff", "\ufffe"]


@pytest.mark.parametrize("text", NO_IDS)
def test_a_text_that_is_no_product_id_is_refused_alone_and_among_others(text: str) -> None:
    assert not is_product_id(text)
    for among in ([text], ["B08N5WRWNW", text], ["é", text, "7"]):
        assert not all_are_ids(pa.array(among))
        assert product_id_bytes(pa.array(among)) is None
    with pytest.raises(ValueError, match="is not 1 to 64 characters without control characters"):
        checked_product_id(text)


def test_half_a_surrogate_pair_is_no_product_id_and_null_is_none() -> None:
    assert not is_product_id("a\ud800")
    assert product_id_bytes(pa.array(["a", None])) is None


@pytest.mark.parametrize("text", ODD)
def test_any_other_text_is_a_product_id(text: str) -> None:
    assert checked_product_id(text) == text
    assert all_are_ids(pa.array([text]))


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=3) | PRODUCT_IDS, max_size=9))
def test_both_forms_of_the_rule_agree(texts: list[str]) -> None:
    assert all_are_ids(pa.array(texts, pa.string())) == all(map(is_product_id, texts))


@given(st.lists(PRODUCT_IDS, max_size=20), st.integers(0, 3))
def test_ids_are_the_same_after_a_way_through_bytes_and_have_the_order_of_texts(texts: list[str], skipped: int) -> None:
    kept = texts[skipped:]
    ids = product_id_bytes(pa.array(texts, pa.string())[skipped:])
    assert ids is not None
    assert ids.dtype.itemsize == max([len(text.encode()) for text in kept], default=1)
    assert product_id_texts(ids).to_pylist() == [name.decode() for name in ids.tolist()] == kept
    assert [name.decode() for name in np.sort(ids).tolist()] == sorted(kept)


@given(st.lists(PRODUCT_IDS, unique=True, max_size=12), st.lists(PRODUCT_IDS, min_size=1, max_size=12))
def test_places_are_found_among_ids_of_any_width(ids: list[str], others: list[str]) -> None:
    """A name that is longer than all ids is no id, and neither is the part of it that is as long."""
    known = sorted(ids)
    held = product_id_bytes(pa.array(known, pa.string()))
    asked = [*others, *known, *(name[:63] + "x" for name in known)]
    names = np.array([name.encode() for name in asked])
    assert held is not None
    assert number_before(held, names).tolist() == [sum(name < other for name in known) for other in asked]
    expected = [known.index(name) if name in known else -1 for name in asked]
    assert places_of(held, names).tolist() == expected
    assert [place_of(held, name) for name in asked] == [None if place < 0 else place for place in expected]
