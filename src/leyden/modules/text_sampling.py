"""Continue a text token by token with a language model: temperature, top-k and top-p (Holtzman et al., 2020).

B  texts          S  tokens of the prompts          V  vocabulary
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from leyden.nets.gpt import GPT


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn.

    Args:
        temperature: the logits are divided by it. Below 1, likely tokens become more likely. 0: the most likely token.
        top_k: draw one of the `top_k` most likely tokens. 0: no limit.
        top_p: draw one of the most likely tokens that together have this probability. 1: no limit.

    Raises:
        ValueError: a value is out of its range.
    """

    temperature: float
    top_k: int
    top_p: float

    def __post_init__(self) -> None:
        if not 0 <= self.temperature <= 100:
            raise ValueError(f"temperature: got {self.temperature}, must be between 0 and 100")
        if self.top_k < 0:
            raise ValueError(f"top_k: got {self.top_k}, must be at least 0 (0: no limit)")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p: got {self.top_p}, must be above 0 and at most 1")

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return the probability of each token, float (B, V): logits (B, V)."""
        if self.temperature == 0:
            return torch.zeros_like(logits).scatter_(1, logits.argmax(1, keepdim=True), 1.0)
        logits = logits / self.temperature
        if 0 < self.top_k < logits.shape[1]:
            least = logits.topk(self.top_k, dim=1).values[:, -1:]  # (B, 1)
            logits = logits.masked_fill(logits < least, -torch.inf)
        found = logits.softmax(1)
        if self.top_p < 1:
            ranked, order = found.sort(dim=1, descending=True, stable=True)
            before = ranked.cumsum(1) - ranked  # probability of all tokens that are more likely
            found = torch.zeros_like(found).scatter_(1, order, ranked.where(before < self.top_p, 0.0))
            found = found / found.sum(1, keepdim=True)
        return found


@torch.no_grad()
def continued(net: GPT, prompts: Tensor, num: int, sampling: Sampling, rng: torch.Generator, allowed: Tensor) -> Tensor:
    """Return `num` new tokens after each prompt, int64 (B, num).

    The net sees at most its `max_tokens` last tokens. If they are full, the older half is dropped, because the
    positions of the others change and their keys and values must be computed again.

    Args:
        net: in eval mode.
        prompts: int64 (B, S), S at least 1.
        num: number of tokens.
        sampling: how they are drawn.
        rng: a generator on the CPU.
        allowed: bool (V,), the tokens that may be drawn.
    """
    ids, start, cache = prompts, max(0, prompts.shape[1] - net.max_tokens), net.new_cache()
    for _ in range(num):
        if ids.shape[1] - start > net.max_tokens:
            start, cache = ids.shape[1] - max(1, net.max_tokens // 2), net.new_cache()
        logits = net(ids[:, start + len(cache) :], cache)[:, -1].float()  # (B, V)
        chances = sampling.probabilities(logits.masked_fill(~allowed, -torch.inf)).cpu()
        drawn = torch.multinomial(chances, 1, generator=rng).to(ids.device)  # (B, 1)
        ids = torch.cat((ids, drawn), dim=1)
    return ids[:, prompts.shape[1] :]
