"""Federated training: ``federated=fedavg`` and ``federated=fedprox``. An epoch of the Trainer is a round."""

from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from leyden.config.builders import section
from leyden.config.federated_rules import check_federated
from leyden.config.instantiate import instantiate
from leyden.data.clients import NOBODY, ClientBatch
from leyden.data.datamodule import InMemoryData
from leyden.data.loaders import EvalLoader
from leyden.modules.base import BaseModule
from leyden.modules.supervised import SupervisedModule
from leyden.optim import trained_weights
from leyden.optim.federated import FedAvg, NoFederation
from leyden.optim.privacy import Spending
from leyden.seeding import generator
from leyden.training.averaging import averaged_tensors
from leyden.training.private_training import private_settings


class FederatedTraining(Callback):
    """Gives each client the weights of the server and a new optimizer, and averages what they have learned.

    Its state is in `last.ckpt`, so that a run can resume within the training of a client.

    Args:
        settings: clients, rounds and method.
        module: the module that is trained.
        data: has the samples of all clients.
        spending: the privacy budget, if the training is private with regard to clients (McMahan et al., 2018). Then
            the change of the weights by a client is shortened to a norm, and noise is added to the sum of the changes.
        seed: of the noise.
    """

    def __init__(
        self, settings: FedAvg, module: BaseModule, data: InMemoryData, spending: Spending | None, seed: int
    ) -> None:
        self.settings, self.module, self.data = settings, module, data
        self.spending, self.seed = spending, seed
        self.server: dict[str, Tensor] = {}  # weights at the start of the round
        self.sums: dict[str, Tensor] = {}  # float64: of weights times numbers of samples, or of clipped changes
        self.num_samples = 0  # of the clients in the sums
        self.client = self.client_samples = 0  # that is being trained, and its number of samples
        self.losses: list[Tensor] = []  # of its steps
        self.rounds = [0] * settings.num_clients  # in which each client was trained
        self.last_loss: list[float | None] = [None] * settings.num_clients  # mean over its steps in its last round
        self.handles: list[RemovableHandle] = []
        self.fresh: Optimizer | None = None

    def plan(self, trainer: Mapping[str, Any]) -> None:
        """Divide the samples, and choose the noise if the training is private. Raises UserError, see `Spending.plan`.

        Args:
            trainer: the section ``trainer`` of the config.
        """
        if self.spending:
            self.spending.plan(self.settings.num_clients, self.settings.fraction, trainer["max_epochs"])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        device = pl_module.device
        self.server, self.sums = ({k: v.to(device) for k, v in part.items()} for part in (self.server, self.sums))
        self.losses = [loss.to(device) for loss in self.losses]
        factory = self.module.optimizer
        self.fresh = factory(trained_weights(self.module, factory))
        if self.settings.mu:
            self.handles = [
                weight.register_post_accumulate_grad_hook(self._add_distance(name))  # type: ignore[no-untyped-call]
                for name, weight in self.module.named_parameters()
                if weight.requires_grad
            ]

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for handle in self.handles:
            handle.remove()
        self.handles = []

    def _add_distance(self, name: str) -> Any:
        """Return the hook that adds the gradient of mu / 2 times the squared distance from the server's weights."""

        def hook(weight: nn.Parameter) -> None:
            assert weight.grad is not None
            weight.grad.add_(weight.detach() - self.server[name], alpha=self.settings.mu)

        return hook

    def _weights(self) -> dict[str, Tensor]:
        return {name: tensor.detach() for name, tensor in averaged_tensors(self.module).items()}

    @torch.no_grad()
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        assert isinstance(batch, ClientBatch)
        self.client, self.client_samples = batch.client, batch.num_samples
        if not batch.is_first:
            return
        weights = self._weights()
        if not self.server:
            self.server = {name: weight.clone() for name, weight in weights.items()}
        for name, weight in weights.items():
            weight.copy_(self.server[name])
        assert self.fresh is not None
        state = trainer.optimizers[0].state
        state.clear()
        for parameter, values in self.fresh.state.items():
            state[parameter] = {
                key: value.clone() if isinstance(value, Tensor) else value for key, value in values.items()
            }

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.losses.append(outputs["loss"].detach())
        if batch.is_last or trainer.is_last_batch:
            self._end_client()
        if trainer.is_last_batch:
            self._end_round(trainer.current_epoch)

    @torch.no_grad()
    def _end_client(self) -> None:
        if self.client == NOBODY:
            self.losses = []
            return
        self.last_loss[self.client] = float(torch.stack(self.losses).double().mean())
        self.rounds[self.client] += 1
        self.losses = []
        weights = {name: weight.double() for name, weight in self._weights().items()}
        if self.spending:
            changes = {name: weight - self.server[name] for name, weight in weights.items()}
            norm = torch.stack([change.norm() for change in changes.values()]).norm()
            factor = (self.spending.settings.max_grad_norm / (norm + 1e-12)).clamp(max=1.0)
            parts = {name: change * factor for name, change in changes.items()}
        else:
            parts = {name: weight * self.client_samples for name, weight in weights.items()}
        for name, part in parts.items():
            self.sums[name] = self.sums[name] + part if name in self.sums else part
        self.num_samples += self.client_samples

    @torch.no_grad()
    def _end_round(self, number: int) -> None:
        """Put the mean of the weights of the clients into the module, before the validation."""
        for position, (name, weight) in enumerate(self._weights().items()):
            if self.spending:
                weight.copy_(self.server[name] + self._private(name, generator(self.seed, "clients", number, position)))
            else:
                weight.copy_(self.sums[name] / self.num_samples)
        if self.spending:
            self.spending.num_steps += 1
        self.server, self.sums, self.num_samples = {}, {}, 0

    def _private(self, name: str, rng: torch.Generator) -> Tensor:
        """Return the private mean of the changes of a weight: of the expected number of clients."""
        assert self.spending is not None
        total = self.sums[name] if name in self.sums else torch.zeros_like(self.server[name], dtype=torch.float64)
        noise = torch.randn(total.shape, generator=rng, dtype=torch.float64).to(total.device)
        noise *= self.spending.noise_multiplier * self.spending.settings.max_grad_norm
        return (total + noise) / (self.settings.fraction * self.settings.num_clients)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.server:  # trainer.max_time has ended the round before its last batch
            if self.losses:
                self._end_client()
            self._end_round(trainer.current_epoch)
        if self.spending:
            pl_module.log("privacy/epsilon", self.spending.epsilon)
        losses = torch.tensor([loss for loss in self.last_loss if loss is not None], dtype=torch.float64)
        if len(losses) > 1:
            pl_module.log_dict({"clients/loss": losses.mean(), "clients/loss_std": losses.std()})

    def report(self) -> list[dict[str, Any]]:
        """Return for each client its samples, rounds and last loss, and the metrics of the tested weights on them."""
        found = []
        for number, samples in enumerate(self.data.clients()):
            inputs, targets = self.data.client_samples(samples)
            transform = self.data.transform(inputs.device)
            loader = EvalLoader(inputs, targets, self.data.eval_batch_size, transform)
            found.append(
                {
                    "client": number,
                    "samples": len(samples),
                    "rounds": self.rounds[number],
                    "last_loss": self.last_loss[number],
                    "metrics": evaluated(self.module, loader),
                }
            )
        return found

    def state_dict(self) -> dict[str, Any]:
        names = ("server", "sums", "num_samples", "client", "client_samples", "losses", "rounds", "last_loss")
        spending = {"spending": self.spending.state()} if self.spending else {}
        return {name: getattr(self, name) for name in names} | spending

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for name, value in state_dict.items():
            if name != "spending":
                setattr(self, name, value)
            elif self.spending:
                self.spending.load_state(value)


