"""Transfer learning: the weights that a new run starts from, and which of them stay frozen."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.optim import Optimizer

from leyden.config.builders import load_weights
from leyden.errors import UserError
from leyden.nets.airbench import Airbench
from leyden.nets.pretrained import Pretrained, published
from leyden.nets.word_vectors import check_vectors
from leyden.records.checkpoint_file import read_checkpoint
from leyden.records.run_folder import best_checkpoint


def initialise_weights(
    module: LightningModule, cfg: DictConfig, path: Path | None = None, checkpoint: Mapping[str, Any] | None = None
) -> None:
    """Load the weights with which the training begins.

    They come from the checkpoint that the run resumes from, otherwise from the run ``cfg.init_from``, otherwise they
    are the published weights of a pretrained net. If there is none of these, the net keeps its random weights.

    Args:
        module: the module, which has random weights.
        cfg: the config of the run.
        path, checkpoint: the checkpoint from which the run resumes, if it does.

    Raises:
        UserError: the weights cannot be read or downloaded, or belong to another net.
    """
    if checkpoint is not None and path is not None:
        load_weights(module, checkpoint, path)
        return
    check_vectors(module)
    if cfg.init_from is not None:
        best = best_checkpoint(Path(cfg.init_from).expanduser())
        if not best.is_file():
            raise UserError(
                f"init_from: {cfg.init_from} is not a run folder with a best checkpoint ({best} is missing)"
            )
        load_matching(module, read_checkpoint(best)["state_dict"], f"init_from: {cfg.init_from}")
        return
    for net in _pretrained(module):
        if net.weights != "none":
            load_matching(net.model, _weights(net), f"model.weights: {net.weights}")


def load_matching(net: nn.Module, state: dict[str, Tensor], source: str) -> None:
    """Load the weights of `state` that have the name and shape of a weight of `net`. Print which ones are missing.

    Args:
        net: the net; weights that `state` does not have keep their random values.
        state: weights of another net.
        source: the config key and the origin of `state`, for messages.

    Raises:
        UserError: no weight fits.
    """
    own = net.state_dict()
    fitting = {name: value for name, value in state.items() if name in own and own[name].shape == value.shape}
    if not any(name in fitting for name, _ in net.named_parameters()):
        raise UserError(
            f"{source} has no weight with the name and shape of a weight of this net, such as {next(iter(own))}"
        )
    net.load_state_dict(fitting, strict=False)
    parts, own_parts = ({name.partition(".")[0] for name in names} for names in (state, own))
    _report(source, [name for name in own if name not in fitting], sorted(parts - own_parts))


@rank_zero_only
def _report(source: str, missing: list[str], left_out: list[str]) -> None:
    rest = f"; re-initialised: {', '.join(missing)}" if missing else ""
    rest += f"; left out: {', '.join(left_out)}" if left_out else ""
    print(f"{source}: weights loaded{rest}", flush=True)


def _pretrained(module: nn.Module) -> list[Pretrained]:
    return [net for net in module.modules() if isinstance(net, Pretrained)]


def _weights(net: Pretrained) -> dict[str, Tensor]:
    """Return the state dict that ``net.weights`` names. It may only hold tensors, so nothing in it is executed."""
    if net.weights == "default":
        return _published(net.name)
    try:
        state: Any = torch.load(net.weights, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise UserError(f"model.weights: cannot read {net.weights} ({str(error).splitlines()[0]})") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"model.weights: {net.weights} is not a state dict, which maps names to tensors")
    return state


def _published(name: str) -> dict[str, Tensor]:
    """Return published weights. Of several processes one downloads them, and the others wait."""
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(cache / ".leyden.lock"):
            return published(name)
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"model.weights: cannot download the published weights of {name} ({error}). Use model.weights=PATH for a "
            f"state dict that you have, model.weights=none for random weights, or put the file into {cache}"
        ) from error


def freeze_callbacks(module: LightningModule, num_processes: int) -> list[Callback]:
    """Return a callback that freezes weights if `module` has any to freeze."""
    freezes = any(net.freeze_epochs for net in _pretrained(module)) or bool(_airbench(module))
    return [FreezeInProcesses() if num_processes > 1 else Freeze()] if freezes else []


def _airbench(module: nn.Module) -> list[Airbench]:
    return [net for net in module.modules() if isinstance(net, Airbench)]


class Freeze(Callback):
    """Freezes weights for some epochs: the backbone of a pretrained net at first, biases of airbench at the end.

    This is a function of the epoch, so there is no state to save. No gradients are computed for frozen weights.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.set(pl_module, trainer.current_epoch)  # a run that resumes within an epoch does not start that epoch

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.set(pl_module, trainer.current_epoch)

    def set(self, module: LightningModule, epoch: int) -> None:
        """Freeze the weights that are not trained in this epoch, and no others."""
        for net in _pretrained(module):
            net.freeze(epoch < net.freeze_epochs)
            self.set_weights(net.backbone(), net.frozen)
        for trained in _airbench(module):
            self.set_weights(trained.temporary_weights(), epoch >= trained.bias_epochs)

    def set_weights(self, weights: list[nn.Parameter], frozen: bool) -> None:
        """Freeze or thaw `weights`."""
        for weight in weights:
            weight.requires_grad = not frozen


class FreezeInProcesses(Freeze):
    """Freezes weights in several processes. Their gradients are computed and dropped.

    DDP decides at the start which weights have gradients.
    """

    def __init__(self) -> None:
        self.dropped: list[nn.Parameter] = []

    def set(self, module: LightningModule, epoch: int) -> None:
        self.dropped = []
        super().set(module, epoch)

    def set_weights(self, weights: list[nn.Parameter], frozen: bool) -> None:
        if frozen:
            self.dropped += weights

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        for weight in self.dropped:
            weight.grad = None
