"""Every net in conf/model against every data set's shape; no edit when one is added."""

import math

import pytest
import torch
from torch.nn.functional import conv2d, cross_entropy

from leyden.config.builders import cfg_dict
from leyden.config.compose import compose, groups
from leyden.config.instantiate import build
from leyden.errors import UserError
from leyden.nets.cnn import CNN
from leyden.nets.layers import ACTIVATIONS, initialise
from leyden.nets.mlp import MLP
from leyden.nets.pretrained import Pretrained, head
from leyden.nets.recurrent import CELLS, Recurrent, steps
from leyden.nets.resnet import Block, ResNet
from leyden.nets.seq2seq import Seq2Seq
from leyden.nets.transformer import Attention, Transformer, sinusoids
from tests.conftest import SUPERVISED, chosen, small


@pytest.mark.parametrize("data", groups()["data"])
@pytest.mark.parametrize("model", SUPERVISED)
def test_samples_to_outputs_with_a_gradient_for_every_weight(model: str, data: str) -> None:
    cfg = compose(*small(model), *chosen(data))
    try:
        net = build(cfg_dict(cfg.model), "model")
    except UserError:
        pytest.skip("makes no sense, see tests/test_pairs.py")
    outputs = net(torch.randn(3, *cfg.data.shape))
    assert outputs.shape == (3, cfg.model.num_outputs)
    outputs.square().sum().backward()
    for name, weight in net.named_parameters():
        assert weight.grad is not None, name
        if cfg.model.get("length") == 1 and "look_back.query" in name:
            continue  # a single symbol has but itself to look at
        assert weight.grad.abs().sum() > 0, name


@pytest.mark.parametrize("model", SUPERVISED)
def test_it_can_learn_32_samples_by_heart(model: str) -> None:
    torch.manual_seed(0)
    cfg = compose(*small(model), "data=digits")
    net = build(cfg_dict(cfg.model), "model")
    images, labels = torch.randn(32, *cfg.data.shape), torch.arange(32) % 10
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(150):
        optimizer.zero_grad()
        cross_entropy(net(images), labels).backward()
        optimizer.step()
    assert (net.eval()(images).argmax(1) == labels).all()


def test_mlp_has_the_weights_of_its_sizes() -> None:
    net = MLP((1, 28, 28), 10, hidden=[128, 64])
    assert sum(weight.numel() for weight in net.parameters()) == 784 * 128 + 128 + 128 * 64 + 64 + 64 * 10 + 10


def test_cnn_has_the_weights_of_the_tutorials_net() -> None:
    net = CNN((3, 32, 32), 10)
    assert sum(weight.numel() for weight in net.parameters()) == 62_006


