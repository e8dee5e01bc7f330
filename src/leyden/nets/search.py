"""Search for the most likely sequence of symbols of a `SequenceModel`: greedy search and beam search.

Both stop as soon as all sequences have ended. Therefore they read from the device after each symbol.

    B  batch          L  symbols at most      K  sequences that beam search keeps for each input
    V  size of the alphabet
"""

import torch
from torch import Tensor

from leyden.nets.sequence_model import SequenceModel, Tensors


@torch.no_grad()
def greedy(net: SequenceModel, inputs: Tensor) -> Tensor:
    """Return sequences in which each symbol is the most likely one after those before it, int64 (B, L).

    Args:
        net: predicts the symbols.
        inputs: (B, ...)

    Returns:
        The symbols, with the end symbol, if the sequence has one; -1 after it.
    """
    state = net.begin(net.encode(inputs))
    last = inputs.new_full((len(inputs),), net.end, dtype=torch.int64)
    found = inputs.new_full((len(inputs), net.length), -1, dtype=torch.int64)
    has_ended = torch.zeros_like(last, dtype=torch.bool)
    for position in range(net.length):
        logits, state = net.step(last, state)
        last = logits.argmax(1)
        found[:, position] = last.where(~has_ended, -1)
        has_ended = has_ended | (last == net.end)
        if has_ended.all():
            break
    return found


@torch.no_grad()
def beam_search(net: SequenceModel, inputs: Tensor, beam: int, length_penalty: float) -> Tensor:
    """Return the best sequence that beam search finds for each input, int64 (B, L); the form is that of `greedy`.

    The score of a sequence is its log-likelihood, divided by its number of symbols to the power of `length_penalty`.
    After each symbol, the `beam` best continuations of all kept sequences are kept. A sequence that ends leaves the
    search, and the best ended one of each input is remembered. A sequence that reaches L symbols is scored as it is.

    Args:
        net: predicts the symbols.
        inputs: (B, ...)
        beam: K, number of sequences to keep, at least 1.
        length_penalty: at least 0. 0: the log-likelihood decides, which favours short sequences; 1: its mean over the
            symbols.
    """
    num, length, end = len(inputs), net.length, net.end
    first = torch.arange(num, device=inputs.device).repeat_interleave(beam)  # (B · K,)
    state = select(net.begin(net.encode(inputs)), first)
    symbols = torch.full((num * beam, length), -1, device=inputs.device)
    last = torch.full((num * beam,), end, device=inputs.device)
    scores = torch.full((num, beam), -torch.inf, device=inputs.device)
    scores[:, 0] = 0.0  # all sequences are the same at first: one is enough
    best = torch.full((num,), -torch.inf, device=inputs.device)
    found = torch.full((num, length), -1, device=inputs.device)
    for position in range(length):
        logits, state = net.step(last, state)
        likelihoods = scores[..., None] + logits.float().log_softmax(1).view(num, beam, -1)  # (B, K, V)
        is_last, penalty = position + 1 == length, (position + 1) ** length_penalty
        best, found = remember_ended(best, found, symbols, likelihoods[..., end] / penalty, position, end)
        if not is_last:
            likelihoods[..., end] = -torch.inf
        scores, chosen = likelihoods.flatten(1).topk(beam, dim=1)  # (B, K)
        origin = (chosen // likelihoods.shape[2] + torch.arange(num, device=best.device)[:, None] * beam).flatten()
        last = (chosen % likelihoods.shape[2]).flatten()  # (B · K,)
        symbols, state = symbols[origin], select(state, origin)
        symbols[:, position] = last
        if is_last:
            best, found = remember(best, found, symbols.view(num, beam, length), scores / penalty)
        elif (best >= scores[:, 0] / length**length_penalty).all():  # no kept sequence can become better
            break
    return found


def select(state: Tensors, index: Tensor) -> Tensors:
    """Return the states of the sequences at `index`, int64 (N,)."""
    return tuple(part.index_select(0, index) for part in state)


def remember_ended(
    best: Tensor, found: Tensor, symbols: Tensor, scores: Tensor, position: int, end: int
) -> tuple[Tensor, Tensor]:
    """Return the best ended sequences so far, if those in `symbols`, (B · K, L), end at `position`: scores (B, K)."""
    ended = symbols.view(*scores.shape, -1).clone()
    ended[..., position] = end
    return remember(best, found, ended, scores)


def remember(best: Tensor, found: Tensor, symbols: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """Return the better ones of the sequences so far and the new ones.

    Args:
        best: (B,), scores of the sequences so far.
        found: int64 (B, L), these sequences.
        symbols: int64 (B, K, L), new sequences.
        scores: (B, K), their scores.
    """
    top, index = scores.max(1)
    chosen = symbols[torch.arange(len(top), device=top.device), index]  # (B, L)
    return torch.maximum(best, top), chosen.where((top > best)[:, None], found)
