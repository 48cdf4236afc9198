"""People: repeatable, with the stated shares and with addresses that never repeat."""

from __future__ import annotations

import re
import time

import pandas as pd
import pytest

from recommender.errors import SettingError
from recommender.synthetic import people_blocks, segments
from recommender.synthetic.people import AGE_GROUPS, COUNTRIES, GENDERS, PEOPLE_COLUMNS


def make_people(n: int, seed: int) -> pd.DataFrame:
    """All of them in one frame."""
    return next(people_blocks(n, seed, people_per_block=n))


@pytest.fixture(scope="module")
def people() -> pd.DataFrame:
    return make_people(12_000, 7)


def test_people_have_the_five_columns_and_no_gap(people: pd.DataFrame) -> None:
    assert tuple(people.columns) == PEOPLE_COLUMNS == ("name", "email", "age_group", "gender", "country")
    assert len(people) == 12_000
    assert list(people.index) == list(range(12_000))
    assert not people.isna().to_numpy().any()
    assert people["name"].str.fullmatch(r"\S.*\s.*\S").all()


def test_no_address_repeats_and_all_are_lower_case_ascii_at_reserved_domains(people: pd.DataFrame) -> None:
    assert people["email"].is_unique
    assert people["email"].str.fullmatch(r"[a-z]+\.[a-z]+[0-9]+@example\.(com|net|org)").all()
    assert set(people["email"].str.rpartition("@")[2]) == {"example.com", "example.net", "example.org"}


def test_the_number_in_the_address_is_the_number_of_the_person(people: pd.DataFrame) -> None:
    # so addresses never repeat at any size: letters, then the number, then @
    numbers = people["email"].str.extract(r"([0-9]+)@")[0].astype(int)
    assert list(numbers) == list(range(1, 12_001))


def test_names_belong_to_the_country(people: pd.DataFrame) -> None:
    accents = people["name"].map(lambda name: not name.isascii())
    share = accents.groupby(people["country"]).mean()
    assert share["France"] > 0.1
    assert share["Poland"] > 0.1
    assert share["United States"] == 0.0
    assert people["name"].nunique() > 0.9 * len(people)


@pytest.mark.parametrize("column", ["age_group", "gender", "country"])
def test_shares_are_the_stated_ones(people: pd.DataFrame, column: str) -> None:
    stated = {
        "age_group": AGE_GROUPS,
        "gender": GENDERS,
        "country": {country: share for country, (share, _) in COUNTRIES.items()},
    }[column]
    assert sum(stated.values()) == pytest.approx(1.0)
    found = people[column].value_counts(normalize=True)
    assert set(found.index) == set(stated)
    for name, share in stated.items():
        # five standard deviations of a binomial share
        assert found[name] == pytest.approx(share, abs=5 * (share * (1 - share) / len(people)) ** 0.5)


def test_the_first_name_fits_the_gender() -> None:
    americans = make_people(20_000, 3).query("country == 'United States'")
    first = americans["name"].str.split().str[0]
    women, men = (set(first[americans["gender"] == gender]) for gender in ("female", "male"))
    assert len(women & men) < 0.2 * len(women | men)


def test_one_seed_gives_the_same_people_and_another_seed_others(people: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(make_people(12_000, 7), people)
    others = make_people(12_000, 8)
    assert (others["name"] == people["name"]).mean() < 0.1


def test_fewer_people_are_the_first_of_more_people(people: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(make_people(6_001, 7), people.head(6_001))


@pytest.mark.parametrize("people_per_block", [1_700, 5_000, 12_000, 50_000])
def test_blocks_of_any_size_hold_the_same_people(people: pd.DataFrame, people_per_block: int) -> None:
    blocks = list(people_blocks(12_000, 7, people_per_block=people_per_block))
    assert [len(block) for block in blocks[:-1]] == [people_per_block] * (len(blocks) - 1)
    pd.testing.assert_frame_equal(pd.concat(blocks), people, check_index_type=False)


def test_one_person_and_no_person_can_be_made() -> None:
    assert len(make_people(1, 7)) == 1
    assert list(people_blocks(0, 7)) == []


def test_impossible_sizes_name_the_setting() -> None:
    with pytest.raises(SettingError, match=re.escape("NUM_USERS=-1: the number of people cannot be negative")):
        people_blocks(-1, 7)
    with pytest.raises(SettingError, match="--seed=-3: give 0 or more"):
        people_blocks(1, -3)
    with pytest.raises(SettingError, match="people_per_block=0"):
        people_blocks(5, 7, people_per_block=0)


@pytest.mark.parametrize("n", [0, 1, 4_999, 12_000])
def test_segments_are_the_country_and_age_group_of_the_same_people(people: pd.DataFrame, n: int) -> None:
    expected = [
        list(COUNTRIES).index(country) * 6 + list(AGE_GROUPS).index(age)
        for country, age in zip(people["country"][:n], people["age_group"][:n], strict=True)
    ]
    assert segments(n, 7).tolist() == expected
    assert n < 12_000 or len(set(expected)) == len(COUNTRIES) * len(AGE_GROUPS) == 72


def test_five_thousand_people_take_less_than_five_seconds() -> None:
    # 0.5 s on two cores; ten times that still fails a Faker call for every field of every person
    start = time.process_time()
    make_people(5_000, 11)
    assert time.process_time() - start < 5.0
