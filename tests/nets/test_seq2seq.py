"""The encoder-decoder transformer."""

import pytest
import torch

from leyden.nets.seq2seq import Seq2Seq
from tests.nets.defaults import net


def num_weights(module: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def small() -> Seq2Seq:
    built: Seq2Seq = net("seq2seq", (1, 8, 16), 4 * 6, length=4, dim=16)
    return built.eval()


def test_weights() -> None:
    dense, norm, attention = (64 * 128 + 128) + (128 * 64 + 64), 2 * 64, 4 * (64 * 64 + 64)
    stem = (9 * 16 + 2 * 16) + (9 * 16 * 32 + 2 * 32) + (9 * 32 * 64 + norm) + (64 * 64 + 64)
    encoder = 2 * (2 * norm + attention + dense) + stem + 4 * 14 * 64 + norm
    decoder = 2 * (3 * norm + 2 * attention + dense) + 11 * 64 + 5 * 64 + norm + (64 * 11 + 11)
    assert num_weights(net("seq2seq", (1, 32, 112), 5 * 11, length=5)) == encoder + decoder


def test_a_symbol_follows_from_the_true_ones_before_it_only() -> None:
    built, images, targets = small(), torch.randn(3, 1, 8, 16), torch.tensor([[0, 1, 2, 3]] * 3)
    changed = targets.clone()
    changed[:, 1] = 4
    one, other = (built(images, symbols).view(3, 4, 6) for symbols in (targets, changed))
    assert one[:, :2].allclose(other[:, :2], atol=1e-6)
    assert not one[:, 2].allclose(other[:, 2], atol=1e-3)
    changed[:, 1], changed[:, 3] = 1, -1  # the last one is before none
    assert torch.equal(built(images, targets), built(images, changed))


def test_it_goes_on_from_what_it_wrote_itself() -> None:
    built, images = small(), torch.randn(5, 1, 8, 16)
    logits = built(images)
    wrote = logits.view(5, 4, 6).argmax(2)
    assert built(images, wrote).allclose(logits, atol=1e-6)
    assert not built(images, (wrote + 1) % 6).allclose(logits, atol=1e-3)


def test_each_symbol_sees_the_whole_image() -> None:
    built, image, targets = small(), torch.randn(1, 1, 8, 16), torch.tensor([[0, 1, 2, 3]])
    for half in (slice(0, 8), slice(8, 16)):
        changed = image.clone()
        changed[..., half] = 0
        difference = (built(image, targets) - built(changed, targets)).view(4, 6).abs().amax(1)
        assert (difference > 1e-4).all()


def test_outputs_are_divided_among_the_symbols() -> None:
    with pytest.raises(ValueError, match=r"^length: got 3, must divide the number of outputs, 10"):
        net("seq2seq", (1, 28, 28), 10, length=3)
