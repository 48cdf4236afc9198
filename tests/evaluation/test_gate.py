"""The gate refuses a version that is worse than chance explains, and says why. Nights are simulated one by one."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from recommender.errors import SettingError
from recommender.evaluation import (
    NDCG,
    Evaluation,
    Figure,
    evaluate_rankings,
    gate_statistics,
    history_of,
    judge,
    metrics_of,
    stand_in,
)
from recommender.evaluation.comparison import AS_PUBLISHED
from recommender.evaluation.gate import Verdict
from recommender.evaluation.gate_statistics import Measured, floor_of, measured, paired
from recommender.evaluation.result import RankingFigures
from recommender.publishing import Version
from tests.evaluation.test_comparison import WEIGHTS, Planted, small_shop

NIGHT = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
Floats = NDArray[np.float64]

# nDCG@10 of one user: about what taste reaches on MovieLens small, mean 0.13, sd 0.20, every second user 0
VALUES = np.array([0.0, 0.06, 0.1, 0.16, 0.23, 0.36, 0.5, 0.64, 0.8, 0.93])
CHANCES = np.array([0.52, 0.07, 0.09, 0.09, 0.07, 0.06, 0.04, 0.03, 0.02, 0.01])


def users(rng: np.random.Generator, n: int) -> Floats:
    """The nDCG of n users who were never tested before."""
    found: Floats = VALUES[np.searchsorted(np.cumsum(CHANCES), rng.random(n))]
    return found


def losing(rng: np.random.Generator, values: Floats, share: float) -> Floats:
    """Let a randomly drawn share of the users find nothing."""
    found: Floats = np.where(rng.random(len(values)) < share, 0.0, values)
    return found


def night(new: Floats, old: Floats | None = None) -> Evaluation:
    """The measurements of one night: the new version, the published settings if they differ, popularity."""
    rankings = {"taste": new, "popular": np.zeros(len(new))} | ({} if old is None else {AS_PUBLISHED: old})
    return Evaluation(
        tuple(ranking_of(*ranking) for ranking in rankings.items()), (), "newest", 0, len(new), 9, 9, len(new), {}
    )


def ranking_of(name: str, values: Floats) -> RankingFigures:
    return RankingFigures(name, {NDCG: Figure(float(values.mean()), None, None, len(values))}, {}, None, values)


class Shop:
    """Publishes each night's version if the gate lets it through, and remembers its records."""

    def __init__(self) -> None:
        self.history: list[Measured] = []

    def publishes(self, new: Floats, old: Floats | None = None) -> bool:
        evaluation = night(new, old)
        verdict = judge(evaluation, "taste", against=AS_PUBLISHED if old is not None else None, history=self.history)
        if verdict.publish:
            entry = measured(json.loads(json.dumps(metrics_of(evaluation, "taste"))))
            assert entry is not None
            self.history = [*self.history[-89:], entry]
        return verdict.publish


# --- nights of chance -------


@pytest.mark.parametrize(("n_users", "n_nights"), [(100, 12_000), (2_000, 6_000)])
@pytest.mark.parametrize("changed", [False, True], ids=["same settings", "other settings every night"])
def test_equal_quality_is_refused_in_at_most_2_5_percent_of_nights(n_users: int, n_nights: int, changed: bool) -> None:
    """Both tests together. If the settings differ, a third of the users get other lists, as good on average."""
    rng, refused = np.random.default_rng(5), 0
    for start in range(0, n_nights, 100):
        shop = Shop()
        for _ in range(start, start + 100):
            new = users(rng, n_users)
            old = np.where(rng.random(n_users) < 1 / 3, users(rng, n_users), new) if changed else None
            refused += not shop.publishes(new, old)
    assert 0 < refused / n_nights <= gate_statistics.MOST_REFUSED == 0.025


@pytest.mark.parametrize("steps", [3, 10, 40])
@pytest.mark.parametrize("changed", [False, True], ids=["the data decay", "the settings get worse"])
def test_a_loss_of_10_percent_in_small_steps_is_noticed_at_2000_users(steps: int, changed: bool) -> None:
    rng, runs, noticed = np.random.default_rng(6), 60, 0
    step = 1.0 - 0.9 ** (1 / steps)
    for _ in range(runs):
        shop = Shop()
        for _ in range(30):
            shop.publishes(users(rng, 2_000))
        for done in range(1, steps + 1):
            old = losing(rng, users(rng, 2_000), 1.0 - (1.0 - step) ** (done - 1))
            if not shop.publishes(losing(rng, old, step), old if changed else None):
                noticed += 1
                break
    assert noticed / runs >= 0.8


