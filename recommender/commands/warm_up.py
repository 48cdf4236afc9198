"""The warm-up: compiled code is loaded before it is needed. On its first use on a machine it is compiled.

    python -m recommender.commands.warm_up           # compile all missing code that RANKING needs, on two cores
    python -m recommender.commands.warm_up taste     # one part of it, in this process

The machine code is kept beside the modules, or in the user's cache folder if that is not writable (or in
NUMBA_CACHE_DIR). Loading takes less than a second, but no request should wait for it. Compiling takes two processes, as
the compiler has one lock for all threads of a process. A process that comes while others compile waits for them and
loads their code: several workers that start together, or step 3 while ``make run`` compiles beside steps 1 and 2.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from subprocess import DEVNULL, Popen
from typing import Any

import numpy as np
import pyarrow as pa
import scipy.sparse as sp
from numba.core.dispatcher import Dispatcher

from recommender.errors import SettingError
from recommender.fallback import NO_CAP, Near, PopularProducts, build_cold_start
from recommender.live import LiveCosine, LiveUser
from recommender.model import Categories, ListRequest, ServedModel, allowed_products
from recommender.neighbors import (
    CosineIndex,
    NearestByCosine,
    NearestByTaste,
    TasteGround,
    TasteIndex,
    entry_type,
    squared_norms,
    taste_statistics,
)
from recommender.ranking import (
    AUTO,
    CLASSIC,
    ITEMS,
    SHALLOW,
    FusedRanker,
    FusionParameters,
    ItemParameters,
    ItemRanker,
    TasteRanker,
    rank_near,
    rank_products,
    rank_products_for_rows,
    train_item_weights,
)
from recommender.settings import PROJECT_ROOT, load_settings
from recommender.shop import HALF_STARS, ProductCatalog, Products, RatingMatrix, Scale, build_profiles

try:
    import fcntl
except ImportError:  # Windows: a process that comes while others compile compiles, too
    fcntl = None  # type: ignore[assignment]

PATIENCE = 2.0  # seconds before a message
SLOW = "loading the engine; the first run on a machine compiles it, once: about 15 s ..."
WIDE = Scale.of(1, 100, 1)
SMALLEST: Any = squared_norms  # compiled functions have no signature a type checker could use


def warm_up(notify: Callable[[], object], parts: Iterable[str] | None = None) -> None:
    """Run every compiled function of the parts once, on ratings as ``load_model`` makes them.

    ``parts``: None stands for all. ``notify`` is called, from another thread, if that takes longer than ``PATIENCE``.
    """
    timer = threading.Timer(PATIENCE, notify)
    timer.start()
    try:
        if not _is_compiled():
            compile_in_two_processes()
        for part in PARTS if parts is None else parts:
            load(part)
    finally:
        timer.cancel()


def parts_of_batches(ranking: str) -> tuple[str, ...]:
    """Return the parts that batches by a ranking and their gate need."""
    return (*BESIDE, ITEMS) if ranking in ASK_ITEMS else BESIDE


def parts_of_service(ranking: str) -> tuple[str, ...]:
    """Return the parts that a service with this RANKING needs. `load_for` loads what its model needs besides."""
    return tuple(part for part in PARTS if part != BLOCKS and (part != ITEMS or ranking in ASK_ITEMS))


def parts_of_machine(ranking: str) -> tuple[str, ...]:
    """Return the parts that anything with this RANKING needs: with pyspark there, also those of a cluster's workers."""
    return (*parts_of_service(ranking), *([BLOCKS] if find_spec("pyspark") is not None else []))


def load_for(model: ServedModel) -> None:
    """Load the item part if the model has weights between products: any request may ask it for ``ranking=items``.

    On a scale whose entries are wider than usual, load all parts for it.
    """
    wide = entry_type(model.matrix.scale.most) is not np.uint32
    for part in parts_of_service(AUTO) if wide else (ITEMS,):
        if part != ITEMS or ITEMS in model.rankings:
            load(part, WIDE if wide else HALF_STARS)


def compile_in_two_processes() -> None:
    """Compile the two large parts at once. If a process fails, the next process to load its part compiles it."""
    with contextlib.ExitStack() as running:
        for part in BESIDE:
            with contextlib.suppress(OSError):
                command = [sys.executable, "-m", "recommender.commands.warm_up", part]
                running.enter_context(Popen(command, cwd=PROJECT_ROOT, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL))


