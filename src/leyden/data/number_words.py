"""Numbers as English words, and as the token ids of these words.

A string of digits has one text. Leading zeros are spoken one by one, so different strings have different texts.
"""

from typing import Literal

import torch
from torch import Tensor

from leyden.data.tokenizers import build_tokenizer
from leyden.data.tokens import PADDING, RESERVED
from leyden.errors import UserError

Style = Literal["number", "digits"]

MOST_DIGITS = 5  # there are 111,110 numbers with up to five digits
SMALL = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
]  # fmt: skip
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]


def in_words(digits: str, style: Style) -> str:
    """Return a string of digits in English words.

    Args:
        digits: for example "0407".
        style: number: "zero four hundred seven". digits: "zero four zero seven".
    """
    if style == "digits":
        return " ".join(SMALL[int(digit)] for digit in digits)
    rest = digits.lstrip("0")
    zeros = [SMALL[0]] * (len(digits) - len(rest))
    return " ".join([*zeros, *(_spoken(int(rest)) if rest else [])])


def _spoken(number: int) -> list[str]:
    """Return the words of a number from 1 to 999,999."""
    for unit, name in ((1000, "thousand"), (100, "hundred")):
        if number >= unit:
            rest = number % unit
            return [*_spoken(number // unit), name, *(_spoken(rest) if rest else [])]
    if number < len(SMALL):
        return [SMALL[number]]
    return [TENS[number // 10 - 2], *([SMALL[number % 10]] if number % 10 else [])]


class NumberTexts:
    """All strings with a number of digits in a range: their texts, and the token ids of the texts.

    Shorter strings come first, strings of equal length in the order of their values. A token is a word.

    Attributes:
        numbers: the strings of digits, N of them.
        texts: the text of each.
        tokens: its token ids, int64 (N, T), padded with 0.
        vocab_size: number of token ids.

    Args:
        style: see `in_words`.
        min_digits, max_digits: the range, 1 to `MOST_DIGITS`.

    Raises:
        UserError: the range is empty or too large.
    """

    def __init__(self, style: Style, min_digits: int, max_digits: int) -> None:
        if not 1 <= max_digits <= MOST_DIGITS:
            raise UserError(f"data.max_digits: got {max_digits}, must be from 1 to {MOST_DIGITS} for numbers in words")
        if not 1 <= min_digits <= max_digits:
            raise UserError(f"data.min_digits: got {min_digits}, must be between 1 and {max_digits}")
        lengths = range(min_digits, max_digits + 1)
        self.numbers = [f"{value:0{length}}" for length in lengths for value in range(10**length)]
        self.texts = [in_words(number, style) for number in self.numbers]
        vocabulary = {word for text in self.texts for word in text.split()}
        self.vocab_size = len(RESERVED) + len(vocabulary)
        tokenizer = build_tokenizer("words", self.texts, self.vocab_size)
        ids = [tokenizer.encode(text) for text in self.texts]
        longest = max(map(len, ids))
        self.tokens = torch.tensor([[*row, *[PADDING] * (longest - len(row))] for row in ids])
        first = [0] * (max_digits + 1)  # number of digits → position of the first string of this length
        for length in lengths:
            first[length] = sum(10**shorter for shorter in range(min_digits, length))
        self.first = torch.tensor(first)


def position_of(digits: Tensor, first: Tensor) -> Tensor:
    """Return the position of strings of digits among all strings, int64 (B,), see `NumberTexts`.

    Args:
        digits: int64 (B, L), followed by numbers that are no digits.
        first: `NumberTexts.first`, on the device of `digits`.
    """
    is_digit = (digits >= 0) & (digits <= 9)
    value = torch.zeros_like(digits[:, 0])
    for digit, counts in zip(digits.unbind(1), is_digit.unbind(1), strict=True):
        value = torch.where(counts, 10 * value + digit, value)
    return first[is_digit.sum(1)] + value
