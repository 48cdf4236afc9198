"""After the warm-up neither the first request nor the first batch has to compile anything."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numba.core.caching import UserProvidedCacheLocator
from sqlalchemy import Engine

from recommender.commands import wait_until_ready, warm_up
from recommender.neighbors import CosineIndex
from tests.conftest import ROOT
from tests.steps.test_recommendation_engine import A, B, C, D
from tests.support.shop import fill

WORK = """
import itertools
import re
import sys
from datetime import UTC, datetime

import numpy as np
import recommendation_engine
from recommender.fallback.cold_start import build_cold_start
from recommender.fallback import _cap_kernels
from recommender.fallback import _cold_start_kernels
from recommender.fallback import _popularity_kernels
from recommender.model import _filter_kernels
from recommender.neighbors import _cosine_kernels
from recommender.ranking import _classic_kernels as _scoring_kernels
from recommender.neighbors import _taste_kernels
from recommender.ranking import _item_kernels
from recommender.ranking import _taste_kernels as _taste_ranking_kernels
from recommender.live import _kernels as live_kernels
from recommender.live.live_model import LiveModel
from recommender.live.users import UserRecord
from recommender.commands.self_check import self_check
from tests.support.published import model_of
from recommender.model.list_request import ListRequest
from recommender.ranking import AutoParameters
from recommender.commands.warm_up import load_for, parts_of_batches, parts_of_service, warm_up

TRAINING = [module for name, module in sys.modules.items() if re.match("recommender.items._.*kernels", name)]

def compiled():  # how many versions of each function this process has compiled or loaded
    return {
        f"{module.__name__}.{name}": len(function.signatures)
        for module in (
            live_kernels, _cap_kernels, _cold_start_kernels, _cosine_kernels, _filter_kernels, _scoring_kernels,
            _item_kernels, _popularity_kernels,
            _taste_kernels,
            _taste_ranking_kernels,
            *TRAINING,
        )
        for name, function in vars(module).items()
        if hasattr(function, "signatures")
    }

warm_up(lambda: None, parts_of_batches("taste"))  # what step 3 waits for
before = compiled()
engine = recommendation_engine.build_engine()
matrix, similarity = recommendation_engine.load_model(engine)
self_check(matrix, similarity)
assert len(recommendation_engine.get_recommendations(3, matrix, similarity))
recommendation_engine.batch_generate(matrix, similarity, engine, users=None)

def batch(ranking):
    matrix, similarity = recommendation_engine.load_model(engine, ranking=ranking)
    assert len(recommendation_engine.get_recommendations(3, matrix, similarity, ranking=ranking))
    recommendation_engine.batch_generate(matrix, similarity, engine, users=None, ranking=ranking)
    return matrix, similarity

matrix, similarity = batch("taste")
cold = build_cold_start(matrix, similarity.profiles, segments=np.zeros(matrix.shape[0], np.int32))
rows = np.arange(matrix.shape[0])
ranked = similarity.taste.rank_products(rows, 5)
cold.top_up(rows, ranked.columns, ranked.stars, version=3)
cold.for_segment(0, np.array([1, 0]), 5, user_id=7)
late = {name for name, n in compiled().items() if n != before[name]}
warm_up(lambda: None, parts_of_batches("items"))
before = compiled()
matrix, similarity = batch("items")
late |= {name for name, n in compiled().items() if n != before[name]}

def answers(similarity, rankings):
    served = model_of(engine, matrix, similarity, ranking=rankings[-1])
    load_for(served)
    before = compiled()
    request = ListRequest(4, 1, max_price=30.0, diversity=1)
    now = LiveModel.of(served).after([UserRecord(4, ((b"B00000000B", 9, 0),))], {})
    for model, way in itertools.product((served, now), rankings):
        for user in model.known_users.tolist():
            for asked in (request, ListRequest(4)):
                chosen = model.select(user, asked, way).recommendations
                if way != "classic":
                    [model.speaking_for(user, item.column, way) for item in chosen]
        model.select_popular(request)
    return {name for name, n in compiled().items() if n != before[name]}

warm_up(lambda: None, parts_of_service("taste"))
late |= answers(recommendation_engine.load_model(engine, ranking="taste")[1], ("classic", "taste"))
similarity.parameters = AutoParameters("fusion")
late |= answers(similarity, ("classic", "taste", "items", "auto"))
print(sum(before.values()), late)
"""


def test_real_work_compiles_nothing_after_the_warm_up(engine: Engine, env: dict[str, str]) -> None:
    heavy = {f"{number:010d}": 5.0 for number in range(400)}  # dot products above 2^15
    fill(engine, {1: heavy | {A: 4.5}, 2: heavy, 3: {A: 5.0, B: 4.0}, 4: {B: 1.0, C: 5.0}}, [A, B, C, D, *heavy])
    # in another process: other tests have compiled everything in this one
    done = subprocess.run(
        [sys.executable, "-c", WORK], cwd=ROOT, env=os.environ | env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    number, late = done.stdout.split(maxsplit=1)
    assert int(number) >= 5
    assert late.strip() == "set()"


TASKS = """
import sys

