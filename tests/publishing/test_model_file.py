"""A saved model answers as the one it was made from, for everybody, without the database; a damaged one never."""

from __future__ import annotations

import datetime as dt
import json
import mmap
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sqlalchemy import Engine, insert

import api
import recommendation_engine as re
from recommender.database import connect, writing
from recommender.database.schema import users
from recommender.errors import ModelFileError, UnknownUserError
from recommender.fallback import ColdStart, build_cold_start, find_new_products, rank_popular
from recommender.model import ServedModel
from recommender.neighbors import CosineIndex, PrecomputedIndex, SimilarProducts
from recommender.publishing import (
    Version,
    drop_files,
    kept_file,
    open_arrays,
    open_model,
    publish_file,
    read_versions,
    save_model,
)
from recommender.publishing._array_file import save_arrays
from recommender.ranking import CLASSIC, RANKINGS, TASTE, TasteParameters, TasteSimilarity
from recommender.settings import load_settings
from recommender.shop import ProductCatalog, Products, Profiles, RatingMatrix, build_profiles
from tests.conftest import REAL_DATA, ROOT, needs_real_data
from tests.service.test_api import CATALOG, NO_RATINGS, STARS, A, B, C, D, fetch, serve, wait_for, wait_until
from tests.steps.test_recommendation_engine import matrix_of
from tests.support.mariadb_server import free_port
from tests.support.published import model_of
from tests.support.shop import WHEN, fill, read_all_beauty, read_filmtrust

Arrays = dict[str, NDArray[Any]]
Stars = dict[int, dict[str, float]]
Change = Callable[[NDArray[Any]], NDArray[Any]]

MADE_AT = dt.datetime(2026, 1, 31, 12, 30, 15, 123_456, tzinfo=dt.UTC)


def build(
    stars: Stars,
    catalog: Mapping[str, tuple[str | None, float]],
    *,
    others: list[int] | None = None,
    k: int = 20,
    taste: bool = False,
    parameters: TasteParameters | None = None,
    n_categories: int | None = None,
) -> ServedModel:
    """A model of these ratings, this catalog (id -> title, price), and these users without ratings.

    ``n_categories``: its products are of each in turn; None: each is of its own.
    """
    ids = sorted(catalog)
    matrix = matrix_of(stars, set(catalog))
    rated_at = np.arange(matrix.n_ratings)[::-1].copy()
    profiles = build_profiles(replace(matrix, rated_at=rated_at))
    by_taste = TasteSimilarity.of(matrix, profiles, parameters=parameters)
    known = np.union1d(matrix.user_ids, np.array(others or [], np.int64))
    products = Products.of(
        matrix.product_ids,
        ProductCatalog(
            product_ids=np.array(ids, "S10"),
            titles=pa.array([catalog[product][0] for product in ids], pa.string()),
            prices=np.array([catalog[product][1] for product in ids], np.float64),
            stars=np.arange(len(ids)) / 2,
            category_ids=np.arange(len(ids), dtype=np.int32) % np.int32(n_categories or len(ids)),
        ),
    )
    return ServedModel(
        matrix=matrix,
        similarity=by_taste if taste else CosineIndex(matrix.half_stars),
        similar_products=SimilarProducts(matrix),
        popular=rank_popular(matrix),
        products=products,
        known_users=known,
        known_segments=(known % 3 - 1).astype(np.int32) if taste else np.empty(0, np.int32),
        ladder=ladder_of(matrix, profiles, products) if taste else None,
        built_at=MADE_AT,
        n_neighbors=k,
        ranking=TASTE if taste else CLASSIC,
        version=6,
        new_product_percent=50,
    )


def ladder_of(matrix: RatingMatrix, profiles: Profiles, products: Products) -> ColdStart:
    """Two segments, users of every third id in none, and whatever nobody rated as new."""
    new = find_new_products(
        profiles.confidences,
        matrix.recommendable,
        products.catalog_rows,
        stars=products.catalog.stars,
        category_ids=products.catalog.category_ids,
    )
    segments = (matrix.user_ids % 3 - 1).astype(np.int32)
    return build_cold_start(matrix, profiles, segments=segments, n_segments=2, new=new)


