"""Training steps on a fake GPU: each tensor is on the right device, and nothing is read from it.

Under `FakeTensorMode` a tensor has a shape and a device, but no values. A tensor on the wrong device raises an error,
and so does a read of a value. There is no backward pass.
"""

import itertools

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from leyden.config.builders import build_module
from leyden.config.compose import compose, groups
from leyden.errors import UserError
from leyden.metrics.frechet import FeatureSums
from leyden.modules.base import BaseModule
from leyden.modules.classifier import Classifier
from leyden.modules.forecaster import Forecaster
from leyden.modules.gan import GAN, discriminator_loss, generator_loss
from leyden.modules.multilabel import Multilabel
from leyden.modules.pixels import to_pixels
from leyden.modules.regressor import Regressor
from leyden.modules.transcriber import Transcriber
from leyden.nets.recurrent import Recurrent
from tests.conftest import chosen, small

DATA = ("cifar10", "digits", "digit_pairs", "digit_strings", "diabetes", "series")  # each task; one and three channels
PAIRS = [*itertools.product(groups()["model"], DATA)]
NUM = 2  # samples in a batch
GPU = torch.device("cuda")
NUMBERS = Regressor | Forecaster


class RecurrentStandIn(nn.Module):
    """Instead of recurrent layers, whose kernels look at the data of their weights."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x.new_zeros(1, len(x), self.hidden)


@pytest.fixture
def mode() -> FakeTensorMode:
    """Inside, all new tensors are fake. Those without a device are on the CPU, as in a run."""
    return FakeTensorMode()


def build(mode: FakeTensorMode, model: str, data: str, *overrides: str) -> tuple[BaseModule, tuple[int, ...]]:
    """A module on the fake GPU, and the shape of its samples."""
    cfg = compose(*small(model), *chosen(data), *overrides)
    try:
        module = build_module(cfg)
    except UserError:
        pytest.skip("not a sensible pair, see tests/test_pairs.py")
    if isinstance(module.net, Recurrent):
        module.net.layers = RecurrentStandIn(module.net.head.in_features)
    for part in module.modules():
        for name, weight in [*part.named_parameters(recurse=False)]:
            setattr(part, name, nn.Parameter(fake(mode, weight), requires_grad=False))
        for name, buffer in [*part.named_buffers(recurse=False)]:
            setattr(part, name, fake(mode, buffer))
    return module, tuple(cfg.data.shape)


def fake(mode: FakeTensorMode, tensor: Tensor) -> Tensor:
    """A tensor of this shape and type on the fake GPU."""
    with mode:
        return torch.empty(tensor.shape, dtype=tensor.dtype, device=GPU)


def batch(module: BaseModule, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Inputs and targets of the shape and type that the module's data sets have."""
    if isinstance(module, Classifier):
        targets = torch.zeros(NUM, dtype=torch.int64, device=GPU)
    elif isinstance(module, Multilabel):
        targets = torch.zeros(NUM, len(module.thresholds), dtype=torch.int64, device=GPU)
    elif isinstance(module, Transcriber):
        targets = torch.zeros(NUM, module.length, dtype=torch.int64, device=GPU)
    else:
        targets = torch.zeros(NUM, len(module.scaling.target_std) if isinstance(module, NUMBERS) else 1, device=GPU)
    return torch.rand(NUM, *shape, device=GPU), targets


@pytest.mark.parametrize(("model", "data"), [pair for pair in PAIRS if pair[0] != "gan"])
def test_a_training_step_stays_on_the_gpu_and_reads_nothing_from_it(
    mode: FakeTensorMode, model: str, data: str
) -> None:
    module, shape = build(mode, model, data)
    with mode:
        loss = module.training_step(batch(module, shape), 0)
    assert isinstance(loss, Tensor)
    assert loss.device.type == "cuda"
    assert {value.device.type for means in module.train_means.unread for value in means} == {"cuda"}


@pytest.mark.parametrize("overrides", [["task.loss=focal"], ["task.loss=mse"], ["task.l1=0.1"]])
def test_the_other_losses_too(mode: FakeTensorMode, overrides: list[str]) -> None:
    module, shape = build(mode, "mlp", "digits", *overrides)
    with mode:
        loss = module.training_step(batch(module, shape), 0)
    assert isinstance(loss, Tensor)
    assert loss.device.type == "cuda"


def test_the_parts_of_a_step_of_the_gan(mode: FakeTensorMode) -> None:
    """Its gradients need a real GPU."""
    module, shape = build(mode, "gan", "digits")
    assert isinstance(module, GAN)
    with mode:
        real = to_pixels(module, torch.rand(NUM, *shape, device=GPU))
        images = module.net(torch.randn(NUM, module.net.latent_size, device=GPU))
        loss = discriminator_loss(module.net.discriminate(real), module.net.discriminate(images))
        assert (loss + generator_loss(module.net.discriminate(images))).device.type == "cuda"
        module._update_average()
    assert module.num_averaged == 1


def test_real_images_are_added_up_on_the_gpu(mode: FakeTensorMode) -> None:
    module, shape = build(mode, "gan", "digits")
    assert isinstance(module, GAN)
    module.classes_in = lambda targets: torch.zeros(NUM, 10, dtype=torch.int64, device=GPU)
    with mode:
        module.add_real((torch.rand(NUM, *shape, device=GPU), torch.zeros(NUM, device=GPU)))
    sums = module.quality.real.sums
    assert sums is not None
    assert (sums.device.type, sums.dtype) == ("cuda", torch.float64)


def test_mps_has_no_float64(mode: FakeTensorMode) -> None:
    """So features are moved to the CPU before they become float64."""
    sums = FeatureSums(4)
    with mode:
        sums.add(torch.rand(NUM, 4, device="mps"), torch.ones(NUM, dtype=torch.bool, device="mps"))
    assert sums.sums is not None
    assert sums.sums.device.type == "cpu"


def test_a_read_is_noticed(mode: FakeTensorMode) -> None:
    with mode, pytest.raises(Exception, match="local_scalar_dense"):
        float(torch.rand((), device=GPU))


def test_a_tensor_on_the_cpu_is_noticed(mode: FakeTensorMode) -> None:
    with mode, pytest.raises(Exception, match="device"):
        torch.rand(2, device=GPU) + torch.rand(2)
