"""The files of a shop that step 2 imports, as the command line names them."""

from __future__ import annotations

import hashlib
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recommender.database import NUMBERS, TEXT
from recommender.errors import InputFileError, SettingError
from recommender.files import HINT, INTERACTIONS_HINT, PEOPLE_HINT
from recommender.paths import open_input
from recommender.shop import Scale

RATINGS, INTERACTIONS, PEOPLE = "ratings", "interactions", "users"
_HINTS = {RATINGS: HINT, INTERACTIONS: INTERACTIONS_HINT, PEOPLE: PEOPLE_HINT}


@dataclass(frozen=True)
class ShopFiles:
    """The files of a shop by what they hold (`RATINGS`, `INTERACTIONS`, `PEOPLE`), and what the options say of them."""

    paths: Mapping[str, Path]
    columns: Mapping[str, str] = field(default_factory=dict)  # of some files
    kind: str | None = None  # the type of all interactions
    private: tuple[str, ...] = ()  # of name and email, those to be read
    user_ids: str | None = None  # NUMBERS or TEXT
    scale: Scale | None = None  # that of RATING_*
    zero_is: str = ""  # what a rating of 0 is: unrated or lowest

    @classmethod
    def of(cls, options: Namespace, scale: Scale | None = None) -> ShopFiles:
        """Return the files that the options of `add_file_options` name, with ratings on ``scale`` (None: any).

        SettingError if they do not fit together.
        """
        given = {RATINGS: options.ratings, INTERACTIONS: options.interactions, PEOPLE: options.users}
        paths = {what: path for what, path in given.items() if path is not None}
        data = [what for what in (RATINGS, INTERACTIONS) if what in paths]
        columns = {INTERACTIONS: options.interaction_columns, PEOPLE: options.user_columns}
        columns = {what: text for what, text in columns.items() if text}
        if options.columns and data:
            if data[0] in columns:
                raise SettingError(f"--columns and --interaction-columns are both of {paths[INTERACTIONS]}: give one")
            columns[data[0]] = options.columns
        private = tuple(name for name in ("name", "email") if getattr(options, f"with_{name}s"))
        if not data and (options.columns or options.user_ids or options.dry_run or options.zero_is):
            raise SettingError(
                "--columns, --user-ids, --zero-is and --dry-run are for --ratings FILE or --interactions FILE: "
                "give both"
            )
        if options.zero_is and RATINGS not in paths:
            raise SettingError("--zero-is is for --ratings FILE: give both")
        if paths and not data:
            raise SettingError("--users is for --ratings FILE or --interactions FILE: give it with one of them")
        for what, option in ((INTERACTIONS, "--interaction-columns"), (PEOPLE, "--user-columns")):
            if what in columns and what not in paths:
                raise SettingError(f"{option} is for --{what} FILE: give both")
        if options.interaction_type and INTERACTIONS not in paths:
            raise SettingError("--interaction-type is for --interactions FILE: give both")
        if private and PEOPLE not in paths:
            raise SettingError(f"--with-{private[0]}s is for --users FILE: give both")
        said = options.interaction_type, private, options.user_ids, scale, options.zero_is
        return cls(paths, columns, *said)

    def made_from(self) -> dict[str, Any]:
        """Return the note of what the tables are made from: it differs when a file or an option does."""
        found: dict[str, Any] = {}
        for what, path in self.paths.items():
            noted = {"file": path.name, "content": _fingerprint(path, _HINTS[what])}
            noted |= {"columns": self.columns[what]} if what in self.columns else {}
            found |= noted if not found else {what: noted}
        found |= {"of": INTERACTIONS} if RATINGS not in self.paths else {}
        found |= {"type": self.kind} if self.kind else {}
        found |= {"user_ids": self.user_ids} if self.user_ids else {}
        found |= {"zero_is": self.zero_is} if self.zero_is else {}
        found |= {"scale": self.scale.to_json()} if self.scale else {}
        return {"made_from": "file"} | found | ({"private": list(self.private)} if self.private else {})


def add_file_options(parser: ArgumentParser) -> None:
    """Give ``parser`` the options that name a shop's own files and their columns."""
    parser.add_argument(
        "--ratings",
        type=Path,
        metavar="FILE",
        help="import these ratings instead: text with any delimiter, JSON lines or Parquet, also packed; of a repeated "
        "pair of user and product the last row wins",
    )
    parser.add_argument(
        "--interactions",
        type=Path,
        metavar="FILE",
        help="import these views, clicks and purchases, beside --ratings or alone; a file without a column of types "
        "holds purchases",
    )
    parser.add_argument("--users", type=Path, metavar="FILE", help="import these people: id, country, age, gender")
    parser.add_argument(
        "--columns",
        metavar="NAMES",
        help="of the file of ratings, or of interactions alone: user,product,rating,time, all in its order (_ for one "
        "to ignore), or user_id=NAME,rating=NAME for those whose names are not known",
    )
    parser.add_argument("--interaction-columns", metavar="NAMES", help="the same of the file of --interactions")
    parser.add_argument("--user-columns", metavar="NAMES", help="the same of the file of --users")
    parser.add_argument(
        "--interaction-type",
        metavar="TYPE",
        help="what all rows of --interactions are, where it has no column of types (default: purchase)",
    )
    parser.add_argument(
        "--user-ids",
        choices=(NUMBERS, TEXT),
        help="what the user ids of the files are (default: as those in the tables; in a new database whole numbers if "
        "all are but one, or one in a hundred)",
    )
    parser.add_argument(
        "--zero-is",
        default="",
        metavar="WHAT",
        help="what a rating of 0 in the file is: unrated (its row is left out) or lowest (all ratings move up by one "
        "step)",
    )
    parser.add_argument("--with-names", action="store_true", help="keep the names that --users has")
    parser.add_argument("--with-emails", action="store_true", help="keep the e-mails that --users has")
    parser.add_argument(
        "--dry-run", action="store_true", help="print what the files hold, ten rows and the counts; no write"
    )


def _fingerprint(file: Path, hint: str) -> str:
    with open_input(file, hint) as content:
        try:
            return hashlib.file_digest(content, "sha256").hexdigest()
        except OSError as error:
            raise InputFileError(f"{file} cannot be read ({error.strerror}): check that it is the right file") from None
