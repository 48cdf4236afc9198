"""The six functions are compared with the specification, computed in fractions, on both databases."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sklearn.metrics.pairwise import cosine_similarity
from sqlalchemy import Engine, delete, select, text

import recommendation_engine as re
from recommender.commands.self_check import self_check
from recommender.database import writing
from recommender.database.schema import metadata, products, ratings, recommendations
from recommender.errors import (
    DatabaseError,
    ForeignDataError,
    RatingError,
    SelfCheckError,
    SettingError,
    StepOrderError,
    UnknownUserError,
)
from recommender.neighbors import CosineIndex, PrecomputedIndex
from recommender.neighbors.cosine_index import Neighbors
from recommender.publishing import as_text
from recommender.shop import RatingMatrix, build_rating_matrix
from tests.conftest import REAL_DATA, needs_real_data
from tests.support.brute_force import Oracle
from tests.support.frames import as_frame
from tests.support.shop import fill, product_row, read_all_beauty, read_filmtrust

A, B, C, D, E = (f"B00000000{letter}" for letter in "ABCDE")

# user 1 shares A with 2 (cosine 5*5/(5*sqrt(25+16+25))) and with 3 (5*1/(5*sqrt(1+25))); 4 shares nothing
SMALL = {1: {A: 5.0}, 2: {A: 5.0, B: 4.0, C: 5.0}, 3: {A: 1.0, B: 5.0}, 4: {D: 3.0}}


def as_tuples(recs: pd.DataFrame) -> list[tuple[Any, ...]]:
    return list(recs[["product_id", "predicted_rating", "support", "n_neighbors"]].itertuples(index=False, name=None))


def matrix_of(stars: dict[int, dict[str, float]], catalog: set[str] | None = None) -> RatingMatrix:
    rows = [(user, product, rating) for user, theirs in stars.items() for product, rating in theirs.items()]
    names = sorted({product for _, product, _ in rows}, reverse=True)  # any order will do
    return build_rating_matrix(
        np.array([user for user, _, _ in rows], np.int64),
        np.array([name.encode() for name in names]),
        np.array([names.index(product) for _, product, _ in rows]),
        np.array([round(2 * rating) for _, _, rating in rows], np.int8),
        in_catalog=np.array([catalog is None or name in catalog for name in names]),
    )


def test_recommendations_equal_a_worked_example_by_hand(engine: Engine) -> None:
    fill(engine, SMALL, [A, B, C, D])
    recs = re.get_recommendations(1, *re.load_model(engine))
    near, far = 25 / (5 * 66**0.5), 5 / (5 * 26**0.5)
    assert list(recs.columns) == ["product_id", "predicted_rating", "support", "n_neighbors"]
    assert as_tuples(recs) == [
        (C, 5.0, round(near, 9), 1),
        (B, round((near * 4 + far * 5) / (near + far), 9), round(near + far, 9), 2),
    ]


@needs_real_data
@pytest.mark.parametrize(
    ("read", "file"),
    [(read_all_beauty, "all_beauty/ratings.csv"), (read_filmtrust, "filmtrust/ratings.txt")],
    ids=["all_beauty", "filmtrust"],
)
def test_every_rank_and_rating_equals_brute_force_on_real_ratings(
    engine: Engine, read: Callable[[Path], dict[int, dict[str, float]]], file: str
) -> None:
    stars = read(REAL_DATA / file)
    all_products = sorted({product for theirs in stars.values() for product in theirs})
    catalog = [product for number, product in enumerate(all_products) if number % 10]  # a tenth has left the catalog
    fill(engine, stars, catalog)
    matrix, similarity = re.load_model(engine)
    assert matrix.n_ratings == sum(len(theirs) for theirs in stars.values())
    ties = 0
    oracle = Oracle(stars)
    for user in list(stars)[:: max(1, len(stars) // 300)]:
        expected = oracle.recommend(user, k=20, n=10, catalog=catalog)
        assert as_tuples(re.get_recommendations(user, matrix, similarity)) == expected
        ties += len({row.predicted_rating for row in expected}) < len(expected)
    assert ties > 50  # the data does hold ties to be decided


@needs_real_data
@pytest.mark.parametrize("frame", [False, True], ids=["array", "DataFrame"])
def test_a_dense_frame_and_scikit_learns_similarity_give_the_same_answer(frame: bool) -> None:
    stars = read_filmtrust(REAL_DATA / "filmtrust" / "ratings.txt")
    matrix = matrix_of(stars)
    dense = as_frame(matrix).sample(frac=1, axis=0, random_state=1).sample(frac=1, axis=1, random_state=2)
    raw: Any = cosine_similarity(dense)
    if frame:
        order = np.random.default_rng(3).permutation(len(dense))
        raw = pd.DataFrame(raw, index=dense.index, columns=dense.index).iloc[order, order]
    index = CosineIndex(matrix.steps)
    for user in list(stars)[::15]:
        expected = re.get_recommendations(user, matrix, index)
        pd.testing.assert_frame_equal(
            re.get_recommendations(user, dense, raw), expected, check_exact=True, check_dtype=True
        )


small_shops = st.dictionaries(
    st.integers(1, 12),
    st.dictionaries(st.sampled_from([A, B, C, D, E]), st.sampled_from([0.5, 1.0, 2.5, 4.0, 5.0]), min_size=1),
    min_size=1,
    max_size=10,
)


@hypothesis_settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(stars=small_shops, catalog=st.sets(st.sampled_from([A, B, C, D, E])), k=st.integers(1, 5), n=st.integers(1, 6))
def test_any_small_shop_equals_brute_force_sparse_and_dense(
    stars: dict[int, dict[str, float]], catalog: set[str], k: int, n: int
) -> None:
    matrix = matrix_of(stars, catalog)
    index = CosineIndex(matrix.steps)
    frame = as_frame(matrix)
    raw = cosine_similarity(frame)
    oracle = Oracle(stars)
    for user in stars:
        expected = oracle.recommend(user, k=k, n=n, catalog=catalog)
        assert as_tuples(re.get_recommendations(user, matrix, index, n_neighbors=k, n=n)) == expected
        assert as_tuples(re.get_recommendations(user, matrix, raw, n_neighbors=k, n=n)) == expected
        everything = oracle.recommend(user, k=k, n=n, catalog=[A, B, C, D, E])
        assert as_tuples(re.get_recommendations(user, frame, raw, n_neighbors=k, n=n)) == everything


def test_the_constants_are_read_when_the_function_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = matrix_of(SMALL)
    index = CosineIndex(matrix.steps)
    monkeypatch.setattr(re, "TOP_N_RECOMMENDATIONS", 1)
    assert list(re.get_recommendations(1, matrix, index)["product_id"]) == [C]
    monkeypatch.setattr(re, "TOP_N_SIMILAR_USERS", 1)
    assert re.get_recommendations(1, matrix, index, n=5)["n_neighbors"].tolist() == [1, 1]


def test_a_user_without_neighbors_gets_an_empty_frame_with_the_same_columns() -> None:
    matrix = matrix_of(SMALL)
    recs = re.get_recommendations(4, matrix, CosineIndex(matrix.steps))
    assert list(recs.columns) == ["product_id", "predicted_rating", "support", "n_neighbors"]
    assert recs.empty


@pytest.mark.parametrize("user", [5, 0, -1, 2**70, "1", None, True, 1.5])
def test_an_unknown_user_is_refused_by_name(user: object) -> None:
    matrix = matrix_of(SMALL)
    index = CosineIndex(matrix.steps)
    with pytest.raises(UnknownUserError, match=f"user {user} is unknown"):
        re.get_recommendations(user, matrix, index)
    if user is not True:  # in a pandas index True equals 1
        with pytest.raises(UnknownUserError):
            re.get_recommendations(user, as_frame(matrix), cosine_similarity(as_frame(matrix)))


def test_a_nan_in_a_frame_is_refused_with_user_product_and_remedy() -> None:
    frame = as_frame(matrix_of(SMALL))
    similarity = cosine_similarity(frame)
    frame.loc[2, C] = np.nan
    with pytest.raises(RatingError, match=rf"user 2, product {C}: rating nan .*fillna\(0\)"):
        re.get_recommendations(1, frame, similarity)


def test_a_similarity_of_another_shape_is_refused() -> None:
    frame = as_frame(matrix_of(SMALL))
    with pytest.raises(SettingError, match=r"shape \(3, 3\).*\(4, 4\)"):
        re.get_recommendations(1, frame, np.eye(3))


def test_details_are_added_in_order_and_a_product_that_left_has_none(engine: Engine) -> None:
    fill(engine, SMALL, [product_row(A, title=None, price=0.0), product_row(B, title="Tea 🍵, 'green'", price=19.99)])
    recs = pd.DataFrame({"product_id": [C, B, A], "predicted_rating": [5.0, 4.0, 3.0]}, index=[7, 8, 9])
    full = re.enrich_with_product_details(recs, engine)
    assert list(full.columns) == ["product_id", "predicted_rating", "product_name", "price"]
    assert full.index.tolist() == [7, 8, 9]
    assert full["product_name"].tolist() == [None, "Tea 🍵, 'green'", None]
    assert full["price"].isna().tolist() == [True, False, True]  # C has left; 0.0 is a price that is not known
    assert full["price"].tolist()[1] == 19.99
    assert [line.split()[-1] for line in as_text(1, full).splitlines()[3:]] == ["-", "19.99", "-"]
    assert list(re.enrich_with_product_details(recs[:0], engine).columns) == list(full.columns)


def saved(engine: Engine) -> list[tuple[Any, ...]]:
    table = recommendations.c
    with engine.connect() as connection:
        rows = connection.execute(select(table.user_id, table["rank"], table.product_id, table.predicted_rating))
        return sorted(tuple(row) for row in rows)


def test_saving_twice_replaces_only_that_users_rows(engine: Engine) -> None:
    first = pd.DataFrame({"product_id": [A, B], "predicted_rating": [5.0, 4.123456789]})
    second = pd.DataFrame({"product_id": [C], "predicted_rating": [3.0]})
    re.save_recommendations(1, first, engine)
    re.save_recommendations(2, first, engine)
    re.save_recommendations(1, second, engine)
    assert saved(engine) == [(1, 1, C, 3.0), (2, 1, A, 5.0), (2, 2, B, 4.123456789)]


def test_a_save_that_fails_leaves_the_old_rows(engine: Engine) -> None:
    good = pd.DataFrame({"product_id": [A], "predicted_rating": [5.0]})
    re.save_recommendations(1, good, engine)
    bad = pd.DataFrame({"product_id": [B, None], "predicted_rating": [4.0, 3.0]})
    with pytest.raises(DatabaseError):
        re.save_recommendations(1, bad, engine)
    assert saved(engine) == [(1, 1, A, 5.0)]


def test_the_batch_writes_the_lists_of_the_function_and_fills_them_with_popular_products(engine: Engine) -> None:
    fill(engine, SMALL, [A, B, C, D])
    matrix, similarity = re.load_model(engine)
    assert re.batch_generate(matrix, similarity, engine, users=None) == len(saved(engine))
    for user in SMALL:
        expected = as_tuples(re.get_recommendations(user, matrix, similarity))
        mine = [row for row in saved(engine) if row[0] == user]
        assert [row[1] for row in mine] == list(range(1, len(mine) + 1))
        assert [row[2:4] for row in mine[: len(expected)]] == [row[:2] for row in expected]
        # together: every product that the user has not rated, once
        assert sorted(row[2] for row in mine) == sorted({A, B, C, D} - set(SMALL[user]))
    # mu = 28/7 = 4; A: 3 ratings (5+5+1), (11 + 40)/13; B: 2 (4+5); C: 1; user 4 has no neighbors
    assert [row[1:] for row in saved(engine) if row[0] == 4] == [
        (1, A, round((11 + 40) / 13, 9)),
        (2, B, round((9 + 40) / 12, 9)),
        (3, C, round((5 + 40) / 11, 9)),
    ]


def test_a_second_batch_replaces_the_whole_table(engine: Engine) -> None:
    fill(engine, SMALL, [A, B, C, D])
    matrix, similarity = re.load_model(engine)
    re.batch_generate(matrix, similarity, engine)
    before = saved(engine)
    re.batch_generate(matrix, similarity, engine)
    assert saved(engine) == before
    re.batch_generate(matrix, similarity, engine, users=1)
    assert saved(engine) == [row for row in before if row[0] == 1]


def test_a_model_without_its_tables_says_which_step_to_run(engine: Engine) -> None:
    with pytest.raises(StepOrderError, match="python to_rds.py"):
        re.load_model(engine)
    metadata.create_all(engine)
    with pytest.raises(StepOrderError, match="python to_rds.py"):
        re.load_model(engine)
    fill(engine, {}, [A])
    with pytest.raises(StepOrderError, match="python load_recommendation_data.py"):
        re.load_model(engine)


def test_a_product_that_left_the_catalog_counts_for_cosines_but_is_not_recommended(engine: Engine) -> None:
    fill(engine, SMALL, [A, B, C, D])
    with engine.begin() as connection:
        connection.execute(delete(products).where(products.c.asin == C))
    recs = re.get_recommendations(1, *re.load_model(engine))
    assert as_tuples(recs) == Oracle(SMALL).recommend(1, k=20, n=10, catalog=[A, B, D])
    assert recs["product_id"].tolist() == [B]


def test_the_self_check_finds_a_wrong_cosine(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = matrix_of(SMALL)
    index = CosineIndex(matrix.steps)
    users, difference = self_check(matrix, index)
    assert users == 4
    assert difference < 1e-12
    monkeypatch.setattr(CosineIndex, "similarities", lambda self, row: np.full(4, 0.5))
    with pytest.raises(SelfCheckError, match=r"differ from scikit-learn's by 0\.5"):
        self_check(matrix, index)


def test_the_self_check_takes_memory_in_proportion_to_the_ratings() -> None:
    n_users, n_products, rng = 20_000, 30_000, np.random.default_rng(0)
    raters, rated = np.repeat(np.arange(n_users), 3), rng.integers(0, n_products, 3 * n_users)
    pairs = np.unique(np.stack([raters, rated], axis=1), axis=0)
    matrix = build_rating_matrix(
        pairs[:, 0] + 1,
        np.array([f"{number:010d}" for number in range(n_products)], "S10"),
        pairs[:, 1],
        rng.integers(1, 11, len(pairs)).astype(np.int8),
        in_catalog=np.ones(n_products, np.bool_),
    )
    index = CosineIndex(matrix.steps)
    self_check(matrix, index)  # imports and compiled code are loaded
    tracemalloc.start()
    try:
        checked, _ = self_check(matrix, index)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert checked == 100
    one_table = 100 * n_users * 8  # the sample's cosines with everybody, dense: 16 MB; the ratings are 0.3 MB
    assert peak < one_table / 2


def test_the_self_check_finds_a_cosine_that_is_not_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = matrix_of(SMALL)
    index = CosineIndex(matrix.steps)
    monkeypatch.setattr(CosineIndex, "similarities", lambda self, row: np.array([1.0, np.nan, 0.0, 0.0]))
    with pytest.raises(SelfCheckError, match="differ from scikit-learn's by nan"):
        self_check(matrix, index)


def test_interactions_and_users_without_ratings_change_no_neighbor(engine: Engine) -> None:
    fill(engine, SMALL | {99: {}}, [A, B, C, D])
    matrix, _ = re.load_model(engine)
    assert matrix.user_ids.tolist() == [1, 2, 3, 4]
    with engine.connect() as connection:
        assert len(connection.execute(select(ratings.c.user_id)).all()) == 7


def test_others_recommendations_table_is_never_replaced(engine: Engine) -> None:
    fill(engine, SMALL, [A, B, C, D])
    with writing(engine) as connection:
        connection.execute(text("DROP TABLE recommendations"))
        connection.execute(text("CREATE TABLE recommendations (id INT, note VARCHAR(20))"))
        connection.execute(text("INSERT INTO recommendations VALUES (1, 'mine')"))
    matrix, similarity = re.load_model(engine)
    with pytest.raises(ForeignDataError, match="recommendations has no column"):
        re.batch_generate(matrix, similarity, engine)
    with pytest.raises(ForeignDataError, match="recommendations has no column"):
        re.save_recommendations(1, re.get_recommendations(1, matrix, similarity), engine)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT note FROM recommendations")).scalar_one() == "mine"


def test_a_view_on_the_recommendations_survives_the_next_batch(engine: Engine) -> None:
    fill(engine, SMALL, [A, B, C, D])
    matrix, similarity = re.load_model(engine)
    re.batch_generate(matrix, similarity, engine)
    with writing(engine) as connection:
        view = "SELECT r.user_id, p.title FROM recommendations r JOIN amazon_products p ON p.asin = r.product_id"
        connection.execute(text(f"CREATE VIEW top AS {view}"))
    for users in (1, None):
        rows = re.batch_generate(matrix, similarity, engine, users=users)
        with engine.connect() as connection:
            assert connection.execute(text("SELECT COUNT(*) FROM top")).scalar_one() == rows


def test_invalid_arguments_are_refused_by_name(engine: Engine) -> None:
    fill(engine, SMALL, [A, B, C, D])
    matrix, similarity = re.load_model(engine)
    recs = re.get_recommendations(1, matrix, similarity)
    for users in (0, -5):
        with pytest.raises(SettingError, match=f"users={users}"):
            re.batch_generate(matrix, similarity, engine, users=users)
    for user in ("u1", 2**70, 1.7, True, -1):
        with pytest.raises(SettingError, match="user_id"):
            re.save_recommendations(user, recs, engine)  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="no column product_id"):
        re.save_recommendations(1, recs.drop(columns="product_id"), engine)
    with pytest.raises(SettingError, match="twice"):
        re.save_recommendations(1, pd.concat([recs, recs]), engine)
    with pytest.raises(SettingError, match="the matrix is a ndarray"):
        re.get_recommendations(1, matrix.steps.toarray(), similarity)
    frame = as_frame(matrix)
    for unknown in ([1, 2], True, None):
        with pytest.raises(UnknownUserError):
            re.get_recommendations(unknown, frame, similarity)


def test_a_huge_number_of_recommendations_takes_no_extra_memory(engine: Engine) -> None:
    fill(engine, SMALL, [A, B, C, D])
    matrix, similarity = re.load_model(engine)
    assert re.batch_generate(matrix, similarity, engine, users=None, n=100_000, n_neighbors=100_000) == 3 + 1 + 2 + 3


def test_a_labeled_similarity_is_aligned_on_both_sides_or_refused() -> None:
    matrix = matrix_of(SMALL)
    frame = as_frame(matrix)
    expected = re.get_recommendations(1, frame, cosine_similarity(frame))
    labeled = pd.DataFrame(cosine_similarity(frame), index=frame.index, columns=frame.index)
    for similarity in (
        labeled[[4, 2, 1, 3]],
        labeled.loc[[3, 1, 4, 2]],
        labeled.reset_index(drop=True).T.reset_index(drop=True),
    ):
        pd.testing.assert_frame_equal(re.get_recommendations(1, frame, similarity), expected)
    with pytest.raises(SettingError, match="labels are not the user ids"):
        re.get_recommendations(1, frame, labeled.rename(index=str, columns=str))
    labeled.loc[1, 3] = np.inf
    with pytest.raises(SettingError, match="users 1 and 3 is not a finite number"):
        re.get_recommendations(1, frame, labeled)
    with pytest.raises(SettingError, match="sort the DataFrame's index"):
        re.get_recommendations(1, frame[::-1], CosineIndex(matrix.steps))
    with pytest.raises(SettingError, match="must be users x users"):
        re.get_recommendations(1, frame[:2], CosineIndex(matrix.steps))


def alike(mine: Neighbors, theirs: Neighbors) -> bool:
    return np.array_equal(mine[0], theirs[0]) and np.array_equal(mine[1], theirs[1])


@needs_real_data
def test_precomputed_neighbors_and_neighbors_on_demand_are_the_same_for_every_user(engine: Engine) -> None:
    stars = read_all_beauty(REAL_DATA / "all_beauty/ratings.csv")
    fill(engine, stars, sorted({product for theirs in stars.values() for product in theirs}))
    matrix, on_demand = re.load_model(engine)
    _, known = re.load_model(engine, precompute=True)
    everybody = np.arange(matrix.shape[0])
    for k in (1, 20, 25):  # 20 are known; beyond them on demand
        assert alike(known.top_k(k, rows=everybody), on_demand.top_k(k))
    for row in range(matrix.shape[0]):
        for k in (3, 20, 25):
            assert alike(known.neighbors(row, k), on_demand.neighbors(row, k))
        assert np.array_equal(known.similarities(row), on_demand.similarities(row))
    for user in list(stars)[::10]:
        expected = re.get_recommendations(user, matrix, on_demand)
        pd.testing.assert_frame_equal(re.get_recommendations(user, matrix, known), expected, check_exact=True)
    assert re.batch_generate(matrix, known, engine) == re.batch_generate(matrix, on_demand, engine)


def test_a_caller_may_change_returned_neighbors() -> None:
    known = PrecomputedIndex(matrix_of(SMALL).steps, 2)
    expected = known.neighbors(0, 2)[0].copy(), known.neighbors(0, 2)[1].copy()
    known.neighbors(0, 2)[0][:] = 9
    known.top_k(2, rows=[0])[1][:] = 9.0
    assert alike(known.neighbors(0, 2), expected)
    with pytest.raises(SettingError, match="row 4 does not exist"):
        known.neighbors(4, 1)
    with pytest.raises(SettingError, match="k=0"):
        known.neighbors(0, 0)


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 5)), unique=True, min_size=1), st.randoms())
def test_times_stay_with_their_ratings_in_any_order_of_rows(pairs: list[tuple[int, int]], random: Any) -> None:
    random.shuffle(pairs)
    matrix = build_rating_matrix(
        np.array([user for user, _ in pairs]),
        np.array([f"B{5 - number}" for number in range(6)], "S10"),
        np.array([product for _, product in pairs]),
        np.array([1 + (user + product) % 10 for user, product in pairs], np.int8),
        in_catalog=np.ones(6, bool),
        rated_at=np.array([100 * user + product for user, product in pairs]),
    )
    assert matrix.rated_at is not None
    coo = matrix.steps.tocoo()
    for row, column, steps, moment in zip(*coo.coords, coo.data, matrix.rated_at, strict=True):
        user, product = int(matrix.user_ids[row]), 5 - int(matrix.product_ids[column][1:])
        assert (int(moment), int(steps)) == (100 * user + product, 1 + (user + product) % 10)
    without = RatingMatrix(matrix.steps, matrix.user_ids, matrix.product_ids, matrix.recommendable)
    assert matrix.fingerprint() != without.fingerprint()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--users", "9" * 5_000], "is neither a number of users (1 or more) nor 'all'"),
        (["--user", "9" * 5_000], "is unknown"),
        (["--save-model", "~nosuchuser/x"], "--save-model=~nosuchuser/x: there is no such home folder"),
    ],
    ids=["users", "user", "home"],
)
def test_a_value_that_cannot_be_used_ends_in_one_line(
    engine: Engine,
    env: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    fill(engine, {1: {A: 5.0}, 2: {A: 4.0, B: 3.0}}, [A, B])
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert re.main(options) == 1
    assert message in capsys.readouterr().err


def test_a_sqlite_file_that_is_a_folder_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("DB_HOST", "")
    monkeypatch.setenv("SQLITE_FILE", str(tmp_path))
    assert re.main([]) == 1
    assert f"SQLITE_FILE={tmp_path} is no regular file: name another" in capsys.readouterr().err
