"""A saved model gives everybody the answers of the original model, also when workers share the file."""

from __future__ import annotations

import json
import mmap
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from recommender.live import LiveModel
from recommender.model import ServedModel
from recommender.neighbors import PrecomputedIndex
from recommender.publishing import open_arrays, open_model, save_model
from recommender.publishing._array_file import save_arrays
from recommender.ranking import (
    AUTO,
    CLASSIC,
    FUSION,
    ITEMS,
    TASTE,
    AutoParameters,
    FusionParameters,
    ItemParameters,
    TasteParameters,
    TasteSimilarity,
)
from recommender.shop import Scale
from tests.conftest import REAL_DATA, ROOT, needs_real_data
from tests.service.test_api import NO_RATINGS, STARS, A, B, C, D
from tests.support.product_ids import PRODUCT_IDS
from tests.support.saved_model import (
    SMALL_CATALOG,
    Stars,
    arrays_of,
    build,
    everything,
    small,
    small_of_all,
    version_of,
)
from tests.support.shop import read_all_beauty, read_filmtrust

# ---- the same answers -------------------------------------------------------------------------------------------


def assert_answers_the_same(model: ServedModel, **options: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.rec"
        save_model(file, model, version_of(model))
        opened, version = open_model(file)
    assert version == version_of(model)
    assert everything(opened, **options) == everything(model, **options)


@pytest.mark.parametrize("k", [1, 20])
@pytest.mark.parametrize("taste", [False, True], ids=[CLASSIC, TASTE])
def test_every_kind_of_user_gets_the_same_answer(k: int, taste: bool) -> None:
    assert_answers_the_same(replace(small(taste=taste), n_neighbors=k))


@pytest.mark.parametrize("scale", [Scale.of(1, 10, 1), Scale.of(1, 100, 1)], ids=Scale.text)
@pytest.mark.parametrize("taste", [False, True], ids=[CLASSIC, TASTE])
def test_a_file_keeps_the_scale_of_the_ratings(scale: Scale, taste: bool, tmp_path: Path) -> None:
    model = small(taste=taste, scale=scale)
    assert_answers_the_same(model)
    save_model(tmp_path / "model.rec", model, version_of(model))
    opened, _ = open_model(tmp_path / "model.rec")
    assert opened.matrix.scale == scale
    assert LiveModel.of(opened).ratings_of(1)[1].max() == scale.most


@hypothesis_settings(max_examples=10, deadline=None)
@given(st.lists(PRODUCT_IDS, unique=True, min_size=6, max_size=16))
def test_any_product_ids_are_the_same_in_a_saved_model(ids: list[str]) -> None:
    stars = {user: {name: 1.0 + (user + place) % 5 for place, name in enumerate(ids[user:])} for user in range(1, 5)}
    assert_answers_the_same(build(stars, dict.fromkeys(ids[:-2], ("a title", 9.99)), taste=True))


@pytest.mark.parametrize("parameters", [TasteParameters(), TasteParameters(3, 0.6)], ids=str)
def test_the_saved_parameters_of_auto_give_the_same_lists(parameters: TasteParameters) -> None:
    model = build(STARS, SMALL_CATALOG, taste=True, parameters=AutoParameters(taste=parameters))
    assert model.rankings == ("classic", "taste", "auto")
    assert_answers_the_same(model)


@pytest.mark.parametrize("kind", [ITEMS, FUSION])
@pytest.mark.parametrize("ranking", [TASTE, ITEMS, AUTO])
def test_the_saved_weights_between_products_give_the_same_lists(kind: str, ranking: str, tmp_path: Path) -> None:
    items = ItemParameters(ridge=0.5, half_life=1.0, damping=0.4)
    parameters = AutoParameters(kind, items=items)
    if kind == FUSION:
        parameters = parameters._replace(taste=TasteParameters(3, 0.6), fusion=FusionParameters(0.3, 10.0))
    model = replace(
        build(STARS, SMALL_CATALOG, others=[NO_RATINGS], taste=True, parameters=parameters), ranking=ranking
    )
    assert model.rankings == ("classic", "taste", "items", "auto")
    assert_answers_the_same(model)
    save_model(tmp_path / "model.rec", model, version_of(model))
    opened, _ = open_model(tmp_path / "model.rec")
    assert isinstance(opened.similarity, TasteSimilarity)
    assert opened.similarity.parameters == parameters
    sources = {item.source for user in STARS for item in opened.recommend(user, 10).recommendations}
    assert {TASTE: "neighbors", ITEMS: ITEMS, AUTO: kind}[ranking] in sources


def test_the_two_numbers_of_an_earlier_release_are_the_parameters_of_taste(tmp_path: Path) -> None:
    model = build(STARS, SMALL_CATALOG, taste=True, parameters=AutoParameters(taste=TasteParameters(3, 0.6)))
    save_model(tmp_path / "model.rec", model, version_of(model))
    arrays, facts = open_arrays(tmp_path / "model.rec")
    facts["parameters"] = [3, 0.6]  # as it was written before auto could choose
    save_arrays(tmp_path / "older.rec", arrays, facts)
    opened, _ = open_model(tmp_path / "older.rec")
    assert everything(opened) == everything(model)
    assert isinstance(opened.similarity, TasteSimilarity)
    assert opened.similarity.parameters == AutoParameters(taste=TasteParameters(3, 0.6))


@pytest.mark.parametrize("catalog", [{}, {"B00OTHER00": ("sold, never rated", 1.0)}], ids=["empty", "of others"])
def test_a_shop_without_recommendable_products_gives_the_same_answers(
    catalog: dict[str, tuple[str | None, float]],
) -> None:
    model = build(STARS, catalog, others=[NO_RATINGS])
    assert model.recommend(1, 10).recommendations == []
    assert_answers_the_same(model)


@pytest.mark.parametrize("titles", [[None] * 4, [""] * 4, [None, "", None, "🍵"], ["a"] * 3 + [None]])
def test_missing_and_empty_titles_come_back_unchanged(titles: list[str | None]) -> None:
    catalog = {product: (title, 1.0) for product, title in zip([A, B, C, D], titles, strict=True)}
    assert_answers_the_same(build(STARS, catalog))


def test_titles_sliced_from_a_larger_column_come_back_without_the_rest() -> None:
    model = small()
    whole = pa.array(["before", *model.products.catalog.titles.to_pylist(), "after" * 1_000])
    assert_answers_the_same(
        replace(model, products=replace(model.products, catalog=replace(model.products.catalog, titles=whole[1:-1])))
    )


def test_a_model_with_precomputed_neighbors_gives_the_same_answers() -> None:
    model = small()
    assert_answers_the_same(replace(model, similarity=PrecomputedIndex(model.matrix.steps, 2)))


PRODUCTS = st.integers(0, 12).map(lambda number: f"B{number:09d}")
TITLES = st.none() | st.text(st.characters(codec="utf-8"), max_size=6)


@hypothesis_settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(
        st.integers(1, 9) | st.integers(1, 2**63 - 1),
        st.dictionaries(PRODUCTS, st.integers(1, 10).map(lambda half: half / 2), min_size=1, max_size=6),
        min_size=1,
        max_size=8,
    ),
    st.dictionaries(PRODUCTS, st.tuples(TITLES, st.floats(0, 1e5)), max_size=13),
    st.lists(st.integers(1, 12), max_size=3),
    st.integers(1, 4),
    st.booleans(),
)
def test_any_shop_gives_the_same_answers(
    stars: Stars, catalog: dict[str, tuple[str | None, float]], others: list[int], k: int, taste: bool
) -> None:
    assert_answers_the_same(build(stars, catalog, others=others, k=k, taste=taste))


