"""The bytes of a file, unpacked and in UTF-8, whatever its packing and encoding.

Both are found from the first bytes, never from the name. Packing: gzip, Zstandard, and zip with one file in it, beside
those that are about it by their names (README, LICENSE). What is unpacked streams, so memory stays bounded; a file that
grows more than 250 times, as no table does, is refused.
Encoding: UTF-16 by its byte order mark; UTF-8; otherwise Windows-1252, of which Latin-1 is a part, as browsers read it
(https://encoding.spec.whatwg.org/#windows-1252). A file with more characters in UTF-8 than bytes that are none is UTF-8
with faults.
"""

from __future__ import annotations

import codecs
import os
import re
import sys
import zipfile
import zlib
from collections.abc import Callable, Sequence
from io import BufferedReader
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa

from recommender.errors import InputFileError
from recommender.paths import open_input

HEAD_BYTES = 1 << 18  # what is looked at before any row is read
MOST_GROWTH = 250  # gzip reaches 1,032, a table of ratings 10
_FREE_GROWTH = 1 << 26  # bytes; less is never refused
_ZIP_DIRECTORY = 1 << 20  # bytes; thousands of files
_SHOWN_FILES = 5
_ABOUT = re.compile(  # a file that is about the data
    r"(?:^|/)(?:\.|(?:readme|licen[cs]e|changelog|copying|citation)\b)|\.(?:md|rst|html?|pdf|docx?|rtf|png|jpe?g|gif)$",
    re.IGNORECASE,
)

PARQUET = b"PAR1"
_REFUSED = {
    b"BZh": "packed with bzip2: unpack it",
    b"\xfd7zXZ\0": "packed with xz: unpack it",
    b"7z\xbc\xaf": "a 7z archive: unpack it",
    b"Rar!": "a RAR archive: unpack it",
    b"\xd0\xcf\x11\xe0": "an Excel workbook: save its sheet as CSV",
    b"%PDF": "a PDF: export its table as CSV",
    b"\xff\xfe\0\0": "in UTF-32: save it as UTF-8",
    b"\0\0\xfe\xff": "in UTF-32: save it as UTF-8",
}
_WINDOWS_1252 = "".join(
    bytes([byte]).decode("cp1252", "ignore") or chr(byte)  # five bytes mean control characters
    for byte in range(256)
)


