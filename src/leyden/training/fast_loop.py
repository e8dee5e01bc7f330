"""A training loop with less Python around each step. The only file that uses private names of Lightning.

Lightning spends 0.3 to 0.5 ms of Python on each step; the step of a small net takes 1.2 ms. `FastEpochLoop` does the
same work without closures, plugins and signatures. It runs only where nothing is left out, and only with versions of
Lightning that it was tested with; otherwise Lightning's own loop runs. Both give the same bits.

Private name                                         what it replaces                  public name
---------------------------------------------------  --------------------------------  --------------------------------
loops.training_epoch_loop._TrainingEpochLoop         the loop over an epoch's steps    none (fit_loop.epoch_loop)
loops.fetchers._DataFetcher                          its argument                      none
trainer._logger_connector                            logging in a step                 none (self.log uses it)
module._current_fx_name                              the hook that `log` is called in  none
epoch_loop._results                                  the metrics logged in a step      trainer.callback_metrics (epochs)
epoch_loop._num_ready_batches_reached, restarting, batch_progress, optim_progress, _skip_next_val,
_batches_that_stepped                                counters of the loop              trainer.global_step (to read)
trainer._val_check_time_interval                     validation by time                none
module._on_before_batch_transfer, _apply_batch_transfer_handler
                                                     moving a batch to the device      transfer_batch_to_device
fit_loop.restarting                                  plateau schedules on a resume     none
fit_loop._iteration_based_training                   resuming with max_steps           none
checkpoint["loops"]                                  the state between two epochs      none
All were tested with lightning 2.6.
"""

import inspect
from collections.abc import Mapping
from typing import Any

import lightning
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.loops.fetchers import _DataFetcher
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.strategies import SingleDeviceStrategy
from lightning.pytorch.trainer.states import RunningStage
from lightning.pytorch.utilities.signature_utils import is_param_in_hook_signature

TESTED_VERSIONS = ("2.6.",)

HOOKS_IN_STEP = ("on_before_zero_grad", "on_before_backward", "on_after_backward", "on_before_optimizer_step")
HOOKS = ("on_train_batch_start", *HOOKS_IN_STEP, "on_train_batch_end")
TRANSFER_HOOKS = ("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer")
METHODS_IN_STEP = (
    "backward",
    "configure_gradient_clipping",
    "lr_scheduler_step",
    "optimizer_step",
    "optimizer_zero_grad",
    *TRANSFER_HOOKS,
)
HOOKS_WITH_LOG = (*HOOKS, "training_step")


class FastTrainer(Trainer):
    """Lightning's Trainer with a faster property `training`, which Lightning reads 13 times in each step.

    With a limit of steps (`max_steps`), Lightning takes every state of the loop for one in the middle of an epoch. Then
    a run that resumes between two epochs skips the next epoch, and so does each epoch after `step_plateau_schedules`.
    Here a limit of steps changes nothing but the end.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.fit_loop._iteration_based_training = lambda: False  # type: ignore[method-assign]

    @property
    def training(self) -> bool:
        return self.state.stage is RunningStage.TRAINING

    @training.setter
    def training(self, training: bool) -> None:
        if training or self.training:
            self.state.stage = RunningStage.TRAINING if training else None


class FastEpochLoop(_TrainingEpochLoop):
    """One batch after the other: callbacks, forward, zero_grad, backward, step, schedule, callbacks.

    Args:
        trainer: the Trainer with all its callbacks.
        module: the module that it will train.
    """

    def __init__(self, trainer: Trainer, module: LightningModule) -> None:
        replaced = trainer.fit_loop.epoch_loop
        super().__init__(trainer, replaced.min_steps, replaced.max_steps)
        self.module = module
        self.takes_index = is_param_in_hook_signature(module.training_step, "batch_idx", min_args=2)
        callbacks = trainer.callbacks  # type: ignore[attr-defined]
        self.starts, self.ends = (
            [getattr(callback, hook) for callback in callbacks if getattr(callback, hook) is not None]
            for hook in ("on_train_batch_start", "on_train_batch_end")
        )
        self.wants_closure = False
        self.num_results = 0
        self.logs_steps = False

    def on_run_start(self, data_fetcher: _DataFetcher) -> None:
        super().on_run_start(data_fetcher)
        (optimizer,) = self.trainer.optimizers
        closure = inspect.signature(optimizer.step).parameters.get("closure")
        self.wants_closure = closure is not None and closure.default is closure.empty  # as LBFGS does

    def advance(self, data_fetcher: _DataFetcher) -> None:
        if self.restarting or self.wants_closure:
            return super().advance(data_fetcher)
        trainer, module, progress = self.trainer, self.module, self.batch_progress
        batch, _, _ = next(data_fetcher)
        index = self.batch_idx + 1
        progress.is_last_batch = data_fetcher.done
        progress.increment_ready()
        trainer._logger_connector.on_batch_start(batch)
        # `log` wants to know the current hook. `nn.Module.__setattr__` is slow, so the attribute is set directly.
        attributes = vars(module)
        attributes["_current_fx_name"] = "on_train_batch_start"
        for hook in self.starts:
            hook(trainer, module, batch, index)
        progress.increment_started()
        attributes["_current_fx_name"] = "training_step"
        output = self._step(batch, index)
        progress.increment_processed()
        if self._has_step_schedule():
            self.update_lr_schedulers("step", update_plateau_schedulers=False)
        if self._num_ready_batches_reached():
            self.update_lr_schedulers("epoch", update_plateau_schedulers=False)
        attributes["_current_fx_name"] = "on_train_batch_end"
        for hook in self.ends:
            hook(trainer, module, output, batch, index)
        attributes["_current_fx_name"] = None
        if self._logs_in_steps():
            trainer._logger_connector.on_batch_end()
            progress.increment_completed()
            trainer._logger_connector.update_train_step_metrics()
        else:
            self._results.batch = self._results.batch_size = None
            progress.increment_completed()

    def _step(self, batch: Any, index: int) -> dict[str, Any]:
        """Return what callbacks receive from Lightning's loop: the loss and what else `training_step` returned."""
        progress = self.automatic_optimization.optim_progress.optimizer
        progress.step.increment_ready()
        output = self.module.training_step(batch, index) if self.takes_index else self.module.training_step(batch)
        outputs = dict(output) if isinstance(output, Mapping) else {} if output is None else {"loss": output}
        (optimizer,) = self.trainer.optimizers
        progress.zero_grad.increment_ready()
        progress.zero_grad.increment_started()
        for group in optimizer.param_groups:
            for weight in group["params"]:
                weight.grad = None
        progress.zero_grad.increment_completed()
        if outputs:
            outputs["loss"].backward()
            outputs["loss"] = outputs["loss"].detach()
        optimizer.step()
        progress.step.increment_completed()
        return outputs

    def _logs_in_steps(self) -> bool:
        """Whether something was ever logged in a step, and not only at the end of an epoch."""
        if len(self._results) != self.num_results:
            self.num_results = len(self._results)
            self.logs_steps = any(result.meta.fx in HOOKS_WITH_LOG for result in self._results.values())
        return self.logs_steps

    def _has_step_schedule(self) -> bool:
        return any(config.interval == "step" for config in self.trainer.lr_scheduler_configs)

    def on_advance_end(self, data_fetcher: _DataFetcher) -> None:
        trainer = self.trainer
        validates_within = (
            trainer.val_check_batch != trainer.num_training_batches or trainer._val_check_time_interval is not None
        )
        if (
            validates_within
            or self._num_ready_batches_reached()
            or trainer.should_stop
            or trainer.received_sigterm
            or self._has_step_schedule()
            or self._skip_next_val
        ):
            super().on_advance_end(data_fetcher)
        else:
            self._batches_that_stepped += 1


