"""The rule for every path that is read or written.

Only a regular file, or a link to one, is read. A pipe or a device may never answer and never end, so it is refused at
once. Only a regular file of exactly that name is written, new or in place of an old one. A link, a folder, a pipe or a
device of that name stays as it is, and so does the target of a link. A file is written under another name in the same
folder and then renamed, so a reader finds the old file or the new one. It keeps the rights of the file it replaces.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path
from typing import TextIO

from recommender.errors import InputFileError, SettingError

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_READING = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)  # a pipe would wait for a writer


def opened_regular(path: Path) -> BufferedReader:
    """Open the file for reading. OSError; ValueError, in words, if it is no regular file."""
    descriptor = os.open(path, _READING)
    try:
        kind = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(kind):
            raise IsADirectoryError(21, "Is a directory")
        if not stat.S_ISREG(kind):
            raise ValueError(_KINDS.get(stat.S_IFMT(kind), "no regular file"))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def open_input(path: Path, hint: str = "") -> BufferedReader:
    """Open a file of rows for reading; ``hint`` ends the message about a missing file. InputFileError."""
    try:
        return opened_regular(path)
    except FileNotFoundError:
        raise InputFileError(f"{path} does not exist{': ' * bool(hint)}{hint}") from None
    except IsADirectoryError:
        raise InputFileError(f"{path} is a folder: name the CSV file in it") from None
    except ValueError as error:
        raise InputFileError(f"{path} is {error}: write its rows into a file, and name that") from None
    except OSError as error:
        raise InputFileError(f"{path} cannot be read ({error.strerror}): check its rights") from None


def refuse_to_replace(path: Path) -> None:
    """Raise SettingError unless ``path`` is free or a regular file. OSError if that cannot be told."""
    try:
        kind = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    if not stat.S_ISREG(kind):
        what = _KINDS.get(stat.S_IFMT(kind), "no regular file")
        raise SettingError(f"{path} cannot be written: it is {what}; name another file, or remove it")


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a file beside ``path``, then move it to ``path``. SettingError if that fails."""
    try:
        refuse_to_replace(path)
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        beside.unlink(missing_ok=True)
        os.close(os.open(beside, _NEW, 0o666))
        try:
            write(beside)
            if path.exists():
                beside.chmod(stat.S_IMODE(path.stat().st_mode))
            beside.replace(path)
        finally:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)
    except OSError as error:
        raise SettingError(
            f"{path} cannot be written ({error.strerror}): correct that, or choose another folder"
        ) from None


def new_text_file(path: Path) -> TextIO:
    """Open a new, empty text file at ``path``. An old file is removed, not emptied: other names of it keep its content.

    OSError; SettingError as `refuse_to_replace`.
    """
    refuse_to_replace(path)
    rights = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o666
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, _NEW, rights), "w", encoding="utf-8", newline="")


_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe, not a regular file",
    stat.S_IFCHR: "a device, not a regular file",
    stat.S_IFBLK: "a device, not a regular file",
    stat.S_IFSOCK: "a socket, not a regular file",
}
