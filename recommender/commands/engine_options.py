"""The command line of ``recommendation_engine.py``, and the values of its options."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from recommender.errors import SettingError, UnknownUserError
from recommender.settings import DATABASE_OPTIONS, RATING_OPTIONS, Settings, add_options
from recommender.shop import RatingMatrix, UserId

_OTHER_WORK = ("check_data", "evaluate", "list_versions", "rollback", "export", "map")  # what is no batch
_OF_SPARK = ("spark", "from_parquet", "to_parquet", "jdbc_jar")


def parse_arguments(arguments: list[str] | None, *, batch_sample: int, constants: Iterable[str]) -> argparse.Namespace:
    """Return the options of step 3; ``batch_sample``: default of --users; ``constants``: the script's settings."""
    parser = argparse.ArgumentParser(
        description="Step 3: train on the ratings in the database, show a sample, write a batch of recommendations.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--users",
        default=str(batch_sample),
        metavar="N|all",
        help="recommend to the N smallest user_ids with ratings (not by classic: or interactions), or to all "
        f"(default: {batch_sample})",
    )
    parser.add_argument("--user", metavar="ID", help="the user shown as a sample (default: the smallest user_id)")
    parser.add_argument("--if-stale", action="store_true", help="write no batch if the one there is of the same data")
    parser.add_argument(
        "--check-data", action="store_true", help="report on the ratings and what training will take, write nothing"
    )
    parser.add_argument(
        "--evaluate", action="store_true", help="compare all rankings on hidden ratings, and name the one to run"
    )
    parser.add_argument(
        "--ratings", type=Path, metavar="FILE", help="evaluate on user_id,product_id[,rating][,timestamp] instead"
    )
    parser.add_argument("--columns", metavar="NAMES", help="of that file, as load_recommendation_data.py takes them")
    parser.add_argument("--zero-is", default="", metavar="WHAT", help="what 0 in that file is: unrated or lowest")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the evaluation (default: 0)")
    parser.add_argument(
        "--force",
        action="store_true",
        help="publish a version even if it is worse than the published one or has too few lists",
    )
    parser.add_argument(
        "--save-model", nargs="?", const="", metavar="FILE", help="save what the API serves (default: MODEL_FILE)"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="--save-model: also in the place of a file that is no model"
    )
    parser.add_argument("--map", action="store_true", help="make the taste map of the published version, for /map")
    parser.add_argument("--list-versions", action="store_true", help="print the versions there are, the newest first")
    parser.add_argument(
        "--export",
        type=Path,
        metavar="FILE",
        help="write the published lists to a .parquet, .csv or .jsonl file for other tools",
    )
    parser.add_argument(
        "--spark", metavar="MASTER", help="make the lists on Apache Spark: local[2], spark://host:7077, yarn, k8s://..."
    )
    parser.add_argument("--from-parquet", metavar="FOLDER", help="--spark: read Parquet files instead of the database")
    parser.add_argument(
        "--to-parquet", metavar="FOLDER", help="--spark: write the lists as Parquet files, not into the database"
    )
    parser.add_argument(
        "--jdbc-jar", type=Path, metavar="FILE", help="--spark: the JDBC driver (default: Debian's libmariadb-java)"
    )
    parser.add_argument("--verbose", action="store_true", help="--spark: show Spark's own log")
    parser.add_argument("--rollback", type=int, metavar="VERSION", help="publish the lists of a kept version again")
    add_options(parser, [*constants, "MODEL_FILE", *RATING_OPTIONS, *DATABASE_OPTIONS])
    return parser.parse_args(arguments)


def batch_size(text: str) -> int | None:
    """Return the number of users that ``--users`` asks for, None for all. SettingError for anything else."""
    if text == "all":
        return None
    if text.isascii() and text.isdigit() and len(text) <= 10 and 0 < int(text) <= 2**31:
        return int(text)
    raise SettingError(f"--users {text!r} is neither a number of users (1 or more) nor 'all'")


def sample_user(text: str | None, matrix: RatingMatrix) -> UserId:
    """Return the user_id of ``--user``, by default the smallest. UnknownUserError for a text that is no id."""
    if text is None:
        return matrix.user_of(0)
    if matrix.ids.is_text:
        return text
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise UnknownUserError(text)
    return int(text)


@dataclass(frozen=True)
class SparkOptions:
    """The options of a batch on Spark; without ``to_parquet`` the lists go into the database."""

    master: str
    from_parquet: str | None
    to_parquet: str | None
    jar: Path | None
    verbose: bool


def check_spark_makes_lists(options: argparse.Namespace) -> None:
    """Raise SettingError if an option of Spark stands beside one that Spark has no part in."""
    for other in _OTHER_WORK:
        for name in _OF_SPARK:
            if getattr(options, other) not in (None, False) and getattr(options, name) is not None:
                spelled, beside = (f"--{one.replace('_', '-')}" for one in (name, other))
                raise SettingError(
                    f"{spelled} is for making lists on Spark, and {beside} does not: give one of the two"
                )


def spark_options(options: argparse.Namespace, settings: Settings) -> SparkOptions | None:
    """Return the options of ``--spark``; None without it. SettingError for those that do not fit together."""
    given = {name: getattr(options, name) for name in _OF_SPARK[1:]}
    if options.spark is None:
        for name, value in given.items():
            if value is not None:
                raise SettingError(f"--{name.replace('_', '-')} {value} is for --spark MASTER: give both")
        return None
    if options.save_model is not None:
        reason = "a model file holds everybody in the memory of one machine"
        raise SettingError(f"--save-model is not for --spark: {reason}; run it without --spark")
    if not settings.db_host and options.from_parquet is None:
        raise SettingError("--spark reads a server, and DB_HOST is not set: set it, or give --from-parquet FOLDER")
    if not settings.db_host and options.to_parquet is None:
        raise SettingError("--spark writes to a server, and DB_HOST is not set: set it, or give --to-parquet FOLDER")
    return SparkOptions(options.spark, options.from_parquet, options.to_parquet, options.jdbc_jar, options.verbose)
