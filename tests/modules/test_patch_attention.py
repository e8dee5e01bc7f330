"""The attention of a transformer as a plot."""

import pytest
import torch

from leyden.modules.patch_attention import ORANGE, overlay, patch_attention
from leyden.modules.titles import LINE, titled
from leyden.nets.transformer import Transformer


class Looking(Transformer):
    """A transformer on 2 x 2 patches whose class token attends to patch 2 only, and whose patches to patch 1 only."""

    def __init__(self, pool: str) -> None:
        super().__init__((1, 8, 8), 3, 4, 4, 1, 2, 1.0, "learned", "patch", pool, 0.0, 0, None)  # type: ignore[arg-type]

    def attention(self, x: torch.Tensor) -> torch.Tensor:
        has_class = self.class_token is not None
        weights = torch.zeros(1, len(x), 2, 4 + has_class, 4 + has_class)
        weights[..., 1 + has_class] = 1
        if has_class:
            weights[..., 0, :] = torch.tensor([0.0, 0.0, 0.0, 1.0, 0.0])
        return weights


@pytest.mark.parametrize(("pool", "row", "column"), [("class", 1, 0), ("mean", 0, 1)])
def test_the_patch_with_the_largest_weight_is_orange(pool: str, row: int, column: int) -> None:
    images = torch.zeros(9, 1, 8, 8)
    plot = patch_attention(Looking(pool), images, images)
    scale = -(-500 // (4 * 9 + 1))  # four columns: image, mean and two heads
    assert plot.shape[1] == 3 * LINE + 4 + scale * (6 * 9 + 1), "six of the nine images"
    pictures = plot[:, 3 * LINE + 4 :: scale, ::scale]
    first, mean = pictures[:, 1:9, 1:9], pictures[:, 1:9, 10:18]
    assert first.eq(0).all()
    expected = overlay(torch.zeros(3, 4, 4), torch.ones(1, 4, 4))
    patches = mean.unfold(1, 4, 4).unfold(2, 4, 4)  # (3, rows, columns, 4, 4)
    assert patches[:, row, column].allclose(expected)
    assert patches.sum().allclose(expected.sum())


def test_an_overlay_by_hand() -> None:
    grey = torch.full((3, 1, 2), 0.5)
    found = overlay(grey, torch.tensor([[[0.0, 1.0]]]))
    assert found[:, 0, 0].tolist() == [0.5] * 3
    assert found[:, 0, 1].tolist() == pytest.approx([0.15 * 0.5 + 0.85 * colour for colour in ORANGE])


def test_a_title_is_above_the_plot() -> None:
    plot = titled(torch.zeros(1, 4, 250), ["one", "two"], ["left", "right"])
    assert plot.shape == (3, 3 * LINE + 4 + 8, 500)
    assert plot[:, -8:].eq(0).all()
    for top in (0, LINE, 2 * LINE):
        assert plot[:, top : top + LINE].lt(0.9).any(), "a line of text"
    wide = titled(torch.zeros(1, 4, 250), ["a long line of text " * 9])
    assert wide.shape[2] > 500, "no text is cut off"
