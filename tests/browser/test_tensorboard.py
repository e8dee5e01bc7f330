"""TensorBoard in a real browser: Scalars, Images, HParams and Projector show the data of a run."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from leyden.config.compose import compose
from leyden.run import run
from tests.browser.conftest import screenshot

WAIT = 30  # seconds

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture(scope="module")
def address(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a TensorBoard that shows two runs."""
    logs = tmp_path_factory.mktemp("logs")
    for rate in (0.001, 0.01):
        overrides = ("model=mlp", "model.hidden=[16]", "trainer=cpu", "trainer.max_epochs=4", f"optimizer.lr={rate}")
        run(compose(*overrides, f"paths.logs={logs}", "logger.tensorboard.embeddings=100"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(logs / "runs"), "--host", "127.0.0.1"]
    process = subprocess.Popen([*command, "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}/"
    try:
        wait_for(url, process)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        assert process.poll() is None, "TensorBoard has ended"
        try:
            with urllib.request.urlopen(f"{url}data/runs", timeout=5) as reply:
                if b"digits-mlp" in reply.read():
                    return
        except OSError:
            pass
        time.sleep(0.2)
    raise AssertionError("TensorBoard shows no runs")


@pytest.fixture(scope="module")
def page(browser: Any, address: str) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1400, "height": 1400})
    page = context.new_page()
    page.set_default_timeout(1000 * WAIT)
    yield page
    context.close()


def text_of(page: Any) -> str:
    """The text of all frames, with that of shadow roots, which `inner_text` leaves out."""
    return "\n".join(str(frame.evaluate(ALL_TEXT)) for frame in page.frames)


ALL_TEXT = """() => {
  const found = [];
  const visit = (node) => {
    if (node.nodeType === Node.TEXT_NODE) found.push(node.textContent);
    if (["SCRIPT", "STYLE"].includes(node.nodeName)) return;
    if (node.shadowRoot) visit(node.shadowRoot);
    node.childNodes.forEach(visit);
  };
  if (document.body) visit(document.body);
  return found.join(" ").replace(/\\s+/g, " ");
}"""


def open_page(page: Any, address: str, name: str, *expected: str) -> str:
    """Open one of TensorBoard's pages, wait until it shows all of `expected`, and return its text."""
    page.goto(f"{address}#{name}")
    page.reload()
    end = time.monotonic() + WAIT
    while (missing := [text for text in expected if text not in (shown := text_of(page))]) and time.monotonic() < end:
        page.wait_for_timeout(300)
    if "LEYDEN_SCREENSHOTS" in os.environ:
        page.wait_for_timeout(2000)
        screenshot(page, f"tensorboard-{name}")
    assert missing == [], shown
    return shown


def test_scalars_has_charts_of_both_splits(page: Any, address: str) -> None:
    text = open_page(page, address, "scalars", "train/loss_step", "train/lr", "val/acc_best", "train/seconds")
    assert "test/acc" not in text


def test_images_has_the_confusion_matrix_and_the_errors(page: Any, address: str) -> None:
    open_page(page, address, "images", "train/images", "val/confusion", "val/errors")
    assert page.locator("img").count() >= 3


def test_hparams_has_the_keys_that_were_set_and_the_metrics(page: Any, address: str) -> None:
    text = open_page(page, address, "hparams", "optimizer.lr", "model.hidden", "val/acc_best", "test/acc", "0.0010000")
    assert "optimizer.weight_decay" not in text
    assert "paths.logs" not in text


def test_the_projector_has_the_points(page: Any, address: str) -> None:
    open_page(page, address, "projector", "last layer, validation set", "Points: 100", "Dimension: 16")


def test_custom_scalars_has_train_and_val_in_one_chart(page: Any, address: str) -> None:
    open_page(page, address, "custom_scalars", "training and validation", "learning rate")
