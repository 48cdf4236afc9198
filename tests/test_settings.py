"""Settings: the source of each value, and the values that are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import load_recommendation_data
import recommendation_engine
import to_rds
from recommender.errors import SettingError
from recommender.settings import PROJECT_ROOT, SETTINGS, Settings, load_settings
from tests.conftest import ROOT


def load(tmp_path: Path, lines: str = "", **sources: Any) -> Settings:
    file = tmp_path / ".env"
    file.write_text(lines, encoding="utf-8")
    return load_settings(
        sources.get("options"), sources.get("constants"), environ=sources.get("environ", {}), env_file=file
    )


def test_an_option_beats_the_environment_beats_the_file_beats_the_constant_beats_the_default(tmp_path: Path) -> None:
    sources: dict[str, Any] = {
        "constants": {"NUM_USERS": 4},
        "environ": {"NUM_USERS": "2"},
        "options": {"NUM_USERS": 1},
    }
    assert load(tmp_path, "NUM_USERS=3", **sources).num_users == 1
    del sources["options"]
    assert load(tmp_path, "NUM_USERS=3", **sources).num_users == 2
    del sources["environ"]
    assert load(tmp_path, "NUM_USERS=3", **sources).num_users == 3
    assert load(tmp_path, "", **sources).num_users == 4
    assert load(tmp_path).num_users == 5_000


def test_an_empty_environment_variable_hides_the_file(tmp_path: Path) -> None:
    assert load(tmp_path, "DB_HOST=db.example.com", environ={"DB_HOST": ""}).db_host == ""


@pytest.mark.parametrize("value", ["4_2", "4.2", "abc", "٤٢", "1e3", "0x10", "--5", "9" * 30])
def test_a_malformed_number_is_refused_by_name_and_value(tmp_path: Path, value: str) -> None:
    with pytest.raises(SettingError) as refused:
        load(tmp_path, f"DB_PORT={value}")
    assert "DB_PORT" in str(refused.value)
    assert value in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("name", "value"), [("DB_PORT", "0"), ("DB_PORT", "65536"), ("NUM_USERS", "-1")])
def test_a_number_out_of_range_is_refused(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(SettingError, match=rf"{name}={value} \(environment\) is out of range"):
        load(tmp_path, environ={name: value})


def test_a_password_keeps_every_character_and_is_never_shown(tmp_path: Path) -> None:
    settings = load(tmp_path, environ={"DB_PASSWORD": " p@ss:w/o#r%d$HOME "})
    assert settings.db_password == " p@ss:w/o#r%d$HOME "
    assert "p@ss" not in repr(settings)
    assert load(tmp_path, "DB_PASSWORD='a # b${HOME}'").db_password == "a # b${HOME}"


def test_a_relative_sqlite_file_is_in_the_folder_of_the_scripts(tmp_path: Path) -> None:
    assert load(tmp_path).sqlite_file == PROJECT_ROOT / "recommender.db"
    assert load(tmp_path, f"SQLITE_FILE={tmp_path}/x.db").sqlite_file == tmp_path / "x.db"


def test_a_missing_certificate_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="DB_SSL_CA=/no/such/ca.pem is not a file"):
        load(tmp_path, "DB_SSL_CA=/no/such/ca.pem")


def test_an_env_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_bytes(b"DB_HOST=\xff\xfe")
    with pytest.raises(SettingError, match="cannot be read"):
        load_settings(environ={}, env_file=file)


def test_every_setting_is_in_env_example_with_its_default_and_meaning() -> None:
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    for setting in SETTINGS:
        example = setting.default if setting.example is None else setting.example
        assert f"# {setting.meaning}\n{setting.name}={example}\n" in text


def test_every_setting_is_on_the_operations_page_with_its_default_and_meaning() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    for setting in SETTINGS:
        default = f"`{setting.default}`" if setting.default != "" else "(empty)"
        assert f"| `{setting.name}` | {default} | {setting.meaning} |" in text


def test_module_constants_are_the_defaults_of_the_table() -> None:
    defaults = {setting.name: setting.default for setting in SETTINGS}
    for module, names in (
        (to_rds, ["READ_CHUNK_SIZE"]),
        (load_recommendation_data, ["NUM_USERS", "NUM_INTERACTIONS", "NUM_RATINGS"]),
        (recommendation_engine, ["TOP_N_SIMILAR_USERS", "TOP_N_RECOMMENDATIONS"]),
    ):
        for name in names:
            assert getattr(module, name) == defaults[name]


@pytest.mark.parametrize("line", ['DB_HOST="db.example.com', "DB_HOST='x", "DB HOST=x"])
def test_a_line_of_the_env_file_that_is_no_setting_is_refused_with_its_number(tmp_path: Path, line: str) -> None:
    with pytest.raises(SettingError, match=r"\.env, line 2 is not NAME=value"):
        load(tmp_path, f"DB_PORT=3306\n{line}\nDB_NAME=x\n")


def test_a_path_below_a_missing_home_folder_is_refused(tmp_path: Path) -> None:
    for name in ("SQLITE_FILE", "DB_SSL_CA"):
        with pytest.raises(SettingError, match=f"{name}=~nosuchuser/x: there is no such home folder"):
            load(tmp_path, environ={name: "~nosuchuser/x"})


@pytest.mark.parametrize("value", ["usd", "US", "EURO", "€", "U$D", "EUR\n"])
def test_a_currency_that_is_not_three_capital_letters_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(SettingError, match="CURRENCY=.* is no currency: give three capital letters of ISO 4217"):
        load(tmp_path, options={"CURRENCY": value})
    assert load(tmp_path, "CURRENCY=CHF").currency == "CHF"


def test_a_pattern_of_product_ids_that_is_no_regular_expression_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"PRODUCT_ID_PATTERN='\[A-Z' is no regular expression \(unterminated"):
        load(tmp_path, "PRODUCT_ID_PATTERN=[A-Z")
    assert load(tmp_path, "").product_id_pattern == "[A-Z0-9]{10}"
    assert load(tmp_path, "PRODUCT_ID_PATTERN=.+").product_id_pattern == ".+"
