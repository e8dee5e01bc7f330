"""What can be trained with differential privacy, and what cannot."""

from typing import Any

from omegaconf import DictConfig
from torch import nn

from leyden.data.datamodule import InMemoryData
from leyden.data.images import ImageData
from leyden.errors import UserError
from leyden.modules.base import BaseModule
from leyden.modules.classifier import Classifier
from leyden.nets.pretrained import BATCH_NORMS
from leyden.nets.sample_gradients import LAYERS, unsupported_layer

EXACT = ("32-true", "64-true")  # precisions in which the norm of a gradient is exact enough to bound it


def check_privacy(cfg: DictConfig, module: BaseModule, data: InMemoryData) -> None:
    """Raise UserError if this run cannot keep the guarantee of ``privacy=dp``.

    Args:
        cfg: the config.
        module: the module to train.
        data: its data, before it has read anything.
    """
    _check_data(module, data)
    if is_federated(cfg):
        if cfg.privacy["secure"]:
            reason = "a round could not be resumed with the same clients; use privacy.secure=false"
            raise UserError(f"privacy.secure: got true, which cannot be combined with federated training: {reason}")
        _check_norm(cfg, module.net)
        return
    _check_samples(module, data)
    _check_norm(cfg, module.net)
    _check_layers(module.net)
    settings = cfg.trainer
    if cfg.ensemble > 1:
        raise _error(
            "ensemble", cfg.ensemble, "each net would spend its own epsilon on the same samples; use ensemble=1"
        )
    if settings.precision not in EXACT:
        reason = "in which the norm of a gradient is not exact enough to limit it; use trainer.precision=32-true"
        raise _error("trainer.precision", settings.precision, reason)
    if settings.compile:
        raise _error("trainer.compile", "true", "which hides the layers of the net; use trainer.compile=false")
    if settings.accumulate_grad_batches > 1:
        reason = "use a larger data.batch_size; privacy.chunk_size limits the memory"
        raise _error("trainer.accumulate_grad_batches", settings.accumulate_grad_batches, reason)


def check_processes(number: int) -> None:
    """Raise UserError if a private training would have several processes."""
    if number > 1:
        raise _error("trainer.devices", f"{number} processes", "the samples are drawn by one; use trainer.devices=1")


def is_federated(cfg: DictConfig) -> bool:
    """Whether the guarantee protects the clients of a federated training, not single samples."""
    return bool(cfg.federated["_target_"] != "leyden.optim.federated.NoFederation")


def _check_data(module: BaseModule, data: InMemoryData) -> None:
    """Private samples must change the weights by clipped gradients only."""
    if not isinstance(module, Classifier) or not isinstance(data, ImageData):
        name = type(data if isinstance(module, Classifier) else module).__name__
        raise UserError(f"privacy: got dp, which trains classifiers of images, not {name}; use privacy=none")
    if data.mean is None or data.std is None:
        reason = "so that they are measured on the private samples; give data.mean and data.std"
        raise _error("data.mean and data.std", "null", reason)
    if module.is_weighted:
        reason = "which counts the private samples of each class; use task.class_weights=none"
        raise _error("task.class_weights", "balanced", reason)


def _check_samples(module: BaseModule, data: InMemoryData) -> None:
    """One sample must not change the probability or the gradient of another one."""
    assert isinstance(data, ImageData)
    assert isinstance(module, Classifier)
    if data.balanced:
        raise _error(
            "data.balanced", "true", "which draws samples by the sizes of their classes; use data.balanced=false"
        )
    for name, alpha in (("mixup", module.mixup), ("cutmix", module.cutmix)):
        if alpha:
            raise _error(f"task.{name}", alpha, f"which mixes two samples in one gradient; use task.{name}=0")


def _check_norm(cfg: DictConfig, net: nn.Module) -> None:
    if any(isinstance(layer, BATCH_NORMS) for layer in net.modules()):
        by_key = "norm" in cfg.model
        advice = "use model.norm=group" if by_key else "use another model, such as model=cnn model.norm=group"
        reason = "has batch norm, which mixes the samples of a batch, so privacy=dp cannot train it"
        raise UserError(f"model: {reason}; {advice}")


def _check_layers(net: nn.Module) -> None:
    layer = unsupported_layer(net)
    if layer is not None:
        kinds = ", ".join(kind.__name__ for kind in LAYERS)
        raise UserError(
            f"model: {type(layer).__name__} has weights of its own, but privacy=dp trains only {kinds}; use another "
            "model, such as model=cnn model.norm=group"
        )


def _error(key: str, value: Any, reason: str) -> UserError:
    return UserError(f"{key}: got {value}, which cannot be combined with privacy=dp: {reason}")
