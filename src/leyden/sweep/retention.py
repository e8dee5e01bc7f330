"""``sweep.keep``: delete the checkpoints of all trials but the best ones. Their reports, metrics and configs stay."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from leyden.records.run_folder import best_checkpoint, last_checkpoint, previous_checkpoint, refuse_link
from leyden.sweep.plan import Plan
from leyden.sweep.storage import folder_number

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


def best_trials(trials: "Sequence[FrozenTrial]", plan: Plan) -> "list[FrozenTrial]":
    """Return the best ``sweep.keep`` complete trials; of equal ones the earlier."""
    ((_, mode),) = plan.objectives.items()
    sign = -1 if mode == "max" else 1
    complete = [one for one in trials if one.state.name == "COMPLETE" and "same_as" not in one.user_attrs]
    return sorted(complete, key=lambda one: (sign * one.values[0], one.number))[: plan.settings["keep"]]


def remove_checkpoints(trials: "Sequence[FrozenTrial]", plan: Plan) -> None:
    """Delete the checkpoints of complete and pruned trials that are not among the best ``sweep.keep``.

    Those of failed trials stay: ``sweep.retry_failed`` continues them. Does nothing if ``sweep.keep`` is null.

    Raises:
        UserError: a folder is a symbolic link.
    """
    if plan.settings["keep"] is None:
        return
    kept = {trial.number for trial in best_trials(trials, plan)}
    for trial in trials:
        if trial.state.name in ("COMPLETE", "PRUNED") and trial.number not in kept:
            for folder in plan.run_folders(folder_number(trial)):
                for path in (best_checkpoint(folder), last_checkpoint(folder), previous_checkpoint(folder)):
                    for part in (plan.folder, folder, path.parent):
                        refuse_link(part)
                    path.unlink(missing_ok=True)
