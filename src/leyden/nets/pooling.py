"""Pooling: one vector for a sequence, of which padding has no influence."""

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
        self.score = nn.Linear(dim, 1) if kind == "attention" else None

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
            scores = self.score(states)  # (B, T, 1)
            weights: Tensor = (scores if mask is None else scores.masked_fill(~mask[..., None], -math.inf)).softmax(1)
            return (weights * states).sum(1)
        return states.mean(1) if mask is None else masked_mean(states, mask)


def masked_mean(states: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over the tokens that are no padding: (B, T, D) → (B, D)."""
    kept = mask[..., None].to(states.dtype)
    return (states * kept).sum(1) / kept.sum(1).clamp(min=1)


def at_last(states: Tensor, mask: Tensor) -> Tensor:
    """Return the state of the last token that is no padding: (B, T, D) → (B, D)."""
    last = (mask.sum(1) - 1).clamp(min=0)  # (B,)
    return states.gather(1, last[:, None, None].expand(-1, 1, states.shape[2]))[:, 0]


def reversed_texts(states: Tensor, mask: Tensor) -> Tensor:
    """Reverse each sequence within its length; padding stays at the end: (B, T, D) → (B, T, D). Undoes itself."""
    steps = torch.arange(states.shape[1], device=states.device)
    index = torch.where(mask, mask.sum(1, keepdim=True) - 1 - steps, steps)  # (B, T)
    return states.gather(1, index[..., None].expand(-1, -1, states.shape[2]))
