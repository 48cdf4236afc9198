"""Named arrays in one file that is mapped into memory: in a millisecond, and shared by all processes that open it.

The container is safetensors (https://huggingface.co/docs/safetensors): a JSON header with names, types and offsets,
then the raw arrays. It holds no pickle, and nothing in it is executed. The header also holds the format, its version, a
CRC-32 over metadata and arrays, and the caller's metadata as JSON.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import re
import tempfile
import time
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from recommender.errors import ModelFileError
from recommender.paths import opened_regular

FORMAT, FORMAT_VERSION = "product-recommender model", 5
_READERS = 4
_TYPES = {
    "F64": np.float64, "F32": np.float32, "I64": np.int64, "I32": np.int32, "I8": np.int8,
    "U64": np.uint64, "U32": np.uint32, "U16": np.uint16, "U8": np.uint8, "BOOL": np.bool_,
}  # fmt: skip
_LENGTH = 8  # bytes in front of the header: its length
_LONGEST_HEADER = 100_000_000  # bytes, the limit of safetensors
_ABANDONED = 3_600  # seconds after which a temporary file counts as left by a killed run
_VERSION = r"\.v[1-9][0-9]*"  # at the end of a name: the temporary files of all versions are found


def save_arrays(file: Path, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]) -> None:
    """Write ``arrays`` and JSON-able ``metadata`` to ``file``, whole or not at all.

    They go into a temporary file beside it, which is flushed to the disk (fsync) and then renamed. A process that has
    the old file open keeps it; a process that opens the name gets the old file or the new one. Temporary files of
    killed runs are removed after an hour.

    Raises ModelFileError if the disk is full, the folder is not writable, or an array has a type that cannot be opened
    again.
    """
    whole = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    for name, array in whole.items():
        if array.dtype not in _TYPES.values():
            raise ModelFileError(f"{file}: array {name} is of type {array.dtype}, which cannot be saved: convert it")
    text = json.dumps(metadata, sort_keys=True)
    header = {"format": FORMAT, "format_version": str(FORMAT_VERSION), "metadata": text, "crc32": _crc(text, whole)}
    temporary = None
    try:
        _remove_abandoned(file)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{file.name}.", suffix=".new", dir=file.parent)
        os.close(descriptor)
        save_file(whole, temporary, metadata=header)
        to_disk(temporary)
        os.chmod(temporary, 0o644)  # noqa: PTH101  # mkstemp lets only the owner read; workers may run as others
        os.replace(temporary, file)  # noqa: PTH105
        temporary = None
        to_disk(file.parent)
    except (OSError, SafetensorError) as error:
        raise ModelFileError(f"{file} cannot be written ({error}): free the disk, or name another file") from None
    finally:
        if temporary:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()


def open_arrays(file: Path, *, proofread: bool = True) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Return the arrays of ``file``, mapped copy-on-write, and the caller's metadata.

    Pages are read when they are used, except for the checksum (``proofread``), which reads all at 3.4 GB/s on each of
    up to four processors. Raises ModelFileError, naming the file and the fault: missing, not readable, truncated,
    foreign, damaged, or of a newer format.
    """
    try:
        with opened_regular(file) as stream:
            mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)
        with safe_open(str(file), framework="np"):
            pass  # checks the header; all is read from ``mapped``, since the name may mean another file by now
        header, entries, data = _header(mapped)
    except FileNotFoundError:
        raise ModelFileError(f"{file} does not exist: python recommendation_engine.py --save-model makes it") from None
    except OSError as error:
        raise ModelFileError(f"{file} cannot be read ({error.strerror}): name another file, or {_REMEDY}") from None
    except (SafetensorError, ValueError) as error:
        raise ModelFileError(f"{file} is truncated or no model file ({error}): {_REMEDY}") from None
    _check_format(file, header)
    text = header.get("metadata", "")
    try:
        arrays = {name: _array(mapped, data, entry) for name, entry in entries.items()}
    except (KeyError, ValueError) as error:
        raise ModelFileError(f"{file} is damaged (its header is wrong: {error}): {_REMEDY}") from None
    if proofread and header.get("crc32") != _crc(text, arrays):
        raise ModelFileError(f"{file} is damaged (its checksum is wrong): {_REMEDY}")
    try:
        return arrays, json.loads(text)
    except ValueError:
        raise ModelFileError(f"{file} is damaged (its metadata cannot be read): {_REMEDY}") from None


_REMEDY = "save it again with python recommendation_engine.py --save-model"


def is_ours(file: Path) -> bool:
    """Tell whether ``file`` is a regular file in this format, in any version of it, whole or not. OSError."""
    if file.is_symlink():
        return False
    try:
        with opened_regular(file) as stream:
            length = int.from_bytes(stream.read(_LENGTH), "little")
            header = json.loads(stream.read(min(length, _LONGEST_HEADER)))
            return bool(header["__metadata__"]["format"] == FORMAT)
    except (ValueError, LookupError, TypeError, IsADirectoryError):
        return False


def _check_format(file: Path, header: Mapping[str, str]) -> None:
    if header.get("format") != FORMAT:
        raise ModelFileError(f"{file} is no model of this project (format {header.get('format')!r}): {_REMEDY}")
    version = header.get("format_version", "")
    if version != str(FORMAT_VERSION):
        what = f"{file} has format version {version!r}, this version of the project reads {FORMAT_VERSION}"
        earlier = version in map(str, range(FORMAT_VERSION))
        raise ModelFileError(f"{what}: {'' if earlier else 'update the project, or '}{_REMEDY}")


def _header(mapped: mmap.mmap) -> tuple[dict[str, str], dict[str, Any], int]:
    """Return what the header says of the file, what it says of each array, and the offset of the arrays."""
    data = _LENGTH + int.from_bytes(mapped[:_LENGTH], "little")
    entries = json.loads(mapped[_LENGTH:data])
    return entries.pop("__metadata__", {}), entries, data


def _array(mapped: mmap.mmap, data: int, entry: Mapping[str, Any]) -> NDArray[Any]:
    """Return an array on the mapped pages; KeyError or ValueError if its type is unknown or it ends beyond them."""
    start, stop = entry["data_offsets"]
    kind = np.dtype(_TYPES[entry["dtype"]])
    flat = np.frombuffer(mapped, kind, (stop - start) // kind.itemsize, data + start)
    return flat.reshape(entry["shape"])


def _crc(text: str, arrays: Mapping[str, NDArray[Any]]) -> str:
    """Return the CRC-32 of the metadata and, of each array, of its name, type, shape and own CRC-32."""
    with ThreadPoolExecutor(_READERS) as pool:  # one processor is slower than the memory
        own = list(pool.map(lambda array: zlib.crc32(array.reshape(-1).view(np.uint8).data), arrays.values()))
    named = zip(arrays.items(), own, strict=True)
    facts = sorted(f"{name} {array.dtype.str} {array.shape} {crc}\n" for (name, array), crc in named)
    return f"{zlib.crc32(''.join([*facts, text]).encode()):08x}"


def to_disk(path: str | Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk (fsync)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_abandoned(file: Path) -> None:
    ours = re.compile(rf"\.{re.escape(re.sub(_VERSION + '$', '', file.name))}({_VERSION})?\.[a-z0-9_]{{8}}\.new")
    for left in file.parent.iterdir():
        if ours.fullmatch(left.name):
            with contextlib.suppress(OSError):  # another run has finished or removed it, or it may not be removed
                if time.time() - left.stat().st_mtime > _ABANDONED:
                    left.unlink()
