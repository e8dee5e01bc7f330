"""Transfer learning: the weights a new run starts from, published ones or an earlier run's, and which stay frozen."""

import pickle
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor, nn
from torch.optim import Optimizer

from leyden.errors import UserError
from leyden.nets.pretrained import Pretrained, published
from leyden.records.run_folder import best_checkpoint, read_checkpoint


def start(module: LightningModule, init_from: str | None) -> None:
    """Put into `module` what a new run starts from, if not the weights that were drawn.

    Args:
        init_from: a run folder, whose best weights come before published ones.

    Raises:
        UserError: they cannot be had, or are of another net altogether.
    """
    if init_from is not None:
        path = best_checkpoint(Path(init_from))
        if not path.is_file():
            raise UserError(f"init_from: {init_from} is no run folder with a best checkpoint ({path} is missing)")
        adopt(module, read_checkpoint(path)["state_dict"], f"init_from: {init_from}")
        return
    for net in _pretrained(module):
        if net.weights != "none":
            adopt(net.model, _weights(net), f"model.weights: {net.weights}")


def adopt(net: nn.Module, state: dict[str, Tensor], source: str) -> None:
    """Put into `net` what of `state` has the name and shape of one of its weights, and say which of its own are kept.

    Args:
        source: the config key and where `state` is from, for messages.

    Raises:
        UserError: nothing fits.
    """
    own = net.state_dict()
    fitting = {name: value for name, value in state.items() if name in own and own[name].shape == value.shape}
    if not any(name in fitting for name, _ in net.named_parameters()):
        raise UserError(f"{source} has no weight of the name and shape of one of this net's, such as {next(iter(own))}")
    net.load_state_dict(fitting, strict=False)
    _tell(source, [name for name in own if name not in fitting])


@rank_zero_only
def _tell(source: str, missing: list[str]) -> None:
    print(f"{source}: weights taken; drawn anew {', '.join(missing) if missing else 'none'}", flush=True)


def _pretrained(module: nn.Module) -> list[Pretrained]:
    return [net for net in module.modules() if isinstance(net, Pretrained)]


def _weights(net: Pretrained) -> dict[str, Tensor]:
    """The state dict of ``net.weights``, plain tensors only: nothing in a file is executed."""
    if net.weights == "default":
        return _published(net.name)
    try:
        state: Any = torch.load(net.weights, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise UserError(f"model.weights: cannot read {net.weights} ({str(error).splitlines()[0]})") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"model.weights: {net.weights} is no state dict, which has a tensor for each name")
    return state


def _published(name: str) -> dict[str, Tensor]:
    """Of several processes one downloads, and the others wait."""
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(cache / ".leyden.lock"):
            return published(name)
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"model.weights: cannot get the published weights of {name} ({error}); model.weights=PATH takes a state "
            f"dict that is already here, model.weights=none starts without, and what lies in {cache} is not downloaded"
        ) from error


def callbacks(module: LightningModule) -> list[Callback]:
    """What training `module` takes beside: a `Freeze` if there is anything to freeze."""
    return [Freeze()] if any(net.freeze_epochs for net in _pretrained(module)) else []


class Freeze(Callback):
    """Keeps the body of a pretrained net still for its first `freeze_epochs` epochs.

    A function of the epoch, so there is nothing to save. One process computes no gradients for what is frozen.
    Several compute and drop them, since DDP is told once, at the start, which weights have any.
    """

    def __init__(self) -> None:
        self.dropped: list[nn.Parameter] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._set(trainer, pl_module)  # a run resumed amid an epoch does not start that epoch

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._set(trainer, pl_module)

    def _set(self, trainer: Trainer, module: LightningModule) -> None:
        self.dropped = []
        for net in _pretrained(module):
            net.freeze(trainer.current_epoch < net.freeze_epochs)
            for weight in net.backbone():
                weight.requires_grad = not net.frozen or trainer.world_size > 1
            if net.frozen and trainer.world_size > 1:
                self.dropped += net.backbone()

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        for weight in self.dropped:
            weight.grad = None
