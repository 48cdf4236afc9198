"""The files of the versions of a model: ``FILE.v6`` is version 6, and one rename publishes it."""

from __future__ import annotations

import contextlib
import glob
import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from recommender.errors import ModelFileError
from recommender.publishing._array_file import is_ours, to_disk


def kept_file(file: Path, number: int) -> Path:
    """Return the name of the file in which a version of the model is kept."""
    return file.with_name(f"{file.name}.v{number}")


def publish_file(file: Path, number: int) -> None:
    """Make ``file`` the kept version ``number``, in one step; raises ModelFileError if that is missing."""
    kept, link = kept_file(file, number), file.with_name(f".{file.name}.link")
    try:
        link.unlink(missing_ok=True)
        try:
            link.hardlink_to(kept)
        except OSError:  # not every file system has hard links
            shutil.copy(kept, link)
            to_disk(link)
        os.replace(link, file)  # noqa: PTH105
        to_disk(file.parent)
    except OSError as error:
        message = f"{file}: {kept.name} cannot be published ({error.strerror})"
        raise ModelFileError(f"{message}: correct that, or name another file") from None
    finally:
        with contextlib.suppress(OSError):
            link.unlink(missing_ok=True)  # rename leaves it if both names were the same file already


def drop_files(file: Path, keep: Iterable[int]) -> None:
    """Delete the kept versions of ``file`` that are not in ``keep``. Raises ModelFileError if one cannot be deleted.

    A file of such a name that is no model of this project stays.
    """
    wanted = {kept_file(file, number) for number in keep}
    for path in file.parent.glob(f"{glob.escape(file.name)}.v*"):
        if path in wanted or not re.fullmatch(r"\.v[1-9][0-9]*", path.name[len(file.name) :]):
            continue
        try:
            if not is_ours(path):
                continue
            path.unlink(missing_ok=True)
        except OSError as error:
            raise ModelFileError(f"{path} has expired and cannot be deleted ({error.strerror}): delete it") from None