class Source:
    """One file to be read from its beginning; at first its bytes as they are."""

    def __init__(self, path: Path, hint: str = "") -> None:
        """Open the file. InputFileError; ``hint`` ends the message about a missing file."""
        self.path = path
        self.file = open_input(path, hint)
        self.size = os.fstat(self.file.fileno()).st_size  # bytes
        self.packing = self.encoding = ""
        self._stream: IO[bytes] | BufferedReader = self.file
        self._convert: Callable[[bytes], bytes] | None = None
        self._ahead, self._unpacked, self._most_growth = b"", 0, 1

    @property
    def consumed(self) -> int:
        """The bytes of the file that were read, before unpacking."""
        return self.file.tell()

    @property
    def most_left(self) -> int:
        """The most bytes that may still be read: for a packed file, which nobody knows, far more than there are."""
        return 0 if self.file.closed else len(self._ahead) + max(0, self.size - self.file.tell()) * self._most_growth

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def unpack(self) -> None:
        """Read what is packed in the file from here on. InputFileError for a packing that is not read."""
        start = self._first_bytes()
        refuse_foreign(self.path, start)
        if start.startswith(b"PK\x03\x04"):
            self.packing = "zip"
            self._stream = self._one_of_zip()
        elif start.startswith(b"\x1f\x8b"):
            self._stream, self.packing = cast(Any, pa.input_stream(self.file, compression="gzip")), "gzip"
        elif start.startswith(b"\x28\xb5\x2f\xfd"):
            self._stream, self.packing = cast(Any, pa.input_stream(self.file, compression="zstd")), "zstd"
        if self.packing:
            self._most_growth = MOST_GROWTH

    def is_parquet(self) -> bool:
        """Tell whether the file, not what is packed in it, is Parquet."""
        return not self.packing and self._first_bytes().startswith(PARQUET)

    def as_utf8(self) -> None:
        """Give UTF-8 from here on, without a byte order mark."""
        head = self.read(HEAD_BYTES)
        if self.packing:
            refuse_foreign(self.path, head)
            if head.startswith((PARQUET, b"PK\x03\x04", b"\x1f\x8b", b"\x28\xb5\x2f\xfd")):
                raise InputFileError(f"{self.path}: what is packed in it is packed once more: unpack it")
        if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            self.encoding, self._convert = "UTF-16", _from_utf16()
            self._most_growth *= 2  # one unit of two bytes becomes up to three
        elif _is_utf8(head):
            self.encoding, head = "UTF-8", head.removeprefix(codecs.BOM_UTF8)
        else:
            self.encoding, self._convert = "Windows-1252", _from_windows
            self._most_growth *= 3
        self._ahead = self._convert(head) if self._convert else head

    def replace(self, old: bytes, new: bytes) -> None:
        """Replace ``old``, two equal bytes, by ``new`` in all that is read from here on."""
        before, held = self._convert, b""

        def convert(data: bytes) -> bytes:
            nonlocal held
            at_end = not data
            text = held + (before(data) if before else data)
            held = b""
            if not at_end and (len(text) - len(text.rstrip(old[:1]))) % 2:  # its other half may follow
                text, held = text[:-1], old[:1]
            return text.replace(old, new)

        self._ahead, self._convert = convert(self._ahead) if self._ahead else b"", convert

    def peek(self) -> tuple[bytes, bool]:
        """Return the first bytes, which are read again later, and whether they are the whole file."""
        while len(self._ahead) < HEAD_BYTES:
            data = self._next(HEAD_BYTES)
            if not data:
                return self._ahead, True
            self._ahead += data
        return self._ahead, False

    def read(self, n_bytes: int) -> bytes:
        """Return about the next ``n_bytes``; nothing at the end. InputFileError."""
        if self._ahead:
            data, self._ahead = self._ahead[:n_bytes], self._ahead[n_bytes:]
            return data
        return self._next(n_bytes)

    def _first_bytes(self) -> bytes:
        try:
            return self.file.peek(512)
        except OSError as error:
            raise self._unreadable(error) from None

    def _unreadable(self, error: Exception) -> InputFileError:
        what = (error.strerror if isinstance(error, OSError) else None) or f"{error}".split("\n")[0]
        return InputFileError(f"{self.path} cannot be read ({what}): check that it is the right file")

    def _next(self, n_bytes: int) -> bytes:
        while True:
            data = self._raw(n_bytes)
            if self._convert is None:
                return data
            text = self._convert(data)
            if text or not data:
                return text

    def _raw(self, n_bytes: int) -> bytes:
        try:
            data = self._stream.read(n_bytes)
        except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise self._unreadable(error) from None
        if self.packing:
            self._unpacked += len(data)
            if self._unpacked > max(_FREE_GROWTH, MOST_GROWTH * self.size):
                raise InputFileError(
                    f"{self.path} grows more than {MOST_GROWTH} times when it is unpacked, as no table does: check "
                    "that it is the right file"
                )
        return data

    def _one_of_zip(self) -> IO[bytes]:
        try:
            guarded = _SmallDirectory(self.file)
            archive = zipfile.ZipFile(cast(Any, guarded))
            guarded.most = sys.maxsize
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise InputFileError(f"{self.path} is no sound zip file ({error}): unpack it yourself") from None
        names = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX/")]
        if "[Content_Types].xml" in names:
            raise InputFileError(f"{self.path} is an Excel workbook: save its sheet as CSV")
        data = [name for name in names if not _ABOUT.search(name)]
        if len(data) == 1:
            self.packing, names = "zip" if len(names) == 1 else f"zip ({listed(data)})", data
        if len(names) != 1:
            shown = listed(names[:_SHOWN_FILES]) + ", ..." * (len(names) > _SHOWN_FILES)
            raise InputFileError(f"{self.path} holds {len(names):,} files ({shown}): unpack it, and name one of them")
        try:
            return archive.open(names[0])
        except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError) as error:
            raise InputFileError(f"{self.path} cannot be unpacked ({error}): unpack it yourself") from None


class _SmallDirectory:
    """A zip file of which no more than ``most`` bytes are read at once, whatever its directory's length claims."""

    def __init__(self, file: BufferedReader) -> None:
        self._file, self.most = file, _ZIP_DIRECTORY

    def read(self, n_bytes: int = -1) -> bytes:
        if n_bytes > self.most:
            raise OSError("it holds too many files")
        return self._file.read(n_bytes)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def listed(names: Sequence[str], most: int = 200) -> str:
    """Return names of a file for one line of output: at most so many characters, none of which moves the cursor."""
    text = ", ".join(names)[:most]
    return "".join(character if character.isprintable() else "?" for character in text)


def refuse_foreign(path: Path, start: bytes) -> None:
    """Raise InputFileError for a file whose first bytes show that it is no table."""
    for magic, what in _REFUSED.items():
        if start.startswith(magic):
            raise InputFileError(f"{path} is {what}")
    if start[257:262] == b"ustar":
        raise InputFileError(f"{path} is a tar archive: unpack it, and name a file of it")


def _is_utf8(head: bytes) -> bool:
    """Tell whether bytes, which may end within a character, are UTF-8, or UTF-8 with faults."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        characters = head.decode("utf-8", "ignore")
        right = sum(not character.isascii() for character in characters)
        return right >= len(head) - len(characters.encode())
    return True


def _from_utf16() -> Callable[[bytes], bytes]:
    decoder = codecs.getincrementaldecoder("utf-16")("surrogatepass")

    def convert(data: bytes) -> bytes:
        try:
            return decoder.decode(data, final=not data).encode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            return b"\xff"  # half a character at the end; its row is no UTF-8

    return convert


def _from_windows(data: bytes) -> bytes:
    return codecs.charmap_decode(data, "strict", _WINDOWS_1252)[0].encode()
