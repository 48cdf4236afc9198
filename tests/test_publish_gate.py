"""The gate before a publication: worse is kept, warnings are plain, and the planted truth is approached."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, select

import load_recommendation_data as step2
import recommendation_engine as re
import to_rds
from recommender.database import connect
from recommender.evaluation import NDCG, Evaluation, Figure, ModeFigures
from recommender.mode_evaluation import evaluate_modes, judge, metrics_of
from recommender.people import segments
from recommender.sample_catalog import write_sample_catalog
from recommender.schema import recommendations
from recommender.settings import load_settings
from recommender.tastes import plant_tastes
from recommender.trained_model import read_taste_data
from recommender.versions import read_versions


def evaluation(**ndcg: float) -> Evaluation:
    """Modes with these means, each interval +- 0.01."""
    modes = tuple(
        ModeFigures(name, {NDCG: Figure(mean, mean - 0.01, mean + 0.01, 500)}, {}) for name, mean in ndcg.items()
    )
    return Evaluation(modes, (), "", 0, 500, 100, 2_000, 500, {})


def test_what_lies_below_the_published_interval_is_refused_and_nothing_else() -> None:
    published = metrics_of(evaluation(classic=0.1, taste=0.3, popular=0.05), "taste")
    for mean, passes in ((0.29, True), (0.3, True), (0.5, True), (0.2899, False), (0.0, False)):
        verdict = judge(evaluation(classic=0.1, taste=mean, popular=0.0), "taste", published)
        assert verdict.publish == passes, mean
    refused = judge(evaluation(classic=0.2, taste=0.3, popular=0.0), "classic", published)
    assert refused.reason == (
        "nDCG@10 0.2000 (classic) is below the 95 % interval of the published version (0.2900 to 0.3100, taste)"
    )


@pytest.mark.parametrize("published", [None, {}, {"ranking": "taste", NDCG: {"mean": None, "low": None, "high": None}}])
def test_the_first_version_always_passes(published: dict[str, Any] | None) -> None:
    verdict = judge(evaluation(classic=0.0, taste=0.3, popular=0.1), "classic", published)
    assert (verdict.publish, verdict.reason) == (True, "")


def test_losing_to_popularity_is_told_with_the_numbers_and_what_does_better() -> None:
    (warning,) = judge(evaluation(classic=0.02, taste=0.3, popular=0.09), "classic", None).warnings
    assert warning == (
        "RANKING=classic finds less than plain popularity: nDCG@10 0.0200 against 0.0900; better: RANKING=taste 0.3000"
    )
    (warning,) = judge(evaluation(classic=0.02, taste=0.05, popular=0.09), "taste", None).warnings
    assert warning.endswith("0.0500 against 0.0900; no ranking does better on these ratings")
    assert judge(evaluation(classic=0.1, taste=0.3, popular=0.09), "classic", None).warnings == ()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A made-up shop at the defaults, in a SQLite file."""
    folder = tmp_path_factory.mktemp("world")
    env = {"DB_HOST": "", "SQLITE_FILE": str(folder / "shop.db")}
    write_sample_catalog(folder / "p.csv", folder / "c.csv", n_products=20_000)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        patch.chdir(folder)
        assert to_rds.main(["--products", str(folder / "p.csv"), "--categories", str(folder / "c.csv")]) == 0
        assert step2.main([]) == 0
    return env


