"""Made-up people: name, e-mail, age group, gender and country, from Faker's names, fast and repeatable.

    >>> people = next(people_blocks(3, seed=7))
    >>> list(people.columns)
    ['name', 'email', 'age_group', 'gender', 'country']
    >>> bool(people.equals(next(people_blocks(1000, seed=7)).head(3)))
    True

Faker (https://faker.readthedocs.io) draws a pool of first and last names for each country once, then numpy combines
them: a million people take a second. Country and age group are weighted, the first name fits the gender. Addresses end
in example.com, .net or .org, which RFC 2606 reserves, so no mail can reach a real person. The number of the person is
part of the address, so none repeats, at any size, without comparing them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from recommender.errors import SettingError

if TYPE_CHECKING:  # importing them takes half of a start of the sample catalog, which needs neither pandas nor Faker
    import pandas as pd

PEOPLE_COLUMNS = ("name", "email", "age_group", "gender", "country")

# Shares of the customers of an English-language shop: made up, and stated here so that a test can check them.
AGE_GROUPS = {"18-24": 0.14, "25-34": 0.26, "35-44": 0.23, "45-54": 0.16, "55-64": 0.12, "65+": 0.09}
GENDERS = {"female": 0.49, "male": 0.48, "nonbinary": 0.03}
COUNTRIES = {  # country -> (share, Faker locale)
    "United States": (0.42, "en_US"),
    "United Kingdom": (0.11, "en_GB"),
    "Germany": (0.10, "de_DE"),
    "Canada": (0.07, "en_CA"),
    "France": (0.06, "fr_FR"),
    "India": (0.06, "en_IN"),
    "Spain": (0.04, "es_ES"),
    "Italy": (0.04, "it_IT"),
    "Brazil": (0.03, "pt_BR"),
    "Mexico": (0.03, "es_MX"),
    "Poland": (0.02, "pl_PL"),
    "Sweden": (0.02, "sv_SE"),
}
MAIL_DOMAINS = ("example.com", "example.net", "example.org")

_POOL_SIZE = 250  # names of each kind and country: 250 x 250 combinations for each gender
_CHUNK = 5_000  # people that share one random stream: results never depend on the caller's block size

_Texts = npt.NDArray[np.object_]
_WITHOUT_DECOMPOSITION = str.maketrans({"ß": "ss", "ł": "l", "Ł": "L", "ø": "o", "Ø": "O", "æ": "ae", "đ": "d"})


@dataclass(frozen=True)
class _NamePools:
    """Names and their ASCII forms for addresses."""

    first: _Texts  # (n_countries, 2, pool) str; axis 1 is female, male
    last: _Texts  # (n_countries, pool) str
    first_ascii: _Texts  # same shape as first
    last_ascii: _Texts  # same shape as last


def people_blocks(n: int, seed: int, *, people_per_block: int = 50_000) -> Iterator[pd.DataFrame]:
    """Yield ``n`` people, a row of ``PEOPLE_COLUMNS`` each, ``people_per_block`` to a frame (fewer in the last).

    The first k rows are the same for every ``n >= k`` and any block size. The block bounds the memory. The index
    continues over the frames (0 .. n-1). SettingError for a negative n or seed, or a block size below 1.
    """
    if n < 0:
        raise SettingError(f"NUM_USERS={n}: the number of people cannot be negative; give 0 or more")
    if seed < 0:
        raise SettingError(f"--seed={seed}: give 0 or more")
    if people_per_block < 1:
        raise SettingError(f"people_per_block={people_per_block}: a block holds at least 1 person")
    return _cut_blocks(n, seed, people_per_block)


def _cut_blocks(n: int, seed: int, people_per_block: int) -> Iterator[pd.DataFrame]:
    """Yield blocks made from the fixed chunks."""
    import pandas as pd

    pools = _draw_name_pools(seed)
    for start in range(0, n, people_per_block):
        stop = min(start + people_per_block, n)
        parts = []
        for chunk in range(start // _CHUNK, (stop - 1) // _CHUNK + 1):
            first = chunk * _CHUNK
            parts.append(_make_chunk(chunk, seed, pools).iloc[max(start - first, 0) : stop - first])
        yield pd.concat(parts) if len(parts) > 1 else parts[0]


def _make_chunk(chunk: int, seed: int, pools: _NamePools) -> pd.DataFrame:
    """Make the people ``chunk * _CHUNK`` to ``(chunk + 1) * _CHUNK - 1`` from the chunk's own random stream."""
    import pandas as pd

    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(chunk,)))
    country, gender, age_group = _draw_kinds(rng)
    column = np.where(gender == 2, rng.integers(0, 2, _CHUNK), gender)  # index of the first-name pool
    first, last = rng.integers(0, _POOL_SIZE, (2, _CHUNK))
    domain = rng.choice(np.array(MAIL_DOMAINS, dtype=object), _CHUNK, p=[0.6, 0.2, 0.2])
    number = np.arange(chunk * _CHUNK + 1, (chunk + 1) * _CHUNK + 1).astype(str).astype(object)
    local = pools.first_ascii[country, column, first] + "." + pools.last_ascii[country, last] + number
    return pd.DataFrame(
        {
            "name": pools.first[country, column, first] + " " + pools.last[country, last],
            "email": local + "@" + domain,
            "age_group": np.array(list(AGE_GROUPS), dtype=object)[age_group],
            "gender": np.array(list(GENDERS), dtype=object)[gender],
            "country": np.array(list(COUNTRIES), dtype=object)[country],
        },
        index=pd.RangeIndex(chunk * _CHUNK, (chunk + 1) * _CHUNK),
        dtype=object,
    )


