"""Imports go one way only: scripts -> parts with I/O -> pure parts. Read from the code, not believed."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.conftest import ROOT

SCRIPTS = {"to_rds", "load_recommendation_data", "recommendation_engine", "api"}
PURE = {
    "_cap_kernels",
    "_cold_start_kernels",
    "_cosine_kernels",
    "_row_blocks",
    "_saved_cold_start",
    "_saved_cosines",
    "_saved_taste",
    "_scoring_kernels",
    "_taste_kernels",
    "_taste_ranking_kernels",
    "caps",
    "changes",
    "cold_start",
    "decayed_popularity",
    "dense",
    "evaluation",
    "evaluation_result",
    "gate",
    "gate_statistics",
    "ladder_evaluation",
    "metrics",
    "mode_evaluation",
    "neighbors",
    "new_products",
    "popular",
    "precomputed",
    "profiles",
    "rankers",
    "rankings",
    "rating_matrix",
    "sample_words",
    "scoring",
    "saved_arrays",
    "similar_products",
    "split",
    "taste_events",
    "taste_groups",
    "taste_index",
    "taste_ranking",
    "taste_ranking_statistics",
    "taste_tuning",
    "taste_votes",
    "tastes",
    "walked_lists",
}
PURE_MAY_USE = {"numpy", "scipy", "numba", "pandas", "recommender"}
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
    return sorted((ROOT / "recommender").glob("*.py"))


@pytest.mark.parametrize("file", parts(), ids=lambda file: file.stem)
def test_no_part_imports_a_script_or_a_test(file: Path) -> None:
    roots = {name.split(".")[0] for name in imports_of(file)}
    assert not roots & (SCRIPTS | {"tests", "benchmarks"})


@pytest.mark.parametrize("name", sorted(PURE))
def test_a_pure_part_has_no_io_no_clock_and_no_settings(name: str) -> None:
    used = imports_of(ROOT / "recommender" / f"{name}.py")
    third_party = {module.split(".")[0] for module in used} - IMPURE_STDLIB
    # the number of cores is all that _row_blocks asks of the machine
    assert not {module.split(".")[0] for module in used} & IMPURE_STDLIB - ({"os"} if name == "_row_blocks" else set())
    assert not third_party & {"sqlalchemy", "pymysql", "pyarrow", "connectorx", "fastapi", "dotenv", "tqdm", "orjson"}
    ours = {module.split(".")[1] for module in used if module.startswith("recommender.")}
    assert ours <= PURE | {"errors"}


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
