"""Mixup and CutMix against values worked out by hand."""

import pytest
import torch
from torch import Tensor

from leyden.errors import UserError
from leyden.modules.mixing import blend, cutmix, mix


def test_a_blend_is_of_a_sample_and_the_one_before_it() -> None:
    values = torch.tensor([[1.0, 0.0], [0.0, 4.0], [2.0, 2.0]])
    assert blend(values, 0.75).allclose(torch.tensor([[1.25, 0.5], [0.25, 3.0], [1.5, 2.5]]))


@pytest.mark.parametrize("weight", [0.0, 0.3, 0.99, 1.0])
def test_cutmix_keeps_the_fraction_it_returns_and_takes_the_rest_in_one_rectangle(weight: float) -> None:
    torch.manual_seed(0)
    images = torch.arange(3.0).view(3, 1, 1, 1).expand(3, 2, 10, 20)
    for _ in range(50):
        mixed, kept = cutmix(images, weight)
        own = mixed == images
        assert own.float().mean((1, 2, 3)).tolist() == pytest.approx([kept] * 3)
        assert torch.equal(mixed[~own], images.roll(1, 0)[~own])
        rows, columns = (~own[0, 0]).any(1), (~own[0, 0]).any(0)
        assert torch.equal(~own[0, 0], rows[:, None] & columns)
        assert kept >= weight - 0.1  # at the border the rectangle is cut off; a side is rounded to whole pixels


def test_a_batch_is_mixed_as_its_targets_say() -> None:
    images = torch.arange(3.0).view(3, 1, 1, 1).expand(3, 1, 32, 32)
    for alphas in ((1.0, 0.0), (0.0, 1.0)):
        torch.manual_seed(3)
        mixed, probabilities = mix((images, torch.arange(3)), 3, *alphas)
        assert probabilities.sum(1).allclose(torch.ones(3))
        assert mixed.mean((1, 2, 3)).allclose(probabilities @ torch.arange(3.0), atol=1e-5)
        assert (len(mixed[1].unique()) == 1) == (alphas[0] > 0)  # one colour for all pixels, or a rectangle of another


def test_both_ways_of_mixing_take_turns_at_random() -> None:
    images, colours = torch.arange(2.0).view(2, 1, 1, 1).expand(2, 1, 32, 32), []
    for seed in range(40):
        torch.manual_seed(seed)
        colours.append(len(mix((images, torch.arange(2)), 2, 1.0, 1.0)[0][1].unique()))
    # A rectangle leaves pixels of two colours, unless it has all or none of them; a blend is of one.
    assert 10 < colours.count(1) < 30 <= colours.count(1) + colours.count(2)


def test_the_amount_follows_alpha_and_the_seed() -> None:
    def spread(alpha: float) -> Tensor:
        torch.manual_seed(0)
        batches = [mix((torch.eye(2), torch.arange(2)), 2, alpha, 0.0)[1][0, 0] for _ in range(400)]
        return torch.stack(batches).var()

    for alpha in (0.2, 1.0, 5.0):
        assert spread(alpha).item() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.15)  # of a Beta(alpha, alpha)
    assert torch.equal(spread(1.0), spread(1.0))


def test_cutmix_needs_images() -> None:
    with pytest.raises(UserError, match=r"^task\.cutmix: needs images, but the samples have the shape \[10\]"):
        cutmix(torch.randn(4, 10), 0.5)
