"""The convolutional net for texts."""

import pytest
import torch

from tests.nets.defaults import net

SIZES = {"vocab_size": 50, "embedding": 8, "channels": 5}


def test_weights() -> None:
    built = net("textcnn", (400,), 2, vocab_size=50)
    filters = sum(100 * (width * 128 + 1) for width in (3, 4, 5))
    assert sum(weight.numel() for weight in built.parameters()) == 50 * 128 + filters + 2 * (300 + 1)


def test_a_filter_keeps_its_largest_value() -> None:
    built = net("textcnn", (9,), 2, **{**SIZES, "widths": [3]}).eval()
    ids = torch.tensor([[4, 8, 6, 3, 0]])
    words = torch.cat((torch.zeros(2, 8), built.embedding.weight[ids[0, :4]], torch.zeros(3, 8)))  # zeros around it
    layer = built.filters[0]
    windows = torch.stack([words[start : start + 3] for start in range(7)])  # (7, 3, D)
    values = torch.einsum("twd,fdw->tf", windows, layer.weight) + layer.bias
    assert built(ids).allclose(built.head(values.amax(0).relu())[None], atol=1e-6)


@pytest.mark.parametrize("widths", [[1], [2], [4, 5]])
def test_texts_shorter_than_a_window(widths: list[int]) -> None:
    built = net("textcnn", (9,), 2, **{**SIZES, "widths": widths}).eval()
    assert built(torch.tensor([[7]])).allclose(built(torch.tensor([[7, 0, 0, 0, 0, 0, 0]])), atol=1e-6)


@pytest.mark.parametrize(
    ("key", "value"), [("widths", []), ("widths", [0]), ("channels", 0), ("dropout", 1.0), ("embedding", 0)]
)
def test_values_out_of_range(key: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"^{key}: got "):
        net("textcnn", (9,), 2, **{**SIZES, key: value})
