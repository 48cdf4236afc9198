"""The list of one user as the terminal shows it."""

from __future__ import annotations

import pandas as pd
import pytest

from recommender.publishing import as_text


@pytest.mark.parametrize("kind", ["object", "str"])
def test_a_product_without_a_title_is_said_to_have_none(kind: str) -> None:
    """pandas turns None into NaN in a column of texts, as it makes one of Parquet files or of a table's rows."""
    names = pd.Series(["Lamp", None, ""], dtype=kind)
    recs = pd.DataFrame({"product_id": ["a", "b", "c"], "product_name": names, "predicted_rating": [4.5, 4.0, 3.0]})
    shown = as_text(7, recs).splitlines()
    assert [line.split()[2:-1] for line in shown[3:6]] == [["Lamp"], ["(no", "title)"], ["(no", "title)"]]
