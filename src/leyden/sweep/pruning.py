"""Stops a trial that is worse than others were at the same epoch."""

from lightning.pytorch import Callback, LightningModule, Trainer

from leyden.sweep import job


class Pruner(Callback):
    """After each validation the first process reports the objective and asks; all processes obey.

    An epoch that was reported before the run was killed and resumed keeps its value.

    Args:
        pruning: of the trial.
        metric: the objective.
    """

    def __init__(self, pruning: job.Pruning, metric: str) -> None:
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
        epoch = trainer.current_epoch + 1
        if epoch not in self.reported:
            self.trial.report(float(trainer.callback_metrics[self.metric]), epoch)
        return epoch < (trainer.max_epochs or 0) and self.trial.should_prune()
