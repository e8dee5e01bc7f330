"""The Optuna study of a sweep: choose the next trial, and continue the trials of workers that died."""

import random
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from leyden.errors import UserError
from leyden.sweep.job import make_pruner
from leyden.sweep.locks import FileLocks, Lock, Locks, PostgresLocks
from leyden.sweep.plan import Plan
from leyden.sweep.storage import open_storage, running_trial, storage_url

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial, Trial

# A trial whose workers died this often is probably the cause of it.
MAX_STARTS = 5


@dataclass
class ClaimedTrial:
    """A trial that this worker runs, and no other worker.

    Args:
        trial: Optuna's trial.
        overrides: the overrides that this trial adds to the sweep's common ones.
        lock: held until the trial ends or is released.
    """

    trial: "Trial"
    overrides: list[str]
    lock: Lock

    @property
    def number(self) -> int:
        return self.trial.number


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
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        self.plan = plan
        pruner = make_pruner(plan.settings["pruner"], plan.settings["pruner_args"], plan.config.trainer.max_epochs)
        sampler = self._sampler(0)
        plan.folder.mkdir(parents=True, exist_ok=True)
        self.url = storage_url(plan.settings["storage"], plan.folder)
        postgres = self.url.startswith("postgresql://")
        self.locks: Locks = PostgresLocks(self.url, plan.name, plan.folder) if postgres else FileLocks(plan.folder)
        self.claimed: dict[int, ClaimedTrial] = {}
        with self.locks.all():
            self.optuna = optuna.create_study(
                storage=open_storage(self.url),
                study_name=plan.name,
                directions=["maximize" if mode == "max" else "minimize" for mode in plan.objectives.values()],
                load_if_exists=True,
                pruner=pruner,
                sampler=sampler,
            )
            self._check_identity()
            self._enqueue()

    def _check_identity(self) -> None:
        """Store the sweep's identity in a new study. Raises UserError if an existing study has another identity."""
        attributes = self.optuna.user_attrs
        if "identity" not in attributes:
            self.optuna.set_user_attr("identity", self.plan.identity)
            self.optuna.set_metric_names([*self.plan.objectives])
        elif attributes["identity"] != self.plan.identity:
            stored, own = attributes["identity"].splitlines(), self.plan.identity.splitlines()
            changed = next((line for line in [*own, *stored] if (line in own) != (line in stored)), "")
            raise UserError(f"sweep.name: {self.plan.name} exists and is another sweep; they differ in {changed}")

    def _enqueue(self) -> None:
        """Enqueue the points that must be tried, except those that an earlier start has enqueued."""
        enqueued = {trial.user_attrs["queued"] for trial in self.trials() if "queued" in trial.user_attrs}
        for index, (point, attributes) in enumerate(self.plan.queue):
            if index not in enqueued:
                self.optuna.enqueue_trial(point, user_attrs={"queued": index, **attributes})

    def trials(self) -> list["FrozenTrial"]:
        """Return all trials by number."""
        return self.optuna.get_trials(deepcopy=False)

    def claim(self) -> ClaimedTrial | None:
        """Return the next trial: one whose worker died, or a new one. None if no trial can be started now."""
        from optuna.trial import TrialState

        with self.locks.all():
            trials = self.trials()
            for frozen in trials:
                orphan = frozen.state == TrialState.RUNNING and frozen.number not in self.claimed
                if orphan and (lock := self.locks.trial(frozen.number)):
                    self.optuna.sampler = self._sampler(frozen.number)
                    trial = running_trial(self.optuna, frozen.number)
                    if starts(trial) < MAX_STARTS:
                        return self._take(trial, lock)
                    trial.set_user_attr("reason", f"its worker died {MAX_STARTS} times")
                    self.optuna.tell(trial, state=TrialState.FAIL)
                    lock.release()
            started = sum(one.state != TrialState.WAITING for one in trials)
            if started >= self.plan.n_trials:
                return None
            self.optuna.sampler = self._sampler(started)
            fresh = self.optuna.ask()
            taken = self.locks.trial(fresh.number)
            assert taken, "no other worker can hold the lock of a new trial"
            return self._take(fresh, taken)

    def _take(self, trial: "Trial", lock: Lock) -> ClaimedTrial:
        """Register `trial` as this worker's, and ask the sampler for its values unless it has them already."""
        default = trial.user_attrs.get("default")
        space = self.plan.space
        point = space.walk(lambda axis: axis.suggest(trial) if default is None or axis.name in default else None)
        overrides = space.overrides(point) if default is None else []
        trial.set_user_attr("overrides", overrides)
        trial.set_user_attr("starts", starts(trial) + 1)
        self.claimed[trial.number] = ClaimedTrial(trial, overrides, lock)
        return self.claimed[trial.number]

    def reported(self, number: int) -> dict[int, float]:
        """Return the intermediate values of a trial."""
        return self.trials()[number].intermediate_values

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
        self._forget(claimed)

    def release(self, claimed: ClaimedTrial) -> None:
        """Leave an interrupted trial to the next worker. This start does not count for `MAX_STARTS`."""
        claimed.trial.set_user_attr("starts", starts(claimed.trial) - 1)
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


def starts(trial: "Trial") -> int:
    """Return how often a trial was started, not counting the times that its worker released it."""
    return int(trial.user_attrs["starts"]) if "starts" in trial.user_attrs else 0


def make_sampler(name: str, arguments: Mapping[str, Any], seed: int) -> "optuna.samplers.BaseSampler":
    """Return Optuna's sampler with the given name.

    Args:
        name: one of `leyden.sweep.settings.SAMPLERS`.
        arguments: arguments of Optuna's class.
        seed: seed of the sampler.

    Raises:
        UserError: Optuna's class does not accept `arguments`.
    """
    from optuna import samplers

    classes: dict[str, Any] = {
        "tpe": samplers.TPESampler,
        "gp": samplers.GPSampler,
        "cmaes": samplers.CmaEsSampler,
        "nsgaii": samplers.NSGAIISampler,
        "qmc": samplers.QMCSampler,
        "random": samplers.RandomSampler,
        "brute_force": samplers.RandomSampler,  # is never asked, because every combination is enqueued
    }
    defaults: dict[str, Any] = {"warn_independent_sampling": False} if name in ("gp", "cmaes", "qmc") else {}
    if name == "qmc":
        defaults |= {"warn_asynchronous_seeding": False, "scramble": True}
    try:
        return classes[name](seed=seed, **{**defaults, **arguments})  # type: ignore[no-any-return]
    except (TypeError, ValueError) as error:
        raise UserError(f"sweep.sampler_args: {error}") from error