def use_fast_loop(trainer: Trainer, module: LightningModule, data: LightningDataModule) -> bool:
    """Use the fast loop in `trainer` if it gives the same result as Lightning's loop for this run.

    Call it before `trainer.fit`, when `trainer` has all its callbacks.

    Returns:
        whether the fast loop will run.
    """
    if not lightning.__version__.startswith(TESTED_VERSIONS):
        return False
    listeners = [module, *trainer.callbacks]  # type: ignore[attr-defined]
    for listener in listeners:
        drop_empty_hooks(listener)
    own_transfer = _overrides(data, LightningDataModule, ("on_before_batch_transfer", "on_after_batch_transfer"))
    same = (
        type(trainer.strategy) is SingleDeviceStrategy
        and trainer.precision == "32-true"
        and trainer.accumulate_grad_batches == 1
        and not trainer.gradient_clip_val
        and isinstance(trainer.profiler, PassThroughProfiler)  # type: ignore[attr-defined]
        and module.automatic_optimization
        and all(getattr(listener, hook) is None for listener in listeners for hook in HOOKS_IN_STEP)
        and all(getattr(module, hook) is None for hook in HOOKS)
        and not _overrides(module, LightningModule, METHODS_IN_STEP)
        and not own_transfer
    )
    if same:
        trainer.fit_loop.epoch_loop = FastEpochLoop(trainer, module)
    return same


def _overrides(instance: Any, base: type, methods: tuple[str, ...]) -> bool:
    return any(getattr(type(instance), method) is not getattr(base, method) for method in methods)


def drop_empty_hooks(listener: Callback | LightningModule) -> None:
    """Set the hooks that no class overrides to None, so that Lightning skips them. Saves 0.1 ms per step."""
    base = Callback if isinstance(listener, Callback) else LightningModule
    for hook in HOOKS:
        if getattr(type(listener), hook) is getattr(base, hook):
            setattr(listener, hook, None)


def step_plateau_schedules(trainer: Trainer) -> None:
    """Let Lightning pass this epoch's metric to a plateau schedule, also in a resumed run.

    On resume, Lightning assumes that the checkpoint was saved at the end of an epoch and skips the schedule. The
    checkpoints of Leyden never are.
    """
    trainer.fit_loop.restarting = False


def mark_between_epochs(checkpoint: dict[str, Any]) -> None:
    """Change `checkpoint` so that a run resumes between two epochs.

    When it is saved, Lightning has already counted the next epoch as begun, and would resume in the middle of it.
    """
    for counter in checkpoint["loops"]["fit_loop"]["epoch_progress"].values():
        counter["ready"] = counter["completed"]


def position_of_older_checkpoint(checkpoint: Mapping[str, Any]) -> tuple[int, int, int]:
    """Return (epoch, batches of this epoch, first step to log) of a checkpoint without `ResumePosition`."""
    loop = checkpoint["loops"]["fit_loop"]
    batches = loop["epoch_loop.batch_progress"]["current"]["ready"]
    first_step = loop["epoch_loop.state_dict"]["_batches_that_stepped"]
    epoch = loop["epoch_progress"]["current"]
    return int(epoch["completed"]), int(batches if epoch["ready"] > epoch["completed"] else 0), int(first_step)
