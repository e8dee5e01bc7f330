"""The text encoder: padding has no influence, and the order of the words has one."""

import pytest
import torch

from leyden.nets.text_encoder import text_encoder


@pytest.mark.parametrize("num_layers", [0, 1])
def test_padding_has_no_influence_and_order_has(num_layers: int) -> None:
    torch.manual_seed(0)
    net = text_encoder(6, 9, 8, num_layers, 5).eval()
    texts = torch.tensor([[2, 3, 4], [4, 3, 2]])
    found = net(texts)
    assert found.shape == (2, 5)
    assert torch.allclose(found, net(torch.nn.functional.pad(texts, (0, 3))), atol=1e-6)
    assert not torch.allclose(found[0], found[1], atol=1e-3)


@pytest.mark.parametrize(("dim", "num_layers", "said"), [(6, 1, "text_dim: got 6"), (8, -1, "text_layers: got -1")])
def test_a_wrong_size_is_named_as_in_the_config(dim: int, num_layers: int, said: str) -> None:
    with pytest.raises(ValueError, match=f"^{said}, must be"):
        text_encoder(6, 9, dim, num_layers, 5)
