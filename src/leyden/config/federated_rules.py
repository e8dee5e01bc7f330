"""What can be trained by federated clients, and what cannot."""

from typing import Any

from omegaconf import DictConfig

from leyden.errors import UserError
from leyden.modules.base import BaseModule
from leyden.modules.supervised import SupervisedModule
from leyden.optim.averages import NoAverage

SCHEDULES = ("leyden.optim.constant", "leyden.optim.Plateau")  # these do not change within a round


def check_federated(cfg: DictConfig, module: BaseModule, is_new: bool) -> None:
    """Raise UserError if a value cannot be combined with federated training.

    Args:
        cfg: the config.
        module: the module to train.
        is_new: whether the run is not resumed.
    """
    settings = cfg.trainer
    if not isinstance(module, SupervisedModule):
        raise _error("model", type(module).__name__, "which has no targets; use a supervised task")
    if cfg.ensemble > 1:
        raise _error("ensemble", cfg.ensemble, "use ensemble=1")
    if cfg.scheduler["_target_"] not in SCHEDULES:
        name = cfg.scheduler["_target_"].rpartition(".")[2].lower()
        raise _error("scheduler", name, "the clients of a round would differ; use scheduler=none or plateau")
    if cfg.averaging["_target_"].rpartition(".")[2] != NoAverage.__name__:
        raise _error("averaging", cfg.averaging["_target_"].rpartition(".")[2].lower(), "use averaging=none")
    if settings.accumulate_grad_batches > 1:
        reason = "a client's last step would be incomplete; use a larger data.batch_size"
        raise _error("trainer.accumulate_grad_batches", settings.accumulate_grad_batches, reason)
    if settings.max_steps != -1:
        raise _error("trainer.max_steps", settings.max_steps, "it would end within a round; use federated.rounds")
    if settings.val_check_interval != 1.0:
        reason = "the server has new weights only after a round; use trainer.val_check_interval=1.0"
        raise _error("trainer.val_check_interval", settings.val_check_interval, reason)
    if is_new and settings.max_epochs != cfg.federated.rounds:
        reason = f"an epoch is a round, and federated.rounds is {cfg.federated.rounds}; use federated.rounds"
        raise _error("trainer.max_epochs", settings.max_epochs, reason)


def check_one_process(number: int) -> None:
    """Raise UserError if a federated training would have several processes."""
    if number > 1:
        raise _error("trainer.devices", f"{number} processes", "one simulates all clients; use trainer.devices=1")


def _error(key: str, value: Any, reason: str) -> UserError:
    return UserError(f"{key}: got {value}, which cannot be combined with federated training: {reason}")