def version_of(model: ServedModel, number: int = 6) -> Version:
    metrics = {"ndcg": 0.25, "unknown": None}
    facts = {"users": 500, "n_neighbors": model.n_neighbors, "ranking": "Ångström 🍵"}
    return Version(number, MADE_AT, model.matrix.fingerprint(), model.matrix.n_ratings, facts, 17, metrics)


def everything(model: ServedModel, *, lengths: tuple[int, ...] = (1, 10, 14)) -> dict[Any, Any]:
    """All that the service says: every answer at several lengths, and every product in full."""
    known = model.known_users.tolist()
    said: dict[Any, Any] = {
        (user, n, ranking): model.recommend(user, n, ranking)
        for user in known
        for n in lengths
        for ranking in model.rankings
    }
    columns = range(model.matrix.shape[1])
    said["similar"] = [[a.tolist() for a in model.similar_products.similar(column, 5)] for column in columns]
    said["rankings"] = model.rankings
    said["ids"] = [model.products.id_of(column) for column in range(len(model.products))]
    said["columns"] = [model.products.facts(column) for column in columns]
    said["catalog"] = [model.products.catalog.product(place) for place in range(len(model.products.catalog))]
    said["default"] = [model.recommend(user, 10) for user in known[:5]]
    said["facts"] = model.built_at, model.n_neighbors, model.ranking, model.version, model.matrix.n_ratings
    for unknown in (0, 4711, 2**63 - 1):
        try:
            said["unknown", unknown] = model.recommend(unknown, 1)
        except UnknownUserError as error:
            said["unknown", unknown] = str(error)
    return said


def arrays_of(model: ServedModel) -> Arrays:
    """Every array that a model holds."""
    csr, catalog = model.matrix.half_stars, model.products.catalog
    buffers = {f"titles.{place}": buffer for place, buffer in enumerate(catalog.titles.buffers()) if buffer}
    return {
        "half_stars": csr.data, "indices": csr.indices, "indptr": csr.indptr, "user_ids": model.matrix.user_ids,
        "product_ids": model.matrix.product_ids, "recommendable": model.matrix.recommendable,
        "popular.columns": model.popular.columns, "popular.predicted": model.popular.predicted,
        "places": model.products.catalog_rows, "known_segments": model.known_segments, "known_users": model.known_users,
        "catalog.product_ids": catalog.product_ids,
        "prices": catalog.prices, "stars": catalog.stars, "category_ids": catalog.category_ids,
        **profile_arrays(model), **{f"similar.{k}": a for k, a in model.similar_products.arrays().items()},
        **{name: np.frombuffer(buffer, np.uint8) for name, buffer in buffers.items()},
    }  # fmt: skip


def profile_arrays(model: ServedModel) -> Arrays:
    if not isinstance(model.similarity, TasteSimilarity):
        return model.similarity.arrays()
    assert model.ladder is not None
    prepared = model.similarity.prepared_arrays()
    prepared |= {f"ladder.{name}": array for name, array in model.ladder.arrays().items()}
    del prepared["taste.index.shop"], prepared["ladder.mean"]  # numbers
    return prepared | {f"profiles.{place}": array for place, array in enumerate(model.similarity.profiles.arrays())}


SMALL_CATALOG: dict[str, tuple[str | None, float]] = {
    A: ('Ångström 🍵 tea, "green"', 29.99),
    B: (None, 0.0),
    C: ("x" * 2_000, 19_731.81),
    D: ("", 1e-3),
}


