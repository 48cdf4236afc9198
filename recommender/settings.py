"""Settings as data: one table gives every name, default and meaning; ``load_settings`` turns it into a frozen record.

Precedence, per name: command-line option, environment variable, ``.env`` beside the scripts, module constant of the
script, default of the table. An environment variable that is set but empty counts as "not set", and hides the line
in ``.env``. Nothing is read at import. Only ``main()``, ``build_engine()`` and the API's lifespan call
``load_settings`` and hand the values down. Secrets never show in ``repr``, logs or errors.
"""

from __future__ import annotations

import os
import re
from argparse import ArgumentParser
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from io import StringIO
from pathlib import Path

from dotenv import dotenv_values
from dotenv.parser import parse_stream

from recommender.errors import SettingError

PROJECT_ROOT = Path(__file__).resolve().parent.parent
LARGEST_ID = 2**63 - 1


@dataclass(frozen=True)
class Setting:
    """One row of the table. The value is a whole number (``lowest..highest``) if ``default`` is one, else text."""

    name: str
    default: int | str
    meaning: str
    lowest: int = 1
    highest: int = LARGEST_ID
    secret: bool = False
    choices: tuple[str, ...] = ()
    example: str | None = None  # the value in .env.example, None: the default


SETTINGS = (
    Setting("DB_HOST", "", "Host of the MySQL, MariaDB or Amazon RDS server; empty: the embedded SQLite file"),
    Setting("DB_PORT", 3306, "Port of that server", highest=65_535),
    Setting("DB_NAME", "recommender", "Database (schema) on that server, created by step 1 if missing"),
    Setting("DB_USER", "root", "User on that server"),
    Setting("DB_PASSWORD", "", "Password of that user; never printed", secret=True),
    Setting("DB_SSL_CA", "", "File with the CA certificate; turns on TLS with a verified certificate and host name"),
    Setting("SQLITE_FILE", "recommender.db", "SQLite file used without DB_HOST; a relative path starts at the scripts"),
    Setting("LOCK_WAIT_SECONDS", 600, "How long a step waits for a lock of another session", highest=604_800),
    Setting("READ_CHUNK_SIZE", 50_000, "Rows of the products CSV handled at a time", highest=10_000_000),
    Setting(
        "PRODUCT_ID_PATTERN",
        "[A-Z0-9]{10}",
        "Regular expression of the product ids in a catalog with the Kaggle file's columns; .+ for any ids",
    ),
    Setting("NUM_USERS", 5_000, "Synthetic users to make", highest=100_000_000),
    Setting("NUM_INTERACTIONS", 100_000, "Synthetic interactions to make", lowest=0, highest=2_000_000_000),
    Setting("NUM_RATINGS", 30_000, "Synthetic ratings to make", lowest=0, highest=2_000_000_000),
    Setting("RATING_MIN", "", "Lowest rating; empty: that of the ratings there are, else 0.5"),
    Setting("RATING_MAX", "", "Highest rating, at most 127 steps; empty: that of the ratings there are, else 5"),
    Setting("RATING_STEP", "", "From one rating to the next; empty: that of the ratings there are, else 0.5"),
    Setting("TOP_N_SIMILAR_USERS", 20, "Neighbors a prediction is averaged over", highest=100_000),
    Setting("TOP_N_RECOMMENDATIONS", 10, "Products recommended to one user", highest=100_000),
    Setting(
        "RANKING",
        "classic",
        "How products are ranked: classic, taste, items or auto; empty: classic, or auto without any rating",
        choices=("classic", "taste", "items", "auto"),
        example="",
    ),
    Setting(
        "INTERACTION_WEIGHTS",
        "view=0.2,click=0.5,add_to_cart=1,purchase=2",
        "What an interaction counts by taste, items and auto, where a rating counts 1",
    ),
    Setting(
        "NEW_PRODUCT_PERCENT",
        10,
        "Lists by taste, items and auto, in a hundred, whose last place goes to a product nobody has rated",
        lowest=0,
        highest=100,
    ),
    Setting("KEEP_VERSIONS", 3, "Versions of the lists that are kept, the published one included", highest=1_000),
    Setting("MODEL_FILE", "", "File with a saved model (--save-model); the API serves from it; empty: no file"),
    Setting("CURRENCY", "USD", "Currency of all prices, three letters of ISO 4217; the API shows it"),
    Setting("REQUEST_LOG", 1, "1: the API logs one line of JSON per request on its standard output; 0: none", 0, 1),
    Setting(
        "ANSWER_CACHE_MB", 64, "Memory of one API worker for answers that are ready to be sent; 0: none", 0, 100_000
    ),
    Setting("CORS_ORIGINS", "", "Origins, by commas, whose pages may call the API from a browser; empty: none"),
    Setting(
        "API_KEY",
        "",
        "Keys, by commas, that open what needs one in X-API-Key: of 16 characters or more; empty: none; never printed",
        secret=True,
    ),
    Setting(
        "REQUIRE_KEY",
        "people",
        "people: what shows or changes a person's data needs a key; all: lists and everything else, too",
        choices=("people", "all"),
    ),
    Setting(
        "PRODUCT_IMAGES",
        0,
        "1: the pages show the pictures that the catalog's imgUrl names, from their hosts; 0: drawn ones",
        0,
        1,
    ),
    Setting(
        "REQUEST_TIMEOUT",
        10,
        "Seconds in which a request has to come; its answer is waited for 3 times as long",
        1,
        3600,
    ),
    Setting(
        "CONNECTION_LIMIT", 1_000, "Connections that one API worker holds; the longest idle make room", highest=100_000
    ),
)
# not DB_PASSWORD: an option shows in the list of processes
DATABASE_OPTIONS = ("DB_HOST", "DB_PORT", "DB_NAME", "DB_USER", "DB_SSL_CA", "SQLITE_FILE", "LOCK_WAIT_SECONDS")
RATING_OPTIONS = ("RATING_MIN", "RATING_MAX", "RATING_STEP")
_BY_NAME = {setting.name: setting for setting in SETTINGS}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The values of one run. Field names are the setting names in lower case."""

    db_host: str
    db_port: int
    db_name: str
    db_user: str
    db_password: str = field(repr=False)
    db_ssl_ca: str
    sqlite_file: Path
    lock_wait_seconds: int
    read_chunk_size: int
    product_id_pattern: str
    num_users: int
    num_interactions: int
    num_ratings: int
    rating_min: str
    rating_max: str
    rating_step: str
    top_n_similar_users: int
    top_n_recommendations: int
    ranking: str
    interaction_weights: str
    new_product_percent: int
    keep_versions: int
    model_file: Path | None
    currency: str
    request_log: int
    answer_cache_mb: int
    cors_origins: str
    api_key: str = field(repr=False)
    require_key: str
    product_images: int
    request_timeout: int
    connection_limit: int
    given: frozenset[str] = frozenset()  # names that an option, the environment or .env gave a value


def load_settings(
    options: Mapping[str, object] | None = None,
    constants: Mapping[str, object] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    env_file: Path | None = None,
) -> Settings:
    """Return the settings of this run, each from the first place that has it.

    ``options`` (from the command line; None values count as not given) and ``constants`` (of the script) map setting
    names to values. ``environ`` defaults to ``os.environ``, ``env_file`` to ``.env`` beside the scripts.
    Raises SettingError naming the setting, the value, where it came from and what is allowed.
    """
    environment = os.environ if environ is None else environ
    file = PROJECT_ROOT / ".env" if env_file is None else env_file
    from_file = _read_env_file(file)
    values: dict[str, object] = {}
    provided: set[str] = set()
    for setting in SETTINGS:
        value, origin = _first_given(setting.name, options or {}, environment, from_file, constants or {})
        if value is not None and origin != "module constant":
            provided.add(setting.name)
        values[setting.name.lower()] = _checked(setting, setting.default if value is None else value, origin)
    sqlite_file = checked_path("SQLITE_FILE", str(values["sqlite_file"]))
    values["sqlite_file"] = PROJECT_ROOT / sqlite_file  # an absolute path stays as it is
    model_file = checked_path("MODEL_FILE", str(values["model_file"]))
    values["model_file"] = PROJECT_ROOT / model_file if str(values["model_file"]) else None
    if ca := str(values["db_ssl_ca"]):
        if not checked_path("DB_SSL_CA", ca).is_file():
            raise SettingError(f"DB_SSL_CA={ca} is not a file: name the PEM file of the CA, or leave it empty")
        values["db_ssl_ca"] = str(checked_path("DB_SSL_CA", ca))
    if not re.fullmatch("[A-Z]{3}", str(values["currency"])):
        given = str(values["currency"])[:100]
        raise SettingError(f"CURRENCY={given!r} is no currency: give three capital letters of ISO 4217, such as USD")
    try:
        re.compile(str(values["product_id_pattern"]))
    except (re.error, OverflowError, RecursionError) as error:
        given = str(values["product_id_pattern"])[:100]
        raise SettingError(f"PRODUCT_ID_PATTERN={given!r} is no regular expression ({error})") from None
    return Settings(**values, given=frozenset(provided))  # type: ignore[arg-type]  # names are held to the table by a test


def checked_number(name: str, value: object) -> int:
    """Return ``value`` if the whole-number setting ``name`` may have it, else raise SettingError (for arguments)."""
    return int(str(_checked(_BY_NAME[name], value, "argument")))


def checked_choice(name: str, value: object) -> str:
    """Return ``value`` if it is one of the choices of the setting ``name``, else raise SettingError."""
    return str(_checked(_BY_NAME[name], value, "argument"))


def add_options(parser: ArgumentParser, names: Iterable[str]) -> None:
    """Give ``parser`` an option of the same name for each setting: ``--num-users`` sets NUM_USERS."""
    for name in names:
        setting = _BY_NAME[name]
        text = f"{setting.meaning} (default: {setting.default})" if setting.default != "" else setting.meaning
        parser.add_argument(
            f"--{name.lower().replace('_', '-')}",
            dest=name,
            metavar="N" if isinstance(setting.default, int) else "VALUE",
            help=text.replace("%", "%%"),
        )


def _read_env_file(file: Path) -> dict[str, str | None]:
    try:
        if file.exists() and not file.is_file():  # without it, the rows could go to another database
            raise SettingError(f"{file} is no regular file: make it a text file, or remove it")
        text = file.read_text(encoding="utf-8") if file.is_file() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"{file} cannot be read ({error.__class__.__name__}): make it a UTF-8 text file") from None
    for line in parse_stream(StringIO(text)):
        if line.error:  # without it, the rows could go to another database
            at = f"{file}, line {line.original.line}"
            raise SettingError(f"{at} is not NAME=value; is a quote not closed, or a space before the equals sign?")
    return dict(dotenv_values(stream=StringIO(text), interpolate=False))  # a password may hold a dollar sign


def checked_path(name: str, text: str) -> Path:
    """Return the path in a setting, where ~ is a home folder. SettingError if there is none of that name."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise SettingError(f"{name}={text}: there is no such home folder; write the whole path") from None