@pytest.mark.parametrize("norm", ["none", "batch", "layer"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_options_change_the_net_and_nothing_else(norm: str, activation: str) -> None:
    for net in (
        MLP((1, 28, 28), 10, [16], activation, norm=norm),
        CNN((1, 28, 28), 10, activation=activation, norm=norm),
    ):
        names = [type(layer).__name__ for layer in net.modules()]
        assert ACTIVATIONS[activation].__name__ in names
        assert any("Norm" in name for name in names) == (norm != "none")
        assert net(torch.randn(2, 1, 28, 28)).shape == (2, 10)


def test_dropout_zeroes_that_share_in_training_only() -> None:
    net = MLP((1000,), 2, hidden=[1000], dropout=0.3)
    hidden = net.layers[:-1]
    kept = (hidden.train()(torch.randn(50, 1000)) != 0).float().mean()
    alive = (hidden.eval()(torch.randn(50, 1000)) != 0).float().mean()
    assert kept / alive == pytest.approx(0.7, abs=0.02)


def test_initialisation_draws_the_variance_of_its_paper() -> None:
    layer = torch.nn.Linear(400, 600)
    initialise(layer, "kaiming", "relu")
    assert layer.weight.var().item() == pytest.approx(2 / 400, rel=0.02)
    assert (layer.bias == 0).all()
    initialise(layer, "xavier", "sigmoid")
    assert layer.weight.var().item() == pytest.approx(2 / (400 + 600), rel=0.02)


def num_weights(net: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in net.parameters())


@pytest.mark.parametrize("net", [Recurrent, Transformer, Seq2Seq, ResNet, Pretrained])
def test_features_are_no_image_and_no_series(net: type[torch.nn.Module]) -> None:
    with pytest.raises(ValueError, match=r"^in_shape: got \[10\]"):
        net((10,), 3)


class TestRecurrent:
    @pytest.mark.parametrize(("cell", "gates"), [("rnn", 1), ("gru", 3), ("lstm", 4)])
    def test_weights(self, cell: str, gates: int) -> None:
        one = gates * (28 * 128 + 128 * 128 + 2 * 128)  # from the input, from the state, torch's two biases
        two = gates * (128 * 128 + 128 * 128 + 2 * 128)
        assert num_weights(Recurrent((1, 28, 28), 10, cell, 128)) == one + 128 * 10 + 10
        assert num_weights(Recurrent((1, 28, 28), 10, cell, 128, num_layers=2)) == one + two + 128 * 10 + 10

    def test_an_image_is_read_row_by_row_from_the_top(self) -> None:
        images = torch.arange(2 * 3 * 4 * 5).view(2, 3, 4, 5)
        rows = steps(images)
        assert rows.shape == (2, 4, 15)
        assert torch.equal(rows[1, 2], torch.cat([images[1, channel, 2] for channel in range(3)]))

    @pytest.mark.parametrize("cell", CELLS)
    def test_an_image_is_the_series_of_its_rows(self, cell: str) -> None:
        net, images = Recurrent((1, 6, 4), 3, cell, 8), torch.randn(5, 1, 6, 4)
        assert torch.equal(net(images), net(images[:, 0]))

    def test_an_rnn_is_its_formula(self) -> None:
        net, series = Recurrent((3, 2), 4, "rnn", 5), torch.randn(7, 3, 2)
        weights = dict(net.layers.named_parameters())
        state = torch.zeros(7, 5)
        for step in range(3):
            state = torch.tanh(series[:, step] @ weights["weight_ih_l0"].T + state @ weights["weight_hh_l0"].T)
        assert net(series).allclose(net.head(state), atol=1e-6)

    def test_both_directions_read_to_their_ends(self) -> None:
        net, series = Recurrent((6, 2), 3, "gru", 8, bidirectional=True), torch.randn(4, 6, 2)
        states, _ = net.layers(series)  # (B, T, both directions' states at each step)
        ends = torch.cat((states[:, -1, :8], states[:, 0, 8:]), dim=1)
        assert net(series).allclose(net.head(ends), atol=1e-6)

    def test_first_weights(self) -> None:
        layers = Recurrent((6, 2), 3, "lstm", 8).layers
        for gate in layers.weight_hh_l0.split(8):
            assert (gate @ gate.T).allclose(torch.eye(8), atol=1e-5)
        bias = layers.bias_ih_l0 + layers.bias_hh_l0
        assert bias.tolist() == [0.0] * 8 + [1.0] * 8 + [0.0] * 16

    def test_dropout_between_layers_and_before_the_head(self) -> None:
        net, series = Recurrent((6, 2), 3, "lstm", 8, dropout=0.5), torch.randn(4, 6, 2)
        assert not torch.equal(net(series), net(series))
        assert torch.equal(net.eval()(series), net(series))
        assert Recurrent((6, 2), 3, "lstm", 8, num_layers=2, dropout=0.5).layers.dropout == 0.5


class TestTransformer:
    def test_weights(self) -> None:
        block = 2 * 2 * 64 + 4 * (64 * 64 + 64) + (64 * 128 + 128) + (128 * 64 + 64)
        rest = (4 * 4 * 64 + 64) + 49 * 64 + 64 + 2 * 64 + (64 * 10 + 10)  # patches, positions, class, norm, head
        assert num_weights(Transformer((1, 28, 28), 10)) == 3 * block + rest

    @pytest.mark.parametrize("causal", [False, True])
    def test_attention_weights_give_what_the_fused_kernel_gives(self, causal: bool) -> None:
        attention, x, memory = Attention(16, 4), torch.randn(2, 5, 16), torch.randn(2, 7, 16)
        for looked_at in (x,) if causal else (x, memory):
            weights = attention.weights(x, looked_at, causal)  # (B, H, T, S)
            assert weights.sum(-1).allclose(torch.ones(2, 4, 5))
            value = attention.key_value(looked_at)[..., 16:].view(2, -1, 4, 4).transpose(1, 2)  # (B, H, S, K)
            out = attention.out((weights @ value).transpose(1, 2).flatten(2))
            assert out.allclose(attention(x, looked_at, causal), atol=1e-6)

    def test_causal_attention_sees_no_future(self) -> None:
        attention, x = Attention(16, 4), torch.randn(1, 6, 16)
        changed = x.clone()
        changed[:, 4:] += 1
        assert torch.equal(attention(x, causal=True)[:, :4], attention(changed, causal=True)[:, :4])
        assert not torch.equal(attention(x)[:, :4], attention(changed)[:, :4])
        assert attention.weights(x, causal=True).triu(1).eq(0).all()

    def test_attention_of_each_block_for_plots(self) -> None:
        net, images = Transformer((1, 8, 8), 3, dim=16, num_layers=2).eval(), torch.randn(2, 1, 8, 8)
        found = net.attention(images)
        assert found.shape == (2, 2, 4, 5, 5)  # blocks, B, heads, class token and four patches, twice
        assert found.sum(-1).allclose(torch.ones(2, 2, 4, 5))
        first = net.blocks[0]
        assert torch.equal(found[0], first.attention.weights(first.norm_attention(net._embed(images))))

    def test_patches_go_from_left_to_right_and_from_top_to_bottom(self) -> None:
        tokens = Transformer((1, 4, 6), 3, patch=2, dim=4).tokens
        image = torch.zeros(1, 1, 4, 6)
        image[..., 2:, :2] = 1  # the first patch of the second row
        difference = (tokens(image) - tokens(torch.zeros_like(image))).abs().sum(2)[0]
        assert difference.nonzero().flatten().tolist() == [3]

    def test_patches_that_reach_over_the_edge_see_zeros_there(self) -> None:
        tokens, image = Transformer((1, 5, 7), 3, patch=4, dim=4).tokens, torch.randn(2, 1, 5, 7)
        assert tokens.num_tokens == 2 * 2
        whole = torch.zeros(2, 1, 8, 8)
        whole[..., :5, :7] = image
        embedded = tokens.embed(whole).transpose(1, 2)
        assert torch.equal(tokens(image), embedded + tokens.positions)

    def test_without_positions_order_would_not_matter(self) -> None:
        for positions in ("learned", "sinusoidal"):
            net, series = Transformer((6, 2), 3, positions=positions, pool="mean").eval(), torch.randn(4, 6, 2)
            assert not net(series).allclose(net(series.flip(1)), atol=1e-4)
            net.tokens.positions.detach().zero_()
            assert net(series).allclose(net(series.flip(1)), atol=1e-5)

    def test_sinusoids(self) -> None:
        table = sinusoids(3, 4)
        wanted = [[math.sin(p), math.cos(p), math.sin(p / 100), math.cos(p / 100)] for p in range(3)]
        assert table.allclose(torch.tensor(wanted))

    @pytest.mark.parametrize(
        ("key", "value"), [("patch", 29), ("num_heads", 3), ("dim", 7), ("num_layers", 0), ("mlp_ratio", 0.0)]
    )
    def test_sizes_that_do_not_fit(self, key: str, value: int) -> None:
        with pytest.raises(ValueError, match=f"^{key}: got {value}, must"):
            Transformer((1, 28, 28), 10, **{key: value})


class TestSeq2Seq:
    def net(self) -> Seq2Seq:
        return Seq2Seq((1, 8, 16), 4 * 6, length=4, dim=16).eval()

    def test_weights(self) -> None:
        dense, norm, attention = (64 * 128 + 128) + (128 * 64 + 64), 2 * 64, 4 * (64 * 64 + 64)
        stem = (9 * 16 + 2 * 16) + (9 * 16 * 32 + 2 * 32) + (9 * 32 * 64 + norm) + (64 * 64 + 64)
        encoder = 2 * (2 * norm + attention + dense) + stem + 4 * 14 * 64 + norm
        decoder = 2 * (3 * norm + 2 * attention + dense) + 11 * 64 + 5 * 64 + norm + (64 * 11 + 11)
        assert num_weights(Seq2Seq((1, 32, 112), 5 * 11, length=5)) == encoder + decoder

    def test_a_symbol_follows_from_the_true_ones_before_it_only(self) -> None:
        net, images, targets = self.net(), torch.randn(3, 1, 8, 16), torch.tensor([[0, 1, 2, 3]] * 3)
        changed = targets.clone()
        changed[:, 1] = 4
        one, other = (net(images, symbols).view(3, 4, 6) for symbols in (targets, changed))
        assert one[:, :2].allclose(other[:, :2], atol=1e-6)
        assert not one[:, 2].allclose(other[:, 2], atol=1e-3)
        changed[:, 1], changed[:, 3] = 1, -1  # the last one is before none
        assert torch.equal(net(images, targets), net(images, changed))

    def test_it_goes_on_from_what_it_wrote_itself(self) -> None:
        net, images = self.net(), torch.randn(5, 1, 8, 16)
        logits = net(images)
        wrote = logits.view(5, 4, 6).argmax(2)
        assert net(images, wrote).allclose(logits, atol=1e-6)
        assert not net(images, (wrote + 1) % 6).allclose(logits, atol=1e-3)

    def test_each_symbol_sees_the_whole_image(self) -> None:
        net, image, targets = self.net(), torch.randn(1, 1, 8, 16), torch.tensor([[0, 1, 2, 3]])
        for half in (slice(0, 8), slice(8, 16)):
            changed = image.clone()
            changed[..., half] = 0
            difference = (net(image, targets) - net(changed, targets)).view(4, 6).abs().amax(1)
            assert (difference > 1e-4).all()

    def test_outputs_are_divided_among_the_symbols(self) -> None:
        with pytest.raises(ValueError, match=r"^length: got 3, must divide the number of outputs, 10"):
            Seq2Seq((1, 28, 28), 10, length=3)


class TestResNet:
    def test_resnet_18_has_the_weights_of_its_paper(self) -> None:
        assert num_weights(ResNet((3, 32, 32), 10)) == 11_173_962

    def test_stages_halve_the_image(self) -> None:
        net = ResNet((1, 28, 28), 10, [4, 8, 16, 32], [1, 1, 1, 1])
        assert net.blocks(net.stem(torch.randn(1, 1, 28, 28))).shape == (1, 32, 4, 4)

    @pytest.mark.parametrize("size", [7, 8])
    def test_a_shortcut_is_a_convolution_with_a_stride(self, size: int) -> None:
        block, x = Block(4, 6, stride=2), torch.randn(2, 4, size, size)
        wanted = conv2d(x, block.shortcut[1].weight, stride=2)
        assert block.shortcut[:2](x).allclose(wanted, atol=1e-6)
        assert block(x).shape == (2, 6, 4, 4)

    def test_gradients_do_not_depend_on_where_the_channels_lie(self) -> None:
        net, images = ResNet((1, 56, 56), 3, [4, 8], [1, 1]), torch.randn(3, 1, 56, 56)
        gradients = []
        for order in (torch.channels_last, torch.contiguous_format):
            net.to(memory_format=order).zero_grad()
            net(images).square().sum().backward()
            gradients.append([weight.grad.clone() for weight in net.parameters()])
        for one, other in zip(*gradients, strict=True):
            assert one.allclose(other, rtol=1e-3, atol=1e-3 * float(other.abs().max()))

    def test_a_block_without_weights_is_its_shortcut(self) -> None:
        block, x = ResNet((1, 8, 8), 2, [4], [1]).blocks[0], torch.rand(2, 4, 8, 8)
        for weight in block.parameters():
            torch.nn.init.zeros_(weight)
        assert torch.equal(block(x), x)


class TestPretrained:
    @pytest.mark.parametrize("name", ["shufflenet_v2_x0_5", "squeezenet1_1", "mobilenet_v3_small", "vit_b_32"])
    def test_the_head_has_the_outputs(self, name: str) -> None:
        last = head(Pretrained((3, 32, 32), 7, name, "none").model)
        assert 7 in (getattr(last, "out_features", 0), getattr(last, "out_channels", 0))

    def test_a_grey_image_is_one_of_three_equal_channels(self) -> None:
        torch.manual_seed(0)
        net = Pretrained((1, 28, 28), 7, "shufflenet_v2_x0_5", "none", size=32).eval()
        grey = torch.randn(2, 1, 28, 28)
        assert torch.equal(net(grey), net(grey.repeat(1, 3, 1, 1)))

    def test_frozen_batch_norms_do_not_move(self) -> None:
        net = Pretrained((1, 28, 28), 7, "shufflenet_v2_x0_5", "none", size=32)
        before = {name: value.clone() for name, value in net.state_dict().items()}
        net.freeze(True)
        net.eval().train()(torch.randn(4, 1, 28, 28))
        assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
        net.freeze(False)
        net(torch.randn(4, 1, 28, 28))
        assert not all(torch.equal(before[name], value) for name, value in net.state_dict().items())

    def test_what_torchvision_or_the_net_cannot(self) -> None:
        with pytest.raises(ValueError, match=r"^name: got 'resnet17'; torchvision has .*resnet18"):
            Pretrained((1, 28, 28), 7, "resnet17")
        with pytest.raises(ValueError, match=r"^size: got 100, which vit_b_32 cannot take"):
            Pretrained((1, 28, 28), 7, "vit_b_32", size=100)
        with pytest.raises(ValueError, match=r"^freeze_epochs: got 1, but with weights=none"):
            Pretrained((1, 28, 28), 7, weights="none", freeze_epochs=1)
