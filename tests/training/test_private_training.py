"""Runs with ``privacy=dp``."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from leyden.config.builders import build_data, build_module
from leyden.config.compose import compose
from leyden.errors import UserError
from leyden.optim.privacy import DPSGD
from leyden.records.json_files import read_report
from leyden.records.run_folder import last_checkpoint
from leyden.run import resume, run
from leyden.tools.find_lr import find_lr
from leyden.tools.model_card import model_card
from leyden.tools.report_page import page
from leyden.training.private_training import PrivateTraining
from leyden.training.trainer import build_training

SMALL = (
    "privacy=dp", "data=digits", "model=mlp", "model.hidden=[8]", "trainer=cpu", "trainer.max_epochs=2",
    "trainer.limit_train_batches=5", "data.batch_size=16", "data.shift=0", "privacy.delta=1e-4", "privacy.chunk_size=8",
    "optimizer=sgd", "checkpoint.every_n_steps=2",
)  # fmt: skip


def test_a_run_is_resumed_with_the_same_bits_and_the_same_epsilon(
    resumed: Callable[..., tuple[Path, Path]],
) -> None:
    alone, stopped = resumed(*SMALL, "model.dropout=0.1", "data.shift=1", "averaging=ema")
    one, other = (read_report(folder)["privacy"] for folder in (alone, stopped))
    assert one == other
    settings = DPSGD(3.0, 1e-4, 1.0, 8, False)
    assert one["steps"] == 10
    assert one["epsilon"] == settings.spent(one["noise_multiplier"], one["sample_rate"], 10)
    assert 2.997 < one["epsilon"] <= 3
    assert read_report(alone)["loop"] == "fast"
    state = torch.load(last_checkpoint(stopped), weights_only=True)["callbacks"]["PrivateTraining"]
    assert state == {
        name: one[key]
        for name, key in (
            ("noise_multiplier", "noise_multiplier"),
            ("sample_rate", "sample_rate"),
            ("num_steps", "steps"),
        )
    }
    rows = (alone / "metrics.csv").read_text().splitlines()
    column = rows[0].split(",").index("privacy/epsilon")
    first, last = (float(row.split(",")[column]) for row in rows[1:3])
    assert 0 < first < last == pytest.approx(one["epsilon"])
    card = model_card(alone)
    assert "differentially private with regard to each training sample: ε = 2.99" in card
    assert "holds only if the seed stays secret" in card
    assert "epsilon: 2.99" in page(alone)
    with pytest.raises(
        UserError, match=r"^trainer.max_epochs: 40 steps would spend epsilon .*, but privacy.epsilon is"
    ):
        resume(alone, ["trainer.max_epochs=8"])


def test_the_noise_has_its_size_and_a_secure_run_differs_from_its_repetition(finished: Callable[..., Path]) -> None:
    private = PrivateTraining(DPSGD(3.0, 1e-5, 0.5, 8, False), torch.nn.Linear(1, 1), batch_size=4)
    private.spending.noise_multiplier = 2.0
    for secure in (False, True):
        private.settings.secure = secure
        drawn = private._private(torch.ones(20_000))
        assert float(drawn.mean()) == pytest.approx(0.25, abs=0.01)
        assert float(drawn.std()) == pytest.approx(2.0 * 0.5 / 4, rel=0.05)
    short = (*SMALL, "trainer.max_epochs=1", "privacy.secure=true")
    weights = [torch.load(last_checkpoint(finished(*short)), weights_only=True)["state_dict"] for _ in range(2)]
    assert not torch.equal(weights[0]["net.layers.0.weight"], weights[1]["net.layers.0.weight"])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model=cnn"], "model: has batch norm, which mixes .*, so privacy=dp cannot train it; use model.norm=group$"),
        (["model=airbench"], "model: has batch norm, .*; use another model, such as model=cnn model.norm=group"),
        (["model=lstm"], "model: LSTM has weights of its own, but privacy=dp trains only Linear"),
        (["model=vae"], "privacy: got dp, which trains classifiers of images, not VAE; use privacy=none"),
        (["model=gan"], "privacy: got dp, which trains classifiers of images, not GAN"),
        (["data=diabetes"], "privacy: got dp, which trains classifiers of images, not Regressor"),
        (["trainer.precision=16-mixed"], "trainer.precision: got 16-mixed, which cannot be combined with privacy=dp"),
        (["trainer.precision=bf16-mixed"], "trainer.precision: got bf16-mixed, which cannot be combined"),
        (["ensemble=2"], "ensemble: got 2, which cannot be combined with privacy=dp: each net would spend"),
        (["task.mixup=0.2"], "task.mixup: got 0.2, which cannot be combined with privacy=dp: which mixes two samples"),
        (["task.class_weights=balanced"], "task.class_weights: got balanced, which cannot be combined"),
        (["data.balanced=true"], "data.balanced: got true, which cannot be combined"),
        (["data.mean=null", "data.std=null"], "data.mean and data.std: got null, which cannot be combined"),
        (["trainer.compile=true"], "trainer.compile: got true, which cannot be combined"),
        (["trainer.accumulate_grad_batches=2"], "trainer.accumulate_grad_batches: got 2, which cannot be combined"),
        (["privacy.delta=0.01"], "privacy.delta: got 0.01, must be below 1 / 12"),
        (["data.batch_size=5000"], "data.batch_size: got 5000, must be at most 12"),
        (["privacy.epsilon=1e-8"], "privacy.epsilon: got 1e-08, which no noise can keep in 10 steps"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)  # fmt: skip
def test_what_has_no_guarantee_is_rejected(overrides: list[str], message: str, tmp_path: Path) -> None:
    kept = [one for one in SMALL if not ("model=" in "".join(overrides) and one.startswith("model"))]
    kept = [one for one in kept if not (overrides == ["data=diabetes"] and one == "data.shift=0")]
    with pytest.raises(UserError, match=f"^{message}"):
        run(compose(*kept, *overrides, f"paths.logs={tmp_path}"))
    assert not any(tmp_path.glob("runs/*/*"))


def test_several_processes_are_rejected() -> None:
    cfg = compose(*SMALL, "trainer=ddp", "trainer.accelerator=cpu")
    with pytest.raises(UserError, match=r"^trainer.devices: got 2 processes, which cannot be combined with privacy=dp"):
        build_training(cfg, build_module(cfg), build_data(cfg), Path("unused"))


def test_finders_are_rejected() -> None:
    with pytest.raises(UserError, match=r"^privacy: got dp, but this tool trains without noise"):
        find_lr(SMALL)
