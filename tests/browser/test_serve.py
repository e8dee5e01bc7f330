"""The page of scripts/serve.py in a real headless Chromium: a digit drawn with the mouse, rows, series, samples."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import leyden
from leyden.config.compose import compose
from leyden.run import run
from leyden.tools.serve.http_server import ModelServer
from leyden.tools.serve.served_model import ServedModel
from leyden.tools.trained_model import TrainedModel
from tests.browser.conftest import check_accessibility, screenshot
from tests.tools.conftest import Models
from tests.tools.conftest import model_of as model_of
from tests.tools.conftest import run_of as run_of
from tests.tools.serve.client import serving

# Strokes of digits as corners of lines, in fractions of the canvas.
DIGITS = {
    "1": [[(0.35, 0.3), (0.55, 0.12), (0.55, 0.88)]],
    "7": [[(0.25, 0.15), (0.75, 0.15), (0.45, 0.88)]],
    "0": [[(0.5, 0.12), (0.3, 0.25), (0.25, 0.5), (0.3, 0.75), (0.5, 0.88), (0.7, 0.75), (0.75, 0.5), (0.7, 0.25),
           (0.5, 0.12)]],
    "4": [[(0.45, 0.12), (0.25, 0.6), (0.8, 0.6)], [(0.6, 0.4), (0.6, 0.9)]],
}  # fmt: skip


@pytest.fixture(scope="module")
def digits(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> TrainedModel:
    logs = tmp_path_factory.mktemp("digits")
    run(
        compose("data=digits", "model=cnn", "trainer.max_epochs=5", "data.shift=2", "logger=none", f"paths.logs={logs}")
    )
    return leyden.load(next((logs / "runs").glob("*/*")))


@pytest.fixture
def visit(browser: Any, request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Open the page of a model. At the end, no error may be on the console and no other server contacted."""
    servers, pages, problems = [], [], []

    def call(model: TrainedModel) -> Any:
        servers.append(serving(ModelServer(ServedModel(model), port=0)))
        page = browser.new_page()
        pages.append(page)
        page.on("console", lambda message: message.type in ("error", "warning") and problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        own = (servers[-1].url, "data:")
        page.on("request", lambda request: request.url.startswith(own) or problems.append(request.url))
        page.goto(servers[-1].url)
        page.wait_for_selector("body[data-ready]")
        return page

    yield call
    for number, page in enumerate(pages):
        screenshot(page, f"serve-{request.node.name}-{number}", whole=True)
        check_accessibility(page)
        page.close()
    for server in servers:
        server.shutdown()
        server.server_close()
    # Chromium itself writes each rejected request to the console.
    assert [text for text in problems if "status of 400" not in text] == []


def draw(page: Any, strokes: list[list[tuple[float, float]]]) -> None:
    page.click("#clear")
    box = page.locator("#canvas").bounding_box()
    for stroke in strokes:
        points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke]
        page.mouse.move(*points[0])
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*point, steps=8)
        page.mouse.up()


def test_digits_drawn_with_the_mouse_are_predicted(visit: Callable[..., Any], digits: TrainedModel) -> None:
    page = visit(digits)
    for digit, strokes in DIGITS.items():
        draw(page, strokes)
        page.wait_for_selector("#result[aria-busy=false] figure >> nth=1")  # the answer for the last stroke
        assert page.inner_text("#answer") == digit
        assert page.locator("#bars li").count() == 10
    assert page.locator("figure img").first.evaluate("image => image.naturalWidth") == 224


def test_an_uploaded_image_is_predicted(visit: Callable[..., Any], digits: TrainedModel, tmp_path: Path) -> None:
    page = visit(digits)
    (tmp_path / "broken.png").write_text("no image")
    page.set_input_files("#file", tmp_path / "broken.png")
    page.wait_for_selector("#error:not(:empty)")
    assert page.inner_text("#error").startswith("image: ")


def test_rows_series_and_samples(visit: Callable[..., Any], model_of: Models) -> None:
    page = visit(model_of("regression"))
    for name in ("age", "bmi"):
        page.get_by_label(name, exact=True).fill("30")
    page.keyboard.press("Enter")
    page.wait_for_selector("#answer")
    assert float(page.inner_text("#answer"))
    page = visit(model_of("forecasting"))
    page.fill("#steps", " ".join(str(number % 7) for number in range(100)))
    page.get_by_role("button", name="Predict").click()
    page.wait_for_selector("#chart svg")
    page = visit(model_of("vae"))
    page.get_by_role("button", name="Generate images").click()
    page.wait_for_selector("figure img")
    assert page.input_value("#seed") == "1"


def test_a_text_is_translated(visit: Callable[..., Any], model_of: Models) -> None:
    page, model = visit(model_of("translation")), model_of("translation")
    page.get_by_label("Text").fill("5. März 2021")
    page.get_by_role("button", name="Predict").click()
    page.wait_for_selector("#result[aria-busy=false] figure img")
    assert page.inner_text("#answer") == model.predict("5. März 2021")[0].prediction.strip()
    assert page.inner_text("figcaption").startswith("Attention: ")
