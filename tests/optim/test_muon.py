"""Orthogonal steps against the singular value decomposition, the groups of a net, and whole runs."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import Parameter

from leyden.config.builders import build_data, build_module
from leyden.config.compose import compose
from leyden.errors import UserError
from leyden.modules.combinations import check_combinations
from leyden.optim import OneCycle
from leyden.optim.muon import Muon, as_kernel, as_matrix, groups, orthogonal

SETTINGS: dict[str, Any] = {
    "lr": 0.1, "momentum": 0.5, "weight_decay": 0.0, "iterations": 5, "fixed_norm": False, "other": "sgd",
    "other_momentum": 0.9, "vector_lr": 0.2, "vector_weight_decay": 0.01, "head_lr": 0.3, "head_weight_decay": 0.0,
}  # fmt: skip


@pytest.mark.parametrize("shape", [(2, 5, 20), (1, 20, 5), (1, 70, 100)])
def test_the_singular_values_of_a_step_are_about_one(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    matrices = torch.randn(shape)
    found = orthogonal(matrices, 5)
    assert found.dtype is torch.float32
    values = torch.linalg.svdvals(found)
    assert values.min() > 0.5
    assert values.max() < 1.3
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    assert torch.nn.functional.cosine_similarity(found.flatten(), (left @ right).flatten(), dim=0) > 0.97


def test_a_gradient_of_zeros_gives_no_step() -> None:
    assert orthogonal(torch.zeros(1, 3, 4), 5).eq(0).all()


def test_a_kernel_is_a_matrix_in_each_memory_format() -> None:
    kernel = torch.randn(4, 3, 2, 2)
    last = kernel.contiguous(memory_format=torch.channels_last)
    for weight in (kernel, last):
        matrix = as_matrix(weight, weight)
        assert matrix.shape == (4, 12)
        assert matrix.data_ptr() == weight.data_ptr(), "no copy"
        assert torch.equal(as_kernel(matrix, weight), kernel)
    one, other = (orthogonal(as_matrix(weight, weight)[None], 5)[0] for weight in (kernel, last))
    assert torch.allclose(as_kernel(one, kernel), as_kernel(other, last), atol=1e-5)


def step(optimizer: torch.optim.Optimizer, weights: list[Parameter], number: int) -> None:
    for weight in weights:
        weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(number))
    optimizer.step()


def test_a_matrix_moves_along_its_orthogonal_nesterov_momentum() -> None:
    weight, tall = Parameter(torch.zeros(3, 4)), Parameter(torch.ones(8, 2))
    optimizer = Muon([weight, tall], **(SETTINGS | {"weight_decay": 0.5}))
    step(optimizer, [weight], 1)
    first, before = weight.grad, weight.detach().clone()
    assert torch.allclose(before, -0.1 * orthogonal(first[None] * 1.5, 5)[0])
    step(optimizer, [weight, tall], 2)
    moved = orthogonal((weight.grad + 0.5 * (weight.grad + 0.5 * first))[None], 5)[0]
    assert torch.allclose(weight, before * (1 - 0.1 * 0.5) - 0.1 * moved)
    assert torch.allclose(tall, 0.95 - 0.1 * 2 * orthogonal(1.5 * tall.grad[None], 5)[0])  # √(8 / 2) = 2


def test_a_fixed_norm_scales_the_matrix_before_the_step() -> None:
    weight = Parameter(torch.full((4, 9), 7.0))
    optimizer = Muon([weight], **(SETTINGS | {"fixed_norm": True, "lr": 0.0}))
    step(optimizer, [weight], 1)
    assert float(weight.detach().norm()) == pytest.approx(2.0)  # √4


@pytest.mark.parametrize(
    ("other", "reference"),
    [
        ("sgd", partial(torch.optim.SGD, momentum=0.9, nesterov=True)),
        ("adamw", partial(torch.optim.AdamW, betas=(0.9, 0.95))),
    ],
)
def test_the_other_weights_are_trained_as_torch_does(other: str, reference: Callable[..., Any]) -> None:
    ours, theirs = (Parameter(torch.ones(5)) for _ in range(2))
    optimizers = (Muon([ours], **(SETTINGS | {"other": other})), reference([theirs], lr=0.2, weight_decay=0.01))
    for number in range(3):
        for optimizer, weight in zip(optimizers, (ours, theirs), strict=True):
            step(optimizer, [weight], number)
    assert torch.allclose(ours, theirs, atol=1e-7)


def test_the_groups_of_a_net() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.places = nn.Embedding(9, 4), Parameter(torch.zeros(3, 4))
            self.frozen = nn.Linear(4, 4).requires_grad_(False)
            self.kernel, self.norm, self.hidden = nn.Conv2d(2, 3, 3), nn.LayerNorm([2, 4]), nn.Linear(4, 5)
            self.head = nn.Linear(5, 2)

    net = Net()
    found = {group["kind"]: group["params"] for group in groups(net)}
    assert [id(weight) for weight in found["matrices"]] == [id(net.kernel.weight), id(net.hidden.weight)]
    assert [id(weight) for weight in found["head"]] == [id(net.words.weight), id(net.head.weight)]
    vectors = [net.places, net.kernel.bias, *net.norm.parameters(), net.hidden.bias, net.head.bias]
    assert {id(weight) for weight in found["vectors"]} == {id(weight) for weight in vectors}
    rates = [group["lr"] for group in Muon(groups(net), **SETTINGS).param_groups]
    assert rates == [0.1, 0.2, 0.3]


def test_one_cycle_moves_the_momentum_of_every_group() -> None:
    weights = [Parameter(torch.zeros(2, 2)), Parameter(torch.zeros(2))]
    optimizer = Muon(weights, **(SETTINGS | {"other": "adamw"}))
    OneCycle(optimizer, 10, pct_start=0.3, div_factor=25.0, final_div_factor=1e4)
    assert optimizer.param_groups[0]["momentum"] == optimizer.param_groups[1]["betas"][0] == 0.95


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer.lr=-1", "optimizer.lr: got -1, must be at least 0"),
        ("optimizer.momentum=1", "optimizer.momentum: got 1, must be at least 0 and below 1"),
        ("optimizer.iterations=0", "optimizer.iterations: got 0, must be at least 1"),
        ("optimizer.other=adam", "optimizer.other: got 'adam'"),
        ("model.hidden=[]", "optimizer: got muon, but MLP has no matrix before its last layer"),
    ],
)
def test_a_mistake_is_named_in_one_line(override: str, message: str) -> None:
    cfg = compose("model=mlp", "optimizer=muon", override)
    with pytest.raises(UserError) as caught:
        check_combinations(build_module(cfg), build_data(cfg), False)
    assert str(caught.value).startswith(message)


SHORT = ("optimizer=muon", "trainer=cpu", "trainer.max_epochs=2", "trainer.limit_train_batches=5", "data.batch_size=8",
         "checkpoint.every_n_steps=2")  # fmt: skip


@pytest.mark.parametrize(
    "overrides",
    [
        ["model=cnn"],
        ["model=cnn", "optimizer.other=sgd", "trainer.precision=bf16-mixed", "trainer.gradient_clip_val=1"],
    ],
)
def test_a_run_resumes_in_the_same_bits(resumed: Callable[..., tuple[Path, Path]], overrides: list[str]) -> None:
    resumed(*SHORT, *overrides)
