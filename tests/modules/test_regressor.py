"""The metrics of regression against values worked out by hand."""

from functools import partial
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer

from leyden.data.datamodule import DataFacts
from leyden.data.loaders import EvalLoader
from leyden.data.scaling import Scaling
from leyden.modules.regressor import Regressor
from leyden.optim import constant


def regressor() -> Regressor:
    """A module for targets with mean 10 and standard deviation 2, whose net predicts the feature."""
    module = Regressor(
        net=torch.nn.Identity(),
        optimizer=partial(torch.optim.SGD, lr=0.1),
        scheduler=partial(constant),
        objective={"metric": "val/rmse", "mode": "min"},
        in_shape=[1],
        num_outputs=1,
        loss="mse",
    )
    module.scaling.fit_targets(torch.tensor([[8.0], [12.0]]))
    return module


def test_the_metrics_of_a_test(tmp_path: Path) -> None:
    features, truth = torch.tensor([[-1.0], [0.0], [1.0], [3.0]]), torch.tensor([[8.0], [13.0], [10.0], [17.0]])
    trainer = Trainer(logger=False, enable_progress_bar=False, accelerator="cpu", default_root_dir=tmp_path)
    trainer.test(regressor(), EvalLoader(features, truth, 2, torch.nn.Identity()), verbose=False)
    found = {name: value.item() for name, value in trainer.callback_metrics.items()}
    # predicted: 8, 10, 12, 16, so wrong by 0, 3, 2, 1; the truth varies by 16, 1, 4, 25 around its mean of 12
    assert found["test/mse"] == pytest.approx(14 / 4)
    assert found["test/rmse"] == pytest.approx((14 / 4) ** 0.5)
    assert found["test/mae"] == pytest.approx(6 / 4)
    assert found["test/r2"] == pytest.approx(1 - 14 / 46)
    assert found["test/loss"] == pytest.approx(14 / 4 / 2**2), "the loss is of standardised targets"


def test_metrics_do_not_depend_on_the_order_of_the_batches(tmp_path: Path) -> None:
    """So several processes compute the same metrics as one."""
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


def test_the_scaling_comes_from_the_facts_of_the_data() -> None:
    scaling = Scaling([1], 1)
    scaling.fit_inputs(torch.tensor([[0.0], [2.0]]))
    scaling.fit_targets(torch.tensor([[3.0], [5.0]]))
    module = regressor()
    module.use_facts(DataFacts(scaling=scaling))
    assert {name: value.tolist() for name, value in module.scaling.state_dict().items()} == {
        name: value.tolist() for name, value in scaling.state_dict().items()
    }
