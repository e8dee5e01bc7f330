"""The base of all modules: a net, its optimizer and learning rate schedule, and the means of each training epoch."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from leyden.data.datamodule import DataFacts, InMemoryData, TargetKind
from leyden.data.tokens import Tokenizer
from leyden.errors import UserError
from leyden.metrics.accumulators import EpochMeanAccumulator
from leyden.modules.first_layer import prepare_net
from leyden.modules.predictions import Prediction
from leyden.nets.backbone import received_features
from leyden.optim import OptimizerFactory, SchedulerFactory, configure
from leyden.optim.member_rates import scale_members


class BaseModule(LightningModule):
    """Trains a net, and logs as ``train/<name>`` the epoch means of what each training step adds to `train_means`.

    Args:
        net: the net to train.
        optimizer, scheduler: factories, see `leyden.optim.configure`.
        objective: ``{"metric": name, "mode": "min" or "max"}``; a plateau schedule watches this metric.
        train_metrics: names of the quantities that `train_means` takes.
    """

    net: nn.Module

    # Names of the metrics that the task logs for ``val``. The objective must be one of them; empty: any name.
    validation_metrics: tuple[str, ...] = ()

    # Names of the classes, in the order of their labels. Empty: the task has none.
    class_names: Sequence[str] = ()

    # The targets that the task needs; see `InMemoryData.target_kind`. None: it does not use them.
    target_kind: ClassVar[TargetKind | None] = None

    # Whether the task also trains on samples without labels, see `data.labels`.
    trains_unlabelled: ClassVar[bool] = False

    def __init__(
        self,
        net: nn.Module,
        optimizer: OptimizerFactory,
        scheduler: SchedulerFactory,
        objective: dict[str, str],
        train_metrics: tuple[str, ...] = ("loss",),
    ) -> None:
        super().__init__()
        self.net, self.optimizer, self.scheduler, self.objective = net, optimizer, scheduler, objective
        self.train_means = EpochMeanAccumulator(*train_metrics)
        self.members = nn.ModuleList()  # of an ensemble, see `leyden.modules.members`
        self.rate_factors: Sequence[float] = ()  # of the learning rate, one for each member; empty: none

    @property
    def num_parameters(self) -> int:
        """Number of weights of the net."""
        return sum(weight.numel() for weight in self.net.parameters())

    def use_facts(self, facts: DataFacts) -> None:
        """Copy what the module needs to know about its data. Called before each training. By default, do nothing.

        A loaded run does not need it: the values are buffers, and thus in its checkpoint.
        """

    def prepare_fit(self, data: InMemoryData) -> None:
        """Do what has to be done once before a new training, on the CPU; not called when a run is resumed.

        By default, compute the first layer of a net that needs the training images for it.
        """
        prepare_net(self.net, data)

    def named_outputs(self, outputs: Tensor, inputs: Tensor) -> dict[str, Tensor]:
        """Convert what `forward` returns to what it means, for example probabilities: name → tensor (B, ...).

        Predictions, evaluations, plots and exported files use it. So it contains only operations on tensors, whose
        shapes depend on B alone.

        Args:
            outputs: what `forward` returned for `inputs`.
            inputs: a batch as the loaders give it, (B, ...).
        """
        return {"outputs": outputs}

    def predict(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return the named outputs for a batch, (B, ...)."""
        return self.named_outputs(self(inputs), inputs)

    def predictions(self, named: Mapping[str, Tensor]) -> list[Prediction]:
        """Express `named_outputs` in the words and units of the data set: one prediction per sample.

        By default, return the numbers.
        """
        return [Prediction(row.flatten().tolist()) for row in named["outputs"]]

    def use_classes(self, classes: Sequence[str] | None) -> None:
        """Use the class names, in the order of the labels; None if they are unknown. By default, do nothing."""

    def use_tokenizer(self, tokenizer: Tokenizer | None) -> None:
        """Use what converts predicted token ids to texts; None if there is none. By default, do nothing."""

    def report(self) -> dict[str, Any]:
        """Return additional entries for report.json, as plain values. The names must be new. Called after the test."""
        return {}

    def member_reports(self, seed: int, rates: Sequence[float]) -> list[dict[str, Any]]:
        """Return the seed, the learning rate and the metrics of each member of an ensemble.

        Args:
            seed: that of the first member.
            rates: the learning rate of each member; empty: all have that of the optimizer.
        """
        return []

    def images(self) -> dict[str, Tensor]:
        """Return plots of the last validation by name, float (C, H, W), 0 to 1. Called on the first process."""
        return {}

    def features(self, inputs: Tensor) -> Tensor:
        """Return the features of a batch of inputs, (B, F): what the last linear layer of the net receives.

        Call it only for a net with such a layer, see `leyden.nets.backbone`.
        """
        return received_features(self.net, self, inputs)

    def labels_of(self, targets: Tensor) -> list[str] | None:
        """Return the label of each sample as text, for plots. By default the samples have none."""
        return None

    def on_train_epoch_end(self) -> None:
        self.log_dict(self.train_means.means(self, "train/"), prog_bar=True)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        configured = configure(self, self.optimizer, self.scheduler, self.trainer, self.objective)
        if self.rate_factors:
            scale_members(configured["optimizer"], self.rate_factors)
        return configured

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["train_means"] = self.train_means.state(self)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.train_means.load_state(self, checkpoint["train_means"])


def wrong_net(net: nn.Module, task: str) -> UserError:
    """Return the error for a net that lacks the parts which a task needs."""
    return UserError(
        f"task: got {task}, which cannot train a {type(net).__name__}; use model={task}, which selects net and task"
    )
