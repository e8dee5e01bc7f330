"""docs/records.md: its rows, the operations that are counted, and the plain loop."""

from pathlib import Path

import pytest
import torch

from leyden.config.compose import compose
from leyden.optim.muon import orthogonal
from scripts import plain_airbench, records
from scripts.records import RECIPES, Rival, count_operations, kept_rows, matrix_rate, row, stored, write_row
from tests.scripts.test_results import report


def test_operations_of_a_step_by_hand() -> None:
    cfg = compose("model=mlp", "model.hidden=[8]", "data=digits", "data.batch_size=32", "trainer.max_epochs=2")
    forward, weights, hidden = 784 * 8 + 8 * 10, 784 * 8 + 8 * 10, 8 * 10  # the images need no gradient
    assert count_operations(cfg) == 2 * 32 * (forward + weights + hidden)


def test_frozen_weights_and_the_optimizer_are_counted() -> None:
    small = ["model=airbench", "model.widths=[4]", "data=digits", "optimizer=muon"]
    always = count_operations(compose(*small, "model.bias_epochs=9", "trainer.max_epochs=2"))
    half = count_operations(compose(*small, "model.bias_epochs=1", "trainer.max_epochs=2"))
    other = count_operations(compose(*small, "model.bias_epochs=1", "trainer.max_epochs=2", "optimizer=adamw"))
    assert always > half > other


def test_a_row_has_the_measured_numbers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    versions = {"python": "3.12", "torch": "2.14", "lightning": "2.6"}
    reports = [{**report(seed, 0.99 + seed / 100, seconds=4), "precision": "32-true", "versions": versions}
               for seed in (0, 1)]  # fmt: skip
    text = row(RECIPES[0], reports, Rival("`model=cnn`", [10.0, 30.0]), 3e12, 0.5)
    start = "| `experiment=mnist_99` | 99.50 ± 0.71% (test/acc) | 0, 1 | 4.0 ± 0.0 s | 3.00e12 | 50% (32-true) |"
    assert text.startswith(f"{start} `model=cnn` | 20.0 s | 0.20 | ")
    assert "2 threads) | Python 3.12, torch 2.14, lightning 2.6; 0123456; 2" in text
    document = tmp_path / "records.md"
    document.write_text((records.ROOT / "docs/records.md").read_text())
    monkeypatch.setattr(records, "DOCUMENT", document)
    write_row("mnist_99", text)
    write_row("cifar10_94", text.replace("mnist_99", "cifar10_94"))
    write_row("mnist_99", text.replace("4.0 ±", "5.0 ±"))
    rows = kept_rows(document.read_text())
    assert "5.0 ± 0.0 s" in rows["mnist_99"]
    assert "4.0 ± 0.0 s" in rows["cifar10_94"]
    assert document.read_text().endswith((records.ROOT / "docs/records.md").read_text().partition(records.END)[2])


def test_a_measurement_is_kept(tmp_path: Path) -> None:
    assert stored(tmp_path / "a" / "rate.json", lambda: 2.5) == 2.5
    assert stored(tmp_path / "a" / "rate.json", lambda: 7.0) == 2.5
    assert matrix_rate(torch.float32, side=64, seconds=0.01) > 1e6


def test_the_plain_loop_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_airbench, "BATCH", 4)
    torch.manual_seed(0)
    loop = plain_airbench.PlainLoop(torch.randn(8, 3, 32, 32), torch.arange(8), "fp32", epochs=2)
    before = [weight.clone() for weight in loop.net.parameters()]
    assert len(loop.train(3)) == 3
    changed = [not torch.equal(old, new) for old, new in zip(before, loop.net.parameters(), strict=True)]
    assert changed == [weight.requires_grad for weight in loop.net.parameters()]
    matrix = torch.randn(16, 40)
    assert torch.allclose(plain_airbench.newton_schulz(matrix).float(), orthogonal(matrix[None], 3)[0], atol=0.05)
