"""The callback that stops a trial whose metric is worse than that of other trials at the same epoch."""

from typing import TYPE_CHECKING

from lightning.pytorch import Callback, LightningModule, Trainer

if TYPE_CHECKING:
    from leyden.sweep.job import Pruning


class Pruner(Callback):
    """Report the objective after each validation, and stop the training if the pruner decides so.

    The first process reports and asks the pruner; all processes receive its answer. An epoch that was reported before
    the run was killed and resumed keeps its value.

    Args:
        pruning: the trial and its pruner.
        metric: name of the objective.
    """

    def __init__(self, pruning: "Pruning", metric: str) -> None:
        self.pruning, self.metric = pruning, metric
        self.pruned = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if trainer.is_global_zero and stage == "fit":
            self.trial = self.pruning.trial()
            frozen = self.trial.study.get_trials(deepcopy=False)[self.pruning.number]
            self.reported = set(frozen.intermediate_values)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn != "fit":
            return
        pruned = trainer.is_global_zero and self._report(trainer)
        if trainer.strategy.broadcast(pruned, src=0):
            self.pruned = trainer.should_stop = True

    def _report(self, trainer: Trainer) -> bool:
        """Report the last validation, and return whether the trial should stop."""
        epoch = trainer.current_epoch + 1
        if epoch not in self.reported:
            self.trial.report(float(trainer.callback_metrics[self.metric]), epoch)
        return epoch < (trainer.max_epochs or 0) and self.trial.should_prune()
