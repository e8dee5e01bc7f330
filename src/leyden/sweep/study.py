"""The Optuna study of a sweep: choose the next trial, and continue the trials of workers that died."""

import random
import secrets
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from leyden.errors import UserError
from leyden.records.run_folder import last_checkpoint
from leyden.sweep.extension import check_sweep_folder, current_study, extended_study, extends
from leyden.sweep.identity import check_new_study, check_sweep, mark_sweep_folder
from leyden.sweep.locks import FileLocks, Lock, Locks, PostgresLocks
from leyden.sweep.plan import Plan
from leyden.sweep.retention import remove_checkpoints
from leyden.sweep.samplers import make_pruner, make_sampler
from leyden.sweep.storage import FOLDER, JOURNAL, folder_number, open_storage, running_trial, storage_url

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial, Trial

# A trial whose process was killed this often without a new checkpoint is probably the cause of it.
MAX_STARTS = 5

# Attributes of a trial in the study:
STARTS = "starts"  # number of its starts since its last progress
PROGRESS = "progress"  # time of its last checkpoint, in nanoseconds
REPLACES = "replaces"  # number of the failed trial that it retries


@dataclass
class ClaimedTrial:
    """A trial that this worker runs, and no other worker.

    Args:
        trial: Optuna's trial.
        overrides: the overrides that this trial adds to the sweep's common ones.
        lock: the lock of the trial. It is held until the trial ends or is released.
    """

    trial: "Trial"
    overrides: list[str]
    lock: Lock

    @property
    def number(self) -> int:
        return self.trial.number

    @property
    def folder(self) -> int:
        """Number of the trial's folder."""
        return folder_number(self.trial)


