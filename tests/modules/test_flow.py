"""Flow matching: latents, guidance, the loss, and reflow, against values worked out by hand."""

import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot

import leyden
from leyden.config.compose import compose
from leyden.data.datamodule import DataFacts
from leyden.errors import UserError
from leyden.modules.flow import Flow
from leyden.nets.conditional import ConditionalNet
from leyden.optim import constant
from leyden.run import run
from tests.conftest import small

FACTORIES = partial(torch.optim.Adam, lr=3e-3), partial(constant), {"metric": "val/fcd", "mode": "min"}
SETTINGS: dict[str, Any] = {
    "num_classes": 4, "num_samples": 10, "path": "straight", "time_sampling": "uniform", "hide_class": 0.0,
    "reflow": False, "sampler": "heun", "num_steps": 3, "val_steps": 2, "guidance": 1.0, "tolerance": 1e-3,
}  # fmt: skip


class Field(ConditionalNet):
    """The velocity x · scale + the number of the class (0: none)."""

    def __init__(self, scale: float = 0.5) -> None:
        super().__init__((1, 16, 16), 4)
        self.scale = torch.nn.Parameter(torch.tensor(scale))

    def forward(self, x: Tensor, times: Tensor, classes: Tensor) -> Tensor:
        numbers = classes @ torch.arange(1.0, 5.0)
        return x * self.scale + numbers[:, None, None, None]


def flow(**changed: Any) -> Flow:
    module = Flow(Field(), *FACTORIES, **{**SETTINGS, **changed})
    counts = (10, 10, 20, 60)
    module.use_facts(DataFacts((0.5,), (0.25,), classes_in=partial(one_hot_of, 4), class_counts=counts))
    return module


def one_hot_of(num: int, targets: Tensor) -> Tensor:
    return one_hot(targets, num)


def test_the_last_number_of_a_latent_chooses_the_class_as_often_as_in_the_training_set() -> None:
    module = flow()
    latents = module.random_latents(2_000, torch.Generator().manual_seed(0))
    assert latents.shape == (2_000, 257)
    noise, classes = module.split(latents)
    assert noise.shape == (2_000, 1, 16, 16)
    assert noise.flatten(1).equal(latents[:, :256])
    assert classes.mean(0).tolist() == pytest.approx([0.1, 0.1, 0.2, 0.6], abs=0.03)
    edges = torch.zeros(4, 257)
    edges[:, 256] = torch.tensor([-9.0, -1.1, -0.5, 9.0])  # the quantiles 0, 0.14, 0.31 and 1
    assert module.split(edges)[1].argmax(1).tolist() == [0, 1, 2, 3]


def test_images_with_several_classes_have_none() -> None:
    module = flow()
    module.use_facts(DataFacts((0.5,), (0.25,), classes_in=lambda targets: torch.ones(len(targets), 4)))
    assert module.split(torch.randn(3, 257))[1].sum() == 0
    assert module.classes_of(torch.zeros(3)).sum() == 0


def test_guidance() -> None:
    module, points, times = flow(), torch.ones(2, 1, 16, 16), torch.zeros(2)
    classes = module.one_hot(torch.tensor([0, 2]))  # 1 and 3 are added
    for guidance, expected in ((0.0, [0.5, 0.5]), (1.0, [1.5, 3.5]), (2.0, [2.5, 6.5])):
        assert module.guided(classes, guidance)(points, times)[:, 0, 0, 0].tolist() == expected


def test_the_loss_is_the_error_of_the_velocity(monkeypatch: pytest.MonkeyPatch) -> None:
    module = flow()
    monkeypatch.setattr(torch, "randn_like", lambda tensor: torch.full_like(tensor, 0.2))
    monkeypatch.setattr(module, "draw_times", lambda num: torch.full((num,), 0.25))
    images = torch.ones(2, 1, 16, 16)  # pixels 0.75, so 0.5 in the range -1 to 1
    loss = module.training_step((images, torch.tensor([0, 1])), 0)
    points = 0.25 * 0.5 + 0.75 * 0.2  # predicted: half of it, plus 1 or 2; the velocity is 0.5 - 0.2
    expected = [(points / 2 + number - 0.3) ** 2 for number in (1, 2)]
    assert loss.item() == pytest.approx(sum(expected) / 2, rel=1e-5)


