"""Nets that do not fit into memory."""

import pytest
import torch

from leyden.config.builders import build_module
from leyden.config.compose import compose, groups
from leyden.errors import UserError
from leyden.nets.memory import available_memory, check_memory
from tests.conftest import chosen, data_for, small
from tests.nets.defaults import net


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["model=mlp", "model.hidden=[1000000000]"],
            "795,000,000,010 weights. Training it needs at least 12,720.0 GB",
        ),
        (["model=lstm", "model.hidden=10000000"], "400,001,300,000,010 weights"),
        (["model=vae", "model.latent_size=10000000000"], "47,060,000,018,852 weights"),
        (["model=mlp", "model.hidden=[4000000000,4000000000]"], "more weights than can be counted"),
        (["model=mlp", "model.hidden=[9000000000000000000]"], "more weights than can be counted"),
    ],
)
def test_a_net_that_does_not_fit_is_named_before_it_is_allocated(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=f"^model: this net has .*{message}"):
        build_module(compose(*overrides))


@pytest.mark.parametrize(
    "overrides",
    [
        ["model=mlp", f"model.hidden={[8] * 300}"],
        ["model=lstm", "model.num_layers=1000000"],
        ["model=lstm", "model.dropout=0.1", "model.num_layers=1000000"],
        ["model=transformer", "model.num_layers=1000000"],
    ],
)
def test_a_net_with_too_many_layers_is_rejected_before_it_is_built(
    overrides: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leyden.nets.memory.MAX_TENSORS", 500)
    with pytest.raises(UserError, match=r"^model: this net has more than 500 weight tensors\. Choose fewer layers"):
        build_module(compose(*overrides))


@pytest.mark.parametrize("model", groups()["model"])
def test_the_check_does_not_change_the_weights(model: str) -> None:
    states = []
    for checked in (False, True):
        torch.manual_seed(0)
        if checked:
            check_memory(lambda: build_module(compose(*small(model), *chosen(data_for(model)))).net)
        states.append(torch.get_rng_state())
    assert torch.equal(*states)


def test_a_net_whose_constructor_reads_values_is_not_checked() -> None:
    class Reads(torch.nn.Linear):
        def __init__(self) -> None:
            super().__init__(2, 2)
            assert float(self.weight.detach().abs().sum()) >= 0

    check_memory(Reads)


def test_a_net_that_fits() -> None:
    check_memory(lambda: net("mlp", (10,), 3))
    assert available_memory() > 1e8
