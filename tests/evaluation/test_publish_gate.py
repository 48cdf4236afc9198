"""The gate in the script: a worse version is kept, not published, and warnings are clear. Also --evaluate."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, delete, insert, select, update

import api
import recommendation_engine as re
from recommender.database import existing_tables, writing
from recommender.database.own_tables import kept_table
from recommender.database.schema import interactions, model_versions, products, ratings, recommendations, users
from recommender.evaluation import evaluate_cold_start, evaluate_rankings
from recommender.files import read_evaluation_file
from recommender.publishing import published_version, read_versions
from recommender.ranking import TasteSimilarity
from recommender.shop import INTERACTION_TYPES, sample, sampled
from tests.evaluation.test_comparison import WEIGHTS, Planted, ndcg, small_shop
from tests.support.shop import fill, product_row

Row = dict[str, Any]
Run = Callable[..., int]
LOST = "finds less than plain popularity: nDCG@10"


@pytest.fixture(scope="module")
def planted() -> Planted:
    """A shop in which taste finds twice as much as popularity, and classic half as much as popularity."""
    return small_shop()


def as_time(microseconds: int) -> dt.datetime:
    return dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=microseconds)


def rating_rows(planted: Planted) -> list[Row]:
    matrix = planted.matrix
    rows, columns = matrix.steps.tocoo().coords
    assert matrix.rated_at is not None
    cells = zip(rows, matrix.products(columns), matrix.steps.data, matrix.rated_at.tolist(), strict=True)
    return [
        {
            "user_id": int(matrix.user_ids[row]),
            "product_id": product,
            "rating": half / 2,
            "created_at": as_time(at),
            "updated_at": as_time(at),
        }
        for row, product, half, at in cells
    ]


def event_rows(planted: Planted) -> list[Row]:
    log = planted.log
    names = log.product_ids[log.product_codes].astype(str).tolist()
    return [
        {"user_id": user, "product_id": product, "interaction_type": INTERACTION_TYPES[kind], "created_at": as_time(at)}
        for user, product, kind, at in zip(
            log.user_ids.tolist(), names, log.kinds.tolist(), log.times.tolist(), strict=True
        )
    ]


def rate_again(engine: Engine, rows: list[Row]) -> None:
    """Replace all ratings by these."""
    with writing(engine) as connection:
        connection.execute(delete(ratings))
        connection.execute(insert(ratings), rows)


@pytest.fixture
def script(engine: Engine, env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """``script("--ranking", "taste")`` runs step 3 on ``engine`` in an empty folder and returns its exit status."""
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return lambda *arguments: re.main(list(arguments))


@pytest.fixture
def run(engine: Engine, planted: Planted, script: Run) -> Run:
    """``script`` on the planted shop."""
    fill(engine, {}, [])
    catalog = [product_row(product) for product in planted.product_ids.astype(str).tolist()]
    for table, rows in ((products, catalog), (ratings, rating_rows(planted)), (interactions, event_rows(planted))):
        with writing(engine) as connection:
            connection.execute(insert(table), rows)
    return script


def lists(engine: Engine) -> list[tuple[Any, ...]]:
    """All rows that people read."""
    with engine.connect() as connection:
        c = recommendations.c
        return [tuple(row) for row in connection.execute(select(recommendations).order_by(c.user_id, c["rank"]))]


def versions(engine: Engine) -> list[tuple[int, str, str]]:
    return [(version.number, version.state, version.settings["ranking"]) for version in read_versions(engine)]


def recorded(engine: Engine, number: int) -> dict[str, Any]:
    metrics = read_versions(engine)[number - 1].metrics
    assert metrics is not None
    return dict(metrics)


def gate_tolerance(out: str) -> float:
    """The floor's allowance for chance, as it is printed."""
    (line,) = [line for line in out.splitlines() if line.startswith("gate     floor ")]
    return float(line.split("less ")[1].split(" for chance")[0])


# --- the gate


