"""Several source images on one canvas, worked out by hand."""

import torch

from leyden.data.composed import DigitCanvas


def test_where_the_images_go_and_what_shows_where_two_meet() -> None:
    images = torch.tensor([[[1, 2], [3, 4]], [[9, 9], [0, 9]]], dtype=torch.uint8)[:, None]
    chosen = torch.tensor([[0, 1], [1, -1]])
    corners = torch.tensor([[[0, 0], [1, 1]], [[-1, 2], [0, 0]]])  # the last one is not used
    found = DigitCanvas(images, (3, 4))(chosen, corners)
    assert found.tolist() == [
        [[[1, 2, 0, 0], [3, 9, 9, 0], [0, 0, 9, 0]]],
        [[[0, 0, 0, 9], [0, 0, 0, 0], [0, 0, 0, 0]]],
    ]