def small(*, taste: bool = False) -> ServedModel:
    """Every kind of user: with neighbors, without, without ratings; E is rated and has left the catalog."""
    return build(STARS, SMALL_CATALOG, others=[NO_RATINGS], taste=taste)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of the small model with everything in it, not to be changed."""
    file = tmp_path_factory.mktemp("model") / "model.rec"
    model = small(taste=True)
    save_model(file, model, version_of(model))
    return file


# ---- the same answers -------------------------------------------------------------------------------------------


IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # where nothing waits for a disk


def assert_answers_the_same(model: ServedModel, **options: Any) -> None:
    with tempfile.TemporaryDirectory(dir=IN_MEMORY) as folder:
        file = Path(folder) / "model.rec"
        save_model(file, model, version_of(model))
        opened, version = open_model(file)
    assert version == version_of(model)
    assert everything(opened, **options) == everything(model, **options)


@pytest.mark.parametrize("k", [1, 20])
@pytest.mark.parametrize("taste", [False, True], ids=[CLASSIC, TASTE])
def test_every_kind_of_user_gets_the_same_answer(k: int, taste: bool) -> None:
    assert_answers_the_same(replace(small(taste=taste), n_neighbors=k))


@pytest.mark.parametrize("parameters", [TasteParameters(), TasteParameters(3, 0.6)], ids=str)
def test_the_parameters_of_auto_come_back_and_rank_the_same(parameters: TasteParameters) -> None:
    model = build(STARS, SMALL_CATALOG, taste=True, parameters=parameters)
    assert model.rankings == ("classic", "taste", "auto")
    assert_answers_the_same(model)


@pytest.mark.parametrize("catalog", [{}, {"B00OTHER00": ("sold, never rated", 1.0)}], ids=["empty", "of others"])
def test_a_shop_in_which_nothing_can_be_recommended_is_the_same(
    catalog: dict[str, tuple[str | None, float]],
) -> None:
    model = build(STARS, catalog, others=[NO_RATINGS])
    assert model.recommend(1, 10).recommendations == []
    assert_answers_the_same(model)


@pytest.mark.parametrize("titles", [[None] * 4, [""] * 4, [None, "", None, "🍵"], ["a"] * 3 + [None]])
def test_titles_that_are_missing_or_empty_come_back_as_such(titles: list[str | None]) -> None:
    catalog = {product: (title, 1.0) for product, title in zip([A, B, C, D], titles, strict=True)}
    assert_answers_the_same(build(STARS, catalog))


def test_titles_cut_from_a_larger_column_come_back_without_the_rest() -> None:
    model = small()
    whole = pa.array(["before", *model.products.catalog.titles.to_pylist(), "after" * 1_000])
    assert_answers_the_same(
        replace(model, products=replace(model.products, catalog=replace(model.products.catalog, titles=whole[1:-1])))
    )


def test_a_model_whose_neighbors_were_computed_before_is_the_same() -> None:
    model = small()
    assert_answers_the_same(replace(model, similarity=PrecomputedIndex(model.matrix.half_stars, 2)))


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
def test_any_shop_answers_the_same(
    stars: Stars, catalog: dict[str, tuple[str | None, float]], others: list[int], k: int, taste: bool
) -> None:
    assert_answers_the_same(build(stars, catalog, others=others, k=k, taste=taste))


@needs_real_data
@pytest.mark.parametrize(
    ("read", "name"), [(read_all_beauty, "all_beauty/ratings.csv"), (read_filmtrust, "filmtrust/ratings.txt")]
)
def test_real_ratings_answer_the_same_for_every_user(read: Callable[[Path], Stars], name: str) -> None:
    stars = read(REAL_DATA / name)
    rated = sorted({product for theirs in stars.values() for product in theirs})
    catalog = {product: (f"🍵 {product}" if place % 5 else None, place / 7) for place, product in enumerate(rated)}
    assert_answers_the_same(build(stars, dict(list(catalog.items())[::2]), taste=True), lengths=(10,))


# ---- shared, ready, safe ----------------------------------------------------------------------------------------


def mapping_of(array: NDArray[Any]) -> object:
    """What an array lies on in the end: the mapped file, or None if the memory is its own."""
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    while isinstance(base, memoryview):
        base = base.obj
    return base


def test_nothing_of_an_opened_model_is_a_copy(saved: Path) -> None:
    model, _ = open_model(saved)
    arrays = arrays_of(model)
    spans = []
    for name, array in arrays.items():
        if not name.startswith("titles."):  # Arrow's buffers have a base of their own: see their addresses below
            assert isinstance(mapping_of(array), mmap.mmap), name
            spans.append((array.ctypes.data, array.ctypes.data + array.nbytes))
    low, high = min(start for start, _ in spans), max(stop for _, stop in spans)
    assert high - low <= saved.stat().st_size
    for name in ("titles.1", "titles.2"):
        assert low <= arrays[name].ctypes.data <= high, name


def test_the_arrays_of_an_opened_model_are_of_the_types_they_were(saved: Path) -> None:
    before, after = arrays_of(small(taste=True)), arrays_of(open_model(saved)[0])
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
from recommender.publishing.model_file import open_model
from recommender.commands.warm_up import warm_up

def compiled():  # how many versions of each function this process has compiled or loaded
    return {
        f"{module.__name__}.{name}": len(function.signatures)
        for module in (_cosine_kernels, _scoring_kernels, _taste_kernels, _taste_ranking_kernels)
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


def test_a_worker_shares_every_page_and_compiles_nothing(tmp_path: Path) -> None:
    rng, file = np.random.default_rng(1), tmp_path.resolve() / "model.rec"
    heavy = {f"{number:010d}": 5.0 for number in range(400)}  # dot products beyond 2^15 take another path
    stars: Stars = {1: heavy, 2: heavy}
    for user in range(3, 1_000):
        stars[user] = {f"{product:010d}": int(rng.integers(1, 11)) / 2 for product in rng.choice(2_000, 30)}
    catalog = {f"{number:010d}": ("🍵" * 100, 1.0) for number in range(20_000)}
    model = build(stars, catalog, others=[5_000], taste=True, parameters=TasteParameters())
    save_model(file, model, version_of(model))
    command = [sys.executable, "-c", WORKER, str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["late"] == []
    assert told["titles"] >= 10 * len(stars)
    if sys.platform == "linux":
        size = file.stat().st_size / 1024  # kB
        assert size > 8_000
        assert told["pages"]["Rss"] > 0.9 * size  # proofread: all of it was read
        assert told["prepared"] < 0.1 * size  # what a worker has for itself
        assert told["pages"]["Private_Dirty"] + told["pages"]["Anonymous"] < 0.01 * size


# ---- refused, though the checksum is right ----------------------------------------------------------------------


def put(place: int, value: Any) -> Change:
    """A change: another value at a place."""

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
    "a rating too few": ("ratings.half_stars", shorter),
    "ratings that go on beyond the end": ("ratings.indptr", put(-1, 9)),
    "ratings of a user that end before they begin": ("ratings.indptr", put(2, 7)),
    "ratings that begin late": ("ratings.indptr", put(0, 1)),
    "ratings of a user too few": ("ratings.indptr", shorter),
    "ratings in another type": ("ratings.half_stars", lambda array: array.astype(np.float64)),
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
def test_a_file_that_does_not_hold_together_is_refused_although_its_checksum_is_right(
    saved: Path, tmp_path: Path, fault: str
) -> None:
    name, change = INCONSISTENT[fault]
    file = rewritten(saved, tmp_path, lambda arrays, facts: arrays.update({name: change(arrays[name].copy())}))
    assert_refused(file)


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


def test_ratings_that_overlap_and_end_at_none_are_refused(saved: Path, tmp_path: Path) -> None:
    def no_ratings_but_starts(arrays: Arrays, facts: dict[str, Any]) -> None:
        arrays["ratings.indptr"] = np.array([0, 900_000, 0, 0, 0, 0], np.int32)  # scipy looks at the last one only

    assert_refused(rewritten(saved, tmp_path, no_ratings_but_starts))


def rewritten(saved: Path, folder: Path, change: Callable[[Arrays, dict[str, Any]], Any]) -> Path:
    """A copy of the file, changed, with the checksum of what is in it now."""
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


# ---- versions of the file ---------------------------------------------------------------------------------------


def number_in(file: Path) -> int:
    return open_model(file)[1].number


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """A file of which versions 1, 2 and 3 are kept, 3 published."""
    file, model = tmp_path / "model.rec", small()
    for number in (1, 2, 3):
        save_model(file, model, version_of(model, number))
    return file


def test_a_saved_version_is_published_and_kept_as_one_file_with_two_names(three: Path) -> None:
    assert names_in(three.parent) == ["model.rec", "model.rec.v1", "model.rec.v2", "model.rec.v3"]
    assert three.samefile(kept_file(three, 3))
    assert [number_in(kept_file(three, number)) for number in (1, 2, 3)] == [1, 2, 3]


def test_a_kept_version_is_published_again_and_the_others_stay(three: Path) -> None:
    for number in (1, 1, 3, 2):
        publish_file(three, number)
        assert three.samefile(kept_file(three, number))
        assert number_in(three) == number
        assert names_in(three.parent) == ["model.rec", "model.rec.v1", "model.rec.v2", "model.rec.v3"]


def test_a_version_saved_again_replaces_its_file(three: Path) -> None:
    model = build({1: {A: 5.0}}, SMALL_CATALOG)
    save_model(three, model, version_of(model, 2))
    assert three.samefile(kept_file(three, 2))
    assert everything(replace(open_model(three)[0], version=6)) == everything(model)


@pytest.mark.parametrize("left", [[], [".model.rec.link"]], ids=["clean", "after a killed run"])
def test_a_version_that_is_not_there_is_not_published(three: Path, left: list[str]) -> None:
    for name in left:
        (three.parent / name).hardlink_to(kept_file(three, 1))
    with pytest.raises(ModelFileError, match=r"model.rec: model.rec.v9 cannot be published \(No such file"):
        publish_file(three, 9)
    assert number_in(three) == 3
    assert names_in(three.parent) == ["model.rec", "model.rec.v1", "model.rec.v2", "model.rec.v3"]


def test_a_publishing_that_fails_leaves_the_published_file(three: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = names_in(three.parent)
    with refused_by(monkeypatch, os, "replace"), pytest.raises(ModelFileError, match="cannot be published"):
        publish_file(three, 1)
    assert (number_in(three), names_in(three.parent)) == (3, before)
    taken = three.with_name("folder.rec")
    taken.mkdir()
    with pytest.raises(ModelFileError, match="folder.rec cannot be written: it is a folder"):
        save_model(taken, small(), version_of(small()))
    assert names_in(three.parent) == sorted([*before, "folder.rec"])


def test_where_a_file_can_have_only_one_name_it_is_copied(three: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = names_in(three.parent)
    with refused_by(monkeypatch, Path, "hardlink_to"):
        publish_file(three, 1)
        assert number_in(three) == 1
        assert not three.samefile(kept_file(three, 1))
        assert three.stat().st_mode == kept_file(three, 1).stat().st_mode
        with pytest.raises(ModelFileError, match=r"v9 cannot be published \(No such file"):
            publish_file(three, 9)
    assert names_in(three.parent) == before


@contextmanager
def refused_by(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> Iterator[None]:
    """Within it the function raises PermissionError."""

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as patch:
        patch.setattr(module, name, refuse)
        yield


KILLED = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
from recommender.publishing import model_file

def killed(source, target, rename=os.replace):
    if str(source).endswith(".link"):
        os.kill(os.getpid(), signal.SIGKILL)
    rename(source, target)

os.replace = killed
model, version = model_file.open_model(Path(sys.argv[1]))
model_file.save_model(Path(sys.argv[1]), model, replace(version, number=4))
"""


