"""Differentially private training: the settings, and how much noise they need.

A training with Poisson sampling, clipped gradients of single samples and normal noise (DP-SGD; Abadi et al., 2016) is
(epsilon, delta)-differentially private with regard to each training sample. The library Opacus does the accounting
with Rényi divergences (Mironov, 2017); it is not required: see ``privacy`` in pyproject.toml.
"""

import math
import warnings
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal

from leyden.errors import UserError

TOLERANCE = 1e-3  # relative, below epsilon
# Orders of the Rényi divergence: those of Opacus, and larger ones for a small epsilon.
ORDERS = (*(1 + order / 10 for order in range(1, 100)), *range(12, 64), 80, 128, 256, 512)


class NoPrivacy:
    """Train without a privacy guarantee."""


class DPSGD:
    """Differentially private stochastic gradient descent; any optimizer takes the private gradients.

    Args:
        epsilon: privacy budget of the whole training, above 0. The noise follows from it.
        delta: probability with which the guarantee may fail, above 0 and below 1 / number of training samples.
        max_grad_norm: the gradient of each sample is shortened to this L2 norm, above 0.
        chunk_size: number of samples whose gradients are in memory at the same time, at least 1.
        secure: whether samples and noise come from the system's secure generator. Otherwise they follow from the
            seed, so that a run can be repeated and resumed exactly; then whoever knows the seed can subtract the noise.

    Raises:
        ValueError: a number is out of its range.
    """

    def __init__(self, epsilon: float, delta: float, max_grad_norm: float, chunk_size: int, secure: bool) -> None:
        if not 0 < epsilon < math.inf:
            raise ValueError(f"epsilon: got {epsilon}, must be above 0; without a guarantee, use privacy=none")
        if not 0 < delta < 1:
            raise ValueError(f"delta: got {delta}, must be above 0 and below 1, such as 1e-5")
        if not 0 < max_grad_norm < math.inf:
            raise ValueError(f"max_grad_norm: got {max_grad_norm}, must be above 0")
        if chunk_size < 1:
            raise ValueError(f"chunk_size: got {chunk_size}, must be at least 1")
        self.epsilon, self.delta, self.max_grad_norm = epsilon, delta, max_grad_norm
        self.chunk_size, self.secure = chunk_size, secure

    def noise_multiplier(self, sample_rate: float, num_steps: int) -> float:
        """Return the standard deviation of the noise, in units of `max_grad_norm`, with which epsilon is just kept.

        Args:
            sample_rate: probability with which a step uses a sample, above 0 and at most 1.
            num_steps: number of steps of the whole training.

        Raises:
            UserError: no amount of noise is enough.
        """
        high = 1.0
        while self.spent(high, sample_rate, num_steps) > self.epsilon:
            high *= 2
            if high > 1e6:
                raise UserError(f"privacy.epsilon: got {self.epsilon}, which no noise can keep in {num_steps} steps")
        low = 0.0
        while self.spent(high, sample_rate, num_steps) < (1 - TOLERANCE) * self.epsilon and high - low > 1e-6:
            middle = (low + high) / 2
            if self.spent(middle, sample_rate, num_steps) > self.epsilon:
                low = middle
            else:
                high = middle
        return high

    def spent(self, noise_multiplier: float, sample_rate: float, num_steps: int) -> float:
        """Return the epsilon that `num_steps` steps have spent, for `delta`."""
        if not num_steps:
            return 0.0
        accountant = opacus().accountants.RDPAccountant()
        accountant.history = [(noise_multiplier, sample_rate, num_steps)]
        with warnings.catch_warnings():  # that the best order is the first or last one: then epsilon is an upper bound
            warnings.filterwarnings("ignore", ".*Optimal order.*")
            return float(accountant.get_epsilon(self.delta, alphas=list(ORDERS)))


class Spending:
    """What a private training may spend, and what it has spent until now.

    Args:
        settings: the budget.
        unit: what the guarantee protects: a sample or a client.
    """

    def __init__(self, settings: DPSGD, unit: Literal["sample", "client"] = "sample") -> None:
        self.settings, self.unit = settings, unit
        self.noise_multiplier = self.sample_rate = 0.0
        self.num_steps = 0

    def plan(self, num_units: int, sample_rate: float, num_steps: int) -> None:
        """Choose the noise for a new training, or check that a resumed one keeps its budget.

        Args:
            num_units: number of samples or clients that are protected.
            sample_rate: probability with which a step uses one of them.
            num_steps: number of steps of the whole training.

        Raises:
            UserError: a value does not fit the number of samples, or epsilon would be exceeded.
        """
        settings = self.settings
        if settings.delta >= 1 / num_units:
            raise UserError(
                f"privacy.delta: got {settings.delta:g}, must be below 1 / {num_units} (the number of training "
                f"{self.unit}s), such as {0.1 / num_units:.0e}"
            )
        if not self.num_steps:
            self.sample_rate = sample_rate
            self.noise_multiplier = settings.noise_multiplier(sample_rate, num_steps)
            return
        epsilon = settings.spent(self.noise_multiplier, self.sample_rate, num_steps)
        if epsilon > settings.epsilon:
            raise UserError(
                f"trainer.max_epochs: {num_steps} steps would spend epsilon {epsilon:.3f}, but privacy.epsilon is "
                f"{settings.epsilon:g}. The noise was chosen for fewer steps"
            )

    @property
    def epsilon(self) -> float:
        """The epsilon that was spent until now."""
        return self.settings.spent(self.noise_multiplier, self.sample_rate, self.num_steps)

    def report(self) -> dict[str, Any]:
        """Return what the report states about the guarantee."""
        return {
            "epsilon": self.epsilon,
            "delta": self.settings.delta,
            "unit": self.unit,
            "noise_multiplier": self.noise_multiplier,
            "max_grad_norm": self.settings.max_grad_norm,
            "sample_rate": self.sample_rate,
            "steps": self.num_steps,
            "noise": "secure" if self.settings.secure else "seeded",
        }

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint needs, as plain values."""
        names = ("noise_multiplier", "sample_rate", "num_steps")
        return {name: getattr(self, name) for name in names}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""
        self.noise_multiplier, self.sample_rate = float(state["noise_multiplier"]), float(state["sample_rate"])
        self.num_steps = int(state["num_steps"])


@cache
def opacus() -> Any:
    """Return the library Opacus.

    Raises:
        UserError: it is not installed.
    """
    try:
        with warnings.catch_warnings():  # of torch's own deprecations, while Opacus is imported
            warnings.simplefilter("ignore")
            import opacus
            import opacus.accountants
            import opacus.grad_sample
    except ModuleNotFoundError as error:
        raise UserError(f'privacy: dp needs the package {error.name}; pip install -e ".[privacy]"') from error
    return opacus
