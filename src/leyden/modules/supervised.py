"""The part that modules with inputs and targets share: metrics of each evaluated split, and how they are logged."""

from collections.abc import Sequence
from typing import Any

from lightning.pytorch import Callback
from torch import Tensor, nn
from torchmetrics import MetricCollection

from leyden.metrics.accumulators import EpochMeanAccumulator
from leyden.modules.base import BaseModule
from leyden.modules.members import MemberMetrics, ensemble_metric, summary
from leyden.nets.ensemble import Combine, Ensemble, mean_outputs
from leyden.optim import OptimizerFactory, SchedulerFactory


class SupervisedModule(BaseModule):
    """Logs the loss and `metrics` of ``val`` and ``test``. A task adds the three steps.

    A step adds its batch to `train_means`, or to `eval_means` and to `val_metrics` or `test_metrics`.

    Args:
        net: float (B, ...) → (B, num_outputs).
        optimizer, scheduler, objective: see `BaseModule`.
        metrics: functions of outputs and targets; each split gets its own copy.
        train_metrics: names of the quantities that `train_means` takes.
    """

    def __init__(
        self,
        net: nn.Module,
        optimizer: OptimizerFactory,
        scheduler: SchedulerFactory,
        objective: dict[str, str],
        metrics: MetricCollection,
        train_metrics: tuple[str, ...] = ("loss",),
    ) -> None:
        super().__init__(net, optimizer, scheduler, objective, train_metrics)
        self.eval_means = EpochMeanAccumulator("loss")
        self.val_metrics, self.test_metrics = metrics.clone("val/"), metrics.clone("test/")
        self.announced: set[str] = set()  # splits whose absent classes were printed
        self.is_member = False  # of an ensemble
        self.split_metrics: dict[str, dict[str, float]] = {"val": {}, "test": {}}  # of a member

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs (B, ...) → outputs (B, num_outputs) of the net."""
        outputs: Tensor = self.net(inputs)
        return outputs

    def on_validation_epoch_end(self) -> None:
        self.log_split(self.compute_metrics(self.val_metrics, "val/"))
        self.val_metrics.reset()

    def on_test_epoch_end(self) -> None:
        self.log_split(self.compute_metrics(self.test_metrics, "test/"))
        self.test_metrics.reset()

    def compute_metrics(self, metrics: MetricCollection, prefix: str) -> dict[str, Tensor]:
        """Return the metrics of a whole split by prefixed name."""
        return self.eval_means.means(self, prefix) | metrics.compute()

    def log_split(self, values: dict[str, Tensor]) -> None:
        """Log the metrics of a split; the progress bar shows the validation loss and the objective.

        A member of an ensemble does not log its metrics. The ensemble logs a summary of them.
        """
        split = next(iter(values)).partition("/")[0]
        if self.is_member:
            self.split_metrics[split] = {name: float(value) for name, value in values.items()}
            return
        if self.members:
            values |= self.ensemble_metrics(split)
            values = summary(values, [member.split_metrics[split] for member in self._members()])
        for name, value in values.items():
            self.log(name, value.float(), prog_bar=name in ("val/loss", self.objective["metric"]))

    def combiner(self) -> Combine:
        """Return the function that combines the outputs of an ensemble: (M, B, O) → (B, O)."""
        return mean_outputs

    def ensemble_metrics(self, split: str) -> dict[str, Tensor]:
        """Return more metrics of the combined outputs of an ensemble on a split, by prefixed name. By default none."""
        return {}

    def join(self, members: Sequence["SupervisedModule"]) -> None:
        """Make this module, whose net is an `Ensemble`, the module of an ensemble of `members`."""
        assert isinstance(self.net, Ensemble)
        self.net.combine = self.combiner()
        self.members.extend(members)
        for member in members:
            member.is_member, member.announced = True, self.announced
        combined = (ensemble_metric(name) for name in self.validation_metrics)
        self.validation_metrics = (*self.validation_metrics, *combined)

    def configure_callbacks(self) -> list[Callback]:
        return [MemberMetrics()] if self.members else []

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        if self.members:
            checkpoint["member_metrics"] = [member.split_metrics["val"] for member in self._members()]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        if self.members:
            for member, metrics in zip(self._members(), checkpoint["member_metrics"], strict=True):
                member.split_metrics["val"] = dict(metrics)

    def _members(self) -> list["SupervisedModule"]:
        return [member for member in self.members if isinstance(member, SupervisedModule)]

    def member_reports(self, seed: int, rates: Sequence[float]) -> list[dict[str, Any]]:
        return [
            {
                "seed": seed + number,
                **({"lr": rates[number]} if rates else {}),
                "metrics": member.split_metrics["val"] | member.split_metrics["test"],
            }
            for number, member in enumerate(self._members())
        ]
