"""What step 2 prints of a shop's files: the counts, what a dry run finds in them, and what has no time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from recommender.commands.shop_files import INTERACTIONS, RATINGS
from recommender.files import ShopInteractions, ShopPeople, ShopRatings

Part = ShopRatings | ShopInteractions | ShopPeople


def counts_of(file: Path, part: Part) -> str:
    """Return one line: the rows of the file are loaded, replaced or rejected."""
    repeated = 0 if isinstance(part, ShopInteractions) else part.repeated
    replaced = "" if isinstance(part, ShopInteractions) else f" + {repeated:,} replaced by a later row"
    zeros = part.unrated if isinstance(part, ShopRatings) else 0
    unrated = f" + {zeros:,} of 0 left out" if zeros else ""
    loaded = part.rows - repeated - part.rejected - zeros
    return f"{file.name}: {part.rows:,} rows = {loaded:,} loaded{replaced} + {part.rejected:,} rejected{unrated}"


def tell_part(file: Path, part: Part, told: str, reasons: Iterable[str]) -> None:
    """Print what an import would read of a file: what it is, ten rows, the first ``reasons`` of rejections, counts."""
    print(told)
    print(part.first.to_pandas().to_string(index=False, na_rep=""))
    for reason in reasons:
        print(reason)
    print(counts_of(file, part))


def tell_untimed(paths: Mapping[str, Path], ratings: ShopRatings | None, log: ShopInteractions | None) -> None:
    """Print how many ratings and interactions have no time, and what that means."""
    times = {RATINGS: None if ratings is None else ratings.ratings, INTERACTIONS: None if log is None else log.events}
    for what, table in times.items():
        if table is not None and (untimed := table["created_at"].null_count):
            given = f"{paths[what].name}: {untimed:,} {what} have no time (created_at is NULL)"
            print(f"{given}: what is hidden of them to evaluate a ranking is drawn by chance")