def test_a_version_of_a_large_shop_is_measured_on_a_sample(
    engine: Engine, run: Run, planted: Planted, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix, log = planted.matrix, planted.log
    monkeypatch.setattr(sample, "MOST", (matrix.n_ratings + len(log)) // 2)
    some, theirs = sampled(matrix, log)
    assert matrix.shape[0] // 3 < some.shape[0] < matrix.shape[0]
    assert run("--ranking", "taste", "--users", "50") == 0
    assert f"gate     on a sample of {some.shape[0]:,} of the {matrix.shape[0]:,} users\n" in capsys.readouterr().out
    found = evaluate_rankings(some, theirs, WEIGHTS, n_neighbors=20, rankings=["taste"])
    assert recorded(engine, 1)["n_test_users"] == found.n_test_users
    assert recorded(engine, 1)["ndcg@10"]["mean"] == ndcg(found, "taste")


def test_a_worse_version_is_kept_with_status_3_and_published_only_by_force(
    engine: Engine, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--ranking", "taste", "--users", "50") == 0
    good = lists(engine)
    assert "version 1, published" in capsys.readouterr().out
    assert run("--users", "50") == 3
    out, err = capsys.readouterr()
    was, now = recorded(engine, 1)["ndcg@10"], recorded(engine, 2)["ndcg@10"]
    # nothing has changed since: the published settings have the same figures on this split
    assert recorded(engine, 2)["others"]["taste"] == was
    tolerance = gate_tolerance(out)
    line = err.splitlines()[-1]
    assert line.startswith(
        f"recommendation_engine.py: version 2 is kept, not published: nDCG@10 {now['mean']:.4f} (classic) is "
        f"{was['mean'] - now['mean']:.4f} below what the published version's settings find for the same users "
        f"({was['mean']:.4f}), more than chance explains ("
    )
    assert line.endswith(
        f"; nDCG@10 {now['mean']:.4f} (classic) is below the floor {was['mean'] - tolerance:.4f} (median of the "
        f"published version, {was['mean']:.4f}, less {tolerance:.4f} for chance); run with --force to publish it anyway"
    )
    assert recorded(engine, 2)["verdict"] == "refused"
    assert err.count("version 2") == 1
    assert "version 2, kept" in out
    # the published lists have not changed, and the refused version is kept
    assert lists(engine) == good
    assert versions(engine) == [(1, "published", "taste"), (2, "kept", "classic")]
    assert kept_table(2) in existing_tables(engine)
    assert run("--users", "50", "--force") == 0
    assert versions(engine) == [(1, "kept", "taste"), (2, "kept", "classic"), (3, "published", "classic")]
    assert [row[:5] for row in lists(engine)] != [row[:5] for row in good]
    assert run("--rollback", "1") == 0
    assert lists(engine) == good


def test_a_version_is_compared_with_the_published_one(engine: Engine, run: Run) -> None:
    small = ("--users", "5", "--keep-versions", "9")
    assert [run(*small, "--ranking", ranking) for ranking in ("classic", "taste", "taste")] == [0, 0, 0]
    assert run(*small, "--ranking", "classic") == 3  # better once is not enough
    assert run(*small, "--ranking", "classic", "--force") == 0
    assert run(*small, "--ranking", "classic") == 0  # no worse than the published version
    assert run("--rollback", "2") == 0
    assert run(*small, "--ranking", "classic") == 3
    states = {number: state for number, state, _ in versions(engine) if state == "published"}
    assert states == {2: "published"}
    assert len(versions(engine)) == 7


def test_the_published_settings_are_measured_on_tonights_split_and_the_noticeable_loss_is_told(
    engine: Engine, run: Run, planted: Planted, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ("--users", "5", "--ranking", "classic")
    assert run(*small, "--top-n-similar-users", "40") == 0
    assert "gate     from the next version on a loss of " in capsys.readouterr().out
    # fewer ratings tonight: the earlier figures are no longer comparable
    rate_again(engine, [row for row in rating_rows(planted) if row["user_id"] % 3])
    assert run(*small, "--top-n-similar-users", "20") == 0
    out = capsys.readouterr().out
    then, now = recorded(engine, 1), recorded(engine, 2)
    assert then["n_test_users"] > now["n_test_users"]
    old, new = now["others"]["as published"]["mean"], now["ndcg@10"]["mean"]
    assert old != then["ndcg@10"]["mean"]
    assert f"gate     {new - old:+.4f} against the published version's settings ({old:.4f}) on the same users" in out
    assert "gate     floor 0.0" in out
    assert (
        out.count(f" would be noticed with 80% chance at {now['n_test_users']} test users\n")
        + out.count(f"no loss can be told from chance at {now['n_test_users']} test users\n")
        == 2
    )
    # the same settings again: only the floor is compared
    assert run(*small, "--top-n-similar-users", "20") == 0
    out = capsys.readouterr().out
    assert "against the published version's settings" not in out
    assert "gate     floor " in out
    assert "as published" not in recorded(engine, 3)["others"]


def test_many_small_losses_end_at_the_floor(engine: Engine, run: Run, planted: Planted) -> None:
    """Each night a few more users rate at random. No single loss is refused, but their sum is."""
    rows, rng, csr = rating_rows(planted), np.random.default_rng(0), planted.matrix.steps
    cells = list(zip(csr.indptr[:-1], csr.indptr[1:], strict=True))
    status, means = [], []
    for night in range(9):
        for start, stop in cells[night * 22 : night * 22 + 22] if night else []:
            for row, product in zip(
                rows[start:stop], rng.choice(planted.product_ids.astype(str), stop - start, replace=False), strict=True
            ):
                row["product_id"] = str(product)
        rate_again(engine, rows)
        status.append(run("--ranking", "taste", "--users", "5", "--keep-versions", "2"))
        means.append(recorded(engine, night + 1)["ndcg@10"]["mean"])
        if status[-1]:
            break
    assert status == [0] * (len(status) - 1) + [3]
    assert len(status) > 2
    assert means[-1] > 0.3 * means[0]


def test_records_of_the_previous_release_can_be_used(
    engine: Engine, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ("--users", "5", "--ranking", "taste")
    assert run(*small) == 0
    tolerances = []
    for number in (1, 2):
        version = read_versions(engine)[number - 1]
        settings = {name: value for name, value in version.settings.items() if name != "interaction_weights"}
        metrics = {name: value for name, value in recorded(engine, number).items() if name != "standard_error"}
        with writing(engine) as connection:
            values = {"settings": json.dumps(settings), "metrics": json.dumps(metrics)} if number == 1 else {}
            if values:
                connection.execute(update(model_versions).values(values).where(model_versions.c.version == number))
        capsys.readouterr()
        assert run(*small) == 0
        out = capsys.readouterr().out
        told = "gate     version 1 does not say what interactions counted: as they do now, presumably\n"
        assert (told in out) == (number == 1)
        assert "against the published version's settings" not in out
        tolerances.append(gate_tolerance(out))
    # from its 95 % interval; then from the error itself, and from two versions
    assert tolerances[0] == pytest.approx(tolerances[1] * (2 / (1 + np.pi / (2 + np.pi))) ** 0.5, rel=0.1)


def test_a_forced_version_is_the_measure_from_then_on(engine: Engine, run: Run) -> None:
    small = ("--users", "5", "--keep-versions", "2")
    for _ in range(3):
        assert run(*small, "--ranking", "taste", "--interaction-weights", "purchase=2") == 0
    assert run(*small, "--ranking", "classic") == 3
    assert run(*small, "--ranking", "classic", "--force") == 0
    assert recorded(engine, 5)["verdict"] == "forced"
    assert run(*small, "--ranking", "classic") == 0
    assert run(*small, "--ranking", "taste") == 0


def test_ratings_without_times_are_split_by_chance_and_a_line_says_so(
    engine: Engine, run: Run, planted: Planted, capsys: pytest.CaptureFixture[str]
) -> None:
    found: dict[str, dict[str, Any]] = {}
    for name, time in (("unknown", None), ("as the release before wrote it", as_time(0))):
        rate_again(engine, [row | {"created_at": time} for row in rating_rows(planted)])
        capsys.readouterr()
        assert run("--evaluate") == 0
        told = "split by chance: the ratings have no times; 20% of each user's hidden"
        assert f"{told}; 200 of 200 users tested" in capsys.readouterr().out
        assert run("--ranking", "taste", "--users", "5", "--force") == 0
        assert f"gate     {told}\n" in capsys.readouterr().out
        found[name] = recorded(engine, len(found) + 1)
    (one, other) = found.values()
    assert one["ndcg@10"] == other["ndcg@10"] != one["others"]["taste, ratings only"]


def test_lists_from_random_ratings_do_not_replace_good_lists(
    engine: Engine, run: Run, planted: Planted, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--ranking", "taste", "--users", "20") == 0
    good = lists(engine)
    rows, rng, csr = rating_rows(planted), np.random.default_rng(0), planted.matrix.steps
    for start, stop in zip(csr.indptr[:-1], csr.indptr[1:], strict=True):  # other products for everybody, by chance
        shuffled = rng.choice(planted.product_ids.astype(str), stop - start, replace=False)
        for row, product in zip(rows[start:stop], shuffled.tolist(), strict=True):
            row["product_id"] = product
    rate_again(engine, rows)
    with writing(engine) as connection:
        connection.execute(delete(interactions))
    capsys.readouterr()
    assert run("--ranking", "taste", "--users", "20") == 3
    assert "version 2 is kept, not published: nDCG@10 0." in capsys.readouterr().err.splitlines()[-1]
    assert lists(engine) == good
    assert published_version(read_versions(engine)) == read_versions(engine)[0]


def test_the_first_version_is_published_with_a_warning_if_popularity_finds_more(
    engine: Engine, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--users", "5") == 0
    out, err = capsys.readouterr()
    metrics = recorded(engine, 1)
    mine, others = metrics["ndcg@10"]["mean"], {name: figure["mean"] for name, figure in metrics["others"].items()}
    assert mine < others["popular"] < others["taste"]
    assert err == (
        f"warning  RANKING=classic {LOST} {mine:.4f} against {others['popular']:.4f}; "
        f"better: RANKING=taste {others['taste']:.4f}\n"
    )
    assert (
        f"gate     nDCG@10 of 200 users: classic {mine:.4f}, taste {others['taste']:.4f}, "
        f"taste, ratings only {others['taste, ratings only']:.4f}, popular {others['popular']:.4f} in "
    ) in out
    assert versions(engine) == [(1, "published", "classic")]
    assert run("--users", "5", "--ranking", "taste") == 0
    assert capsys.readouterr().err == ""  # taste does better, and may replace it


def test_the_measured_figures_are_recorded_and_listed(
    engine: Engine, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--ranking", "taste", "--users", "5") == 0
    metrics = recorded(engine, 1)
    assert (metrics["ranking"], metrics["n_test_users"]) == ("taste", 200)
    assert set(metrics["others"]) == {"classic", "popular", "taste, ratings only"}
    assert {"ndcg@10", "recall@20", "coverage@10", "served", "rmse"} <= metrics.keys()
    capsys.readouterr()
    assert run("--list-versions") == 0
    assert f"  {metrics['ndcg@10']['mean']:.4f}  " in capsys.readouterr().out.splitlines()[1]


def test_a_large_shop_is_tested_on_a_sample_of_its_users(
    engine: Engine, run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(re, "GATE_USERS", 120)
    assert run("--ranking", "taste", "--users", "5") == 0
    assert recorded(engine, 1)["n_test_users"] == recorded(engine, 1)["ndcg@10"]["n"] == 120
    assert "gate     nDCG@10 of 120 users: " in capsys.readouterr().out


A, B, C = (f"B00000000{letter}" for letter in "ABC")


def test_lists_are_published_with_a_note_if_no_user_can_be_tested(
    engine: Engine, script: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(engine, {1: {A: 5.0}, 2: {A: 4.0}, 3: {B: 3.0}}, [A, B, C])
    for number in (1, 2):
        assert script("--ranking", "taste") == 0
        out, err = capsys.readouterr()
        assert "gate     nothing to evaluate: of 3 users none has two ratings or more" in out
        assert err == ""
        assert read_versions(engine)[-1].metrics is None
        assert versions(engine)[-1] == (number, "published", "taste")
    assert script("--list-versions") == 0
    assert "       -  {" in capsys.readouterr().out.splitlines()[1]
    assert script("--evaluate") == 1  # --evaluate has nothing to show
    assert capsys.readouterr().err.startswith("recommendation_engine.py: nothing to evaluate: of 3 users none has two")
    # the next version that can be measured has nothing to be compared with
    rows = [{"user_id": user, "product_id": product} for user in (1, 2, 3) for product in (A, B)]
    rows += [{"user_id": user, "product_id": A} for user in (4, 5, 6)]  # the others have rated both: no lists for them
    when = dt.datetime(2024, 1, 1)
    rate_again(engine, [row | {"rating": 5.0, "created_at": when, "updated_at": when} for row in rows])
    assert script() == 0
    assert recorded(engine, 3)["n_test_users"] == 3


def test_few_test_users_are_a_warning_in_the_gate_and_a_note_in_the_evaluation(
    engine: Engine, script: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(engine, {user: {A: 5.0, B: 4.0, C: 1.0 + user % 5} for user in range(1, 8)} | {8: {A: 5.0}}, [A, B, C])
    few = "only 7 users could be tested, fewer than 100: go by the intervals, not the means"
    assert script() == 0
    assert f"warning  {few}\n" in capsys.readouterr().err
    assert script("--evaluate") == 0
    table = capsys.readouterr().out
    assert f"note: {few}\n" in table
    (line,) = [line for line in table.splitlines() if line.startswith("nDCG@10  ")]
    assert line.count("[") == line.count("]") == 5  # an interval for every ranking


def test_refused_lists_are_not_made_again_while_nothing_changes(
    engine: Engine, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--ranking", "taste", "--users", "5") == 0
    assert run("--users", "5", "--if-stale") == 3
    assert run("--users", "5", "--if-stale") == 0
    assert "batch    unchanged: version 2 (kept) holds the lists" in capsys.readouterr().out
    assert versions(engine) == [(1, "published", "taste"), (2, "kept", "classic")]
    for _ in range(2):  # the first run publishes them by force, the second has nothing to do
        assert run("--users", "5", "--if-stale", "--force") == 0
    assert versions(engine) == [(1, "kept", "taste"), (2, "kept", "classic"), (3, "published", "classic")]


def test_a_refused_version_does_not_change_the_served_model_file(run: Run) -> None:
    arguments = ("--users", "5", "--save-model", "shop.model")
    assert run("--ranking", "taste", *arguments) == 0
    served = Path("shop.model").read_bytes()
    assert run(*arguments) == 3
    assert Path("shop.model").read_bytes() == served


# --- evaluate


def written() -> dict[str, Any]:
    """The content of ``evaluation.json``."""
    found: dict[str, Any] = json.loads(Path("evaluation.json").read_text())
    return found


def test_the_evaluation_of_the_tables_is_a_table_a_json_file_and_a_picture(
    engine: Engine, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--evaluate") == 0
    out, err = capsys.readouterr()
    assert err == ""
    found = written()
    assert list(found["modes"]) == ["classic", "taste", "items", "auto", "taste, ratings only", "popular"]
    assert (found["n_test_users"], found["n_ratings"], found["seed"]) == (200, 2_000, 0)
    for ranking in found["modes"].values():
        assert "{mean:.4f} [{low:.4f}, {high:.4f}]".format(**ranking["figures"]["ndcg@10"]) in out
    assert "nDCG@10 of taste less taste, ratings only: +" in out
    assert out.splitlines()[-1].startswith("run RANKING=taste, the simplest ranking that no other beats by more than ")
    assert out.splitlines()[-1].endswith(": set it in .env, then python recommendation_engine.py --users all")
    assert Path("evaluation.svg").read_text().startswith("<svg ")
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["evaluation.json", "evaluation.svg"]
    # it only measures: no version, no lists
    assert (read_versions(engine), lists(engine)) == ([], [])
    # the gate notes the same figures as the evaluation shows
    assert run("--ranking", "taste", "--users", "5") == 0
    assert recorded(engine, 1)["ndcg@10"] == found["modes"]["taste"]["figures"]["ndcg@10"]
    assert "advice " not in capsys.readouterr().out
    assert run("--ranking", "classic", "--users", "5", "--force") == 0
    assert "\nadvice   RANKING=taste finds more than RANKING=classic (nDCG@10 +" in capsys.readouterr().out


def test_the_evaluation_of_the_tables_measures_lists_of_users_without_ratings(
    engine: Engine, run: Run, planted: Planted, capsys: pytest.CaptureFixture[str]
) -> None:
    people: list[Row] = [
        {"user_id": user, "country": ("Spain", "France")[user % 2], "age_group": "65+", "created_at": as_time(0)}
        for user in planted.matrix.user_ids.tolist()
    ]
    with writing(engine) as connection:
        connection.execute(insert(users), people)
    assert run("--evaluate") == 0
    out = capsys.readouterr().out
    written = json.loads(Path("evaluation.json").read_text())["cold_start"]
    # people with even ids are in the second segment by name
    segments = ((planted.matrix.user_ids + 1) % 2).astype(np.int32)
    found = evaluate_cold_start(planted.matrix, planted.log, WEIGHTS, segments)
    assert list(written["modes"]) == [ranking.name for ranking in found.rankings]
    assert len(found.rankings) == 5
    for ranking in found.rankings:
        assert written["modes"][ranking.name]["figures"]["ndcg@10"] == ranking.figures["ndcg@10"]._asdict()
        mean, low, high, _ = ranking.figures["ndcg@10"]
        assert any(
            line.startswith(f"{ranking.name} ") and f"{mean:.4f} [{low:.4f}, {high:.4f}]" in line
            for line in out.splitlines()
        )
    assert f"\n{found.split}\n" in out
    assert "\nnote: only 40 users could be tested" in out


def csv_of(planted: Planted) -> str:
    rows = [f"{row['user_id']},{row['product_id']},{row['rating']},{row['created_at']}" for row in rating_rows(planted)]
    return "\n".join(["user_id,product_id,rating,timestamp", *rows]) + "\n"


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The script in an empty folder without a database."""
    monkeypatch.setenv("DB_HOST", "")
    monkeypatch.setenv("SQLITE_FILE", str(tmp_path / "none" / "none.db"))
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return lambda *arguments: re.main(list(arguments))


def test_a_file_of_ratings_is_evaluated_without_a_database_and_by_its_seed(
    offline: Run, planted: Planted, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("mine.csv").write_text(csv_of(planted))
    found = []
    for seed in ("0", "0", "1"):
        assert offline("--evaluate", "--ratings", "mine.csv", "--seed", seed) == 0
        found.append(written()["modes"])
    assert capsys.readouterr().out.startswith(
        "ratings of mine.csv\n"
        "auto     tries its constants first, which takes seconds to minutes ...\n"
        "newest 20% of each user's ratings hidden; 200 of 200"
    )
    assert "cold_start" not in json.loads(
        Path("evaluation.json").read_text()
    )  # a file has no interactions and no people
    assert list(found[0]) == ["classic", "taste", "items", "auto", "popular"]
    figures = [[ranking["figures"] for ranking in one.values()] for one in found]
    assert figures[0] == figures[1] != figures[2]  # the draws for the intervals differ
    means = [[ranking["figures"]["ndcg@10"]["mean"] for ranking in one.values()] for one in found]
    assert means[0] == means[2]  # the hidden ratings are the same, by their times
    assert means[0][1] > 2 * means[0][0]
    assert offline("--evaluate", "--ratings", "mine.csv", "--top-n-similar-users", "3") == 0
    near = evaluate_rankings(read_evaluation_file(Path("mine.csv")), n_neighbors=3)
    mean = written()["modes"]["classic"]["figures"]["ndcg@10"]["mean"]
    assert mean == ndcg(near, "classic") != means[0][0]


HEAD = "user_id,product_id,rating,timestamp\n"


@pytest.mark.parametrize(
    ("arguments", "text", "message"),
    [
        (["--ranking", "best"], None, "RANKING='best' (command line) is not known: choose classic or taste"),
        (["--ranking", "popular"], None, "RANKING='popular' (command line) is not known: choose classic or taste"),
        (["--evaluate", "--ratings", "mine.csv"], None, "mine.csv does not exist"),
        (["--evaluate", "--ratings", "mine.csv"], "user_id,rating\n1,5\n", "product_id"),
        (["--evaluate", "--ratings", "mine.csv"], HEAD + "1,A,5,1\n1,B,good,2\n", "mine.csv, line 3: rating"),
        (["--evaluate", "--ratings", "mine.csv"], HEAD + "1,A,5,1\n1,B,4,2\n1,C,4.3,3\n", "mine.csv, line 4: rating"),
        (["--evaluate", "--ratings", "mine.csv"], HEAD + "1,A,5,1\n1,B,4,soon\n", "mine.csv, line 3: timestamp"),
        (["--evaluate", "--ratings", "mine.csv"], HEAD + "1,A,5,1\n2,A,5,1\n", "nothing to evaluate: of 2 users none"),
        (["--evaluate", "--ratings", "mine.csv", "--seed", "-1"], HEAD + "1,A,5,1\n1,B,5,2\n", "seed=-1 cannot be"),
        (["--interaction-weights", "view=much", "--evaluate", "--ratings", "mine.csv"], HEAD + "1,A,5,1\n", "'view=m"),
    ],
)
def test_an_unusable_option_or_file_is_one_line_and_nothing_is_written(
    offline: Run, capsys: pytest.CaptureFixture[str], arguments: list[str], text: str | None, message: str
) -> None:
    if text is not None:
        Path("mine.csv").write_text(text)
    before = sorted(Path.cwd().iterdir())
    assert offline(*arguments) == 1
    err = capsys.readouterr().err
    assert err.startswith("recommendation_engine.py: ")
    assert err.count("\n") == 1
    assert message in err
    assert sorted(Path.cwd().iterdir()) == before


def test_a_roll_back_to_a_version_that_was_never_made_names_the_kept_ones(
    engine: Engine, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--ranking", "taste", "--users", "5") == 0
    assert run("--users", "5") == 3
    good = lists(engine)
    capsys.readouterr()
    for number in ("9", "0", "-1"):
        assert run("--rollback", number) == 1
        assert capsys.readouterr().err == (
            f"recommendation_engine.py: version {number} cannot be published: those kept are 2\n"
        )
    assert lists(engine) == good


# --- auto


def test_auto_records_its_choice_passes_the_gate_and_is_served_as_in_the_batch(
    engine: Engine, run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--ranking", "auto", "--users", "40") == 0
    out = capsys.readouterr().out
    matrix, similarity = re.load_model(engine, ranking="auto")
    assert isinstance(similarity, TasteSimilarity)
    chosen = similarity.parameters
    assert chosen is not None
    assert f"\nauto     {chosen.kind}: " in out
    assert read_versions(engine)[0].settings == {
        **chosen.as_settings(),
        "ranking": "auto",
        "interaction_weights": [0.2, 0.5, 1.0, 2.0],
        "users": 40,
        "n": 10,
        "new_product_percent": 10,
    }
    metrics = recorded(engine, 1)
    assert (metrics["ranking"], set(metrics["others"])) == (
        "auto",
        {"classic", "taste", "taste, ratings only", "popular"},
    )
    assert f"auto {metrics['ndcg@10']['mean']:.4f}" in out
    with engine.connect() as connection:
        c = recommendations.c
        order = connection.execute(select(c.user_id, c.product_id, c.source).order_by(c.user_id, c["rank"])).all()
    by_user: dict[int, list[str]] = {}
    for user, product, _ in order:
        by_user.setdefault(user, []).append(product)
    for user in by_user:
        mine = re.get_recommendations(user, matrix, similarity, ranking="auto")["product_id"].tolist()
        found = [product for listed, product, source in order if (listed, source) == (user, "neighbors")]
        assert found == mine[: len(found)]
        assert len(found) in (len(mine), len(mine) - 1)  # a new product may have the last place
    assert run("--ranking", "auto", "--users", "40", "--if-stale") == 0
    assert "unchanged: version 1" in capsys.readouterr().out

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("the published version says what was chosen")

    monkeypatch.setenv("RANKING", "auto")
    monkeypatch.setenv("MODEL_FILE", "")
    monkeypatch.setattr("recommender.model.training.tune", never)
    with TestClient(api.create_app()) as client:
        for user, listed in by_user.items():
            served = client.get(f"/recommendations/{user}").json()["recommendations"]
            assert [item["product_id"] for item in served] == listed
    monkeypatch.setenv("RANKING", "classic")
    assert run("--users", "5", "--force") == 0
    with TestClient(api.create_app()) as client:  # the published version has no chosen parameters
        refused = client.get("/recommendations/1?ranking=auto")
        assert refused.status_code == 409
        assert refused.json()["detail"] == "ranking auto is not in this model: make it with RANKING=auto"
