"""A learning rate for each member of an ensemble, with an optimizer that has one for all.

A step of an optimizer whose update is proportional to its learning rate, weight decay included, moves a weight from w
to w - lr · u. With the learning rate f · lr it would move to w - f · lr · u. So the optimizer takes its step, and then
each member goes back a fraction 1 - f of the way (or further ahead, if f is above 1).

    M  members
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, optim
from torch.optim import Optimizer

# Their updates are proportional to the learning rate. Those of ASGD and Rprop are not.
PROPORTIONAL = (
    optim.Adadelta, optim.Adagrad, optim.Adam, optim.Adamax, optim.AdamW, optim.NAdam, optim.RAdam, optim.RMSprop,
    optim.SGD,
)  # fmt: skip


def scale_members(optimizer: Optimizer, factors: Sequence[float]) -> None:
    """Let each step of `optimizer` use its learning rate times the factor of each member.

    Args:
        optimizer: one of `PROPORTIONAL`; its weights are stacked, (M, ...).
        factors: M positive numbers.
    """
    scaling = MemberScaling(factors)
    optimizer.register_step_pre_hook(scaling.remember)
    optimizer.register_step_post_hook(scaling.scale)


class MemberScaling:
    """Hooks before and after a step of an optimizer, see `scale_members`.

    Args:
        factors: of the learning rate, one for each member.
    """

    def __init__(self, factors: Sequence[float]) -> None:
        self.back = 1 - torch.tensor(factors)  # (M,), the part of a step that is taken back
        self.before: list[Tensor] = []

    @torch.no_grad()
    def remember(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """Copy the weights before a step."""
        weights = _weights(optimizer)
        if self.back.device != weights[0].device:  # once: a copy in every step would block it
            self.back = self.back.to(weights[0].device)
        self.before = [weight.clone() for weight in weights]

    @torch.no_grad()
    def scale(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """Change the length of the step of each member."""
        for weight, before in zip(_weights(optimizer), self.before, strict=True):
            back = self.back.to(weight.dtype).view(-1, *[1] * (weight.dim() - 1))  # (M, 1, …)
            weight.lerp_(before, back)
        self.before = []


def _weights(optimizer: Optimizer) -> list[Tensor]:
    return [weight for group in optimizer.param_groups for weight in group["params"]]