@needs_real_data
@pytest.mark.parametrize(
    ("read", "name"), [(read_all_beauty, "all_beauty/ratings.csv"), (read_filmtrust, "filmtrust/ratings.txt")]
)
def test_real_ratings_give_every_user_the_same_answers(read: Callable[[Path], Stars], name: str) -> None:
    stars = read(REAL_DATA / name)
    rated = sorted({product for theirs in stars.values() for product in theirs})
    catalog = {product: (f"🍵 {product}" if place % 5 else None, place / 7) for place, product in enumerate(rated)}
    assert_answers_the_same(build(stars, dict(list(catalog.items())[::2]), taste=True), lengths=(10,))


# ---- shared, ready, safe ----------------------------------------------------------------------------------------


def mapping_of(array: NDArray[Any]) -> object:
    """The object that an array's memory belongs to: the mapped file, or None if the memory is its own."""
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    while isinstance(base, memoryview):
        base = base.obj
    return base


def test_an_opened_model_copies_no_array(saved: Path) -> None:
    model, _ = open_model(saved)
    arrays = arrays_of(model)
    spans = []
    for name, array in arrays.items():
        if not name.startswith("titles."):  # Arrow's buffers have another base; their addresses are checked below
            assert isinstance(mapping_of(array), mmap.mmap), name
            spans.append((array.ctypes.data, array.ctypes.data + array.nbytes))
    low, high = min(start for start, _ in spans), max(stop for _, stop in spans)
    assert high - low <= saved.stat().st_size
    for name in ("titles.1", "titles.2"):
        assert low <= arrays[name].ctypes.data <= high, name


