"""A real headless Chromium. Its tests are skipped without Playwright's Python package or without chromium.

LEYDEN_SCREENSHOTS=FOLDER writes what the browser shows. AXE_CORE=PATH of axe.min.js (for example from
``npm pack axe-core``) checks the accessibility of Leyden's own pages.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium")
FLAGS = ["no-sandbox", "no-first-run"]
FLAGS += [f"disable-{name}" for name in ("gpu", "quic", "background-networking", "component-update", "sync")]


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """The browser. Each test opens its own context in it."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with sync_api.sync_playwright() as playwright:
        arguments = [f"--{flag}" for flag in FLAGS]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=arguments)
        yield browser
        browser.close()


def screenshot(page: Any, name: str, *, whole: bool = False) -> None:
    """Write what the page shows, if a folder for it was given."""
    if folder := os.environ.get("LEYDEN_SCREENSHOTS"):
        page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=whole)


def check_accessibility(page: Any) -> None:
    """Let axe check the page, if its path was given."""
    if path := os.environ.get("AXE_CORE"):
        page.evaluate(Path(path).read_text(encoding="utf-8"))  # a <script> would not be allowed by the page's policy
        found = page.evaluate("axe.run(document)")
        assert [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]] == []
        assert len(found["passes"]) > 10