def test_a_save_killed_before_it_is_published_leaves_the_published_file(three: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(three)], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert (number_in(three), number_in(kept_file(three, 4))) == (3, 4)
    model, version = open_model(three)
    save_model(three, model, replace(version, number=5))  # an opened model can be saved
    assert number_in(three) == 5
    assert names_in(three.parent) == ["model.rec", *(f"model.rec.v{number}" for number in (1, 2, 3, 4, 5))]


NOT_OURS = [
    *["model.rec.vintage", "model.rec.v1x", "model.rec.v", "model.rec.v0", "model.rec.v01", "model.rec.v-1"],
    *["model.rec.v1.bak", "model.rec.V1", "model.rec.v²", "model.rec2.v1", "my-model.rec.v1", ".model.rec.v1"],
]  # fmt: skip


def test_only_files_of_expired_versions_are_deleted(three: Path) -> None:
    for name in NOT_OURS:
        (three.parent / name).write_text("somebody's own")
    three.with_name("model.rec.v7").mkdir()
    drop_files(three, [2, 3, 5])
    assert names_in(three.parent) == sorted([*NOT_OURS, "model.rec", "model.rec.v2", "model.rec.v3", "model.rec.v7"])
    drop_files(three, [])
    assert names_in(three.parent) == sorted([*NOT_OURS, "model.rec", "model.rec.v7"])
    assert number_in(three) == 3  # the published one stays under its plain name