def load(part: str, scale: Scale = HALF_STARS) -> None:
    """Run the compiled functions of one part of ``PARTS``, while no other process compiles it."""
    with _alone(part):
        try:
            PARTS[part](_tiny_matrix(scale))
        except (AttributeError, ImportError):  # an index that an earlier release wrote names types that are gone
            _forget_compiled_code()
            PARTS[part](_tiny_matrix(scale))


def _forget_compiled_code() -> None:
    """Delete the indexes of all compiled code that is kept on disk: without them it is compiled again."""
    modules = [module for name, module in sys.modules.items() if name.startswith("recommender.")]
    kernels = [value for module in modules for value in vars(module).values() if isinstance(value, Dispatcher)]
    for folder in {Path(kernel.stats.cache_path) for kernel in kernels if kernel.stats.cache_path}:
        for index in folder.glob("*.nbi"):
            index.unlink(missing_ok=True)


def _is_compiled() -> bool:
    """Tell whether there is compiled code. Try it with a small function, which is compiled if there is none."""
    misses = sum(SMALLEST.stats.cache_misses.values())
    SMALLEST(np.zeros(1, np.int64), np.zeros(0))
    return bool(misses == sum(SMALLEST.stats.cache_misses.values()))


@contextlib.contextmanager
def _alone(part: str) -> Iterator[None]:
    """Hold the lock of a part, beside the compiled code. Any end of the process releases it."""
    folder = Path(SMALLEST.stats.cache_path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / f"{part}.lock").open("a")
    except OSError:  # nobody can write to the folder: nothing is compiled into it
        yield
        return
    with file:
        if fcntl is not None:
            with contextlib.suppress(OSError):  # some network file systems have no locks
                fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _tiny_matrix(scale: Scale) -> RatingMatrix:
    steps = np.zeros((4, 500), np.int8)
    steps[:2] = 10  # long histories take another path than short ones
    steps[2:, :2] = 9
    steps[1, 7] = 0
    ratings = sp.csr_array(steps)
    ratings.indptr, ratings.indices = ratings.indptr.astype(np.int32), ratings.indices.astype(np.int32)
    return RatingMatrix(ratings, np.arange(4), np.arange(500).astype(np.bytes_), np.ones(500, bool), scale=scale)


def _run_classic(matrix: RatingMatrix) -> None:
    """Run neighbors by cosine, the ranking of their products, and the functions that fill short lists."""
    ratings, rows = matrix.steps, np.arange(4)
    index = CosineIndex(ratings, most=matrix.scale.most)
    neighbors, similarities = index.top_k(2)
    index.neighbors(1, 2)
    index.similarities(1)
    rank = partial(rank_products, recommendable=matrix.recommendable, scale=matrix.scale.unit)
    rank_rows = partial(rank_products_for_rows, recommendable=matrix.recommendable, scale=matrix.scale.unit)
    rank(ratings, 1, neighbors[1], similarities[1], n=2)
    lists = rank_rows(ratings, rows, neighbors, similarities, n=2)
    none = np.empty(0, np.int32), np.empty(0)
    PopularProducts(*none).top_up(ratings, rows, lists.columns, lists.predicted)
    cold = build_cold_start(matrix, build_profiles(replace(matrix, rated_at=np.arange(ratings.nnz))))
    cold.top_up(rows, lists.columns, lists.predicted)
    cold.for_segment(-1, [], 2, user_id=1)
    for row in (0, 2):  # an empty list, and a full one
        near = Near(lists.columns[row : row + 1], lists.predicted[row : row + 1])
        cold.list_of_row(row, near, 2, without=None, cap=NO_CAP, place=cold.place(2, 0, 0.0))


def _run_taste(matrix: RatingMatrix) -> None:
    """Run neighbors by taste and the ranking by their votes."""
    rows, taste = np.arange(4), _tiny_taste(matrix)
    taste.rank(rows, 2)
    taste.predict(rows, rows)


def _tiny_taste(matrix: RatingMatrix) -> TasteRanker:
    ratings = matrix.steps
    confidences = sp.csr_array((np.ones(ratings.nnz), ratings.indices, ratings.indptr), shape=ratings.shape)
    times = np.arange(ratings.nnz)
    return TasteRanker(confidences, ratings, times=times, recommendable=matrix.recommendable, scale=matrix.scale)


