"""Numbers as English words: some by hand, and that no two numbers have the same text."""

import pytest
import torch

from leyden.data.number_words import NumberTexts, Style, in_words, position_of
from leyden.errors import UserError

SPOKEN = {
    "0": "zero",
    "7": "seven",
    "00": "zero zero",
    "13": "thirteen",
    "40": "forty",
    "42": "forty two",
    "407": "four hundred seven",
    "0407": "zero four hundred seven",
    "0013": "zero zero thirteen",
    "1000": "one thousand",
    "9210": "nine thousand two hundred ten",
    "40300": "forty thousand three hundred",
}


@pytest.mark.parametrize("digits", SPOKEN)
def test_a_number(digits: str) -> None:
    assert in_words(digits, "number") == SPOKEN[digits]


def test_digit_by_digit() -> None:
    assert in_words("0407", "digits") == "zero four zero seven"


@pytest.mark.parametrize("style", ["number", "digits"])
def test_every_number_has_its_own_text_and_tokens(style: Style) -> None:
    known = NumberTexts(style, 1, 4)
    assert len(known.numbers) == len(set(known.texts)) == len(set(map(tuple, known.tokens.tolist()))) == 11110
    assert int(known.tokens.max()) == known.vocab_size - 1
    assert (known.tokens != 1).all()  # no unknown word


@pytest.mark.parametrize(("least", "most"), [(1, 3), (2, 3), (3, 3)])
def test_the_position_of_each_number(least: int, most: int) -> None:
    known = NumberTexts("digits", least, most)
    rows = [[*map(int, number), 10, *[-1] * (most - len(number))] for number in known.numbers]
    assert position_of(torch.tensor(rows), known.first).tolist() == list(range(len(rows)))


def test_too_many_digits_are_one_line() -> None:
    with pytest.raises(UserError, match=r"^data.max_digits: got 6, must be from 1 to 5 for numbers in words$"):
        NumberTexts("number", 1, 6)
    with pytest.raises(UserError, match=r"^data.min_digits: got 3, must be between 1 and 2$"):
        NumberTexts("number", 3, 2)
