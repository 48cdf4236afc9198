"""What the lists of a version are made of besides the ranking, read once: the catalog, and the people there are.

`fingerprint` tells two versions apart by all of it, so that ``--if-stale`` makes new lists whenever they, or what the
API shows beside them, could be others: ratings, interactions and what they count, ids, titles, prices, stars, stock and
categories of the catalog, who is known, and by taste the segments of people. Settings are compared beside it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from sqlalchemy import Engine

from recommender.database.shop_reader import read_catalog, read_people
from recommender.ranking.rankings import Ranking
from recommender.shop.catalog import ProductCatalog
from recommender.shop.ratings import fingerprint_of
from recommender.shop.segments import People

FORMAT = 1  # counts up when a release makes other lists of the same data and settings


@dataclass(frozen=True, eq=False)
class ListSources:
    """The catalog and the people, as they were when the lists were made."""

    catalog: ProductCatalog
    people: People

    def fingerprint(self, ranking: Ranking) -> str:
        """32 hexadecimal digits that differ when what ``ranking`` makes lists of does.

        0.4 s at 1.4 million titles and a million people.
        """
        catalog, segments = self.catalog, self.people.segments(self.people.user_ids)
        by_taste = [segments.codes] if ranking.profiles else []
        names = json.dumps(segments.names if ranking.profiles else [])
        text = f"format {FORMAT}; {ranking.fingerprint()}; segments {names}"
        return fingerprint_of(text, *catalog.arrays(), self.people.user_ids, *by_taste)


def read_list_sources(engine: Engine) -> ListSources:
    """Read both whole, each in one pass over its table. DatabaseError, RatingError for an id that is no ASIN."""
    return ListSources(read_catalog(engine), read_people(engine))
