"""The rankings behind one interface: the lists, the products that a user never sees, and fingerprints of the data."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, insert, select, text, update

import recommendation_engine as re
from recommender.database import read_taste_data, writing
from recommender.database.schema import interactions, products, ratings, recommendations
from recommender.database.shop_reader import in_catalog
from recommender.errors import SettingError, StepOrderError
from recommender.items import ItemWeights
from recommender.model import train_taste
from recommender.neighbors import CosineIndex, top_k_cosine
from recommender.publishing import read_versions
from recommender.ranking import (
    AUTO,
    CLASSIC,
    ITEMS,
    RANKINGS,
    TASTE,
    AutoParameters,
    ClassicRanking,
    ItemParameters,
    ProfileRanking,
    RankedProducts,
    TasteParameters,
    TasteRanker,
    TasteSimilarity,
    chosen_parameters,
    rank_products_for_rows,
    rankings,
    train_item_weights,
)
from recommender.settings import Settings
from recommender.shop import Profiles, RatingMatrix, build_profiles
from tests.evaluation.test_comparison import Planted, small_shop
from tests.shop.test_profiles import WEIGHTS, log_of, matrix_of, widened_by
from tests.support.frames import as_frame
from tests.support.shop import WHEN, fill

A, B, C, D, E, F = (f"B00000000{letter}" for letter in "ABCDEF")
WEIGHTS_AS_TEXT = "view=0.2,click=0.5,add_to_cart=1,purchase=2"

pairs_of = st.dictionaries(st.tuples(st.integers(1, 5), st.integers(0, 5)), st.integers(0, 9), min_size=1, max_size=12)
events_of = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 5), st.integers(0, 3), st.integers(0, 9)), max_size=12)


def same(one: Sequence[Any], other: Sequence[Any]) -> bool:
    return all(np.array_equal(left, right) for left, right in zip(one, other, strict=True))


def weights_of(profiles: Profiles) -> ItemWeights:
    return train_item_weights(profiles, ItemParameters())


def every(matrix: RatingMatrix, profiles: Profiles, k: int = 20) -> dict[str, Any]:
    """The rankings of the same data, by name."""
    auto, weights = AutoParameters(taste=TasteParameters(30, 0.6)), weights_of(profiles)
    similarity = TasteSimilarity.of(matrix, profiles, parameters=auto, item_weights=weights)
    found = (
        ClassicRanking(matrix, CosineIndex(matrix.steps), k),
        ProfileRanking(matrix, similarity),
        ProfileRanking(matrix, similarity, ITEMS),
        ProfileRanking(matrix, similarity, AUTO),
    )
    return {ranking.settings["ranking"]: ranking for ranking in found}


@pytest.fixture(scope="module")
def shop() -> Planted:
    return small_shop()


@pytest.fixture(scope="module")
def profiles(shop: Planted) -> Profiles:
    return build_profiles(shop.matrix, shop.log, WEIGHTS)


# --- in memory


@pytest.mark.parametrize("cells", [1, 50, 4_000_000])
def test_classic_equals_the_kernel_and_the_scoring_in_blocks_of_any_size(
    shop: Planted, cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rankings, "BLOCK_CELLS", cells)
    matrix, rows = shop.matrix, np.array([7, 3, 199, 3, 0, 64])
    near = top_k_cosine(matrix.steps, 20, rows=rows)
    mask = matrix.recommendable
    wanted = rank_products_for_rows(matrix.steps, rows, *near, n=5, recommendable=mask, scale=0.5)
    ranking = ClassicRanking(matrix, CosineIndex(matrix.steps), 20)
    assert same(ranking.rank_products(rows, 5), wanted)
    assert ranking.rank_products(rows[:0], 5).columns.shape == (0, 5)
    assert ranking.settings == {"ranking": "classic", "n_neighbors": 20}
    assert ranking.profiles is None


def test_a_number_of_neighbors_above_the_users_means_all_users(shop: Planted) -> None:
    index, rows = CosineIndex(shop.matrix.steps), np.arange(5)
    some, many = (ClassicRanking(shop.matrix, index, k).rank_products(rows, 5) for k in (199, 100_000))
    assert same(some, many)


def test_taste_equals_its_ranker_and_shows_stars(shop: Planted, profiles: Profiles) -> None:
    matrix, rows = shop.matrix, np.array([7, 3, 199, 3, 0])
    ranker = TasteRanker(profiles.confidences, matrix.steps, times=profiles.times, recommendable=matrix.recommendable)
    wanted = ranker.rank_products(rows, 5)
    ranking = ProfileRanking(matrix, TasteSimilarity.of(matrix, profiles))
    found = ranking.rank_products(rows, 5)
    assert same(found, RankedProducts(wanted.columns, wanted.stars, wanted.support, wanted.n_raters))
    assert (found.columns >= 0).all()
    assert ((found.predicted >= 0.5) & (found.predicted <= 5.0)).all()
    assert ranking.settings == {"ranking": "taste"}
    assert ranking.profiles is profiles


@pytest.mark.parametrize("parameters", [TasteParameters(3, 0.9), TasteParameters()], ids=str)
def test_auto_equals_taste_with_its_parameters(shop: Planted, profiles: Profiles, parameters: TasteParameters) -> None:
    matrix, rows = shop.matrix, np.array([3, 0, 77])
    ranking = ProfileRanking(
        matrix, TasteSimilarity.of(matrix, profiles, parameters=AutoParameters(taste=parameters)), AUTO
    )
    wanted = TasteRanker(
        profiles.confidences,
        matrix.steps,
        times=profiles.times,
        recommendable=matrix.recommendable,
        n_neighbors=parameters.n_neighbors,
        damping=parameters.damping,
    ).rank_products(rows, 5)
    found = ranking.rank_products(rows, 5)
    assert same(found, RankedProducts(wanted.columns, wanted.stars, wanted.support, wanted.n_raters))
    assert ranking.settings == {"ranking": "auto", "chosen": "taste", **parameters._asdict()}
    assert chosen_parameters(ranking.settings) == AutoParameters(taste=parameters)
    assert chosen_parameters({"ranking": "auto", **parameters._asdict()}) == AutoParameters(taste=parameters)
    assert chosen_parameters({"ranking": "taste"}) is None


def test_auto_without_parameters_is_refused(shop: Planted, profiles: Profiles) -> None:
    with pytest.raises(
        SettingError, match=r'^the auto ranking needs what load_model\(engine, ranking="auto"\) returned'
    ):
        ProfileRanking(shop.matrix, TasteSimilarity.of(shop.matrix, profiles), AUTO)


def test_the_similarity_of_taste_has_the_cosines_of_classic_and_one_ranker(shop: Planted, profiles: Profiles) -> None:
    cosines = CosineIndex(shop.matrix.steps)
    prepared = TasteSimilarity.of(shop.matrix, profiles).prepared_arrays()
    for arrays in (None, prepared):
        similarity = TasteSimilarity.of(shop.matrix, profiles, arrays=arrays)
        assert same(similarity.top_k(20), cosines.top_k(20))
        assert similarity.taste is similarity.taste
        rows = np.arange(5)
        ranked = ProfileRanking(shop.matrix, similarity).rank_products(rows, 5)
        assert same(ranked, every(shop.matrix, profiles)["taste"].rank_products(rows, 5))


@hypothesis_settings(deadline=None)
@given(pairs_of, events_of, st.integers(1, 8))
def test_a_list_holds_no_product_of_the_profile_and_none_outside_the_catalog(
    rated: dict[tuple[int, int], int], rows: list[tuple[int, int, int, int]], n: int
) -> None:
    log = log_of(rows)
    matrix = widened_by(matrix_of(rated), log)  # products with an even number are in the catalog
    profiles = build_profiles(matrix, log, WEIGHTS)
    turned_to = {(user, product) for user, product, _, _ in rows}
    for name, ranking in every(matrix, profiles).items():
        ranked = ranking.rank_products(np.arange(matrix.shape[0]), n)
        assert ranked.columns.shape == (matrix.shape[0], n)
        shown = [
            (int(matrix.user_ids[row]), int(matrix.product_ids[column][1:]))
            for row, column in np.argwhere(ranked.columns >= 0)
            for column in [ranked.columns[row, column]]
        ]
        assert len(shown) == len(set(shown))
        assert all(product % 2 == 0 for _, product in shown)
        assert not set(shown) & (set(rated) if name == CLASSIC else set(rated) | turned_to)


def test_a_user_without_ratings_is_served_by_taste_and_not_by_classic() -> None:
    # users 1 and 2 rated 0 and 2, user 3 rated only 4; user 7 just bought 0, so similar people also have 2
    log = log_of([(7, 0, 3, 5)])
    matrix = widened_by(matrix_of({(1, 0): 1, (1, 2): 2, (2, 0): 1, (2, 2): 2, (3, 4): 3}), log)
    row = np.array([matrix.row_of(7)])
    found = every(matrix, build_profiles(matrix, log, WEIGHTS))
    ranked = found[TASTE].rank_products(row, 3).of(0)
    assert matrix.products(ranked.columns) == ["B2"]
    assert ranked.n_raters.tolist() == [2]
    assert 0.5 <= ranked.predicted[0] <= 5.0
    assert not found[CLASSIC].rank_products(row, 3).of(0).columns.size
    assert not every(matrix, build_profiles(matrix))[TASTE].rank_products(row, 3).of(0).columns.size


Rows = list[tuple[int, int, int, int]]


@pytest.mark.parametrize(
    ("other", "taste_differs"),
    [
        ([(1, 2, 3, 8), (7, 4, 1, 6)], True),  # a purchase instead of the click
        ([(1, 2, 1, 9), (7, 4, 1, 6)], True),  # later
        ([(1, 4, 1, 8), (7, 4, 1, 6)], True),  # of another product
        ([(2, 2, 1, 8), (7, 4, 1, 6)], True),  # by somebody else
        ([(1, 2, 1, 8)], True),  # one is gone, and so is its user
        ([(1, 2, 1, 8), (7, 4, 1, 6), (7, 2, 0, 1)], True),  # one more
        ([(7, 4, 1, 6), (1, 2, 1, 8)], False),  # in another order
        ([(1, 2, 1, 8), (7, 4, 1, 6), (1, 2, 0, 3)], False),  # one more, weaker and older: the same lists
    ],
)
def test_the_fingerprint_of_taste_changes_with_the_data_it_ranks_by(other: Rows, taste_differs: bool) -> None:
    narrow = matrix_of({(1, 0): 1, (1, 5): 2, (2, 0): 1, (2, 4): 2})

    def fingerprints(rows: Rows) -> dict[str, str]:
        log = log_of(rows)
        matrix = widened_by(narrow, log)
        found = every(matrix, build_profiles(matrix, log, WEIGHTS))
        return {name: ranking.fingerprint() for name, ranking in found.items()}

    before, after = fingerprints([(1, 2, 1, 8), (7, 4, 1, 6)]), fingerprints(other)
    assert (before[TASTE] != after[TASTE]) == taste_differs
    assert before[TASTE] != before[CLASSIC]
    assert len(before[TASTE]) == 32


def test_the_fingerprints_change_with_a_rating_the_catalog_or_a_weight(shop: Planted, profiles: Profiles) -> None:
    first = {name: ranking.fingerprint() for name, ranking in every(shop.matrix, profiles).items()}
    csr = shop.matrix.steps.copy()
    csr.data[5] ^= 1
    sold_out = shop.matrix.recommendable.copy()
    sold_out[9] = False
    for changed in (replace(shop.matrix, steps=csr), replace(shop.matrix, recommendable=sold_out)):
        other = {name: ranking.fingerprint() for name, ranking in every(changed, profiles).items()}
        assert all(other[name] != first[name] for name in RANKINGS)
    heavier = build_profiles(shop.matrix, shop.log, WEIGHTS * 2)
    assert every(shop.matrix, heavier)[TASTE].fingerprint() != first[TASTE]
    assert every(shop.matrix, heavier)[CLASSIC].fingerprint() == first[CLASSIC]


# --- from the database

STARS = {1: {A: 5.0, B: 4.0}, 2: {A: 4.0, B: 5.0, F: 1.0}, 4: {C: 2.5}}
LATER = WHEN + dt.timedelta(days=1, microseconds=7)


def event(user: int, product: str, kind: str, when: dt.datetime = LATER) -> dict[str, Any]:
    return {"user_id": user, "product_id": product, "interaction_type": kind, "created_at": when}


def happen(engine: Engine, *rows: dict[str, Any]) -> None:
    with writing(engine) as connection:
        connection.execute(insert(interactions), list(rows))


@pytest.fixture
def store(engine: Engine) -> Engine:
    """F is rated and E was viewed, but neither is in the catalog. User 9 never rated."""
    fill(engine, STARS, [A, B, C, D])
    return engine


def log_some(engine: Engine) -> None:
    happen(
        engine,
        event(1, A, "view"),
        event(1, C, "add_to_cart", WHEN),
        event(9, A, "purchase"),
        event(9, A, "click", LATER + dt.timedelta(seconds=1)),
        event(9, E, "view"),
    )


def trained(engine: Engine) -> tuple[RatingMatrix, TasteSimilarity]:
    matrix, log = read_taste_data(engine)
    return matrix, train_taste(matrix, log, WEIGHTS.tolist())


def test_the_taste_model_is_read_from_ratings_and_interactions(store: Engine) -> None:
    log_some(store)
    matrix, similarity = trained(store)
    assert matrix.user_ids.tolist() == [1, 2, 4, 9]
    assert matrix.products(np.arange(5)) == [A, B, C, E, F]  # D is in the catalog, but without ratings and interactions
    assert matrix.recommendable.tolist() == [True, True, True, False, False]
    assert matrix.n_ratings == 6
    csr = similarity.profiles.confidences
    named = {
        (int(matrix.user_ids[row]), matrix.products(np.array([column]))[0]): value
        for row, column, value in zip(*csr.tocoo().coords, csr.data.tolist(), strict=True)
    }
    ones = {(user, product): 1.0 for user, theirs in STARS.items() for product in theirs}
    assert named == ones | {(1, C): 1.0, (9, A): 2.0, (9, E): 0.2}
    assert similarity.profiles.times is not None
    since = np.array(similarity.profiles.times, "M8[us]") - np.datetime64(WHEN)
    later = 24 * 3600 * 10**6 + 7
    assert dict(zip(named, since.astype(int).tolist(), strict=True)) == dict.fromkeys(ones, 0) | {
        (1, A): later,
        (1, C): 0,
        (9, A): later + 10**6,
        (9, E): later,
    }


@pytest.mark.parametrize("gone", ["rows", "table"])
def test_a_shop_without_interactions_is_ranked_by_its_ratings(store: Engine, gone: str) -> None:
    if gone == "table":
        with writing(store) as connection:
            interactions.drop(connection)
    matrix, log = read_taste_data(store)
    assert log is None
    assert matrix.user_ids.tolist() == [1, 2, 4]
    assert matrix.rated_at is not None
    _, similarity = trained(store)
    assert np.array_equal(similarity.profiles.confidences.toarray() > 0, matrix.steps.toarray() > 0)


def test_missing_data_for_training_is_named_with_the_step_that_makes_it(store: Engine) -> None:
    with writing(store) as connection:
        connection.execute(delete(ratings))
    with pytest.raises(StepOrderError, match="run python load_recommendation_data.py first"):
        read_taste_data(store)
    with writing(store) as connection:
        connection.execute(delete(products))
    with pytest.raises(StepOrderError, match="run python to_rds.py first"):
        read_taste_data(store)


def test_the_catalog_is_looked_up_product_by_product(store: Engine) -> None:
    assert in_catalog(store, pa.array([F, D, A, A, "NOT THERE"])).tolist() == [False, True, True, True, False]


def test_a_notebook_ranks_by_taste_with_the_results_of_load_model(store: Engine) -> None:
    log_some(store)
    matrix, similarity = re.load_model(store, ranking="taste", weights=WEIGHTS_AS_TEXT)
    assert isinstance(similarity, TasteSimilarity)
    recs = re.get_recommendations(9, matrix, similarity, ranking="taste")
    assert list(recs.columns) == ["product_id", "predicted_rating", "support", "n_neighbors"]
    # 1, 2 and 9 have A: 1 adds B and C, 2 adds B and F, which is not in the catalog
    assert recs[["product_id", "n_neighbors"]].to_numpy().tolist() == [[B, 2], [C, 1]]
    assert recs["support"][0] > recs["support"][1] > 0
    assert len(re.get_recommendations(9, matrix, similarity, ranking="taste", n=1)) == 1
    assert re.get_recommendations(9, matrix, similarity, ranking="classic").empty
    plain = re.load_model(store)
    for model in (plain, (matrix, CosineIndex(matrix.steps)), (as_frame(matrix), similarity)):
        with pytest.raises(SettingError, match='needs what load_model\\(engine, ranking="taste"\\) returned'):
            re.get_recommendations(1, *model, ranking="taste")
    with pytest.raises(SettingError, match="RANKING='best' \\(argument\\) is not known: choose classic or taste"):
        re.get_recommendations(1, *plain, ranking="best")
    assert re.get_recommendations(1, *plain).equals(re.get_recommendations(1, matrix, similarity))


def test_a_batch_by_taste_with_plain_cosines_is_refused_before_anything_is_written(store: Engine) -> None:
    matrix, similarity = re.load_model(store)
    for ranking in ("taste", "auto"):
        with pytest.raises(
            SettingError, match=f'the {ranking} ranking needs what load_model\\(engine, ranking="{ranking}'
        ):
            re.batch_generate(matrix, similarity, store, ranking=ranking)
    assert read_versions(store) == []


def test_a_batch_by_taste_serves_users_without_ratings_and_lists_no_known_product(store: Engine) -> None:
    log_some(store)
    happen(store, event(10, D, "view"))
    with writing(store) as connection:
        row = {"user_id": 5, "product_id": D, "rating": 3.0, "created_at": WHEN, "updated_at": WHEN}
        connection.execute(insert(ratings), [row])
    matrix, similarity = re.load_model(store, ranking="taste")
    assert re.batch_generate(matrix, similarity, store, ranking="taste") == 15
    c = recommendations.c
    with store.connect() as connection:
        rows = connection.execute(select(c.user_id, c.product_id, c.source).order_by(c.user_id, c["rank"]))
        found = [tuple(row) for row in rows]
    # F and E are not in the catalog; A and B were rated twice, C and D once
    assert found == [
        (1, D, "popular"),  # knows A, B and C, and C only by an interaction
        (2, C, "neighbors"),
        (2, D, "popular"),
        (4, B, "neighbors"),  # 1 shares C and has A and B with equal confidence; A is divided by one more owner
        (4, A, "neighbors"),
        (4, D, "popular"),
        *[(5, product, "popular") for product in (A, B, C)],
        (9, B, "neighbors"),  # never rated
        (9, C, "neighbors"),
        (9, D, "popular"),
        *[(10, product, "popular") for product in (A, B, C)],  # has viewed D, like nobody else with another product
    ]


def test_a_new_interaction_makes_lists_by_taste_stale_but_not_classic_ones(
    store: Engine,
    settings: Settings,
    env: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    log_some(store)

    def run(ranking: str) -> tuple[bool, int]:
        """Whether lists were written, and the number of versions."""
        assert re.main(["--if-stale", "--force", "--ranking", ranking]) == 0
        return "unchanged" not in capsys.readouterr().out, len(read_versions(store))

    def later(days: int) -> None:
        with writing(store) as connection:
            moved = update(interactions).where(interactions.c.user_id == 4)
            connection.execute(moved.values(created_at=LATER + dt.timedelta(days=days)))

    assert [run("taste"), run("taste")] == [(True, 1), (False, 1)]
    happen(store, event(4, B, "click"))
    assert [run("taste"), run("taste")] == [(True, 2), (False, 2)]
    later(days=2)
    assert [run("taste"), run("taste")] == [(True, 3), (False, 3)]
    assert [run("classic"), run("classic")] == [(True, 4), (False, 4)]
    happen(store, event(4, C, "click"))
    assert run("classic") == (False, 4)
    later(days=3)
    assert run("classic") == (False, 4)
    with writing(store) as connection:
        connection.execute(text("UPDATE product_ratings SET rating = 3 WHERE user_id = 4"))
    assert [run("classic"), run("taste")] == [(True, 5), (True, 6)]