def test_the_arrays_of_an_opened_model_have_their_original_types(saved: Path) -> None:
    before, after = arrays_of(small_of_all()), arrays_of(open_model(saved)[0])
    assert before.keys() == after.keys()
    for name, array in after.items():
        assert array.dtype == before[name].dtype, name
        if not name.startswith("titles."):
            assert array.flags.carray, name
            assert array.tobytes() == before[name].tobytes(), name


WORKER = """
import json, re, sys
from pathlib import Path
from recommender.neighbors import _cosine_kernels
from recommender.ranking import _classic_kernels as _scoring_kernels
from recommender.neighbors import _taste_kernels
from recommender.ranking import _taste_kernels as _taste_ranking_kernels
from recommender.ranking import _item_kernels
from recommender.publishing.model_file import open_model
from recommender.commands.warm_up import warm_up

def compiled():  # how many versions of each function this process has compiled or loaded
    return {
        f"{module.__name__}.{name}": len(function.signatures)
        for module in (_cosine_kernels, _scoring_kernels, _taste_kernels, _taste_ranking_kernels, _item_kernels)
        for name, function in vars(module).items()
        if hasattr(function, "signatures")
    }

def pages(file):  # kB of the mapping of the file, from /proc: resident, and changed by this process alone
    found, inside = {}, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match("[0-9a-f]+-[0-9a-f]+ ", line):
            inside = line.endswith(" " + file)
        elif inside and (field := re.match("(Rss|Private_Dirty|Anonymous): +([0-9]+) kB", line)):
            found[field[1]] = found.get(field[1], 0) + int(field[2])
    return found

def own():  # kB of memory that no other process shares
    if sys.platform != "linux":
        return 0
    return int(re.search("RssAnon:\\s+([0-9]+) kB", Path("/proc/self/status").read_text())[1])

warm_up(lambda: None)
before, empty = compiled(), own()
model, version = open_model(Path(sys.argv[1]))
model.prepare()
prepared = own() - empty
answers = [model.recommend(user, 10, way) for user in model.known_users.tolist() for way in model.rankings]
titles = [model.products.facts(item.column).title for answer in answers for item in answer.recommendations]
similarities = model.similarity.similarities(0)
late = [name for name, n in compiled().items() if n != before[name]]
told = {"late": late, "titles": len(titles), "prepared": prepared}
print(json.dumps(told | {"pages": pages(sys.argv[1]) if sys.platform == "linux" else {}}))
"""


@pytest.mark.parametrize(("kind", "most"), [(TASTE, 0.1), (FUSION, 0.2)])  # items: profiles are decayed at the start
def test_a_worker_shares_every_page_and_compiles_nothing(kind: str, most: float, tmp_path: Path) -> None:
    rng, file = np.random.default_rng(1), tmp_path.resolve() / "model.rec"
    heavy = {f"{number:010d}": 5.0 for number in range(400)}  # dot products above 2^15 are computed by other code
    stars: Stars = {1: heavy, 2: heavy}
    for user in range(3, 1_000):
        stars[user] = {f"{product:010d}": int(rng.integers(1, 11)) / 2 for product in rng.choice(2_000, 30)}
    catalog = {f"{number:010d}": ("🍵" * 100, 1.0) for number in range(20_000)}
    model = build(stars, catalog, others=[5_000], taste=True, parameters=AutoParameters(kind))
    save_model(file, model, version_of(model))
    command = [sys.executable, "-c", WORKER, str(file)]
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ) as other_worker:
        assert other_worker.read()  # it has every page; else a page in memory alone counts as the worker's own
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["late"] == []
    assert told["titles"] >= 10 * len(stars)
    if sys.platform == "linux":
        size = file.stat().st_size / 1024  # kB
        assert size > 8_000
        assert told["pages"]["Rss"] > 0.9 * size  # proofread: the whole file was read
        assert told["prepared"] < most * size  # the memory that a worker has for itself
        assert told["pages"]["Private_Dirty"] + told["pages"]["Anonymous"] < 0.01 * size