def test_versions_of_a_file_with_a_pattern_in_its_name_are_its_own(tmp_path: Path) -> None:
    odd = tmp_path / "model[1]*.rec"
    for name in ("model1.rec.v1", "model[1]x.rec.v1"):
        (tmp_path / name).write_text("somebody else's")
    model = small()
    for number in (1, 2):
        save_model(odd, model, version_of(model, number))
    drop_files(odd, [2])
    assert names_in(tmp_path) == sorted([odd.name, f"{odd.name}.v2", "model1.rec.v1", "model[1]x.rec.v1"])


def test_a_file_that_cannot_be_deleted_is_told_in_one_line(three: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with refused_by(monkeypatch, Path, "unlink"), pytest.raises(ModelFileError) as caught:
        drop_files(three, [2, 3])
    expected = f"{kept_file(three, 1)} has expired and cannot be deleted (Operation not permitted): delete it"
    assert str(caught.value) == expected


# ---- the scripts and the service --------------------------------------------------------------------------------


@pytest.fixture
def shop(engine: Engine, env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Engine:
    """A shop in a database that the environment names."""
    fill(engine, STARS, CATALOG)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    return engine


def test_versions_of_the_file_follow_those_of_the_lists(
    shop: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "models" / "model.rec"
    file.parent.mkdir()
    monkeypatch.setenv("MODEL_FILE", str(file))
    for name in NOT_OURS:
        (file.parent / name).write_text("somebody's own")
    for users_of in ("1", "2", "3", "4"):
        assert re.main(["--save-model", "--users", users_of, "--keep-versions", "3"]) == 0
    out = capsys.readouterr().out
    assert f"model    {file}, 0.0 MB, version 4, in" in out
    kept = ["model.rec.v2", "model.rec.v3", "model.rec.v4"]
    assert names_in(file.parent) == sorted([*NOT_OURS, "model.rec", *kept])
    assert number_in(file) == 4

    assert re.main(["--rollback", "2"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"model    {file}: version 2"
    assert (number_in(file), file.samefile(kept_file(file, 2))) == (2, True)

    kept_file(file, 3).unlink()
    assert re.main(["--rollback", "3"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"model    {file} stays as it is: model.rec.v3 is not there"
    assert number_in(file) == 2

    before = names_in(file.parent)
    assert re.main(["--rollback", "1"]) == 1  # expired
    assert capsys.readouterr().err.startswith("recommendation_engine.py: version 1 cannot be published")
    assert (number_in(file), names_in(file.parent)) == (2, before)


def test_a_file_named_on_the_command_line_needs_no_setting(
    shop: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MODEL_FILE", "")
    monkeypatch.chdir(tmp_path)
    assert re.main(["--save-model", "here.rec"]) == 0
    made = open_model(tmp_path / "here.rec")[1]
    assert (made.number, made.n_ratings) == (1, 8)
    assert re.main(["--save-model", "here.rec", "--if-stale"]) == 0  # the same version, saved again
    assert open_model(tmp_path / "here.rec")[1] == made
    capsys.readouterr()
    assert re.main(["--rollback", "1"]) == 0  # without a setting there is no file to roll back
    assert "model    " not in capsys.readouterr().out


def test_no_name_and_no_setting_is_one_line(
    shop: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MODEL_FILE", "")
    assert re.main(["--save-model"]) == 1
    assert read_versions(shop) == []  # told before the work, not after
    expected = "--save-model without a name needs the setting MODEL_FILE: give one of them"
    assert capsys.readouterr().err == f"recommendation_engine.py: {expected}\n"


def test_a_file_that_cannot_be_written_is_one_line(
    shop: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "no such folder" / "model.rec"
    assert re.main(["--save-model", str(file)]) == 1
    assert read_versions(shop) == []  # told before the work, not after
    expected = f"--save-model {file}: the folder {file.parent} does not exist; make it or name another"
    assert capsys.readouterr().err == f"recommendation_engine.py: {expected}\n"


@pytest.mark.parametrize("ranking", RANKINGS)
def test_the_file_holds_what_the_database_held_when_it_was_saved(
    shop: Engine, tmp_path: Path, ranking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANKING", ranking)
    with writing(shop) as connection:
        connection.execute(insert(users), [{"user_id": NO_RATINGS, "created_at": WHEN}])
    assert re.main(["--save-model", str(tmp_path / "model.rec")]) == 0
    opened, version = open_model(tmp_path / "model.rec")
    matrix, similarity = re.load_model(shop, ranking=ranking)
    facts: dict[str, Any] = {"n_neighbors": 20, "built_at": version.made_at, "ranking": ranking, "version": 1}
    assert everything(opened) == everything(model_of(shop, matrix, similarity, **facts))
    assert [version] == read_versions(shop)


@pytest.fixture(scope="module")
def sold(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The model file of a shop, and the environment that leads to its embedded database."""
    folder = tmp_path_factory.mktemp("sold")
    env = {"DB_HOST": "", "SQLITE_FILE": str(folder / "shop.db"), "MODEL_FILE": ""}
    engine = connect(load_settings(environ=env, env_file=folder / "no.env"), create=True)
    fill(engine, STARS, CATALOG)
    with writing(engine) as connection:
        connection.execute(insert(users), [{"user_id": NO_RATINGS, "created_at": WHEN}])
    engine.dispose()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        assert re.main(["--save-model", str(folder / "model.rec")]) == 0
    return folder / "model.rec", env


def test_the_service_answers_from_the_file_while_the_database_is_down(
    sold: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, env = sold
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    paths = [f"/recommendations/{user}{limit}" for user in (*STARS, NO_RATINGS) for limit in ("", "?limit=2")]
    paths += ["/recommendations/4711", "/recommendations/0"]
    with TestClient(api.create_app()) as client:
        expected = {path: (client.get(path).status_code, client.get(path).json()) for path in paths}
        healthy = client.get("/health").json()
    assert (healthy["status"], healthy["users"], healthy["products"], healthy["ratings"]) == ("ok", 6, 5, 8)
    port, made_at = free_port(), open_model(file)[1].made_at
    down = {"DB_HOST": "127.0.0.1", "DB_PORT": str(free_port()), "DB_PASSWORD": "s3cret!", "MODEL_FILE": str(file)}
    with serve(env | down, port) as server:
        try:
            wait_for(port, server)
            address = f"http://127.0.0.1:{port}"
            assert {path: fetch(address + path) for path in paths} == expected
            built = {"status": "degraded", "model_built_at": f"{made_at:%Y-%m-%dT%H:%M:%SZ}"}
            status, health = fetch(f"{address}/health")
            assert health.pop("degraded_since")
            assert health.pop("reason") == "the database does not answer"
            for counted in (health, healthy):
                assert counted.pop("changes_seen_at")
            assert (status, health) == (200, healthy | built)
        finally:
            server.terminate()
        output = server.communicate(timeout=20)[0]
    assert "Application shutdown complete." in output
    assert "Traceback" not in output
    assert "s3cret!" not in output


def test_a_service_with_a_file_says_ok_once_the_database_answers(
    sold: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, env = sold
    for name, value in (env | {"MODEL_FILE": str(file)}).items():
        monkeypatch.setenv(name, value)
    app = api.create_app()
    with TestClient(app) as client:
        wait_until(lambda: client.get("/health").json()["status"] == "ok")
        assert client.get("/recommendations/1").status_code == 200
        assert app.state.model.version == 1


def test_a_service_whose_file_cannot_be_used_does_not_start_and_says_why_in_one_line(
    sold: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    whole, missing, cut = sold[0].read_bytes(), tmp_path / "missing.rec", tmp_path / "cut.rec"
    cut.write_bytes(whole[:-1])
    reasons = {missing: "does not exist: python recommendation_engine.py", cut: "is truncated or no model file ("}
    with ExitStack() as stack:  # both at once: it is the imports that take their time
        servers = {
            file: stack.enter_context(serve(sold[1] | {"MODEL_FILE": str(file)}, free_port())) for file in reasons
        }
        for file, server in servers.items():
            output = server.communicate(timeout=60)[0]
            assert server.returncode != 0
            (line,) = [line for line in output.splitlines() if str(file) in line]
            assert f"api.py: {file} {reasons[file]}" in line
            assert "Traceback" not in output
