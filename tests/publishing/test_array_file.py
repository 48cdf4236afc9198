"""Arrays in a file: mapped unchanged, whole or refused by name, written whole or not at all, also when killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from recommender.errors import ModelFileError
from recommender.publishing import _array_file as array_file
from recommender.publishing import open_arrays
from recommender.publishing._array_file import save_arrays
from tests.conftest import ROOT

Arrays = dict[str, NDArray[Any]]

TYPES = ["f8", "f4", "i8", "i4", "i1", "u8", "u4", "u2", "u1", "?"]
# odd lengths: only the order of the arrays in the file keeps each one aligned
ALL_TYPES: Arrays = {f"array of {kind}": np.arange(3).astype(kind) for kind in TYPES}
SHAPES: Arrays = {
    "empty": np.empty(0, np.int32),
    "no rows": np.empty((0, 10), np.uint8),
    "one number": np.array(2.5),
    "every other": np.arange(10)[::2],
    "transposed": np.arange(6.0).reshape(2, 3).T,
    "read only": np.frombuffer(b"abc", np.uint8),
}
METADATA = {
    "version": {"number": 6, "made_at": "2026-01-31T12:00:00+00:00"},
    "n": 20,
    "shop": "Ångström 🍵",
    "none": None,
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with arrays of every type and shape. A test that changes it changes it back."""
    file = tmp_path_factory.mktemp("saved") / "model.rec"
    save_arrays(file, ALL_TYPES | SHAPES, METADATA)
    return file


@pytest.fixture
def file(saved: Path, tmp_path: Path) -> Path:
    """A copy of that file in its own folder."""
    file = tmp_path / "shop" / saved.name
    file.parent.mkdir()
    shutil.copy(saved, file)
    return file


def assert_same(found: Arrays, expected: Arrays) -> None:
    """Assert the same names, types, shapes and bytes."""
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape), name
        assert found[name].tobytes() == array.tobytes(), name


def refusal(file: Path) -> str:
    """The one line of the refusal of ``file``."""
    with pytest.raises(ModelFileError) as caught:
        open_arrays(file)
    message = str(caught.value)
    assert str(file) in message
    assert len(message.splitlines()) == 1
    return message


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# ---- saved arrays come back -------------------------------------------------------------------------------------


def test_arrays_of_every_type_and_shape_and_the_metadata_come_back(file: Path) -> None:
    arrays, metadata = open_arrays(file)
    assert_same(arrays, ALL_TYPES | SHAPES)
    assert metadata == METADATA


