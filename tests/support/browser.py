"""Debian's chromium without a window, driven by playwright, and a check of pages by axe-core."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.support.service import KEY

WAIT = 60_000  # milliseconds until a page has what is expected of it, on a busy machine
expect.set_options(timeout=WAIT)


def require_chromium() -> str:
    """Return the path of the browser; skip the test with the reason if there is none, with CI=true fail."""
    found = shutil.which("chromium")
    if found is None:
        reason = "no chromium on PATH: apt-get install chromium (or run `make test` as root)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the browser, and end it."""
    path = require_chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])  # tests may run as root
        yield browser
        browser.close()


@contextmanager
def opened(
    browser: Browser, address: str, *, width: int = 1280, may_fail: str = "no failure at all", **options: object
) -> Iterator[Page]:
    """Give a page of a new window; at the end nothing may have failed in it, and nothing may come from elsewhere.

    ``may_fail``: a pattern of the failures that the test is about.
    """
    context = browser.new_context(viewport={"width": width, "height": 800}, base_url=address, **options)  # type: ignore[arg-type]
    context.set_default_timeout(WAIT)
    page, faults = context.new_page(), list[str]()
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda asked: None if asked.url.startswith(address) else faults.append(asked.url))
    yield page
    context.close()
    left = [fault for fault in faults if not re.search(may_fail, fault)]
    assert not left, left


def sign_in(page: Page, key: str = KEY) -> None:
    """Type the key into the field of the page at /sign-in, and wait for the answer."""
    page.goto("/sign-in")
    page.fill("#key", key)
    with page.expect_navigation():
        page.keyboard.press("Enter")


def violations(page: Page) -> list[str]:
    """Return what axe-core finds wrong with the page (WCAG 2.2 AA and best practices), each with the first element."""
    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found]