from numba.core.dispatcher import Dispatcher

from recommender.commands.warm_up import load, parts_of_machine
from recommender.spark import Sizes
from tests.spark.test_lists import WANTED, made_up
from tests.support.spark_lists import lists_in_process, local_lists, whole_in_process

def compiled():
    modules = [(name, module) for name, module in sys.modules.items() if name.startswith("recommender.")]
    return {
        f"{name}.{key}": len(value.signatures)
        for name, module in modules for key, value in vars(module).items() if isinstance(value, Dispatcher)
    }

for part in parts_of_machine("auto"):
    load(part)
before, shop = compiled(), made_up(60, 40, 600)
for wanted in WANTED.values():
    whole_in_process(shop, wanted, 2)
    lists_in_process(shop, local_lists(shop, wanted)[1], Sizes(2, 30, 9, 400, 3))
print(sum(before.values()), {name for name, n in compiled().items() if n != before.get(name)})
"""


def test_a_worker_of_a_cluster_compiles_nothing_after_the_warm_up() -> None:
    done = subprocess.run([sys.executable, "-c", TASKS], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    number, late = done.stdout.split(maxsplit=1)
    assert int(number) >= 20
    assert late.strip() == "set()"


@pytest.mark.parametrize(
    ("ranking", "items"), [("classic", False), ("taste", False), ("items", True), ("auto", True), ("nonsense", False)]
)
def test_only_a_shop_that_ranks_by_items_waits_for_their_code(
    ranking: str, items: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []
    monkeypatch.setattr(warm_up, "load", loaded.append)
    monkeypatch.setattr(warm_up, "compile_in_two_processes", lambda: None)
    monkeypatch.setenv("RANKING", ranking)
    more = ("items",) if items else ()
    for pyspark, blocks in ((None, ()), (object(), ("blocks",))):
        loaded.clear()
        monkeypatch.setattr(warm_up, "find_spec", lambda name, found=pyspark: found)
        assert warm_up.main([]) == 0
        assert tuple(loaded) == ("classic", "taste", "caps", "live", *more, *blocks)
    assert warm_up.parts_of_service(ranking) == ("classic", "taste", "caps", "live", *more)
    assert warm_up.parts_of_batches(ranking) == ("classic", "taste", *more)


def test_a_long_wait_is_announced_and_a_short_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(warm_up, "PATIENCE", 600.0)
    warm_up.warm_up(lambda: said.append("loading"))
    waiting = [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]
    assert (said, [timer for timer in waiting if not timer.finished.is_set()]) == ([], [])
    announced = threading.Event()
    monkeypatch.setattr(warm_up, "PATIENCE", 0.0)
    monkeypatch.setattr(warm_up, "CosineIndex", lambda ratings, **_: announced.wait(60) and _cosine_index(ratings))
    warm_up.warm_up(announced.set)
    assert announced.is_set()


def _cosine_index(ratings: Any) -> Any:
    assert ratings.dtype == np.int8
    return CosineIndex(ratings)


@pytest.mark.parametrize(
    ("main", "arguments", "said"),
    [
        (warm_up.main, ["taste", "nonsense"], "there is no part 'nonsense': name any of classic, taste, caps"),
        (wait_until_ready.main, [], "the following arguments are required: address"),
    ],
)
def test_the_command_that_make_calls_refuses_a_wrong_call_in_one_line(
    main: Callable[[list[str]], int], arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert said in capsys.readouterr().err


def test_compiled_code_of_an_earlier_release_is_compiled_again(tmp_path: Path) -> None:
    """Its index names a type that the release after has renamed: reading it fails before its age is looked at."""
    warm_up.load("live")
    for room in ("fallback", "live", "neighbors", "ranking"):  # compiled code that is copied is as good as made here
        source = ROOT / "recommender" / room / "any.py"
        kept = tmp_path / UserProvidedCacheLocator.get_suitable_cache_subpath(str(source))  # type: ignore[no-untyped-call]
        kept.mkdir(parents=True)
        for compiled in source.parent.glob("__pycache__/*.nb[ic]"):  # others may be writing their files beside these
            shutil.copy2(compiled, kept)
    old = [index for index in tmp_path.rglob("*.nbi") if b"CosineQueries" in index.read_bytes()]
    for index in old:
        index.write_bytes(index.read_bytes().replace(b"CosineQueries", b"CosineQuerieZ"))
    env, command = (
        os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)},
        [sys.executable, "-m", "recommender.commands.warm_up"],
    )
    done = subprocess.run([*command, "live"], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert old
    assert all(b"CosineQuerieZ" not in index.read_bytes() for index in tmp_path.rglob("*.nbi"))
