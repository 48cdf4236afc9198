"""Imports go one way only: scripts -> parts with I/O -> pure parts. Read from the code, not believed."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.conftest import ROOT

SCRIPTS = {"to_rds", "load_recommendation_data", "recommendation_engine", "api"}
PURE = {
    "arrays",
    "evaluation.cold_start",
    "evaluation.comparison",
    "evaluation.evaluate",
    "evaluation.gate",
    "evaluation.gate_statistics",
    "evaluation.metrics",
    "evaluation.rankers",
    "evaluation.result",
    "evaluation.split",
    "evaluation.tuning",
    "fallback._cap_kernels",
    "fallback._cold_start_kernels",
    "fallback._saved_cold_start",
    "fallback.caps",
    "fallback.cold_start",
    "fallback.decayed_popularity",
    "fallback.new_products",
    "fallback.popular",
    "fallback.walked_lists",
    "neighbors._cosine_kernels",
    "neighbors._saved_cosines",
    "neighbors._saved_taste",
    "neighbors._taste_kernels",
    "neighbors.cosine_index",
    "neighbors.precomputed",
    "neighbors.similar_products",
    "neighbors.taste_index",
    "neighbors.taste_statistics",
    "ranking._classic_kernels",
    "ranking._saved_votes",
    "ranking._taste_kernels",
    "ranking.classic",
    "ranking.dataframe",
    "ranking.rankings",
    "ranking.taste",
    "ranking.taste_votes",
    "shop.profiles",
    "shop.ratings",
    "shop.cursor",
    "synthetic._shopper_events",
    "synthetic._taste_groups",
    "synthetic._words",
    "synthetic.shoppers",
}
PURE_MAY_USE = {"numpy", "scipy", "numba", "pandas", "cachetools", "recommender"}
# the standard library's ways to files, network, clock and global random state
IMPURE_STDLIB = {"os", "io", "pathlib", "time", "random", "socket", "subprocess", "urllib", "tempfile", "shutil"}
TOP_LEVEL = {
    *[
        ".env.example",
        ".gitignore",
        ".ci",
        ".git",
        "Makefile",
        "README.md",
        "CHANGELOG.md",
        "pyproject.toml",
        "api.py",
        "benchmarks",
        "docs",
    ],
    *["load_recommendation_data.py", "recommendation_engine.py", "recommender", "requirements-bench.txt"],
    *["requirements-dev.txt", "requirements.txt", "tests", "to_rds.py"],
}


def imports_of(file: Path) -> set[str]:
    """Dotted names of all modules that ``file`` imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file.name}: write imports in full"
            assert node.module
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return found


def parts() -> list[Path]:
    return sorted((ROOT / "recommender").rglob("*.py"))


@pytest.mark.parametrize("file", parts(), ids=lambda file: str(file.relative_to(ROOT)))
def test_no_part_imports_a_script_or_a_test(file: Path) -> None:
    roots = {name.split(".")[0] for name in imports_of(file)}
    assert not roots & (SCRIPTS | {"tests", "benchmarks"})


@pytest.mark.parametrize("name", sorted(PURE))
def test_a_pure_part_has_no_io_no_clock_and_no_settings(name: str) -> None:
    used = imports_of(ROOT / "recommender" / f"{name.replace('.', '/')}.py")
    third_party = {module.split(".")[0] for module in used} - IMPURE_STDLIB
    # the number of cores is all that arrays asks of the machine
    assert not {module.split(".")[0] for module in used} & IMPURE_STDLIB - ({"os"} if name == "arrays" else set())
    assert not third_party & {"sqlalchemy", "pymysql", "pyarrow", "connectorx", "fastapi", "dotenv", "tqdm", "orjson"}
    ours = {module.removeprefix("recommender.") for module in used if module.startswith("recommender.")}
    assert all(
        module == "errors" or module.startswith((*PURE, "errors.")) or any(p.startswith(f"{module}.") for p in PURE)
        for module in ours
    )


COMPUTES = (
    "arrays",
    "errors",
    "evaluation",
    "fallback",
    "live",
    "model",
    "neighbors",
    "ranking",
    "shop",
)
READS = {"settings", "synthetic", "database", "files", "publishing", "updates", "commands", "service"}


@pytest.mark.parametrize("room", COMPUTES)
def test_a_room_that_computes_imports_none_that_reads_or_writes(room: str) -> None:
    place = ROOT / "recommender" / room
    files = sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
    assert files
    for file in files:
        rooms = {name.split(".")[1] for name in imports_of(file) if name.startswith("recommender.")}
        assert not rooms & READS, file


# a room imports only rooms that stand before it
ORDER = [
    *["errors", "arrays", "shop", "neighbors", "fallback", "ranking", "evaluation", "model", "live"],
    *["settings", "paths", "synthetic", "database", "files", "publishing", "updates", "commands", "service"],
    "sample_catalog",
]


@pytest.mark.parametrize("room", ORDER)
def test_a_room_imports_only_rooms_before_it(room: str) -> None:
    place = ROOT / "recommender" / room
    for file in sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]:
        rooms = {name.split(".")[1] for name in imports_of(file) if name.startswith("recommender.")} - {room}
        assert rooms <= set(ORDER[: ORDER.index(room)]), file


def test_every_room_has_its_place_in_the_order() -> None:
    there = {path.stem for path in (ROOT / "recommender").iterdir() if not path.name.startswith("_")}
    assert there == set(ORDER)


@pytest.mark.parametrize("room", [path.parent for path in sorted((ROOT / "recommender").glob("*/__init__.py"))])
def test_a_room_names_each_of_its_modules_once(room: Path) -> None:
    modules = {path.stem for path in room.iterdir() if not path.name.startswith("_")} - {"routes", "middleware"}
    lines = (room / "__init__.py").read_text(encoding="utf-8").splitlines()
    named = sorted(line.split()[0] for line in lines[2:] if line.strip('"'))
    assert named == ([] if room.name == "commands" else sorted(modules))


def test_no_script_imports_another_but_the_api_the_engine() -> None:
    for script in SCRIPTS:
        others = {name.split(".")[0] for name in imports_of(ROOT / f"{script}.py")} & SCRIPTS
        assert others == ({"recommendation_engine"} if script == "api" else set())


def test_the_package_imports_nothing() -> None:
    assert imports_of(ROOT / "recommender" / "__init__.py") == set()


def test_settings_are_loaded_only_by_main_build_engine_and_the_lifespan() -> None:
    allowed = {"main", "build_engine", "lifespan"}
    for file in [*parts(), *(ROOT / f"{script}.py" for script in SCRIPTS)]:
        for function in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            calls = {n.func.id for n in ast.walk(function) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
            if "load_settings" in calls:
                assert function.name in allowed, f"{file.name}: {function.name} loads settings"


def test_main_is_the_last_function_of_every_script() -> None:
    for script in SCRIPTS - {"api"}:
        functions = [
            n.name for n in ast.parse((ROOT / f"{script}.py").read_text()).body if isinstance(n, ast.FunctionDef)
        ]
        assert functions[-1] == "main"


def test_the_top_level_holds_nothing_unforeseen() -> None:
    tracked = {Path(line).parts[0] for line in _tracked_files()}
    assert tracked <= TOP_LEVEL


def _tracked_files() -> list[str]:
    import subprocess

    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:  # an unpacked archive
        return [path.name for path in ROOT.iterdir() if not path.name.startswith(".")]
    return listed.stdout.splitlines()
