"""Imports go one way only: scripts -> parts with I/O -> pure parts. The tests read them from the code."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import ROOT

SCRIPTS = {"to_rds", "load_recommendation_data", "recommendation_engine", "api"}
COMPUTES = ("arrays", "errors", "evaluation", "fallback", "items", "live", "model", "neighbors", "ranking", "shop")
READS = {"settings", "paths", "synthetic", "database", "files", "publishing", "spark", "updates", "commands", "service"}
MAY_USE = {"numpy", "scipy", "numba", "pandas", "cachetools", "threadpoolctl", "recommender"}
# modules of the standard library for files, network, clock and global random state
IMPURE_STDLIB = {"os", "io", "pathlib", "time", "random", "socket", "subprocess", "urllib", "tempfile", "shutil"}
TOP_LEVEL = {
    *[".env.example", ".gitignore", ".ci", ".git", "Makefile", "README.md", "CHANGELOG.md", "pyproject.toml"],
    *["api.py", "benchmarks", "docs", "load_recommendation_data.py", "recommendation_engine.py", "recommender"],
    *["requirements-bench.txt", "requirements-dev.txt", "requirements-spark.txt", "requirements.txt", "tests"],
    *["to_rds.py"],
}


@cache
def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def imports_of(file: Path) -> set[str]:
    """Dotted names of all modules that ``file`` imports anywhere."""
    found: set[str] = set()
    for node in ast.walk(tree_of(file)):
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


def computing() -> list[Path]:
    """The files of the rooms that compute, and those files of the made-up shop that use only numpy."""
    package = ROOT / "recommender"
    drawn = ("_shopper_events", "_taste_groups", "_words", "shoppers")
    found = [file for file in parts() if file.relative_to(package).parts[0].removesuffix(".py") in COMPUTES]
    return found + [package / "synthetic" / f"{name}.py" for name in drawn]


# arrays asks the machine only for its cores and its memory; the layout of a map is scikit-learn's
MAY_USE_BESIDES = {
    "recommender/arrays.py": {"os", "pathlib"},
    "recommender/model/taste_map.py": {"sklearn"},
}


@pytest.mark.parametrize("file", computing(), ids=lambda file: str(file.relative_to(ROOT)))
def test_a_part_that_computes_has_no_io_no_clock_and_no_settings(file: Path) -> None:
    roots = {module.split(".")[0] for module in imports_of(file)}
    more = MAY_USE_BESIDES.get(str(file.relative_to(ROOT)), set())
    more |= {"pyarrow"} if file.parent.name == "shop" else set()  # pyarrow: columns of text
    assert not (roots & IMPURE_STDLIB) - more
    assert roots - set(sys.stdlib_module_names) <= MAY_USE | more
    rooms = {module.split(".")[1] for module in imports_of(file) if module.startswith("recommender.")}
    assert not rooms & READS - {file.parent.name}


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
    *["errors", "arrays", "shop", "items", "neighbors", "fallback", "ranking", "evaluation", "model", "live"],
    *["settings", "paths", "synthetic", "database", "files", "publishing", "spark", "updates", "commands", "service"],
    "sample_catalog",
]


@pytest.mark.parametrize("room", ORDER)
def test_a_room_imports_only_rooms_before_it(room: str) -> None:
    place = ROOT / "recommender" / room
    for file in sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]:
        rooms = {name.split(".")[1] for name in imports_of(file) if name.startswith("recommender.")} - {room}
        assert rooms <= set(ORDER[: ORDER.index(room)]), file


def test_only_the_room_for_spark_imports_pyspark() -> None:
    importing = {file for file in sources() if "pyspark" in {name.split(".")[0] for name in imports_of(file)}}
    assert importing <= set((ROOT / "recommender" / "spark").rglob("*.py")) | {ROOT / "benchmarks" / "spark_peers.py"}


def test_every_room_has_its_place_in_the_order() -> None:
    there = {path.stem for path in (ROOT / "recommender").iterdir() if not path.name.startswith("_")}
    assert there == set(ORDER)


@pytest.mark.parametrize("room", [path.parent for path in sorted((ROOT / "recommender").glob("*/__init__.py"))])
def test_a_room_names_each_of_its_modules_once(room: Path) -> None:
    modules = {path.stem for path in room.iterdir() if not path.name.startswith("_")} - {
        "routes",
        "middleware",
        "pages",
    }
    lines = (ast.get_docstring(tree_of(room / "__init__.py")) or "").splitlines()
    named = sorted(line.split()[0] for line in lines[2:])
    assert named == ([] if room.name == "commands" else sorted(modules))


@pytest.mark.parametrize("folder", ["database/staging", "service/middleware", "service/pages", "spark/lists"])
def test_a_folder_in_a_room_names_each_of_its_modules_once(folder: str) -> None:
    modules = sorted(path.stem for path in (ROOT / "recommender" / folder).glob("*.py") if path.stem != "__init__")
    lines = (ast.get_docstring(tree_of(ROOT / "recommender" / folder / "__init__.py")) or "").splitlines()
    assert sorted(line.split()[0] for line in lines[2:]) == modules


MOST_FILES = 16  # beside its face: more is two rooms, or a folder in the room
MORE_FILES = {"commands": 17, "database": 20, "files": 19, "service": 17}  # may become fewer, not more


@pytest.mark.parametrize("folder", sorted({file.parent for file in parts()}), ids=lambda folder: folder.name)
def test_a_folder_has_no_more_files_than_a_reader_can_take_in(folder: Path) -> None:
    files = [file.name for file in folder.glob("*.py") if file.stem != "__init__"]
    assert len(files) <= MORE_FILES.get(folder.name, MOST_FILES), sorted(files)


MOST_LINES = 300  # compiled code that belongs together and lists of words aside


@pytest.mark.parametrize("file", [*parts(), *(ROOT / "benchmarks").glob("*.py"), *ROOT.glob("*.py")], ids=str)
def test_a_file_is_no_longer_than_a_reader_can_take_in(file: Path) -> None:
    assert file.stem.endswith(("_kernels", "_words")) or len(file.read_text().splitlines()) <= MOST_LINES


ROOMS = {path.parent.name: path.parent for path in sorted((ROOT / "recommender").glob("*/__init__.py"))}
FACES = sorted(set(ROOMS) - {"commands"})  # only scripts use commands, each module by its name
VOCABULARY = "recommender.database.schema"  # the names of tables and columns are no part of the face


def is_module(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    return path.is_dir() or path.with_suffix(".py").is_file()


@cache
def taken_from_rooms(file: Path) -> list[tuple[str, str, str]]:
    """Room, module and name of everything that ``file`` imports from the rooms."""
    found = []
    for node in ast.walk(tree_of(file)):
        if isinstance(node, ast.Import):
            taken = [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            taken = [(node.module or "", alias.name) for alias in node.names]
        else:
            continue
        for module, name in taken:
            whole = module if module != "recommender" else f"{module}.{name}"
            if whole.startswith("recommender.") and (room := whole.split(".")[1]) in FACES:
                found.append((room, module, name))
    return found


def room_of(file: Path) -> str:
    return next((room for room, folder in ROOMS.items() if folder in file.parents), "")


def sources() -> list[Path]:
    """All files except tests, which may import past a face."""
    return [
        *parts(),
        *(ROOT / f"{script}.py" for script in sorted(SCRIPTS)),
        *sorted((ROOT / "benchmarks").glob("*.py")),
    ]


@pytest.mark.parametrize("file", sources(), ids=lambda file: str(file.relative_to(ROOT)))
def test_a_room_is_entered_by_its_face(file: Path) -> None:
    for room, module, name in taken_from_rooms(file):
        face = f"recommender.{room}"
        if room == room_of(file):
            assert module != face or (name and is_module(f"{face}.{name}")), f"{room} imports its own face"
        elif VOCABULARY not in (module, f"{module}.{name}"):
            assert module == face, f"{name or module} is to be imported from {face}"
            assert not is_module(f"{face}.{name}"), f"{face}.{name} is a module: import names"


@pytest.mark.parametrize("room", FACES)
def test_a_face_hands_out_exactly_what_it_imports(room: str) -> None:
    tree = tree_of(ROOMS[room] / "__init__.py")
    _docstring, *imports, listed = tree.body
    names = []
    for node in imports:
        assert isinstance(node, ast.ImportFrom)
        assert f"{node.module}.".startswith(f"recommender.{room}.")
        names += [alias.asname or alias.name for alias in node.names]
    assert isinstance(listed, ast.Assign)
    assert ast.unparse(listed.targets[0]) == "__all__"
    assert sorted(ast.literal_eval(listed.value)) == sorted(set(names))
    assert not [name for name in names if name.startswith("_")]
    # such a module would be hidden behind the name
    assert not [name for name in names if is_module(f"recommender.{room}.{name}")]


@pytest.mark.parametrize("room", FACES)
def test_every_name_of_a_face_is_used_outside_of_the_room(room: str) -> None:
    face = f"recommender.{room}"
    outside = [file for file in [*sources(), *(ROOT / "tests").rglob("*.py")] if room_of(file) != room]
    used = {name for file in outside for _, module, name in taken_from_rooms(file) if module == face}
    assert set(importlib.import_module(face).__all__) <= used


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("recommender.commands.demo_key", ("numpy", "sqlalchemy")),
        ("recommender.commands.wait_until_ready", ("numpy", "sqlalchemy")),
        ("recommender.sample_catalog", ("numba", "pandas", "faker", "sqlalchemy")),
        ("to_rds", ("numba",)),
        ("load_recommendation_data", ("numba", "scipy.special")),
    ],
)
def test_a_light_command_loads_no_heavy_library_by_a_face(module: str, heavy: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_no_script_imports_another_except_the_api_the_engine() -> None:
    for script in SCRIPTS:
        others = {name.split(".")[0] for name in imports_of(ROOT / f"{script}.py")} & SCRIPTS
        assert others == ({"recommendation_engine"} if script == "api" else set())


def test_the_package_imports_nothing() -> None:
    assert imports_of(ROOT / "recommender" / "__init__.py") == set()


def test_settings_are_loaded_only_by_main_build_engine_and_the_lifespan() -> None:
    allowed = {"main", "build_engine", "lifespan"}
    for file in [*parts(), *(ROOT / f"{script}.py" for script in SCRIPTS)]:
        for function in ast.walk(tree_of(file)):
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


def test_the_top_level_holds_only_the_listed_files() -> None:
    tracked = {Path(line).parts[0] for line in _tracked_files()}
    assert tracked <= TOP_LEVEL


def _tracked_files() -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:  # an unpacked archive
        return [path.name for path in ROOT.iterdir() if not path.name.startswith(".")]
    return listed.stdout.splitlines()
