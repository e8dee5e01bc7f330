"""The HTML page of a run and of a sweep in a real Chromium."""

import os
from pathlib import Path
from typing import Any

import pytest

from leyden.tools.report_page import write_page
from tests.browser.conftest import check_accessibility, screenshot
from tests.tools.report_folders import make_report, write_images, write_run, write_sweep


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    run = write_run(folder / "RUN", "optimizer.lr=0.01", report=make_report())
    write_images(run)
    stopped = write_run(folder / "STOPPED")
    return {name: write_page(path) for name, path in
            {"run": run, "stopped": stopped, "sweep": write_sweep(folder / "NAME")}.items()}  # fmt: skip


class Tab:
    """A page in the browser. At its end there must have been no message in the console and no request."""

    def __init__(self, browser: Any, path: Path, **options: Any) -> None:
        self.messages: list[str] = []
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.messages.append(message.text))
        self.page.on("pageerror", lambda error: self.messages.append(str(error)))
        self.page.on("request", lambda request: self.messages.append(request.url))
        self.page.goto(path.as_uri())
        self.own = path.as_uri()

    def __enter__(self) -> Any:
        return self.page

    def __exit__(self, *error: object) -> None:
        self.context.close()
        assert [one for one in self.messages if one != self.own and not one.startswith("data:image/png")] == []


@pytest.mark.parametrize("name", ["run", "stopped", "sweep"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(browser: Any, pages: dict[str, Path], name: str, scheme: str) -> None:
    if "AXE_CORE" not in os.environ:
        pytest.skip("needs AXE_CORE=PATH of axe.min.js, see: npm pack axe-core")
    with Tab(browser, pages[name], color_scheme=scheme) as page:
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        screenshot(page, f"report-{name}-{scheme}", whole=True)
        check_accessibility(page)


@pytest.mark.parametrize("name", ["run", "stopped", "sweep"])
@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_is_shown_without_errors_and_does_not_scroll_sideways(
    browser: Any, pages: dict[str, Path], name: str, width: int
) -> None:
    with Tab(browser, pages[name], viewport={"width": width, "height": 800}) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
        assert page.locator("h1").is_visible()


def test_the_modes_differ_and_the_text_has_contrast(browser: Any, pages: dict[str, Path]) -> None:
    colours = []
    for scheme in ("light", "dark"):
        with Tab(browser, pages["run"], color_scheme=scheme) as page:
            colours.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
            assert page.evaluate(CONTRASTS) >= 4.5
    assert colours == ["rgb(246, 247, 249)", "rgb(16, 20, 27)"]


def test_a_click_on_a_heading_sorts_the_trials(browser: Any, pages: dict[str, Path]) -> None:
    with Tab(browser, pages["sweep"]) as page:
        table = page.locator("table[data-sortable]")
        heading = table.locator("thead th").nth(2)

        def column() -> list[str]:
            texts: list[str] = table.locator("tbody tr td:nth-of-type(2)").all_inner_texts()
            return texts

        assert column() == ["0.6000", "0.6500", "0.7000", "0.7500", "–", "0.8500"]
        heading.get_by_role("button").click()
        assert heading.get_attribute("aria-sort") == "ascending"
        assert column() == ["0.6000", "0.6500", "0.7000", "0.7500", "0.8500", "–"]
        heading.get_by_role("button").press("Enter")
        assert heading.get_attribute("aria-sort") == "descending"
        assert column() == ["0.8500", "0.7500", "0.7000", "0.6500", "0.6000", "–"]
        table.locator("thead th").nth(4).get_by_role("button").click()
        assert heading.get_attribute("aria-sort") is None
        assert table.locator("tbody tr td:nth-of-type(4)").all_inner_texts() == ["cnn"] * 3 + ["mlp"] * 3


def test_everything_but_sorting_works_without_javascript(browser: Any, pages: dict[str, Path]) -> None:
    with Tab(browser, pages["sweep"], java_script_enabled=False) as page:
        assert page.locator("table[data-sortable] thead button").count() == 0
        assert page.locator("table[data-sortable] thead th").first.is_visible()
    with Tab(browser, pages["run"], java_script_enabled=False) as page:
        numbers = page.locator(".chart details").first
        numbers.locator("summary").click()
        assert numbers.locator("table").is_visible()


# The smallest contrast of a text in a chart or in a cell of the confusion matrix, whose colours axe cannot see.
CONTRASTS = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const shown = (...colours) => {
    canvas.clearRect(0, 0, 1, 1);
    for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (rgb) => rgb
    .map((value) => value / 255)
    .map((value) => value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
    .reduce((sum, value, index) => sum + value * [0.2126, 0.7152, 0.0722][index], 0);
  const ratio = (one, other) => (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
  const card = getComputedStyle(document.querySelector("section")).backgroundColor;
  const texts = [...document.querySelectorAll("svg text")].map((text) => [getComputedStyle(text).fill, card, card]);
  const cells = [...document.querySelectorAll(".matrix td")].map((cell) => {
    const style = getComputedStyle(cell);
    return [style.color, card, style.backgroundColor];
  });
  const contrasts = [...texts, ...cells].map(([text, ...behind]) => ratio(light(shown(text)), light(shown(...behind))));
  return Math.min(...contrasts);
}"""