def test_a_hidden_class_is_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    module = flow(hide_class=1.0)
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)
    monkeypatch.setattr(module, "draw_times", torch.ones)
    loss = module.training_step((torch.ones(2, 1, 16, 16), torch.tensor([0, 1])), 0)
    assert loss.item() == pytest.approx((0.5 / 2 - 0.5) ** 2)


def test_times_of_logit_normal_prefer_the_middle() -> None:
    torch.manual_seed(0)
    found = {name: flow(time_sampling=name).draw_times(5000) for name in ("uniform", "logit_normal")}
    assert all(0 <= times.min() <= times.max() <= 1 for times in found.values())
    assert found["uniform"].std().item() == pytest.approx(12**-0.5, abs=0.01)
    assert found["logit_normal"].std().item() == pytest.approx(0.208, abs=0.01)


def test_samples_follow_the_velocity() -> None:
    module = flow(sampler="dopri5", tolerance=1e-7)
    noise = torch.linspace(-1, 1, 256).view(1, 1, 16, 16)
    module.requires_grad_(False)
    images = module.generate(noise, torch.zeros(1, 4))
    assert torch.allclose(images, ((noise * torch.tensor(0.5).exp() + 1) / 2).clamp(0, 1), atol=1e-5)
    latents = torch.cat((noise.flatten(1), torch.zeros(1, 1)), 1)
    heun = flow(sampler="heun").requires_grad_(False).decode(latents)
    assert torch.allclose(module.predict(latents)["images"], heun), "exported files have a fixed number of steps"


def test_reflow_learns_the_images_of_the_initial_weights() -> None:
    module = flow(reflow=True, sampler="dopri5", tolerance=1e-6)
    module.on_train_start()
    with torch.no_grad():
        module.net.scale.fill_(9.0)  # the weights change, their copy does not
    noise = torch.randn(2, 1, 16, 16)
    taught = module.taught(noise, torch.zeros(2, 4))
    assert torch.allclose(taught, noise * torch.tensor(0.5).exp(), atol=1e-4)
    assert not [name for name in module.state_dict() if "teacher" in name]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["task.hide_class=1.5"], "task.hide_class: got 1.5, must be between 0 and 1"),
        (["task.hide_class=0", "task.guidance=2"], "task.guidance: got 2, needs a prediction without class"),
        (["task.val_steps=0"], "task.val_steps: got 0, must be at least 1"),
        (["task.num_steps=0"], "task.num_steps: got 0, must be at least 1"),
        (["task.sampler=rk4"], "task.sampler: got 'rk4'; allowed are euler, heun, ddim, dopri5"),
        (["task.reflow=true"], "task.reflow: got true, but there is no run whose paths it can make straight"),
        (["model.num_classes=3"], "model.num_classes: got 3, must be 10"),
        (["task=gan"], "task: got gan, which cannot train a UNet; use model=gan"),
        (["ensemble=2"], "ensemble: got 2, but Flow has no ensembles"),
    ],
)
def test_a_wrong_value_names_its_key(tmp_path: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        run(compose(f"paths.logs={tmp_path / 'logs'}", "model=flow", *overrides))
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_another_net_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="task: got flow, which cannot train a CNN; use model=flow"):
        run(compose(f"paths.logs={tmp_path / 'logs'}", "model=cnn", "task=flow", "+model.num_outputs=10"))


@pytest.mark.parametrize(("model", "precision"), [("flow", "bf16-true"), ("dit", "64-true")])
def test_other_precisions(finished: Callable[..., Path], short_feature_net: None, model: str, precision: str) -> None:
    """Plots and samples are computed outside of Lightning's context."""
    folder = finished(
        *small(model), "trainer=cpu", "trainer.max_epochs=1", "trainer.limit_train_batches=2", "data.batch_size=16",
        f"trainer.precision={precision}", "task.path=cosine", "task.sampler=ddim", "task.guidance=2",
    )  # fmt: skip
    metrics = json.loads((folder / "report.json").read_text())["metrics"]
    assert all(math.isfinite(value) for value in metrics.values())
    assert {name.removeprefix("val/") for name in metrics if name.startswith("val/")} == set(Flow.validation_metrics)
    drawn = {path.parent.name for path in folder.glob("*/epoch_0001.png")}
    assert drawn == {"samples", "interpolations"} | ({"attention"} if model == "dit" else set())
    images = leyden.load(folder).sample(3)
    assert images.isfinite().all()
