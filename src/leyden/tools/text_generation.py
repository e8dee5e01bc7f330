"""Texts that a trained language model writes, and how likely it finds a text."""

import math
from dataclasses import replace
from typing import Any

import torch

from leyden.data.characters import RunningText
from leyden.data.tokens import PADDING
from leyden.errors import UserError
from leyden.modules.language_model import LanguageModel
from leyden.modules.text_sampling import Sampling

MAX_NEW_TOKENS = 1_000_000
MAX_TEXTS = 10_000
BATCH_SIZE = 64  # windows


def written_texts(
    module: LanguageModel, data: RunningText, prompt: str, num: int, max_new_tokens: int, sampling: Sampling, seed: int
) -> list[str]:
    """Return `num` continuations of a prompt, each with the prompt.

    Args:
        module: the trained module.
        data: the data set of its run, with its tokenizer.
        prompt: a text; "": the beginning of a line.
        num: number of texts.
        max_new_tokens: number of tokens after the prompt.
        sampling: how they are drawn, see `chosen_sampling`.
        seed: the same seed gives the same texts.

    Raises:
        UserError: a value is out of its range.
    """
    if not isinstance(prompt, str):
        raise UserError(f"prompt: got {type(prompt).__name__}, must be a text")
    for name, value, most in (("num", num, MAX_TEXTS), ("max_new_tokens", max_new_tokens, MAX_NEW_TOKENS)):
        if not 1 <= value <= most:
            raise UserError(f"{name}: got {value}, must be between 1 and {most:,}")
    rows = module.continued(data.prompt(prompt), num, max_new_tokens, sampling, seed)
    return [data.continued(prompt, row) for row in rows]


def chosen_sampling(own: Sampling, temperature: float | None, top_k: int | None, top_p: float | None) -> Sampling:
    """Return how tokens are drawn: each value that is not None replaces that of `own`.

    Raises:
        UserError: a value is out of its range.
    """
    given: dict[str, Any] = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    try:
        return replace(own, **{name: value for name, value in given.items() if value is not None})
    except ValueError as error:
        raise UserError(str(error)) from error


@torch.no_grad()
def bits_per_character(module: LanguageModel, data: RunningText, text: str) -> float:
    """Return minus the log-likelihood of a text in bits, divided by its number of characters.

    It is computed in windows that do not overlap, as for the test split. The first token is predicted from the
    beginning of a line.

    Raises:
        UserError: the text is empty.
    """
    if not isinstance(text, str) or not text:
        raise UserError("text: must be a text with at least one character")
    device, nats = module.device, 0.0
    inputs, targets = data.windows(data.prompt("")[-1:], text)
    for part, goal in zip(torch.split(inputs, BATCH_SIZE), torch.split(targets, BATCH_SIZE), strict=True):
        num = int((goal != PADDING).sum())
        nats += num * float(module.loss(module(part.long().to(device)), goal.to(device)))
    return nats / math.log(2) / len(text)
