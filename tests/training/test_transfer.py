"""Runs that start from others' weights, and nets that are frozen for a while."""

import json
from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

import leyden
from leyden.config.builders import build_module
from leyden.config.compose import compose
from leyden.errors import UserError
from leyden.nets.pretrained import Pretrained
from leyden.records.run_folder import best_checkpoint, last_checkpoint
from leyden.run import resume
from leyden.training import transfer
from leyden.training.callbacks import StepSeed
from scripts.torture_lib.same_bits import differing
from tests.conftest import power_cut, small

Finished = Callable[..., Path]
Weights = dict[str, Tensor]
TINY = (
    *("data=synthetic", "data.num_train=200", "data.num_test=100", "data.batch_size=8"),
    *("trainer.max_epochs=2", "trainer.limit_train_batches=3"),
)
PRETRAINED = [override for override in small("pretrained") if "weights" not in override]


@pytest.fixture
def generated(tmp_path: Path) -> Path:
    """A state dict of 1,000 classes, as torchvision publishes them."""
    torch.manual_seed(7)
    path = tmp_path / "generated.pth"
    torch.save(Pretrained((3, 32, 32), 1000, "shufflenet_v2_x0_5", "none", 32, 0).model.state_dict(), path)
    return path


def body(state: Weights) -> Weights:
    return {name: weight for name, weight in state.items() if not name.startswith("fc.")}


def start_weights(folder: Path) -> Weights:
    return leyden.load(folder).module.state_dict()


def test_a_run_starts_from_another_ones_weights(finished: Finished, capsys: pytest.CaptureFixture[str]) -> None:
    first = finished("model=mlp", *TINY)
    capsys.readouterr()
    second = finished("model=mlp", *TINY, "optimizer=sgd", "optimizer.lr=1e-12", f"init_from={first}", "seed=5")
    assert f"init_from: {first}: weights loaded\n" in capsys.readouterr().out
    one, other = start_weights(first), start_weights(second)
    assert all(other[name].allclose(weight, atol=1e-6) for name, weight in one.items())


def test_a_head_of_another_size_is_left_out_and_named(finished: Finished, capsys: pytest.CaptureFixture[str]) -> None:
    first = finished("model=mlp", *TINY)
    capsys.readouterr()
    sgd = ("optimizer=sgd", "optimizer.lr=1e-12", "model.hidden=[256,128]")
    second = finished("model=mlp", *TINY, "data.num_classes=4", *sgd, f"init_from={first}")
    assert "re-initialised: net.layers.6.weight, net.layers.6.bias\n" in capsys.readouterr().out
    one, other = start_weights(first), start_weights(second)
    assert other["net.layers.0.weight"].allclose(one["net.layers.0.weight"], atol=1e-6)
    assert other["net.layers.6.weight"].shape == (4, 128)


def test_a_run_with_init_from_is_resumed_without_the_other(finished: Finished) -> None:
    first = finished("model=mlp", *TINY)
    second = finished("model=mlp", *TINY, f"init_from={first}")
    best_checkpoint(first).unlink()
    resume(second, ["trainer.max_epochs=3"])
    assert json.loads((second / "report.json").read_text())["epochs"] == 3
    with pytest.raises(UserError, match="init_from: cannot change when a run is resumed"):
        resume(second, ["init_from=null"])


def test_weights_of_another_net_do_not_fit(finished: Finished) -> None:
    first = finished("model=mlp", *TINY)
    with pytest.raises(UserError, match=r"^init_from: .* has no weight with the name and shape"):
        finished("model=cnn", *TINY, f"init_from={first}")