class Study:
    """One worker's view of the Optuna study that all workers of a sweep share.

    Args:
        plan: the sweep.

    Raises:
        UserError: the storage cannot be opened, or it contains another sweep of the same name.
    """

    def __init__(self, plan: Plan) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        # Optuna's warnings are for people who write their own searches. Python 3.12 attributes them to our lines.
        warnings.filterwarnings("ignore", module=r"optuna\.|leyden\.sweep\.")
        self.plan = plan
        pruner = make_pruner(plan.settings["pruner"], plan.settings["pruner_args"], plan.config.trainer.max_epochs)
        sampler = self._sampler(0)
        make_folder(plan)
        self.url = storage_url(plan.settings["storage"], plan.folder)
        postgres = self.url.startswith("postgresql://")
        self.locks: Locks = PostgresLocks(self.url, plan.name, plan.folder) if postgres else FileLocks(plan.folder)
        self.claimed: dict[int, ClaimedTrial] = {}
        with self.locks.all():
            check_sweep_folder(plan, JOURNAL if plan.settings["storage"] == "journal" else None)
            self.storage = open_storage(self.url)
            self.optuna = optuna.create_study(
                storage=self.storage,
                study_name=current_study(self.storage, plan.name),
                directions=["maximize" if mode == "max" else "minimize" for mode in plan.objectives.values()],
                load_if_exists=True,
                pruner=pruner,
                sampler=sampler,
            )
            self._identify()
            self._enqueue()
            if plan.settings["retry_failed"]:
                self._enqueue_failed()

    def _identify(self) -> None:
        """Store the sweep's identity in a new study and in a new folder.

        Raises:
            UserError: the study contains another sweep, or the folder belongs to another study.
        """
        if "identity" not in self.optuna.user_attrs:
            check_new_study(self.plan.folder)
            self.optuna.set_metric_names([*self.plan.objectives])
            self.optuna.set_user_attr("identity", {**self.plan.identity, "token": secrets.token_hex(8)})
        identity = self.optuna.user_attrs["identity"]
        if extends(self.plan, identity):
            identity = self._extend(identity)
        check_sweep(self.plan.folder, identity, self.plan.identity)
        mark_sweep_folder(self.plan.folder, identity)

    def _extend(self, identity: Mapping[str, Any]) -> dict[str, Any]:
        """Copy all trials into a new study of this command, which has more trials. Return the new identity.

        Raises:
            UserError: the choices of the config have changed, or a trial is running.
        """
        own = {**self.plan.identity, "content": identity["content"]}
        check_sweep(self.plan.folder, identity, own)
        for trial in self.trials():
            if trial.state.name == "RUNNING":
                lock = self.locks.trial(folder_number(trial))
                if lock is None:
                    raise UserError(
                        f"sweep.name: trial {trial.number} of {self.plan.name} is running. Wait until the earlier "
                        "command has ended, or stop it, before you extend the sweep"
                    )
                lock.release()
        tokens = [*identity.get("earlier", []), identity["token"]]  # the first study of a sweep has no key "earlier"
        new = {**self.plan.identity, "token": secrets.token_hex(8), "earlier": tokens}
        self.optuna = extended_study(self.optuna, self.storage, self.plan)
        self.optuna.set_user_attr("identity", new)
        return new

    def _enqueue(self) -> None:
        """Enqueue the points that must be tried, except those that an earlier start has enqueued."""
        enqueued = {trial.user_attrs["queued"] for trial in self.trials() if "queued" in trial.user_attrs}
        for index, (point, attributes) in enumerate(self.plan.queue):
            if index not in enqueued:
                self.optuna.enqueue_trial(point, user_attrs={"queued": index, **attributes})

    def _enqueue_failed(self) -> None:
        """Enqueue each failed trial again. The new trial uses the folder of the failed one, with its checkpoint."""
        for trial in self.trials():
            if trial.state.name == "FAIL":
                attributes: dict[str, Any] = {REPLACES: trial.number, FOLDER: folder_number(trial)}
                attributes |= {
                    name: trial.user_attrs[name] for name in ("queued", "default") if name in trial.user_attrs
                }
                self.optuna.enqueue_trial(trial.params, user_attrs=attributes)

    def trials(self) -> list["FrozenTrial"]:
        """Return all trials by number, without the failed ones that are retried."""
        return current(self.optuna.get_trials(deepcopy=False))

    def claim(self) -> ClaimedTrial | None:
        """Return the next trial: one whose worker died, or a new one. None if no trial can be started now."""
        from optuna.trial import TrialState

        with self.locks.all():
            if current_study(self.storage, self.plan.name) != self.optuna.study_name:
                raise UserError(
                    f"sweep.name: another command has extended {self.plan.name}. Start that command instead"
                )
            trials = self.trials()
            for frozen in trials:
                orphan = frozen.state == TrialState.RUNNING and frozen.number not in self.claimed
                if orphan and (lock := self.locks.trial(folder_number(frozen))):
                    self.optuna.sampler = self._sampler(frozen.number)
                    trial = running_trial(self.optuna, frozen.number)
                    if self._count_start(trial):
                        return self._take(trial, lock)
                    trial.set_user_attr("reason", f"killed {MAX_STARTS} times without a new checkpoint")
                    self.optuna.tell(trial, state=TrialState.FAIL)
                    lock.release()
            started = sum(one.state != TrialState.WAITING for one in trials)
            if started >= self.plan.n_trials:
                return None
            self.optuna.sampler = self._sampler(started)
            fresh = self.optuna.ask()
            taken = self.locks.trial(folder_number(fresh))
            assert taken, "no other worker can hold the lock of a new trial"
            self._count_start(fresh)
            return self._take(fresh, taken)

    def restart(self, claimed: ClaimedTrial) -> bool:
        """Return whether a trial whose job was killed may be started again, and count this start."""
        return self._count_start(claimed.trial)

    def _count_start(self, trial: "Trial") -> bool:
        """Count a start of a trial; return False if there were `MAX_STARTS` already since its last new checkpoint."""
        attributes, progress = trial.user_attrs, self._progress(folder_number(trial))
        counted = STARTS in attributes and PROGRESS in attributes  # a worker can be killed between the two
        advanced = not counted or progress > attributes[PROGRESS]
        starts = 0 if advanced else attributes[STARTS]
        if starts >= MAX_STARTS:
            return False
        trial.set_user_attr(PROGRESS, progress)
        trial.set_user_attr(STARTS, starts + 1)
        return True

    def _progress(self, number: int) -> int:
        """Return when the last checkpoint in a trial's folder was written, in nanoseconds; 0 if there is none."""
        paths = [last_checkpoint(folder) for folder in self.plan.run_folders(number)]
        return max((path.stat().st_mtime_ns for path in paths if path.exists()), default=0)

    def _take(self, trial: "Trial", lock: Lock) -> ClaimedTrial:
        """Register that this worker runs `trial`. Ask the sampler for its values unless it has them already."""
        default = trial.user_attrs.get("default")
        space = self.plan.space
        point = space.walk(lambda axis: axis.suggest(trial) if default is None or axis.name in default else None)
        overrides = space.overrides(point) if default is None else []
        trial.set_user_attr("overrides", overrides)
        self.claimed[trial.number] = ClaimedTrial(trial, overrides, lock)
        return self.claimed[trial.number]

    def same_point(self, claimed: ClaimedTrial) -> "FrozenTrial | None":
        """Return a complete trial with the same overrides, None if there is none.

        Samplers such as TPE can suggest a point twice. A second training would have the same result, bit by bit.
        """
        complete = [trial for trial in self.trials() if trial.state.name == "COMPLETE"]
        return next((one for one in complete if one.user_attrs["overrides"] == claimed.overrides), None)

    def reported(self, number: int) -> dict[int, float]:
        """Return the intermediate values of a trial."""
        return self.optuna.get_trials(deepcopy=False)[number].intermediate_values

    def finished(self) -> int:
        """Return how many trials have ended, with or without success."""
        return sum(trial.state.is_finished() for trial in self.trials())

    def end(
        self, claimed: ClaimedTrial, state: str, values: Sequence[float] | None, attributes: Mapping[str, Any]
    ) -> None:
        """Store the result of a trial: state ``complete`` with its values, ``pruned`` or ``fail``."""
        from optuna.trial import TrialState

        for name, value in attributes.items():
            claimed.trial.set_user_attr(name, value)
        with self.locks.all():
            self.optuna.tell(claimed.trial, values, TrialState[state.upper()])
            remove_checkpoints(self.trials(), self.plan)
        self._forget(claimed)

    def release(self, claimed: ClaimedTrial) -> None:
        """Leave an interrupted trial to the next worker. This start does not count for `MAX_STARTS`."""
        claimed.trial.set_user_attr(STARTS, claimed.trial.user_attrs[STARTS] - 1)
        self._forget(claimed)

    def _forget(self, claimed: ClaimedTrial) -> None:
        del self.claimed[claimed.number]
        claimed.lock.release()

    def _sampler(self, number: int) -> "optuna.samplers.BaseSampler":
        """Return the sampler for a trial. Its seed depends on the trial, so a resumed search does not repeat points."""
        settings, seed = self.plan.settings, self.plan.config.seed
        # A quasi-random sequence has one seed: trial n takes its n-th point.
        if settings["sampler"] != "qmc":
            seed = random.Random(f"{seed} {number}").getrandbits(32)
        return make_sampler(settings["sampler"], settings["sampler_args"], seed)


def make_folder(plan: Plan) -> None:
    """Create the sweep's folder. Raises UserError if that is not possible."""
    try:
        plan.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"paths.logs: cannot create {plan.folder} ({error.strerror})") from error


def current(trials: "Sequence[FrozenTrial]") -> "list[FrozenTrial]":
    """Return the trials without the failed ones that are retried by another trial."""
    replaced = {trial.user_attrs[REPLACES] for trial in trials if REPLACES in trial.user_attrs}
    return [trial for trial in trials if trial.number not in replaced]