def _run_caps(matrix: RatingMatrix) -> None:
    """Run the caps and filters of lists, for both rankings."""
    n, numbers = matrix.shape[1], np.arange(matrix.shape[1], dtype=np.int32)
    categories, taste = Categories(numbers, numbers), _tiny_taste(matrix)
    cap = categories.cap(1)
    neighbors = CosineIndex(matrix.steps, most=matrix.scale.most).neighbors(1, 2)
    rank_near(matrix.steps, 1, *neighbors, 2, cap, matrix.recommendable, matrix.scale.unit)
    taste.rank_near(taste.near(1), SHALLOW + 1, taste.votes.bars(None), cap)
    catalog = ProductCatalog(matrix.product_ids, pa.nulls(n, pa.string()), np.ones(n), np.ones(n), numbers)
    allowed_products(ListRequest(1, min_price=1.0), Products(matrix.product_ids, catalog, numbers), categories)


def _run_items(matrix: RatingMatrix) -> None:
    """Run the training of weights between products, the ranking by them, and its fusion with taste.

    The local form of the training is compiled when it is first used: it is for shops where training takes minutes.
    """
    rows, taste, parameters = np.arange(4), _tiny_taste(matrix), ItemParameters(ridge=1.0)
    few = replace(matrix, steps=matrix.steps[:, :2])
    train_item_weights(build_profiles(few), parameters)  # more users than products: another form than fewer
    profiles = build_profiles(matrix)
    items = ItemRanker.of(taste, train_item_weights(profiles, parameters), profiles, parameters, matrix.recommendable)
    items.shares(0, items.profile_of_row(0))
    fused, numbers = FusedRanker(taste, items, FusionParameters()), np.arange(matrix.shape[1], dtype=np.int32)
    fused.rank(rows, 2)
    fused.rank_near(fused.near(1), 2, fused.bars(None))
    items.rank_near(items.near(1), 2, items.bars(None), Categories(numbers, numbers).cap(1))


def _run_blocks(matrix: RatingMatrix) -> None:
    """Run the searches among users in blocks, whose lists are merged, and make the index of a shop with nobody."""
    profiles, ratings, most = build_profiles(matrix), matrix.steps, matrix.scale.most
    statistics = taste_statistics(profiles.confidences, ratings, scale=matrix.scale)
    ground = TasteGround(statistics, ratings.shape[1])
    NearestByCosine(ratings, 0, 2, most=most).meet(CosineIndex(ratings, most=most), 0)
    index = TasteIndex(profiles.confidences, statistics=ground.statistics)
    NearestByTaste(profiles.confidences, None, 0, 2, ground).meet(index, 0)
    TasteIndex(profiles.confidences[:0])


def _run_live(matrix: RatingMatrix) -> None:
    """Run the functions of a list with a changed neighbor."""
    cosines, two = CosineIndex(matrix.steps, most=matrix.scale.most), np.arange(2, dtype=np.int32)
    index = LiveCosine(cosines, matrix.user_ids)
    index.take(LiveUser(9, two, np.ones(2, np.int8), np.ones(2), None))
    index.gathered(index.of_row(1, 3), index.entries_of(1), valued=False)


# The first two take equally long to compile and share no compiled function. The others use functions of both.
# Batches and their gate need the first two only, so step 3 does not wait for those that only requests need. Nobody
# waits for items whose shop does not use it: it takes as long as half of the others. Blocks are of the workers of a
# Spark cluster.
BESIDE, BLOCKS = ("classic", "taste"), "blocks"
ASK_ITEMS = (ITEMS, AUTO)  # the rankings that may need weights between products
PARTS: dict[str, Callable[[RatingMatrix], None]] = {
    "classic": _run_classic,
    "taste": _run_taste,
    "caps": _run_caps,
    "live": _run_live,
    ITEMS: _run_items,
    BLOCKS: _run_blocks,
}


def main(arguments: list[str] | None = None) -> int:
    """Compile the named parts, or those that RANKING needs, in two processes. Return the exit status."""
    parser = argparse.ArgumentParser(prog="warm_up", description="Compile the engine for this machine.")
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)}; default: what RANKING needs")
    parts = parser.parse_args(arguments).parts
    if unknown := [part for part in parts if part not in PARTS]:
        parser.error(f"there is no part {unknown[0]!r}: name any of {', '.join(PARTS)}")
    gc.disable()  # garbage collection takes a tenth of the time, and this process ends soon
    for part in parts:
        load(part)
    if not parts:
        try:
            ranking = load_settings().ranking
        except SettingError:  # the steps name the fault
            ranking = CLASSIC
        compile_in_two_processes()
        for part in parts_of_machine(ranking):
            load(part)
    return 0


if __name__ == "__main__":
    sys.exit(main())