def test_a_loss_of_3_percent_every_night_is_stopped_early() -> None:
    """It begins in the second night of a new shop. An earlier form of the gate let quality fall to 47 %."""
    rng, left = np.random.default_rng(7), []
    for _ in range(40):
        shop, quality = Shop(), 1.0
        while shop.publishes(losing(rng, users(rng, 2_000), 1.0 - quality)):
            quality *= 0.97
        left.append(quality)
    assert np.quantile(left, 0.1) > 0.75
    assert np.median(left) > 0.8


def test_a_version_without_a_loss_for_any_user_is_never_refused_by_the_pair() -> None:
    values = users(np.random.default_rng(0), 500)
    assert not paired(values, values).is_worse
    assert not paired(values + 0.1, values).is_worse


def test_six_losing_users_prove_no_loss_and_seven_do() -> None:
    old = np.full(1_000, 0.5)
    for losers, worse in ((6, False), (7, True)):
        new = old.copy()
        new[:losers] = 0.0
        assert paired(new, old, 0.0125).is_worse == worse
    for n in (1, 2, 6):  # in so small a shop chance explains everything
        assert not paired(np.zeros(n), np.ones(n)).is_worse


def test_nights_that_vary_widen_the_tolerance_and_a_steady_loss_does_not() -> None:
    calm = [Measured(0.125, 0.004, 2_000)] * 20
    falling = [Measured(0.125 * 0.99**number, 0.004, 2_000) for number in range(20)]
    restless = [Measured(0.125 + 0.02 * (-1) ** number, 0.004, 2_000) for number in range(20)]
    new = Measured(0.12, 0.004, 2_000)
    tolerances = [floor_of(history, new).tolerance for history in (calm, falling, restless)]
    assert tolerances[0] == pytest.approx(2.0141 * 0.004 * (1 + np.pi / (2 * 20 + np.pi - 2)) ** 0.5, rel=1e-4)
    assert tolerances[1] == tolerances[0]
    assert tolerances[2] > 8 * tolerances[0]


def test_the_interval_of_an_older_record_gives_its_error() -> None:
    entry = measured({"ranking": "taste", NDCG: {"mean": 0.3, "low": 0.2608, "high": 0.3392, "n": 400}})
    assert entry == Measured(0.3, 0.02, 400)
    for nothing in (None, {}, {NDCG: {"mean": None, "low": None, "high": None, "n": 0}}, {"ranking": "taste"}):
        assert measured(nothing) is None


# --- the history --------------


def version(number: int, mean: float | None, state: str = "expired", *, days: float = 0, **more: Any) -> Version:
    """A version made so many days before `NIGHT`."""
    figures = None if mean is None else {"ranking": "taste", NDCG: Figure(mean, mean, mean, 99)._asdict()} | more
    return Version(number, NIGHT - dt.timedelta(days=days), "", 1, {}, 0, figures, state)


def means(*versions: Version, ranking: str = "taste") -> list[float]:
    return [entry.mean for entry in history_of(versions, ranking, NIGHT)]


def test_the_history_holds_versions_published_in_90_days_by_the_same_ranking() -> None:
    published = version(9, 0.9, "published", days=1)
    assert means() == means(version(1, 0.1, "kept")) == means(version(1, None, "published")) == []
    assert means(version(1, 0.1, days=91), version(2, 0.2, days=89), published) == [0.2, 0.9]
    assert means(version(1, 0.1, "published", days=400)) == [0.1]  # nothing else is known
    assert means(version(1, 0.1, ranking="classic"), version(2, 0.2), published) == [0.2, 0.9]
    assert means(version(2, 0.2), published, ranking="classic") == [0.9]  # the published version, by any ranking
    assert means(version(1, 0.1), version(2, 0.2, verdict="refused"), version(3, None), published) == [0.1, 0.9]
    assert means(version(8, 0.8), published, version(10, 0.1, "kept", verdict="refused")) == [0.8, 0.9]


def test_the_history_begins_with_a_version_published_by_decision() -> None:
    one, two = version(1, 0.1), version(2, 0.2, verdict="forced")
    assert means(one, two, version(3, 0.3), version(4, 0.4, "published")) == [0.2, 0.3, 0.4]
    # rolled back from the forced version: it does not count, earlier versions do
    assert means(replace(one, state="published"), replace(two, state="kept")) == [0.1]
    # rolled back to a version that had been refused
    assert means(one, version(2, 0.2), version(3, 0.05, "published", verdict="refused")) == [0.05]


