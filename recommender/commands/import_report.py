"""What step 2 prints of a file of ratings: the counts, and what a dry run finds in it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from recommender.files import ShopRatings, UnwrittenRejectedRows, read_ratings_file


def counts(file: Path, shop: ShopRatings) -> str:
    """Return one line: the rows of the file are loaded, replaced or rejected."""
    loaded = f"{file.name}: {shop.rows:,} rows = {shop.ratings.num_rows:,} loaded"
    return f"{loaded} + {shop.repeated:,} replaced by a later row + {shop.rejected:,} rejected"


def dry_run(file: Path, columns: str | None) -> None:
    """Print what an import would read of a file: what it is, ten rows, the counts. Nothing is written."""
    rejected = UnwrittenRejectedRows()
    now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
    shop = read_ratings_file(file, rejected, loaded_at=now, columns=columns)
    print(shop.understood)
    print(shop.first.to_pandas().to_string(index=False, na_rep=""))
    for reason in rejected.reasons:
        print(reason)
    print(counts(file, shop))
