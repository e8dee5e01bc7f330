"""Kernels without a deterministic version are named."""

import pytest

from leyden.config.builders import build_module
from leyden.config.compose import compose
from leyden.modules.base import BaseModule
from leyden.modules.determinism import nondeterministic_kernels


def module(*overrides: str) -> BaseModule:
    return build_module(compose(*overrides))


def pretrained(name: str, size: int) -> BaseModule:
    return module("model=pretrained", f"model.name={name}", "model.weights=none", f"model.size={size}")


@pytest.mark.parametrize("overrides", [["model=cnn"], ["model=lstm"], ["model=gan"], ["model=transformer"]])
@pytest.mark.parametrize("mode", [True, "warn"])
def test_most_nets_have_none(overrides: list[str], mode: bool) -> None:
    assert nondeterministic_kernels(module(*overrides), "cuda", mode) == []


def test_the_pool_of_alexnet_has_no_deterministic_gradient() -> None:
    alexnet, shufflenet = pretrained("alexnet", 64), pretrained("shufflenet_v2_x0_5", 32)
    expected = ["backward of AdaptiveAvgPool2d (net.model.avgpool)"]
    assert nondeterministic_kernels(alexnet, "cuda", True) == expected
    assert nondeterministic_kernels(alexnet, "cpu", True) == []
    assert nondeterministic_kernels(shufflenet, "cuda", True) == []


def test_long_attention_is_named_only_if_torch_is_told_to_warn() -> None:
    transformer = module("model=transformer", "data=digit_pairs")  # 14 x 14 patches
    assert nondeterministic_kernels(transformer, "cuda", True) == []
    found = nondeterministic_kernels(transformer, "cuda", "warn")
    assert found == [f"backward of attention (net.blocks.{number}.attention)" for number in range(3)]


def test_other_devices_and_modes() -> None:
    (line,) = nondeterministic_kernels(module("model=mlp"), "mps", True)
    assert line.startswith("all kernels of mps")
    (line,) = nondeterministic_kernels(module("model=mlp"), "cuda", False)
    assert line.startswith("all kernels: trainer.deterministic=false")
