"""README, changelog and docs agree with the code: routes, metrics, options, links, and the README's length."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

import api
from recommender.commands.engine_options import parse_arguments
from recommender.service.middleware.metrics import ServiceMetrics
from tests.conftest import ROOT

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]
EVERY_PAGE = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)


def read(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def anchors(page: Path) -> set[str]:
    """The anchors of the page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


def test_the_readme_has_200_lines_at_most() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 200


def test_every_page_is_in_the_readmes_table_of_pages() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in DOCS.glob("*.md") if f"[docs/{page.name}](docs/{page.name})" not in readme] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_between_pages_leads_to_a_page_and_a_heading(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        there = Path(os.path.normpath(page.parent / name)) if name else page
        assert there.is_file(), target
        assert not anchor or anchor in anchors(there), target


def test_every_route_is_in_the_table_of_the_api_page() -> None:
    text = read("api.md")
    for path, operations in api.create_app().openapi()["paths"].items():
        for method in operations:
            if path in ("/health", "/live", "/ready", "/metrics"):
                assert path in text
            else:
                assert f"`{method.upper()} {path}`" in text


def test_every_parameter_of_a_list_is_on_the_api_page() -> None:
    operation = api.create_app().openapi()["paths"]["/recommendations/{user_id}"]["get"]
    for parameter in operation["parameters"]:
        assert f"`{parameter['name']}`" in read("api.md")


def test_every_metric_is_on_the_operations_page() -> None:
    source = Path(ServiceMetrics.collect.__code__.co_filename).read_text(encoding="utf-8")
    names = re.findall(r'_gauge\("(\w+)"', source)
    families = re.findall(r'"recommender_(\w+)"', source)
    assert len(names) + len(families) >= 10
    for name in (*names, *families):
        assert f"`recommender_{name}" in read("operations.md"), name


def test_every_option_of_step_3_that_is_no_setting_is_on_a_page() -> None:
    options = vars(parse_arguments([], batch_sample=500, constants=[]))
    own = {name for name in options if name.islower()}  # settings are in capitals
    assert own >= {"users", "if_stale", "rollback"}
    for name in own:
        assert re.search(rf"--{name.replace('_', '-')}\b", EVERY_PAGE), name
