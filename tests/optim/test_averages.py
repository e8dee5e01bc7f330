"""Averages of weights, by hand."""

import pytest
import torch

from leyden.config.builders import section
from leyden.config.compose import compose
from leyden.config.instantiate import instantiate
from leyden.errors import UserError
from leyden.optim.averages import EMA, Lookahead, ema_decay, update_average


def test_moving_average_after_three_steps() -> None:
    weight, count = torch.zeros(1), torch.tensor(0)
    for number, value in enumerate((1.0, 2.0, 4.0)):
        update_average([weight, count], [torch.tensor([value]), torch.tensor(int(value))], ema_decay(number, 0.15))
    # The first value is copied; then the limits 2/11 and 3/12 are above 0.15.
    assert weight.item() == pytest.approx(0.15 * (0.15 * 1 + 0.85 * 2) + 0.85 * 4)
    assert count == 4


def test_moving_average_soon_forgets_the_first_weights() -> None:
    assert [ema_decay(number, 0.999) for number in (0, 1, 2)] == [0, 2 / 11, 3 / 12]
    assert ema_decay(100_000, 0.999) == 0.999


def test_ema_copies_the_weights_at_its_first_step() -> None:
    average, weight = torch.zeros(1), torch.tensor([2.0])
    EMA(0.9).update([average], [weight], 1)
    assert average.item() == 2
    EMA(0.1).update([average], [torch.tensor([4.0])], 100)
    assert average.item() == pytest.approx(0.1 * 2 + 0.9 * 4)


def test_lookahead_moves_every_few_steps_and_the_weights_return_to_it() -> None:
    average, weight, rule = torch.zeros(1), torch.tensor([2.0]), Lookahead(every=3, rate=0.25)
    for step in (1, 2):
        rule.update([average], [weight], step)
        assert (average.item(), weight.item()) == (0, 2)
    rule.update([average], [weight], 3)
    assert average.item() == weight.item() == 0.5


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["averaging=ema", "averaging.decay=1"], "averaging.decay: got 1, must be at least 0 and below 1"),
        (["averaging=lookahead", "averaging.every=0"], "averaging.every: got 0, must be at least 1"),
        (["averaging=lookahead", "averaging.rate=0"], "averaging.rate: got 0, must be above 0 and at most 1"),
    ],
)
def test_a_number_out_of_range(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}"):
        instantiate(section(compose(*overrides), "averaging"), "averaging")
