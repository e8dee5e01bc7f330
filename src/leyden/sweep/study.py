"""The Optuna study of a sweep: where it is stored, what is tried next, and taking over what a dead worker left."""

import random
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from leyden.errors import UserError
from leyden.sweep.locks import FileLocks, Lock, Locks, PostgresLocks
from leyden.sweep.plan import Plan
from leyden.sweep.samplers import make_pruner, make_sampler
from leyden.sweep.storage import open_storage, storage_url

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial, Trial

# A trial whose worker dies so often is likely to be the cause.
MAX_STARTS = 5


@dataclass
class Claimed:
    """A trial that this worker, and no other, works on.

    Args:
        trial: Optuna's.
        overrides: that make it differ from the base.
        lock: held until it is told or released.
    """

    trial: "Trial"
    overrides: list[str]
    lock: Lock

    @property
    def number(self) -> int:
        return self.trial.number


class Study:
    """Of all workers of a sweep; each worker has its own of these."""

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
        self.claimed: dict[int, Claimed] = {}
        with self.locks.all():
            self.optuna = optuna.create_study(
                storage=open_storage(self.url),
                study_name=plan.name,
                directions=["maximize" if mode == "max" else "minimize" for mode in plan.objectives.values()],
                load_if_exists=True,
                pruner=pruner,
                sampler=sampler,
            )
            self._identify()
            self._enqueue()

    def _identify(self) -> None:
        attributes = self.optuna.user_attrs
        if "identity" not in attributes:
            self.optuna.set_user_attr("identity", self.plan.identity)
            self.optuna.set_metric_names([*self.plan.objectives])
        elif attributes["identity"] != self.plan.identity:
            theirs, ours = attributes["identity"].splitlines(), self.plan.identity.splitlines()
            changed = next((line for line in [*ours, *theirs] if (line in ours) != (line in theirs)), "")
            raise UserError(f"sweep.name: {self.plan.name} exists and is another sweep, it differs in {changed}")

    def _enqueue(self) -> None:
        there = {trial.user_attrs["queued"] for trial in self.trials() if "queued" in trial.user_attrs}
        for index, (point, attributes) in enumerate(self.plan.queue):
            if index not in there:
                self.optuna.enqueue_trial(point, user_attrs={"queued": index, **attributes})

    def trials(self) -> list["FrozenTrial"]:
        return self.optuna.get_trials(deepcopy=False)

    def claim(self) -> Claimed | None:
        """The next trial: one whose worker died, or a new one; None if there is nothing left to start now."""
        from optuna.trial import Trial, TrialState

        with self.locks.all():
            trials = self.trials()
            for frozen in trials:
                orphan = frozen.state == TrialState.RUNNING and frozen.number not in self.claimed
                if orphan and (lock := self.locks.trial(frozen.number)):
                    self.optuna.sampler = self._sampler(frozen.number)
                    trial = Trial(self.optuna, frozen._trial_id)
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
            assert taken, "a trial that was just made has no other worker"
            return self._take(fresh, taken)

    def _take(self, trial: "Trial", lock: Lock) -> Claimed:
        """Mark `trial` as this worker's, and ask for its values; those it was asked before it has already."""
        only = trial.user_attrs.get("default")
        space = self.plan.space
        point = space.walk(lambda axis: axis.suggest(trial) if only is None or axis.name in only else None)
        overrides = space.overrides(point) if only is None else []
        trial.set_user_attr("overrides", overrides)
        trial.set_user_attr("starts", starts(trial) + 1)
        self.claimed[trial.number] = Claimed(trial, overrides, lock)
        return self.claimed[trial.number]

    def reported(self, number: int) -> dict[int, float]:
        """The intermediate values of a trial."""
        return self.trials()[number].intermediate_values

    def finished(self) -> int:
        """How many have an end, good or bad."""
        return sum(trial.state.is_finished() for trial in self.trials())

    def tell(self, claimed: Claimed, state: str, values: Sequence[float] | None, facts: Mapping[str, Any]) -> None:
        """End a trial as complete, pruned or fail."""
        from optuna.trial import TrialState

        for name, value in facts.items():
            claimed.trial.set_user_attr(name, value)
        with self.locks.all():
            self.optuna.tell(claimed.trial, values, TrialState[state.upper()])
        self._let_go(claimed)

    def release(self, claimed: Claimed) -> None:
        """Leave a trial that was interrupted to whoever comes next."""
        claimed.trial.set_user_attr("starts", starts(claimed.trial) - 1)
        self._let_go(claimed)

    def _let_go(self, claimed: Claimed) -> None:
        del self.claimed[claimed.number]
        claimed.lock.release()

    def _sampler(self, number: int) -> "optuna.samplers.BaseSampler":
        """A sampler that draws as a function of (seed, trial), so that a continued search does not repeat itself."""
        settings, seed = self.plan.settings, self.plan.config.seed
        drawn = random.Random(f"{seed} {number}").getrandbits(32)
        return make_sampler(
            settings["sampler"], settings["sampler_args"], seed if settings["sampler"] == "qmc" else drawn
        )


def starts(trial: "Trial") -> int:
    """How often a trial was begun or taken over, but for those times it was handed back in order."""
    return int(trial.user_attrs["starts"]) if "starts" in trial.user_attrs else 0