def _draw_name_pools(seed: int) -> _NamePools:
    """Draw the names of every country with Faker, each locale seeded by itself."""
    from faker import Faker

    first = np.empty((len(COUNTRIES), 2, _POOL_SIZE), dtype=object)
    last = np.empty((len(COUNTRIES), _POOL_SIZE), dtype=object)
    for row, (_, locale) in enumerate(COUNTRIES.values()):
        fake = Faker(locale)
        fake.seed_instance(f"{seed}/{locale}")
        first[row, 0] = [fake.first_name_female() for _ in range(_POOL_SIZE)]
        first[row, 1] = [fake.first_name_male() for _ in range(_POOL_SIZE)]
        last[row] = [fake.last_name() for _ in range(_POOL_SIZE)]
    to_ascii = np.vectorize(_ascii_letters, otypes=[object])
    return _NamePools(first, last, to_ascii(first), to_ascii(last))


def segments(n: int, seed: int) -> npt.NDArray[np.int64]:
    """Return the segment of the people of ``people_blocks(n, seed)``, a number 0..71 each, (n,).

    It is country * 6 + age group, in the order of ``COUNTRIES`` and ``AGE_GROUPS``. No names are made, so this is fast.
    """
    result = np.empty(n, np.int64)
    for chunk in range(-(-n // _CHUNK)):
        part = result[chunk * _CHUNK : (chunk + 1) * _CHUNK]
        country, _, age_group = _draw_kinds(np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(chunk,))))
        part[:] = (country * len(AGE_GROUPS) + age_group)[: len(part)]
    return result


def _draw_kinds(rng: np.random.Generator) -> tuple[npt.NDArray[np.int64], ...]:
    """Return country, gender and age group of the people of one chunk, the first draws of its random stream."""
    shares = [share for share, _ in COUNTRIES.values()], list(GENDERS.values()), list(AGE_GROUPS.values())
    return tuple(rng.choice(len(share), _CHUNK, p=share) for share in shares)


def _ascii_letters(name: str) -> str:
    """Return ``name`` as lower-case a-z only: accents dropped, and "x" if nothing is left.

    No digit may stay: the digits of an address are the person's number, and that alone makes addresses unique.
    """
    plain = unicodedata.normalize("NFKD", name.translate(_WITHOUT_DECOMPOSITION)).encode("ascii", "ignore").decode()
    return re.sub("[^a-z]", "", plain.lower()) or "x"
