"""Training steps on a fake GPU: each tensor is on the right device, and nothing is read from it.

Under `FakeTensorMode` a tensor has a shape and a device, but no values. A tensor on the wrong device raises an error,
and so does a read of a value. There is no backward pass.
"""

import itertools
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from omegaconf import DictConfig
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily

from leyden.config.builders import build_data, build_module
from leyden.config.compose import compose
from leyden.data import text_loaders
from leyden.data.loaders import Batch
from leyden.data.text_loaders import TextTrainLoader
from leyden.metrics.frechet import FeatureSums
from leyden.modules.base import BaseModule
from leyden.modules.flow import Flow
from leyden.modules.forecaster import Forecaster
from leyden.modules.gan import GAN, discriminator_loss, generator_loss
from leyden.modules.language_model import LanguageModel
from leyden.modules.pixels import to_pixels
from leyden.modules.supervised import SupervisedModule
from leyden.nets.bahdanau import Bahdanau
from leyden.nets.recurrent import Recurrent
from tests.conftest import PAIRS_OF_TEXTS, chosen, model_for
from tests.test_pairs import DATA, PAIRS, TWO_STEPS, config, problem

IMAGES = [data for data in DATA if "mean" in compose(*chosen(data)).data or data.startswith("digit_")]
NUM = 4  # samples in a batch, see `tests.test_pairs.TWO_STEPS`
GPU = torch.device("cuda")


class RecurrentStandIn(nn.Module):
    """Instead of recurrent layers, whose kernels look at the data of their weights."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x.new_zeros(1, len(x), self.hidden)


class EncoderStandIn(nn.Module):
    """Instead of the encoder of `Bahdanau`, for the same reason."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return x.new_zeros(*mask.shape, self.size)


class CellStandIn(nn.Module):
    """Instead of the cell of `Bahdanau`, which has no kernel for fake tensors."""

    def forward(self, x: Tensor, state: Tensor) -> Tensor:
        return state + x.sum()


pytestmark = pytest.mark.filterwarnings("ignore:.*taken as it is:UserWarning")  # the files are tiny ones

# Inside, all new tensors are fake. Those without a device are on the CPU, as in a run.
MODE = FakeTensorMode(allow_non_fake_inputs=True)


def fake_module(cfg: DictConfig) -> BaseModule:
    """The module of a config on the fake GPU."""
    module = build_module(cfg)
    if isinstance(module.net, Bahdanau):
        module.net.encoder = EncoderStandIn(2 * module.net.start.in_features)  # type: ignore[assignment]
        module.net.cell = CellStandIn()  # type: ignore[assignment]
    if isinstance(module.net, Recurrent):
        module.net.layers = RecurrentStandIn(module.net.head.in_features)
    for part in module.modules():
        for name, weight in [*part.named_parameters(recurse=False)]:
            setattr(part, name, nn.Parameter(fake(weight), requires_grad=False))
        for name, buffer in [*part.named_buffers(recurse=False)]:
            setattr(part, name, fake(buffer))
    return module


def fake(tensor: Tensor) -> Tensor:
    """A tensor of this shape and type on the fake GPU."""
    with MODE:
        return torch.empty(tensor.shape, dtype=tensor.dtype, device=GPU)


@cache
def batches(data: str, root: Path, *overrides: str) -> tuple[Batch, Batch]:
    """The first training and validation batch of a data set, made by its own loaders on the fake GPU."""
    loaded = build_data(config(model_for(data), data, root, *TWO_STEPS, *overrides))
    loaded.setup("fit")
    assert loaded.train
    assert loaded.val
    trainer = SimpleNamespace(strategy=SimpleNamespace(root_device=GPU), global_rank=0, world_size=1)
    loaded.trainer = trainer  # type: ignore[assignment]
    with MODE:
        loaded.train, loaded.val = ((fake(inputs), fake(targets)) for inputs, targets in (loaded.train, loaded.val))
        with pytest.MonkeyPatch.context() as patch:
            for owner, name in ((TextTrainLoader, "plan"), (text_loaders, "longest")):  # they read lengths on the CPU
                patch.setattr(owner, name, real(getattr(owner, name)))
            return next(iter(loaded.train_dataloader())), next(iter(loaded.val_dataloader()))


