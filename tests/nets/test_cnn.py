"""The small convolutional net."""

from tests.nets.defaults import net


def test_cnn_has_the_weights_of_the_tutorials_net() -> None:
    cnn = net("cnn", (3, 32, 32), 10, norm="none")
    assert sum(weight.numel() for weight in cnn.parameters()) == 62_006