ANY_ARRAY = st_numpy.arrays(
    st.sampled_from([np.dtype(kind) for kind in TYPES]), st_numpy.array_shapes(min_dims=0, max_dims=3, min_side=0)
)
ANY_NAME = st.text(st.characters(exclude_categories=["Cs"]), max_size=8).filter(lambda name: name != "__metadata__")
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(ANY_NAME, ANY_ARRAY, max_size=4), st.dictionaries(st.text(max_size=3), ANY_JSON, max_size=3))
def test_any_arrays_under_any_names_come_back_with_any_metadata(arrays: Arrays, metadata: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.rec"
        save_arrays(file, arrays, metadata)
        found, facts = open_arrays(file)
        assert_same(found, arrays)
        assert facts == metadata


def test_arrays_have_the_types_that_compiled_code_expects(file: Path) -> None:
    for name, array in open_arrays(file)[0].items():
        assert type(array) is np.ndarray, name  # numba takes np.memmap for another type
        assert array.flags.carray, name  # C-contiguous, aligned and writable
        assert array.ctypes.data % array.itemsize == 0, name
        assert array.dtype.isnative, name


def test_writing_into_an_array_changes_neither_the_file_nor_other_readers_arrays(file: Path) -> None:
    before = file.read_bytes()
    mine, theirs = open_arrays(file)[0], open_arrays(file)[0]
    for array in mine.values():
        array.reshape(-1).view(np.uint8)[:] = 255
    assert file.read_bytes() == before
    assert_same(theirs, ALL_TYPES | SHAPES)
    assert_same(open_arrays(file)[0], ALL_TYPES | SHAPES)


def test_a_reader_of_the_old_file_keeps_the_old_arrays(file: Path) -> None:
    old, _ = open_arrays(file)
    save_arrays(file, {"new": np.ones(3)}, {})
    assert_same(old, ALL_TYPES | SHAPES)
    assert_same(open_arrays(file)[0], {"new": np.ones(3)})


def test_a_file_replaced_while_it_is_opened_is_the_old_or_the_new_one(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replaced(name: str, **options: Any) -> Any:
        monkeypatch.undo()
        save_arrays(file, {"new": np.ones(3)}, {"new": True})
        return safe_open(name, **options)

    monkeypatch.setattr(array_file, "safe_open", replaced)
    arrays, metadata = open_arrays(file)
    assert metadata in (METADATA, {"new": True})
    assert_same(arrays, {"new": np.ones(3)} if metadata == {"new": True} else ALL_TYPES | SHAPES)


@pytest.mark.parametrize("kind", ["f2", "i2", "c8", ">f8", "S3", "U3", "M8[s]", "O"])
def test_a_type_that_could_not_be_opened_again_is_not_saved(file: Path, kind: str) -> None:
    before = file.read_bytes()
    with pytest.raises(ModelFileError, match="model.rec: array odd is of type .* cannot be saved"):
        save_arrays(file, {"odd": np.zeros(3, kind)}, {})
    assert (file.read_bytes(), names_in(file.parent)) == (before, [file.name])


def test_a_saved_file_can_be_read_by_workers_of_another_user(saved: Path) -> None:
    assert stat.S_IMODE(saved.stat().st_mode) == 0o644


# ---- damaged files are refused ----------------------------------------------------------------------------------


def test_a_file_cut_short_at_any_length_is_refused_by_name(file: Path) -> None:
    whole = file.read_bytes()
    for length in reversed(range(len(whole))):
        os.truncate(file, length)
        assert "is truncated or no model file" in refusal(file), length
    file.write_bytes(whole)
    open_arrays(file)


def test_a_file_with_a_byte_too_many_is_refused(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"\0")
    refusal(file)


def is_refused(file: Path, arrays: Arrays, place: int, other: bytes) -> bool:
    """Open the file with other bytes at ``place``: it is refused, or all is unchanged. Then make it whole again."""
    with file.open("r+b", buffering=0) as stream:
        stream.seek(place)
        before = stream.read(len(other))
        os.pwrite(stream.fileno(), other[: len(before)], place)
        try:
            found, metadata = open_arrays(file)
            assert_same(found, arrays)
            assert metadata == METADATA
        except ModelFileError as error:
            message = str(error)
        else:
            message = ""
        os.pwrite(stream.fileno(), before, place)
    assert not message or (str(file) in message and len(message.splitlines()) == 1)
    return bool(message)


def test_a_flipped_bit_in_any_byte_is_refused_unless_it_changes_nothing(saved: Path) -> None:
    whole = saved.read_bytes()
    refused = 0
    for place, byte in enumerate(whole):
        for bit in (place % 8, (place + 3) % 8):
            refused += is_refused(saved, ALL_TYPES | SHAPES, place, bytes([byte ^ 1 << bit]))
    assert saved.read_bytes() == whole
    assert refused > 0.99 * 2 * len(whole)  # not all of them: a space of the header can become a tab


def test_every_other_character_in_the_header_is_refused_unless_it_changes_nothing(tmp_path: Path) -> None:
    file, arrays = tmp_path / "model.rec", {"ab": np.arange(3, dtype=np.uint16)}  # F16 and I16 have the same size
    save_arrays(file, arrays, METADATA)
    whole = file.read_bytes()
    end = 8 + int.from_bytes(whole[:8], "little")
    for kind in (b"F16", b"I16"):
        assert is_refused(file, arrays, whole.index(b"U16"), kind)
    for place in range(8, end):
        for character in b'aFI0129"\\{}[],:. \t\n\0\xff':
            is_refused(file, arrays, place, bytes([character]))
    assert file.read_bytes() == whole


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_other_bytes_anywhere_are_refused_unless_they_change_nothing(saved: Path, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, saved.stat().st_size - 1))
    is_refused(saved, ALL_TYPES | SHAPES, place, data.draw(st.binary(min_size=1, max_size=12)))


def foreign_weights(file: Path) -> None:
    save_file({"weights": np.ones(3, np.float32)}, file)


def foreign_metadata(file: Path) -> None:
    save_file({"weights": np.ones(3, np.float16)}, file, metadata={"format": "pt"})


def folder(file: Path) -> None:
    file.mkdir()


def link_to_itself(file: Path) -> None:
    file.symlink_to(file)


FOREIGN: dict[str, tuple[Callable[[Path], object], str]] = {
    "other weights": (foreign_weights, "is no model of this project \\(format None\\)"),
    "other metadata": (foreign_metadata, "is no model of this project \\(format 'pt'\\)"),
    "text": (lambda file: file.write_text("user_id,product_id\n" * 100), "truncated or no model file"),
    "json": (lambda file: file.write_text(json.dumps({"a": [1]})), "truncated or no model file"),
    "zeros": (lambda file: file.write_bytes(bytes(4096)), "truncated or no model file"),
    "nothing": (lambda file: file.write_bytes(b""), "truncated or no model file"),
    "a folder": (folder, "cannot be read \\(Is a directory\\)"),
    "a link to itself": (link_to_itself, "cannot be read \\(Too many levels of symbolic links\\)"),
    "missing": (lambda file: None, "does not exist: python recommendation_engine.py --save-model makes it"),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_a_file_that_is_no_model_file_is_refused_with_the_reason(tmp_path: Path, what: str) -> None:
    make, message = FOREIGN[what]
    file = tmp_path / "model.rec"
    make(file)
    refusal(file)
    with pytest.raises(ModelFileError, match=message):
        open_arrays(file)


def test_a_newer_format_is_refused_as_newer_even_if_the_rest_is_right(file: Path) -> None:
    known = array_file.FORMAT_VERSION
    old, new = f'"format_version":"{known}"'.encode(), b'"format_version":"9"'
    whole = file.read_bytes()
    assert whole.count(old) == 1
    file.write_bytes(whole.replace(old, new))
    message = refusal(file)
    assert f"has format version '9', this version of the project reads {known}: update the project" in message


def test_opening_without_proofreading_skips_only_the_checksum(file: Path) -> None:
    whole = bytearray(file.read_bytes())
    whole[-1] ^= 255
    file.write_bytes(whole)
    assert "is damaged (its checksum is wrong)" in refusal(file)
    assert open_arrays(file, proofread=False)[1] == METADATA
    file.write_bytes(whole[:-1])
    with pytest.raises(ModelFileError, match="truncated"):
        open_arrays(file, proofread=False)


# ---- written whole or not at all --------------------------------------------------------------------------------


def test_a_save_puts_the_data_on_the_disk_before_the_name(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(descriptor: int) -> None:
        fsync(descriptor)
        found = os.fstat(descriptor)
        done.append("folder" if stat.S_ISDIR(found.st_mode) else f"{found.st_size} bytes")

    def noted_replace(source: Any, target: Any) -> None:
        done.append(f"rename to {Path(target).name}")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    save_arrays(file, {"new": np.arange(100)}, {})
    assert done == [f"{file.stat().st_size} bytes", "rename to model.rec", "folder"]


STAGES = [(tempfile, "mkstemp"), (array_file, "save_file"), (os, "fsync"), (os, "chmod"), (os, "replace")]
FAULTS = [OSError(28, "No space left on device"), PermissionError(13, "Permission denied"), KeyboardInterrupt()]


@pytest.mark.parametrize("existed", [True, False], ids=["there was one", "there was none"])
@pytest.mark.parametrize(
    "fault", [*FAULTS, SafetensorError("I/O error")], ids=["full", "forbidden", "Ctrl-C", "writer"]
)
@pytest.mark.parametrize(("module", "name"), STAGES, ids=[name for _, name in STAGES])
def test_a_save_that_fails_at_any_stage_changes_nothing(
    file: Path, module: Any, name: str, fault: BaseException, existed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not existed:
        file.unlink()
    before = {path.name: path.read_bytes() for path in file.parent.iterdir()}

    def fail(*_: Any, **__: Any) -> None:
        raise fault

    monkeypatch.setattr(module, name, fail)
    with pytest.raises(KeyboardInterrupt if isinstance(fault, KeyboardInterrupt) else ModelFileError) as caught:
        save_arrays(file, {"new": np.ones(3)}, {})
    monkeypatch.undo()
    assert {path.name: path.read_bytes() for path in file.parent.iterdir()} == before
    if caught.type is ModelFileError:
        message = str(caught.value)
        assert message.startswith(f"{file} cannot be written (")
        assert len(message.splitlines()) == 1


def test_a_save_that_fails_half_way_through_the_data_leaves_no_half_file(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = file.read_bytes()

    def half(arrays: Arrays, name: str, **_: Any) -> None:
        Path(name).write_bytes(before[: len(before) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(array_file, "save_file", half)
    with pytest.raises(ModelFileError, match="No space left on device.*: free the disk, or name another file"):
        save_arrays(file, {"new": np.ones(3)}, {})
    assert (file.read_bytes(), names_in(file.parent)) == (before, [file.name])


def test_a_missing_folder_and_a_name_of_a_folder_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "taken.rec").mkdir()
    for file in (tmp_path / "no" / "model.rec", tmp_path / "taken.rec", tmp_path / ("x" * 300)):
        with pytest.raises(ModelFileError) as caught:
            save_arrays(file, {"new": np.ones(3)}, {})
        assert str(caught.value).startswith(f"{file} cannot be written (")
        assert names_in(tmp_path) == ["taken.rec"]


def child(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run code in another process. Its sys.argv holds the file and the numbers that it saves."""
    command = [sys.executable, "-c", CHILD + code, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)


CHILD = """
import os, resource, signal, sys, tempfile
from pathlib import Path
import numpy as np
from recommender.publishing import _array_file as array_file
from recommender.publishing._array_file import save_arrays
from recommender.errors import ModelFileError

def save(file, number, size=200_000):
    arrays = {str(place): np.full(size, number) for place in range(5)}  # 8 MB
    save_arrays(Path(file), arrays, {"number": number})

"""


def number_in(file: Path) -> int:
    """The number in every array of the file and in its metadata."""
    arrays, metadata = open_arrays(file)
    (number,) = {int(value) for array in arrays.values() for value in np.unique(array)}
    assert metadata == {"number": number}
    return number


FULL_DISK = """
save(sys.argv[1], 1)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
try:
    save(sys.argv[1], 2)
except ModelFileError as error:
    sys.exit(f"refused: {error}")
"""


def test_a_disk_that_is_full_is_one_line_and_the_old_file_stays(tmp_path: Path) -> None:
    file = tmp_path / "model.rec"
    done = child(FULL_DISK, file)
    assert done.returncode == 1, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"refused: {file} cannot be written (")
    assert "File too large" in line
    assert names_in(tmp_path) == ["model.rec"]
    assert number_in(file) == 1


KILLED = """
module, name = {"mkstemp": (tempfile, "mkstemp"), "save_file": (array_file, "save_file")}.get(
    sys.argv[2].split()[1], (os, sys.argv[2].split()[1])
)
whole = getattr(module, name)

def killed(*arguments, **options):
    result = whole(*arguments, **options) if sys.argv[2].startswith("after") else None
    os.kill(os.getpid(), signal.SIGKILL)

save(sys.argv[1], 1)
setattr(module, name, killed)
save(sys.argv[1], 2)
"""


@pytest.mark.parametrize(
    ("moment", "expected"),
    [("after mkstemp", 1), ("after save_file", 1), ("after fsync", 1), ("before replace", 1), ("after replace", 2)],
)
def test_a_save_killed_at_any_stage_leaves_the_old_or_the_new_file_and_leftovers_go_later(
    tmp_path: Path, moment: str, expected: int
) -> None:
    file = tmp_path / "model.rec"
    assert child(KILLED, file, moment).returncode == -signal.SIGKILL
    assert number_in(file) == expected
    left = [path for path in tmp_path.iterdir() if path != file]
    assert len(left) == (expected == 1)
    for path in left:
        os.utime(path, (time.time() - 3_700,) * 2)
    save_arrays(file, {"0": np.array([3])}, {"number": 3})
    assert (number_in(file), names_in(tmp_path)) == (3, ["model.rec"])


SAVE_ON = """
for number in range(1, 10_000):
    save(sys.argv[1], number)
    print(number, flush=True)
"""


def test_a_save_killed_at_a_random_moment_leaves_a_whole_file(tmp_path: Path) -> None:
    file, saved = tmp_path / "model.rec", 0
    for milliseconds in (0, 3, 7, 12):
        command = [sys.executable, "-c", CHILD + SAVE_ON, str(file)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            saved = int(process.stdout.readline())
            time.sleep(milliseconds / 1000)
            process.kill()
            saved = max([saved, *map(int, process.stdout.read().split())])
        assert number_in(file) in (saved, saved + 1)


# ---- leftovers of killed runs -----------------------------------------------------------------------------------


def test_leftovers_of_killed_runs_are_deleted_after_an_hour_and_nothing_else_is(tmp_path: Path) -> None:
    file = tmp_path / "model[1].v2.rec.v4"  # characters with a meaning in patterns
    old = [".model[1].v2.rec.v4.abcdefgh.new", ".model[1].v2.rec.v31.a2_defgh.new", ".model[1].v2.rec.12345678.new"]
    young = [".model[1].v2.rec.v4.aaaaaaaa.new"]
    others = [
        ".model1.v2.rec.v4.abcdefgh.new",
        ".other.rec.abcdefgh.new",
        ".model[1].v2.rec.backup.new",
        ".model[1].v2.rec.v4x.abcdefgh.new",
        ".model[1].v2.rec.v4.abcdefgh.new.txt",
        "model[1].v2.rec.abcdefgh.new",
        "model[1].v2.rec.v1",
    ]
    for name in (*old, *young, *others):
        (tmp_path / name).write_text("what was written")
    for name in (*old, *others):
        os.utime(tmp_path / name, (time.time() - 3_660,) * 2)
    os.utime(tmp_path / young[0], (time.time() - 3_500,) * 2)
    save_arrays(file, {}, {})
    assert names_in(tmp_path) == sorted([*young, *others, file.name])


def test_a_leftover_that_cannot_be_deleted_does_not_stop_a_save(file: Path) -> None:
    gone, taken = file.with_name(".model.rec.aaaaaaaa.new"), file.with_name(".model.rec.bbbbbbbb.new")
    gone.symlink_to("nowhere")  # as if another run had ended between the look and the touch
    taken.mkdir()
    os.utime(taken, (0, 0))
    save_arrays(file, {"new": np.ones(3)}, {})
    assert_same(open_arrays(file)[0], {"new": np.ones(3)})
    assert taken.is_dir()