@torch.no_grad()
def evaluated(module: BaseModule, loader: EvalLoader) -> dict[str, float]:
    """Return the metrics of `module` on other batches than those of a split, by name."""
    assert isinstance(module, SupervisedModule)
    module.eval()
    for number, batch in enumerate(loader):
        module.validation_step(batch, number)
    values = module.compute_metrics(module.val_metrics, "val/")
    module.val_metrics.reset()
    return {name.partition("/")[2]: float(value) for name, value in values.items()}


def federated_training(
    cfg: DictConfig, module: BaseModule, data: InMemoryData, checkpoint: Mapping[str, Any] | None
) -> FederatedTraining | None:
    """Return the callback for ``cfg.federated``, and let `data` divide its samples between the clients; None if not.

    Raises:
        UserError: a value is not allowed, or does not fit another.
    """
    settings = instantiate(section(cfg, "federated"), "federated", (NoFederation, FedAvg))
    if not isinstance(settings, FedAvg):
        return None
    check_federated(cfg, module, is_new=checkpoint is None)
    private = private_settings(cfg, module, data)
    settings.poisson = private is not None
    data.federation = settings
    spending = Spending(private, "client") if private else None
    federated = FederatedTraining(settings, module, data, spending, cfg.seed)
    if checkpoint:
        federated.load_state_dict(checkpoint["callbacks"][federated.state_key])
    return federated