# --- messages ---


def test_the_first_version_passes_and_the_note_tells_the_floor_of_the_next_ones() -> None:
    values = np.tile([0.0, 0.4], 200)  # sd 0.2005, so 0.0100 for 400 users
    verdict = judge(night(values), "taste")
    # two versions differ by chance by 0.01418; (2.021 + 0.842) * 0.01418 / 0.2
    assert verdict == Verdict(
        True, "", (),
        ("from the next version on a loss of 20.3% or more would be noticed with 80% chance at 400 test users",),
    )  # fmt: skip


def test_a_version_worse_than_the_published_settings_on_the_same_users_is_refused_with_numbers() -> None:
    old = np.tile([0.0, 0.2, 0.4, 0.6], 100)
    new = np.where(np.arange(400) % 8 == 3, 0.0, old)  # every eighth user loses 0.6
    verdict = judge(night(new, old), "taste", against=AS_PUBLISHED)
    assert not verdict.publish
    assert verdict.reason == (
        "nDCG@10 0.2250 (taste) is 0.0750 below what the published version's settings find for the same users "
        "(0.3000), more than chance explains (0.0201)"
    )
    assert verdict.notes[0] == (
        "-0.0750 against the published version's settings (0.3000) on the same users; "
        "a loss of 9.5% or more would be noticed with 80% chance at 400 test users"
    )
    assert judge(night(old, new), "taste", against=AS_PUBLISHED).publish
    assert judge(night(old, old), "taste", against=AS_PUBLISHED).publish


def test_a_version_below_the_floor_is_refused_with_the_numbers() -> None:
    history = [Measured(mean, 0.01, 400) for mean in (0.3, 0.29, 0.31)]
    verdict = judge(night(np.tile([0.0, 0.4], 200)), "taste", history=history)
    # 0.3 less 2.015 * 0.010025 * sqrt(1 + pi / (6 + pi - 2))
    assert verdict.reason == (
        "nDCG@10 0.2000 (taste) is below the floor 0.2758 (median of 3 versions published lately, 0.3000, less 0.0242 "
        "for chance)"
    )
    assert verdict.notes == (
        "floor 0.2758 (median of 3 versions published lately, 0.3000, less 0.0242 for chance); "
        "a loss of 11.5% or more would be noticed with 80% chance at 400 test users",
    )
    (alone,) = judge(night(np.tile([0.0, 0.4], 200)), "taste", history=history[:1]).notes
    assert alone.startswith("floor 0.2714 (median of the published version, 0.3000, less 0.0286 for chance); ")


def test_a_refusal_gives_both_reasons_and_each_test_allows_half_of_the_chance() -> None:
    old = np.tile([0.0, 0.6], 200)
    new = np.where(np.arange(400) % 4 == 3, 0.0, old)
    history = [Measured(0.3, 0.01, 400)]
    verdict = judge(night(new, old), "taste", against=AS_PUBLISHED, history=history)
    assert verdict.reason.count("nDCG@10 0.1500 (taste) is ") == 2
    assert "; nDCG@10" in verdict.reason
    level = gate_statistics.LEVEL / 2
    assert f"explains ({paired(new, old, level).tolerance:.4f})" in verdict.reason
    assert f"less {floor_of(history, measured_of(new), level).tolerance:.4f} for chance" in verdict.reason


def measured_of(values: Floats) -> Measured:
    return Measured(float(values.mean()), float(values.std(ddof=1)) / len(values) ** 0.5, len(values))


def test_too_few_test_users_have_no_floor_and_make_none() -> None:
    history = [Measured(0.9, 0.01, 500)]
    few, enough = np.tile([0.0, 0.1], 14), np.tile([0.0, 0.1], 15)
    verdict = judge(night(few), "taste", history=history)
    assert (verdict.publish, verdict.notes) == (True, ("no floor: fewer than 30 test users",))
    assert not judge(night(enough), "taste", history=history).publish
    small = replace(version(1, 0.9, "published"), metrics={"ranking": "taste", NDCG: Figure(1, 1, 1, 29)._asdict()})
    assert means(small) == []
    (note,) = judge(night(few), "taste").notes
    assert note == "from the next version on no loss can be told from chance at 28 test users"