def test_no_folder_to_start_from(finished: Finished, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^init_from: .*nowhere is not a run folder"):
        finished(f"init_from={tmp_path / 'nowhere'}")
    assert not list((tmp_path / "logs").glob("runs/*/*")), "no folder may be made"


def test_a_state_dict_becomes_the_body(finished: Finished, generated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    still = ("optimizer=sgd", "optimizer.lr=1e-12")
    folder = finished(*PRETRAINED, f"model.weights={generated}", "model.freeze_epochs=9", *still, *TINY)
    assert "re-initialised: fc.weight, fc.bias\n" in capsys.readouterr().out
    generated.rename(generated.with_suffix(".away"))  # the folder is the model
    found = leyden.load(folder).net.model.state_dict()
    wanted = torch.load(generated.with_suffix(".away"), weights_only=True)
    assert all(torch.equal(weight, found[name]) for name, weight in body(wanted).items())


def test_published_weights_are_asked_for_by_name_and_only_at_the_start(
    finished: Finished, generated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def published(name: str) -> Weights:
        asked.append(name)
        state: Weights = torch.load(generated, weights_only=True)
        return state

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(generated.parent / "hub"))
    monkeypatch.setattr(transfer, "published", published)
    folder = finished(*PRETRAINED, *TINY)
    resume(folder, ["trainer.max_epochs=3"])
    leyden.load(folder)
    assert asked == ["shufflenet_v2_x0_5"]


def test_offline_says_which_ways_there_are(finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(name: str) -> Weights:
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(transfer, "published", offline)
    with pytest.raises(UserError, match=r"^model\.weights: .*no route.*weights=PATH.*weights=none.*hub") as error:
        finished(*PRETRAINED)
    assert "\n" not in str(error.value)
    assert not list((tmp_path / "logs").glob("runs/*/*")), "no folder may be made"


def test_files_that_are_no_state_dict(finished: Finished, tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "attacked",))

    path = tmp_path / "weights.pth"
    for content in ({"weight": Attack()}, {"epoch": 3}):
        torch.save(content, path)
        with pytest.raises(UserError, match=r"^model\.weights: .*weights\.pth"):
            finished(*PRETRAINED, f"model.weights={path}")
    with pytest.raises(UserError, match=r"^model\.weights: cannot read nowhere\.pth"):
        finished(*PRETRAINED, "model.weights=nowhere.pth")
    assert not (tmp_path / "attacked").exists()


def frozen_run(generated: Path) -> list[str]:
    return [*PRETRAINED, f"model.weights={generated}", "model.freeze_epochs=1", *TINY, "checkpoint.every_n_steps=2"]


def test_the_head_learns_first_and_then_all(
    finished: Finished, generated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    after: list[Weights] = []

    def note(self: StepSeed, trainer: Trainer, module: LightningModule) -> None:
        net = module.net
        assert isinstance(net, Pretrained)
        after.append({name: weight.clone() for name, weight in net.model.state_dict().items()})

    monkeypatch.setattr(StepSeed, "on_train_epoch_end", note)
    finished(*frozen_run(generated))
    start = torch.load(generated, weights_only=True)
    assert all(torch.equal(weight, start[name]) for name, weight in body(after[0]).items())
    assert not torch.equal(after[0]["fc.weight"], after[1]["fc.weight"])
    weights = [
        name for name, _ in Pretrained((1, 8, 8), 10, "shufflenet_v2_x0_5", "none", 32, 0).model.named_parameters()
    ]
    assert all(not torch.equal(after[1][name], start[name]) for name in weights)


# Lightning does not know that the order of the batches follows from the epoch alone.
@pytest.mark.filterwarnings("ignore:.*your dataloader is not resumable")
@pytest.mark.parametrize("step", [2, 4])
def test_stopped_while_frozen_or_thawed_and_resumed_it_ends_in_the_same_bits(
    finished: Finished, generated: Path, step: int
) -> None:
    alone = finished(*frozen_run(generated))
    with power_cut(transfer.Freeze, "on_before_optimizer_step", lambda _, trainer: trainer.global_step == step):
        finished(*frozen_run(generated))
    stopped = max(alone.parent.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    assert stopped != alone
    resume(stopped)
    one, other = (torch.load(last_checkpoint(folder), weights_only=True) for folder in (alone, stopped))
    assert differing(one, other, "last.ckpt") == []


def test_of_several_processes_each_drops_the_gradients_it_has(generated: Path) -> None:
    net = Pretrained((1, 28, 28), 10, "shufflenet_v2_x0_5", str(generated), 32, freeze_epochs=1)

    class Several:
        current_epoch, world_size = 0, 2

    freeze, trainer = transfer.FreezeInProcesses(), Several()
    freeze.on_train_epoch_start(trainer, net)
    net(torch.randn(4, 1, 28, 28)).sum().backward()
    assert all(weight.grad is not None for weight in net.parameters()), "DDP would wait for it"
    freeze.on_before_optimizer_step(trainer, net, None)
    kept = {name for name, weight in net.model.named_parameters() if weight.grad is not None}
    assert kept == {"fc.weight", "fc.bias"}
    trainer.current_epoch = 1
    freeze.on_train_epoch_start(trainer, net)
    net(torch.randn(4, 1, 28, 28)).sum().backward()
    freeze.on_before_optimizer_step(trainer, net, None)
    assert all(weight.grad is not None for weight in net.parameters())


@pytest.mark.parametrize("kind", [transfer.Freeze, transfer.FreezeInProcesses])
def test_the_biases_of_airbench_are_trained_at_first_only(kind: type[transfer.Freeze]) -> None:
    module = build_module(compose("model=airbench", "model.widths=[4]", "model.bias_epochs=2"))
    freeze, bias = kind(), module.net.whitening.bias
    for epoch, is_trained in enumerate((True, True, False)):
        freeze.set(module, epoch)
        dropped = freeze.dropped if isinstance(freeze, transfer.FreezeInProcesses) else []
        assert (bias.requires_grad and bias not in set(dropped)) == is_trained
