"""The bytes of a file: every packing and encoding gives the same UTF-8, and no file fills the memory or never ends."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recommender.errors import InputFileError
from recommender.files import sources
from recommender.files.sources import Source

TEXT = "user,rating\nzoë,4\n„quoted“ €,5\n" * 40


def zstd(data: bytes) -> bytes:
    return bytes(pa.compress(data, codec="zstd", asbytes=True))


def zipped(*contents: bytes, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", method) as archive:
        archive.writestr("folder/", b"")
        for number, content in enumerate(contents):
            archive.writestr(f"{number}.csv", content)
        archive.writestr("__MACOSX/._0.csv", b"of the Mac's own")
    return sink.getvalue()


PACK: dict[str, Callable[[bytes], bytes]] = {
    "": lambda data: data,
    "gzip": gzip.compress,
    "zstd": zstd,
    "zip": zipped,
}


def read(folder: Path, data: bytes, at_a_time: int = 1 << 20) -> tuple[str, Source]:
    """Return the text of a file with these bytes."""
    (folder / "file").write_bytes(data)
    source = Source(folder / "file")
    try:
        source.unpack()
        source.as_utf8()
        pieces = []
        while piece := source.read(at_a_time):
            pieces.append(piece)
        return b"".join(pieces).decode(), source
    finally:
        source.close()


@pytest.mark.parametrize("packing", PACK)
@pytest.mark.parametrize(
    ("codec", "told"), [("utf-8", "UTF-8"), ("utf-8-sig", "UTF-8"), ("utf-16", "UTF-16"), ("cp1252", "Windows-1252")]
)
def test_every_packing_and_encoding_gives_the_same_text(tmp_path: Path, packing: str, codec: str, told: str) -> None:
    for at_a_time in (1, 7, 1 << 20):
        text, source = read(tmp_path, PACK[packing](TEXT.encode(codec)), at_a_time)
        assert text == TEXT
        assert (source.packing, source.encoding) == (packing, told)


def test_utf_16_of_the_other_byte_order_and_latin_1_are_read(tmp_path: Path) -> None:
    assert read(tmp_path, b"\xfe\xff" + TEXT.encode("utf-16-be"))[0] == TEXT
    assert read(tmp_path, "Ærø, Ångström\n".encode("latin-1"))[0] == "Ærø, Ångström\n"


def test_utf_8_with_a_few_wrong_bytes_stays_utf_8(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes("zoë\n".encode() * 3 + b"caf\xe9\n")
    source = Source(tmp_path / "file")
    source.as_utf8()
    assert (source.encoding, source.read(100)) == ("UTF-8", "zoë\n".encode() * 3 + b"caf\xe9\n")
    source.close()


def test_a_character_at_the_border_of_what_is_looked_at_is_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "HEAD_BYTES", 4)
    text, source = read(tmp_path, "abc€def".encode(), 3)
    assert (text, source.encoding) == ("abc€def", "UTF-8")


def test_half_a_character_at_the_end_of_utf_16_is_no_utf_8(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes("ab".encode("utf-16") + b"c")
    source = Source(tmp_path / "file")
    source.as_utf8()
    assert source.read(100) + source.read(100) == b"ab\xff"
    source.close()


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.sampled_from("a:b\n")), at_a_time=st.integers(1, 9), head=st.integers(1, 9))
def test_two_colons_are_replaced_wherever_the_pieces_end(tmp_path: Path, text: str, at_a_time: int, head: int) -> None:
    (tmp_path / "file").write_text(text, newline="")
    source = Source(tmp_path / "file")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "HEAD_BYTES", head)
        source.as_utf8()
        source.replace(b"::", b"\x1f")
        pieces = list(iter(lambda: source.read(at_a_time), b""))
    source.close()
    assert b"".join(pieces) == text.encode().replace(b"::", b"\x1f")


def test_several_gzip_members_are_one_file(tmp_path: Path) -> None:
    assert read(tmp_path, gzip.compress(b"a\n") + gzip.compress(b"b\n"))[0] == "a\nb\n"
    assert read(tmp_path, gzip.compress(b"a\n") + gzip.compress(b"") * 50_000 + gzip.compress(b"b\n"))[0] == "a\nb\n"


BOMB = b"1,B00000000A,5\n" * 200_000  # 3 MB


@pytest.mark.parametrize("packing", ["gzip", "zstd", "zip"])
def test_a_file_that_grows_without_measure_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packing: str
) -> None:
    monkeypatch.setattr(sources, "_FREE_GROWTH", 1 << 20)
    monkeypatch.setattr(sources, "MOST_GROWTH", 20)
    with pytest.raises(InputFileError, match="grows more than 20 times when it is unpacked, as no table does"):
        read(tmp_path, PACK[packing](BOMB), 1 << 16)
    monkeypatch.setattr(sources, "MOST_GROWTH", 100_000)
    assert len(read(tmp_path, PACK[packing](BOMB), 1 << 16)[0]) == len(BOMB)


@pytest.mark.parametrize("packing", ["gzip", "zstd", "zip"])
def test_a_truncated_or_damaged_file_is_one_line(tmp_path: Path, packing: str) -> None:
    # random text: damage within cannot pass as other text
    packed = PACK[packing](b"".join(b"%d," % (number * 7_919 % 104_729) for number in range(50_000)))
    middle = len(packed) // 2
    damaged = packed[:middle] + bytes(300) + packed[middle + 300 :]
    # this Zstandard file has no check sum
    for data in [packed[:middle], packed[:-1]] + [damaged] * (packing != "zstd"):
        with pytest.raises(InputFileError) as error:
            read(tmp_path, data)
        assert "\n" not in str(error.value)
        assert str(tmp_path / "file") in str(error.value)


def test_a_stored_zip_member_larger_than_the_limit_of_directories_is_read(tmp_path: Path) -> None:
    data = TEXT.encode() * 1_000
    assert read(tmp_path, zipped(data, method=zipfile.ZIP_STORED), 1 << 23)[0] == TEXT * 1_000


def test_a_zip_with_a_huge_directory_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="it holds too many files"):
        read(tmp_path, zipped(*[b""] * 30_000))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (zipped(b"a", b"b"), r"holds 2 files \(0.csv, 1.csv\): unpack it, and name one of them"),
        (zipped(), r"holds 0 files"),
        (gzip.compress(gzip.compress(b"a"), mtime=0), "packed once more"),
        (gzip.compress(b"PAR1" * 9, mtime=0), "packed once more"),
        (b"BZh91AY&SY", "packed with bzip2: unpack it"),
        (b"\xfd7zXZ\0\0", "packed with xz: unpack it"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "an Excel workbook: save its sheet as CSV"),
        ("a,b\n".encode("utf-32"), "in UTF-32: save it as UTF-8"),
        (b"name".ljust(257, b"\0") + b"ustar\x0000", "a tar archive: unpack it"),
        (gzip.compress(b"name".ljust(257, b"\0") + b"ustar\x0000", mtime=0), "a tar archive: unpack it"),
    ],
    ids=[
        "two",
        "none",
        "twice",
        "Parquet",
        "bzip2",
        "xz",
        "Excel",
        "UTF-32",
        "tar",
        "packed tar",
    ],  # packing has a time
)
def test_what_is_not_read_is_named_with_the_remedy(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(InputFileError, match=message):
        read(tmp_path, data)