def _first_given(
    name: str,
    options: Mapping[str, object],
    environment: Mapping[str, str],
    from_file: Mapping[str, str | None],
    constants: Mapping[str, object],
) -> tuple[object | None, str]:
    if options.get(name) is not None:
        return options[name], "command line"
    if name in environment:
        value: str | None = environment[name]
        origin = "environment"
    else:
        value, origin = from_file.get(name), ".env"
    if value is not None and value.strip() != "":
        return value if _BY_NAME[name].secret else value.strip(), origin
    if name in environment and _BY_NAME[name].secret and environment[name] != "":
        return environment[name], origin
    return constants.get(name), "module constant"


def _checked(setting: Setting, value: object, origin: str) -> object:
    if isinstance(setting.default, str):
        if setting.choices and value not in setting.choices:
            known = " or ".join(setting.choices)
            raise SettingError(f"{setting.name}={str(value)[:100]!r} ({origin}) is not known: choose {known}")
        return str(value)
    # int() would accept 4_2, ' 42' and '٤٢'; bool is an int
    text = str(value)
    digits = text.removeprefix("-")
    if isinstance(value, bool) or not (digits.isascii() and digits.isdigit()) or len(digits) > 19:
        shown = "***" if setting.secret else repr(text[:100])
        raise SettingError(f"{setting.name}={shown} ({origin}) is not a whole number: {_range(setting)}")
    if not setting.lowest <= int(text) <= setting.highest:
        raise SettingError(f"{setting.name}={int(text)} ({origin}) is out of range: {_range(setting)}")
    return int(text)


def _range(setting: Setting) -> str:
    return f"give one from {setting.lowest} to {setting.highest}, for example {setting.default}"


assert {f.name for f in fields(Settings)} - {"given"} == {s.name.lower() for s in SETTINGS}