@pytest.fixture
def shop(world: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """``shop("--ranking", "taste")`` runs step 3 on the made-up shop; its exit status."""
    for name, value in world.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: re.main(list(arguments))


def lists(world: dict[str, str]) -> list[tuple[Any, ...]]:
    engine = connect(load_settings(environ=world))
    with engine.connect() as connection:
        table = recommendations.c
        return sorted(tuple(row) for row in connection.execute(select(table.user_id, table["rank"], table.product_id)))


def versions(world: dict[str, str]) -> list[tuple[int, str, str]]:
    found = read_versions(connect(load_settings(environ=world)))
    return [(version.number, version.state, version.settings["ranking"]) for version in found]


def test_a_worse_version_is_kept_with_status_3_and_published_only_by_force(
    shop: Callable[..., int], world: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert shop("--ranking", "taste", "--users", "50") == 0
    good = lists(world)
    assert shop("--users", "50") == 3
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("recommendation_engine.py: version 2 is kept, not published: nDCG@10 0.")
    assert line.endswith("--force publishes it all the same")
    assert lists(world) == good
    assert versions(world) == [(1, "published", "taste"), (2, "kept", "classic")]
    assert shop("--users", "50", "--force") == 0
    assert versions(world) == [(1, "kept", "taste"), (2, "kept", "classic"), (3, "published", "classic")]
    assert lists(world) != good
    assert shop("--rollback", "1") == 0
    assert lists(world) == good
    metrics = read_versions(connect(load_settings(environ=world)))[0].metrics
    assert metrics is not None
    assert metrics["ranking"] == "taste"
    assert set(metrics["others"]) == {"classic", "popular", "taste, ratings only"}


def test_the_evaluation_writes_a_table_a_json_file_and_a_picture(
    shop: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shop("--evaluate") == 0
    table = capsys.readouterr().out
    assert "nDCG@10 " in table
    assert "nDCG@10 of taste less taste, ratings only: +0.0" in table
    assert (tmp_path / "evaluation.json").stat().st_size > 1_000
    assert (tmp_path / "evaluation.png").read_bytes().startswith(b"\x89PNG")
    (tmp_path / "mine.csv").write_text("user_id,rating\n1,5\n")
    assert shop("--evaluate", "--ratings", "mine.csv") == 1
    assert "product_id" in capsys.readouterr().err


def test_taste_finds_70_percent_of_what_the_planted_truth_would_and_interactions_add_to_it(
    world: dict[str, str],
) -> None:
    engine: Engine = connect(load_settings(environ=world))
    matrix, log = read_taste_data(engine)
    found = evaluate_modes(matrix, log, np.array([0.2, 0.5, 1.0, 2.0]), n_neighbors=20)
    ndcg = {mode.name: mode.figures[NDCG].mean or 0.0 for mode in found.modes}
    ids, facts, _ = step2.read_catalog(engine)
    truth = plant_tastes(
        facts, n_users=5_000, n_interactions=100_000, n_ratings=30_000, seed=42, segments=segments(5_000, 42)
    )
    best = oracle_ndcg(matrix, truth, np.array(ids.to_pylist(), "S10"))
    assert ndcg["taste, ratings only"] >= 0.7 * best
    assert ndcg["taste"] >= ndcg["taste, ratings only"] + 0.003
    assert ndcg["taste"] >= 3 * ndcg["popular"] > 0.02
    assert 0.3 < best < 0.6  # an oracle that finds nothing would make any share true


def oracle_ndcg(matrix: Any, truth: Any, ids: Any) -> float:
    """Mean nDCG@10 of ranking the known products by their appeal to each user, on the same hidden ratings."""
    from recommender.evaluation import split_newest
    from recommender.metrics import ndcg_at

    split = split_newest(matrix, rng=np.random.default_rng(0))
    rows = split.test_rows[::5]
    columns = np.searchsorted(ids, matrix.product_ids)
    hits, relevant = np.zeros((len(rows), 10), np.bool_), np.zeros(len(rows), np.int64)
    for place, row in enumerate(rows.tolist()):
        appeal = truth.appeal([matrix.user_ids[row] - 1])[0][columns]
        appeal[split.train.rated_columns(row)] = 0.0
        top = np.argpartition(-appeal, 10)[:10]
        wanted = split.relevant[[row]].indices
        hits[place] = np.isin(top[np.argsort(-appeal[top])], wanted)
        relevant[place] = len(wanted)
    return float(ndcg_at(hits, relevant, 10).mean())