def test_a_ranking_that_finds_nothing_is_not_refused_as_no_loss_can_be_noticed() -> None:
    nothing = np.zeros(50)
    history = [Measured(0.0, 0.0, 50)]
    assert judge(night(nothing), "taste").notes == ()
    verdict = judge(night(nothing, nothing), "taste", against=AS_PUBLISHED, history=history)
    assert verdict.publish
    assert verdict.notes[0].endswith("on the same users; nobody is served better or worse")
    assert verdict.notes[1].endswith("; no loss can be told from chance at 50 test users")


def test_a_loss_to_popularity_is_reported_with_numbers_and_a_better_ranking() -> None:
    lost = "finds less than plain popularity: nDCG@10"
    for found, ranking, warning in (
        ((0.02, 0.3), "classic", f"RANKING=classic {lost} 0.0200 against 0.0900; better: RANKING=taste 0.3000"),
        ((0.3, 0.02), "taste", f"RANKING=taste {lost} 0.0200 against 0.0900; better: RANKING=classic 0.3000"),
        (
            (0.02, 0.05),
            "taste",
            f"RANKING=taste {lost} 0.0500 against 0.0900; no ranking does better on these ratings",
        ),
        ((0.1, 0.02), "classic", None),
        ((0.09, 0.02), "classic", None),
    ):
        verdict = judge(evaluation(classic=found[0], taste=found[1], popular=0.09), ranking)
        assert (verdict.publish, verdict.reason) == (True, "")
        assert verdict.warnings == (() if warning is None else (warning,))


def evaluation(notes: tuple[str, ...] = (), **found: float) -> Evaluation:
    """Rankings with these nDCG and intervals of +- 0.01, without figures of single users."""
    spread = np.tile([1.0, -1.0], 250) * 0.02 / 3.92 * 499**0.5  # a standard error of 0.02 / 3.92
    rankings = tuple(
        RankingFigures(name, {NDCG: Figure(mean, mean - 0.01, mean + 0.01, 500)}, {}, None, mean + spread)
        for name, mean in found.items()
    )
    return Evaluation(rankings, (), "newest", 0, 500, 100, 2_000, 500, {}, notes)


def test_a_version_can_be_refused_and_warned_about_at_once_notes_first() -> None:
    history = [Measured(0.3, 0.01, 500)]
    verdict = judge(evaluation(notes=("few",), classic=0.1, taste=0.3, popular=0.2), "classic", history=history)
    assert not verdict.publish
    assert [warning[:15] for warning in verdict.warnings] == ["few", "RANKING=classic"]


shares = st.floats(0.0, 1.0, allow_nan=False)


@given(shares, shares, shares, st.sampled_from(["classic", "taste"]), st.lists(shares, max_size=12))
def test_verdicts_follow_the_rules(
    classic: float, taste: float, popular: float, ranking: str, published: list[float]
) -> None:
    found = {"classic": classic, "taste": taste}
    history = [Measured(mean, 0.01, 500) for mean in published]
    verdict = judge(evaluation(classic=classic, taste=taste, popular=popular), ranking, history=history)
    floor = floor_of(history, Measured(found[ranking], 0.02 / 3.92, 500)) if history else None
    assert verdict.publish == (floor is None or found[ranking] >= floor.median - floor.tolerance)
    assert bool(verdict.reason) == (not verdict.publish)
    assert bool(verdict.warnings) == (found[ranking] < popular)
    if verdict.warnings:
        named = {name for name in found if f"better: RANKING={name}" in verdict.warnings[0]}
        assert named == {name for name in found if found[name] > popular}


# --- on a shop whose tastes are known


@pytest.fixture(scope="module")
def shop() -> Planted:
    return small_shop()


def test_a_run_on_the_same_data_is_never_refused(shop: Planted) -> None:
    found = evaluate_rankings(shop.matrix, shop.log, WEIGHTS, n_neighbors=20)
    history = {}
    for ranking in ("classic", "taste"):
        entry = measured(json.loads(json.dumps(metrics_of(found, ranking), allow_nan=False)))  # as the table keeps it
        assert entry is not None
        history[ranking] = [entry] * 5
        assert judge(found, ranking, history=history[ranking]).publish
        assert judge(found, ranking, against=ranking).publish
    assert not judge(found, "classic", history=history["taste"]).publish
    assert not judge(found, "classic", against="taste").publish
    assert judge(found, "taste", against="classic").publish


