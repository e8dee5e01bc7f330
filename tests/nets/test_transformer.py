"""The transformer encoder."""

import math

import pytest
import torch

from leyden.nets.transformer import Attention, sinusoids
from tests.nets.defaults import net


def num_weights(module: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def test_weights() -> None:
    block = 2 * 2 * 64 + 4 * (64 * 64 + 64) + (64 * 128 + 128) + (128 * 64 + 64)
    rest = (4 * 4 * 64 + 64) + 49 * 64 + 64 + 2 * 64 + (64 * 10 + 10)  # patches, positions, class, norm, head
    assert num_weights(net("transformer", (1, 28, 28), 10)) == 3 * block + rest


@pytest.mark.parametrize("causal", [False, True])
def test_attention_weights_give_what_the_fused_kernel_gives(causal: bool) -> None:
    attention, x, memory = Attention(16, 4, 0.0), torch.randn(2, 5, 16), torch.randn(2, 7, 16)
    for keys in (x,) if causal else (x, memory):
        weights = attention.weights(x, keys, causal)  # (B, H, T, S)
        assert weights.sum(-1).allclose(torch.ones(2, 4, 5))
        value = attention.key_value(keys)[..., 16:].view(2, -1, 4, 4).transpose(1, 2)  # (B, H, S, K)
        out = attention.out((weights @ value).transpose(1, 2).flatten(2))
        assert out.allclose(attention(x, keys, causal), atol=1e-6)


def test_causal_attention_sees_no_future() -> None:
    attention, x = Attention(16, 4, 0.0), torch.randn(1, 6, 16)
    changed = x.clone()
    changed[:, 4:] += 1
    assert torch.equal(attention(x, causal=True)[:, :4], attention(changed, causal=True)[:, :4])
    assert not torch.equal(attention(x)[:, :4], attention(changed)[:, :4])
    assert attention.weights(x, causal=True).triu(1).eq(0).all()


def test_attention_of_each_block_for_plots() -> None:
    built, images = net("transformer", (1, 8, 8), 3, dim=16, num_layers=2).eval(), torch.randn(2, 1, 8, 8)
    found = built.attention(images)
    assert found.shape == (2, 2, 4, 5, 5)  # blocks, B, heads, class token and four patches, twice
    assert found.sum(-1).allclose(torch.ones(2, 2, 4, 5))
    first = built.blocks[0]
    assert torch.equal(found[0], first.attention.weights(first.norm_attention(built._with_class(built.tokens(images)))))


def test_patches_go_from_left_to_right_and_from_top_to_bottom() -> None:
    tokens = net("transformer", (1, 4, 6), 3, patch=2, dim=4).tokens
    image = torch.zeros(1, 1, 4, 6)
    image[..., 2:, :2] = 1  # the first patch of the second row
    difference = (tokens(image) - tokens(torch.zeros_like(image))).abs().sum(2)[0]
    assert difference.nonzero().flatten().tolist() == [3]


def test_an_image_that_patches_do_not_tile_is_padded_with_zeros() -> None:
    tokens, image = net("transformer", (1, 5, 7), 3, patch=4, dim=4).tokens, torch.randn(2, 1, 5, 7)
    assert tokens.num_tokens == 2 * 2
    whole = torch.zeros(2, 1, 8, 8)
    whole[..., :5, :7] = image
    embedded = tokens.embed(whole).transpose(1, 2)
    assert torch.equal(tokens(image), embedded + tokens.positions)


def test_without_positions_order_would_not_matter() -> None:
    for positions in ("learned", "sinusoidal"):
        built, series = net("transformer", (6, 2), 3, positions=positions, pool="mean").eval(), torch.randn(4, 6, 2)
        assert not built(series).allclose(built(series.flip(1)), atol=1e-4)
        built.tokens.positions.detach().zero_()
        assert built(series).allclose(built(series.flip(1)), atol=1e-5)


def test_sinusoids() -> None:
    table = sinusoids(3, 4)
    wanted = [[math.sin(p), math.cos(p), math.sin(p / 100), math.cos(p / 100)] for p in range(3)]
    assert table.allclose(torch.tensor(wanted))


@pytest.mark.parametrize(
    ("key", "value"), [("patch", 29), ("num_heads", 3), ("dim", 7), ("num_layers", 0), ("mlp_ratio", 0.0)]
)
def test_sizes_that_do_not_fit(key: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"^{key}: got {value}, must"):
        net("transformer", (1, 28, 28), 10, **{key: value})


TEXTS = torch.tensor([[5, 9, 2, 7], [3, 8, 0, 0], [4, 0, 0, 0]])


@pytest.mark.parametrize("pool", ["class", "mean", "max", "attention", "last"])
@pytest.mark.parametrize("positions", ["learned", "sinusoidal"])
def test_no_token_of_a_text_attends_to_padding(pool: str, positions: str) -> None:
    built = net("transformer", (9,), 3, dim=8, vocab_size=20, pool=pool, positions=positions).eval()
    alone = torch.cat([built(text[text != 0][None]) for text in TEXTS])
    assert built(TEXTS).allclose(alone, atol=1e-5)
    assert built(torch.nn.functional.pad(TEXTS, (0, 5))).allclose(alone, atol=1e-5)
    start = int(pool == "class")
    weights = built.attention(TEXTS)[:, :, :, start:, start:]  # layers, B, H, queries, keys
    assert weights[:, 1, :, :, 2:].eq(0).all()
    assert weights[:, 1, :, :, :2].gt(0).all()


def test_a_mask_hides_padding_from_causal_attention_and_attention_to_another_sequence() -> None:
    attention, x = Attention(16, 4, 0.0), torch.randn(2, 5, 16)
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    for queries, causal in ((x, False), (x, True), (torch.randn(2, 4, 16), False)):
        found = attention(queries, x, causal, mask)
        assert found[0].allclose(attention(queries[:1], x[:1], causal)[0], atol=1e-6)
        num = 3 if causal else queries.shape[1]
        assert found[1, :num].allclose(attention(queries[1:, :num], x[1:, :3], causal)[0], atol=1e-6)
        weights = attention.weights(queries, x, causal, mask)
        value = attention.key_value(x)[..., 16:].view(2, -1, 4, 4).transpose(1, 2)  # (B, H, S, K)
        assert found.allclose(attention.out((weights @ value).transpose(1, 2).flatten(2)), atol=1e-6)
