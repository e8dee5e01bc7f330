"""Pooling: one vector for a sequence, on which padding has no influence.

B  batch        T  tokens        D  size of a state
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn

Pooling = Literal["last", "mean", "max", "attention"]


class Pool(nn.Module):
    """States of tokens, float (B, T, D), → one vector for each sequence, (B, D).

    Args:
        kind: last: the state of the last token. mean and max: of all tokens. attention: a mean whose weights are the
            softmax of a learned score of each state (Yang et al., 2016, without their hidden layer).
        dim: D.
    """

    def __init__(self, kind: Pooling, dim: int) -> None:
        super().__init__()
        self.kind = kind
        self.score = nn.Linear(dim, 1, bias=False) if kind == "attention" else None

    def forward(self, states: Tensor, mask: Tensor | None = None) -> Tensor:
        """Pool the states (B, T, D).

        Args:
            states: (B, T, D)
            mask: bool (B, T), false for padding, which is at the end; at least one token is true. None: no padding.
        """
        if self.kind == "last":
            return states[:, -1] if mask is None else at_last(states, mask)
        if self.kind == "max":
            return states.amax(1) if mask is None else states.masked_fill(~mask[..., None], -math.inf).amax(1)
        if self.score is not None:
            scores = self.score(states)[..., 0]  # (B, T)
            weights: Tensor = (scores if mask is None else scores.masked_fill(~mask, -math.inf)).softmax(1)
            return weighted_sum(states, weights)
        return states.mean(1) if mask is None else weighted_sum(states, mask / mask.sum(1, keepdim=True))


def weighted_sum(states: Tensor, weights: Tensor) -> Tensor:
    """Return the sum of all states, each times its weight: (B, T, D), (B, T) → (B, D)."""
    return (weights.to(states.dtype)[:, None] @ states)[:, 0]


def at_last(states: Tensor, mask: Tensor) -> Tensor:
    """Return the state of the last token that is no padding: (B, T, D) → (B, D)."""
    last = mask.sum(1) - 1  # (B,)
    return states.gather(1, last[:, None, None].expand(-1, 1, states.shape[2]))[:, 0]


def reversed_within(states: Tensor, mask: Tensor) -> Tensor:
    """Reverse each sequence within its length: (B, T, D) → (B, T, D). Padding stays where it is. Undoes itself."""
    steps = torch.arange(states.shape[1], device=states.device)
    index = torch.where(mask, mask.sum(1, keepdim=True) - 1 - steps, steps)  # (B, T)
    return states.gather(1, index[..., None].expand(-1, -1, states.shape[2]))
