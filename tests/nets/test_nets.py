"""Every net in conf/model with every data set's shape; a new net needs no edit here."""

import pytest
import torch
from omegaconf import OmegaConf
from torch.nn.functional import cross_entropy

from leyden.checks import random_inputs
from leyden.config.builders import build_module, section
from leyden.config.compose import compose, groups
from leyden.config.instantiate import instantiate
from leyden.config.stored import upgraded
from leyden.errors import UserError
from tests.conftest import SUPERVISED, TEXT, chosen, data_for, pairs_of, small
from tests.nets.defaults import net


@pytest.mark.parametrize(("model", "data"), pairs_of(SUPERVISED, groups()["data"]))
def test_samples_to_outputs_with_a_gradient_for_every_weight(model: str, data: str) -> None:
    torch.manual_seed(0)  # a few weights, without a seed, are sometimes all negative before a relu
    cfg = compose(*small(model), *chosen(data))
    try:
        built = build_module(cfg).net
    except UserError:
        pytest.skip("not a sensible pair, see tests/test_pairs.py")
    outputs = built(random_inputs(cfg, 3))
    assert outputs.shape == (3, cfg.model.num_outputs)
    outputs.square().sum().backward()
    for name, weight in built.named_parameters():
        if not weight.requires_grad:
            continue
        assert weight.grad is not None, name
        if cfg.model.get("length") == 1 and "look_back.query" in name:
            continue  # a single symbol has but itself to look at
        assert weight.grad.abs().sum() > 0, name


@pytest.mark.parametrize("model", SUPERVISED)
def test_it_can_overfit_32_samples(model: str) -> None:
    torch.manual_seed(0)
    cfg = compose(*small(model), *chosen(data_for(model)), *(["data.max_tokens=20"] if model in TEXT else []))
    built = instantiate(section(cfg, "model"), "model")
    inputs, labels = random_inputs(cfg, 32), torch.arange(32) % cfg.model.num_outputs
    optimizer = torch.optim.Adam(built.parameters(), lr=3e-3)
    for step in range(1, 151):
        optimizer.zero_grad()
        cross_entropy(built.train()(inputs), labels).backward()
        optimizer.step()
        if step % 10 == 0 and (built.eval()(inputs).argmax(1) == labels).all():
            return
    pytest.fail("150 steps were not enough")


@pytest.mark.parametrize("model", ["cnn", "lstm", "transformer", "seq2seq", "resnet", "pretrained"])
def test_features_are_neither_images_nor_series(model: str) -> None:
    with pytest.raises(ValueError, match=r"^in_shape: got \[10\]"):
        net(model, (10,), 3)


@pytest.mark.parametrize(
    ("model", "names"),
    [("gru", ["pool", "vocab_size", "embedding", "vectors"]), ("transformer", ["vocab_size", "vectors"])],
)
def test_run_folders_from_before_texts_still_load(model: str, names: list[str]) -> None:
    cfg = compose(f"model={model}", "data=digits")
    today = section(cfg, "model")
    OmegaConf.set_struct(cfg, False)
    for name in names:
        cfg.model.pop(name)
    assert section(upgraded(cfg), "model") == today
