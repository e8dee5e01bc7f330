"""Solvers of ordinary differential equations dx/dt = velocity(x, t), from one time to another.

Euler (order 1, one evaluation of the velocity per step), Heun (order 2, two evaluations), and the adaptive method of
Dormand and Prince (1980) of order 5, whose steps are as long as the tolerance allows (6 evaluations per step).
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

Velocity = Callable[[Tensor, float], Tensor]  # points (B, ...) and a time → (B, ...)

# The coefficients of Dormand and Prince: times, weights of the velocities before each stage, and of the error.
NODES = (1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
STAGES = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)
MAX_STEPS = 1000  # of the adaptive solver
SMALLEST, LARGEST, SAFETY = 0.2, 5.0, 0.9  # factors from one length of a step to the next


def euler(velocity: Velocity, x: Tensor, times: Sequence[float]) -> Tensor:
    """Return x at the last of the times, in one step from each time to the next."""
    for time, later in pairwise(times):
        x = x + (later - time) * velocity(x, time)
    return x


def heun(velocity: Velocity, x: Tensor, times: Sequence[float]) -> Tensor:
    """Do the same as `euler` with the mean of the velocities at both ends of each step."""
    for time, later in pairwise(times):
        step, slope = later - time, velocity(x, time)
        x = x + step / 2 * (slope + velocity(x + step * slope, later))
    return x


def dopri5(velocity: Velocity, x: Tensor, start: float, end: float, tolerance: float) -> Tensor:
    """Return x at the time `end`. All samples of a batch take the same steps.

    Args:
        velocity: dx/dt.
        x: (B, ...) at the time `start`.
        start, end: times; `end` may be the earlier one.
        tolerance: largest error of a step: the root of the mean squared error of any sample, where the values of x
            have a size of about 1, and relative to x for larger ones.

    Raises:
        ArithmeticError: the steps became too short; the velocity is not finite or not smooth.
    """
    time, step, slope = start, (end - start) / 10, velocity(x, start)
    for _ in range(MAX_STEPS):
        last = abs(end - time) <= abs(step) * (1 + 1e-9)
        step = end - time if last else step
        found, slopes = attempt(velocity, x, time, step, slope)
        error = step_error(combined(ERROR, slopes) * step, x, found, tolerance)
        if error <= 1:
            if last:
                return found
            time, x, slope = time + step, found, slopes[-1]
        step *= min(LARGEST, max(SMALLEST, SAFETY * max(error, 1e-10) ** -0.2)) if error < float("inf") else SMALLEST
    raise ArithmeticError(f"dopri5 needs more than {MAX_STEPS} steps")


def attempt(velocity: Velocity, x: Tensor, time: float, step: float, slope: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Return x after a step, and the velocities of its 7 stages. `slope` is the velocity at its start."""
    slopes = [slope]
    for node, weights in zip(NODES, STAGES, strict=True):
        point = x + step * combined(weights, slopes)
        slopes.append(velocity(point, time + node * step))
    return point, slopes  # the last stage is the result


def combined(weights: Sequence[float], tensors: Sequence[Tensor]) -> Tensor:
    """Return the weighted sum of tensors of one shape."""
    return torch.stack([weight * tensor for weight, tensor in zip(weights, tensors, strict=True) if weight]).sum(0)


def step_error(error: Tensor, before: Tensor, after: Tensor, tolerance: float) -> float:
    """Return the error of a step divided by the largest one that is allowed, for the worst sample; NaN is infinite."""
    scale = tolerance * torch.maximum(before.abs(), after.abs()).clamp(min=1)
    worst = (error / scale).square().flatten(1).mean(1).max().sqrt()
    return float(worst) if worst.isfinite() else float("inf")
