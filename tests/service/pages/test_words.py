"""The words of the pages."""

from __future__ import annotations

import re
from pathlib import Path

from recommender.service.pages import words


def test_no_page_writes_a_plural_after_a_number_that_may_be_one() -> None:
    templates = Path(words.__file__).parent / "templates"
    plural = r"\}\} (?:[a-z]+ )?(?:people|shoppers|ratings|stars|regions|rows|lists|products|have)\b.*"
    found = {file.name: re.findall(plural, file.read_text(encoding="utf-8")) for file in templates.glob("*.html")}
    assert len(found) > 10
    assert {name: lines for name, lines in found.items() if lines} == {}