def real(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compute with real tensors inside of `MODE`."""

    def call(*args: Any) -> Any:
        with unset_fake_temporarily():
            return function(*args)

    return call


def devices(*tensors: object) -> set[str]:
    return {tensor.device.type for tensor in tensors if isinstance(tensor, Tensor)}


@pytest.mark.parametrize(("model", "data"), [pair for pair in PAIRS if pair[0] != "gan"])
def test_a_training_step_stays_on_the_gpu_and_reads_nothing_from_it(files_root: Path, model: str, data: str) -> None:
    if problem(model, data, files_root):
        pytest.skip("not a sensible pair, see tests/test_pairs.py")
    module, (train, _) = fake_module(config(model, data, files_root, *TWO_STEPS)), batches(data, files_root)
    if isinstance(module, Flow):
        module.classes_in = lambda targets: torch.zeros(NUM, module.net.num_classes, device=GPU)
    with MODE:
        loss = module.training_step(train, 0)
    assert isinstance(loss, Tensor)
    assert devices(loss, *train, *itertools.chain(*module.train_means.unread)) == {"cuda"}


@pytest.mark.parametrize("data", sorted(set(DATA) - set(PAIRS_OF_TEXTS)))  # a search stops when all texts have ended
def test_a_validation_step_too(files_root: Path, data: str) -> None:
    module, (_, val) = fake_module(config(model_for(data), data, files_root, *TWO_STEPS)), batches(data, files_root)
    assert isinstance(module, SupervisedModule | LanguageModel)
    if isinstance(module, Forecaster):
        module.reference_season = 1  # read once per validation
    with MODE:
        if isinstance(module, SupervisedModule):
            module.val_metrics.to(GPU)
            module.val_metrics._groups_checked = True  # torchmetrics compares metrics in its first update, by values
        module.eval().validation_step(val, 0)
    assert devices(*val, *itertools.chain(*module.eval_means.unread)) == {"cuda"}


@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_a_step_of_an_ensemble_too(files_root: Path, model: str) -> None:
    module = fake_module(config(model, "digits", files_root, *TWO_STEPS, "ensemble=2"))
    train, _ = batches("digits", files_root, "ensemble=2")
    assert len(train[0]) == 2 * NUM
    with MODE:
        assert devices(module.training_step(train, 0)) == {"cuda"}


def test_every_augmentation_too(files_root: Path) -> None:
    strong = ("data.rotate=20", "data.jitter=0.4", "data.crop=0.5", "data.randaugment=9", "data.flip=true")
    train, _ = batches("folder", files_root, *strong)
    assert devices(*train) == {"cuda"}


@pytest.mark.parametrize("override", ["task.loss=focal", "task.loss=mse", "task.l1=0.1"])
def test_the_other_losses_too(files_root: Path, override: str) -> None:
    module = fake_module(config("mlp", "digits", files_root, *TWO_STEPS, override))
    train, _ = batches("digits", files_root)
    with MODE:
        assert devices(module.training_step(train, 0)) == {"cuda"}


@pytest.mark.parametrize("data", IMAGES)
def test_the_parts_of_a_step_of_the_gan(files_root: Path, data: str) -> None:
    """Its gradients need a real GPU."""
    module, ((images, _), _) = fake_module(config("gan", data, files_root, *TWO_STEPS)), batches(data, files_root)
    assert isinstance(module, GAN)
    with MODE:
        real = to_pixels(module, images)
        generated = module.net(torch.randn(NUM, module.net.latent_size, device=GPU))
        loss = discriminator_loss(module.net.discriminate(real), module.net.discriminate(generated))
        assert devices(loss + generator_loss(module.net.discriminate(generated))) == {"cuda"}
        module._update_average()
    assert module.num_averaged == 1


def test_real_images_are_added_up_on_the_gpu(files_root: Path) -> None:
    module, (batch, _) = fake_module(config("gan", "digits", files_root, *TWO_STEPS)), batches("digits", files_root)
    assert isinstance(module, GAN)
    module.classes_in = lambda targets: torch.zeros(NUM, 10, dtype=torch.int64, device=GPU)
    with MODE:
        module.add_real(batch)
    sums = module.quality.real.sums
    assert sums is not None
    assert (sums.device.type, sums.dtype) == ("cuda", torch.float64)


def test_mps_has_no_float64() -> None:
    """So features are moved to the CPU before they become float64."""
    sums = FeatureSums(4)
    with MODE:
        sums.add(torch.rand(NUM, 4, device="mps"), torch.ones(NUM, dtype=torch.bool, device="mps"))
    assert sums.sums is not None
    assert sums.sums.device.type == "cpu"


def test_a_read_is_noticed() -> None:
    with MODE, pytest.raises(Exception, match="local_scalar_dense"):
        float(torch.rand((), device=GPU))


def test_a_tensor_on_the_cpu_is_noticed() -> None:
    with MODE, pytest.raises(Exception, match="device"):
        torch.rand(2, device=GPU) + torch.rand(2)