def test_shuffled_ratings_are_refused(shop: Planted) -> None:
    recorded = measured(metrics_of(evaluate_rankings(shop.matrix, n_neighbors=20), "taste"))
    assert recorded is not None
    csr, rng = shop.matrix.steps, np.random.default_rng(0)
    columns = np.concatenate(  # everybody keeps the number of ratings, of products that say nothing about the user
        [np.sort(rng.choice(csr.shape[1], n, replace=False)) for n in np.diff(csr.indptr)]
    ).astype(csr.indices.dtype)
    noise = replace(shop.matrix, steps=sp.csr_array((csr.data, columns, csr.indptr), shape=csr.shape))
    assert not judge(evaluate_rankings(noise, n_neighbors=20), "taste", history=[recorded]).publish


def test_the_record_holds_the_rankings_figures_and_the_others_ndcg(shop: Planted) -> None:
    found = evaluate_rankings(shop.matrix, shop.log, WEIGHTS, n_neighbors=20)
    recorded = metrics_of(found, "taste")
    ranking = found.ranking("taste")
    others = ["classic", "items", "auto", "taste, ratings only", "popular"]
    assert recorded == {
        "ranking": "taste",
        "n_test_users": 200,
        "standard_error": round(float(np.std(ranking.ndcg_per_user, ddof=1)) / 200**0.5, 9),
        "others": {name: found.ranking(name).figures[NDCG]._asdict() for name in others},
        **{name: {"mean": f.mean, "low": f.low, "high": f.high, "n": f.n} for name, f in ranking.figures.items()},
    }
    assert {"ndcg@10", "coverage@10", "served", "rmse"} <= recorded.keys()
    with pytest.raises(
        SettingError, match="ranking 'best' was not evaluated: choose one of classic, taste, items, auto, taste"
    ):
        metrics_of(found, "best")


AUTO_AS_TASTE = {"ranking": "auto", "n_neighbors": 200, "damping": 0.2}


@pytest.mark.parametrize(
    ("published", "name"),
    [
        ({"ranking": "classic", "n_neighbors": 20}, "classic"),
        ({"ranking": "classic", "n_neighbors": 3}, AS_PUBLISHED),
        ({"ranking": "taste", "interaction_weights": WEIGHTS.tolist()}, "taste"),
        ({"ranking": "taste"}, "taste"),  # a record from before the weights were noted
        ({"ranking": "taste", "interaction_weights": [0.0, 0.0, 0.0, 1.0]}, AS_PUBLISHED),
        (AUTO_AS_TASTE, "taste"),
        (AUTO_AS_TASTE | {"damping": 0.8}, AS_PUBLISHED),
        (AUTO_AS_TASTE | {"n_neighbors": 50, "interaction_weights": [0.0, 0.0, 0.0, 1.0]}, AS_PUBLISHED),
    ],
)
def test_the_published_settings_are_measured_on_the_same_users_once(
    shop: Planted, published: dict[str, Any], name: str
) -> None:
    rankings = ["classic", "taste"]
    assert stand_in(published, n_neighbors=20, weights=WEIGHTS, rankings=rankings) == name
    found = evaluate_rankings(
        shop.matrix, shop.log, WEIGHTS, n_neighbors=20, rankings=rankings, published=published, n_users=80
    )
    assert [ranking.name for ranking in found.rankings] == [
        *["classic", "taste", "taste, ratings only", "popular"], *([name] if name == AS_PUBLISHED else [])
    ]  # fmt: skip
    weights = np.array(published.get("interaction_weights", WEIGHTS))
    if published["ranking"] == "classic":
        own = evaluate_rankings(shop.matrix, n_neighbors=published["n_neighbors"], rankings=["classic"], n_users=80)
        assert np.array_equal(values_of(found, name), values_of(own, "classic"))
    elif published["ranking"] == "taste" or published == AUTO_AS_TASTE:
        own = evaluate_rankings(shop.matrix, shop.log, weights, n_neighbors=20, rankings=["taste"], n_users=80)
        assert np.array_equal(values_of(found, name), values_of(own, "taste"))
    else:
        assert not np.array_equal(values_of(found, name), values_of(found, "taste"))


def test_a_ranking_that_is_not_compared_today_is_measured_for_the_published_version(shop: Planted) -> None:
    published = {"ranking": "classic", "n_neighbors": 20}
    found = evaluate_rankings(shop.matrix, n_neighbors=20, rankings=["taste"], published=published)
    both = evaluate_rankings(shop.matrix, n_neighbors=20, rankings=["taste", "classic"])
    assert np.array_equal(values_of(found, AS_PUBLISHED), values_of(both, "classic"))


def values_of(found: Evaluation, name: str) -> Floats:
    return found.ranking(name).ndcg_per_user
