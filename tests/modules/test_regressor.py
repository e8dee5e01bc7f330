"""The figures of regression against ones worked out by hand."""

from functools import partial
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer

from leyden.data.loaders import EvalLoader
from leyden.modules.regressor import Loss, Regressor
from leyden.optim import constant


def regressor(loss: Loss = "mse") -> Regressor:
    """Of targets with mean 10 and standard deviation 2; its net says the feature."""
    module = Regressor(
        net=torch.nn.Identity(),
        optimizer=partial(torch.optim.SGD, lr=0.1),
        scheduler=partial(constant),
        objective={"metric": "val/rmse", "mode": "min"},
        in_shape=[1],
        num_outputs=1,
        loss=loss,
    )
    module.scaling.fit_targets(torch.tensor([[8.0], [12.0]]))
    return module


def test_the_metrics_of_a_test(tmp_path: Path) -> None:
    features, truth = torch.tensor([[-1.0], [0.0], [1.0], [3.0]]), torch.tensor([[8.0], [13.0], [10.0], [17.0]])
    trainer = Trainer(logger=False, enable_progress_bar=False, accelerator="cpu", default_root_dir=tmp_path)
    trainer.test(regressor(), EvalLoader(features, truth, 2, torch.nn.Identity()), verbose=False)
    found = {name: value.item() for name, value in trainer.callback_metrics.items()}
    # said: 8, 10, 12, 16, so wrong by 0, 3, 2, 1; the truth varies by 16, 1, 4, 25 around its mean of 12
    assert found["test/mse"] == pytest.approx(14 / 4)
    assert found["test/rmse"] == pytest.approx((14 / 4) ** 0.5)
    assert found["test/mae"] == pytest.approx(6 / 4)
    assert found["test/r2"] == pytest.approx(1 - 14 / 46)
    assert found["test/loss"] == pytest.approx(14 / 4 / 2**2), "the loss is of standardised targets"


@pytest.mark.parametrize(("loss", "expected"), [("mse", 4.0), ("mae", 2.0), ("huber", 1.5)])
def test_losses_count_in_standard_deviations(loss: Loss, expected: float) -> None:
    batch = torch.tensor([[0.0]]), torch.tensor([[14.0]])  # said 10, two standard deviations less
    assert regressor(loss).step(batch)[0].item() == pytest.approx(expected)


def test_figures_do_not_depend_on_the_order_of_the_batches(tmp_path: Path) -> None:
    """So several processes, each with batches of its own, tell what one would."""
    rng = torch.Generator().manual_seed(0)
    features, truth = torch.randn(300, 1, generator=rng), 10 + 2 * torch.randn(300, 1, generator=rng)
    batches = EvalLoader(features, truth, 7, torch.nn.Identity())
    found = []
    for order in (batches.starts, batches.starts[::-1], [*batches.starts[20:], *batches.starts[:20]]):
        batches.starts = order
        trainer = Trainer(logger=False, enable_progress_bar=False, accelerator="cpu", default_root_dir=tmp_path)
        trainer.test(regressor(), batches, verbose=False)
        found.append({name: value.item() for name, value in trainer.callback_metrics.items()})
    assert found[0] == found[1] == found[2]
