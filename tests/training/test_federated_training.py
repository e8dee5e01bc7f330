"""Runs with ``federated=fedavg`` and ``federated=fedprox``."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor

from leyden.config.builders import build_data, build_module
from leyden.config.compose import compose
from leyden.errors import UserError
from leyden.records.json_files import read_report
from leyden.records.run_folder import last_checkpoint
from leyden.run import run
from leyden.tools.model_card import model_card
from leyden.tools.report_page import page
from leyden.training.checkpoints import Checkpoints
from leyden.training.trainer import build_training

SMALL = (
    "data=digits", "model=cnn", "model.channels=[4]", "model.hidden=[8]", "trainer=cpu", "data.batch_size=32",
    "optimizer=sgd", "optimizer.lr=0.05",
)  # fmt: skip


def weights(folder: Path) -> dict[str, Tensor]:
    found: dict[str, Tensor] = torch.load(last_checkpoint(folder), weights_only=True)["state_dict"]
    return found


def test_one_client_and_one_round_equal_plain_training(finished: Callable[..., Path]) -> None:
    plain = finished(*SMALL, "scheduler=none", "trainer.max_epochs=2")
    one = ("federated.num_clients=1", "federated.rounds=1", "federated.local_epochs=2")
    federated = finished(*SMALL, "federated=fedavg", *one)
    for name, weight in weights(plain).items():
        assert torch.allclose(weights(federated)[name], weight, atol=1e-6), name
    reports = [read_report(folder) for folder in (plain, federated)]
    assert reports[1]["metrics"]["test/acc"] == reports[0]["metrics"]["test/acc"]
    assert [report["loop"] for report in reports] == ["fast", "fast"]


def in_the_second_round(checkpoints: Checkpoints, trainer: Trainer) -> bool:
    return not checkpoints.between_epochs and trainer.current_epoch == 1


@pytest.mark.parametrize("within_epoch", [True, False])
def test_a_run_is_resumed_with_the_same_bits(resumed: Callable[..., tuple[Path, Path]], within_epoch: bool) -> None:
    folder, _ = resumed(
        *SMALL, "federated=fedprox", "federated.num_clients=6", "federated.rounds=3", "federated.fraction=0.5",
        "federated.split=dirichlet", "optimizer=adagrad", "optimizer.weight_decay=0.01", "data.batch_size=16",
        "checkpoint.every_n_steps=9",
        where=in_the_second_round if within_epoch else lambda checkpoints, trainer: checkpoints.between_epochs,
        within_epoch=within_epoch,
    )  # fmt: skip
    report = read_report(folder)
    clients = report["clients"]
    assert sum(client["rounds"] for client in clients) == 9
    assert sum(client["samples"] for client in clients) == report["data"]["sizes"]["train"]
    assert len({client["samples"] for client in clients}) > 1
    assert all(set(client["metrics"]) >= {"loss", "acc"} for client in clients)
    assert "clients/loss_std" in (folder / "metrics.csv").read_text().splitlines()[0]
    assert "The clients" in page(folder)


def test_the_server_takes_the_weighted_mean_and_fedprox_stays_nearer_to_it(finished: Callable[..., Path]) -> None:
    start = ("federated.num_clients=2", "federated.fraction=1", "federated.rounds=1", "data.limit=0.2")
    initial = build_module(compose(*SMALL, "model.norm=none")).state_dict()
    moved = []
    for method in (["federated=fedavg"], ["federated=fedprox", "federated.mu=5"]):
        torch.manual_seed(0)
        trained = weights(finished(*SMALL, "model.norm=none", *method, *start))
        moved.append(sum(float((weight - initial[name]).square().sum()) for name, weight in trained.items()))
    assert moved[0] != moved[1]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["federated.num_clients=5000"], "federated.num_clients: got 5000 clients, but there are only 1294"),
        (["federated.split=by_class", "federated.num_clients=900"], "federated.num_clients: got 900 clients with 2"),
        (["federated.split=dirichlet", "federated.alpha=0.001"], "federated.alpha: got 0.001, which leaves client"),
        (["federated.fraction=0"], "federated.fraction: got 0, must be above 0"),
        (["federated.num_clients=0"], "federated.num_clients: got 0, must be at least 1"),
        (["federated.split=other"], "federated.split: got 'other'; allowed are iid, by_class, dirichlet"),
        (["scheduler=onecycle"], "scheduler: got onecycle, which cannot be combined with federated training"),
        (["averaging=ema"], "averaging: got ema, which cannot be combined with federated training"),
        (["ensemble=2"], "ensemble: got 2, which cannot be combined with federated training"),
        (["model=vae"], "model: got VAE, which cannot be combined with federated training"),
        (["trainer.max_epochs=3"], "trainer.max_epochs: got 3, .*use federated.rounds"),
        (["trainer.max_steps=3"], "trainer.max_steps: got 3, .*use federated.rounds"),
        (["trainer.accumulate_grad_batches=2"], "trainer.accumulate_grad_batches: got 2, which cannot"),
        (["trainer.val_check_interval=0.5"], "trainer.val_check_interval: got 0.5, which cannot"),
    ],
)
def test_what_cannot_be_federated_is_rejected(overrides: list[str], message: str, tmp_path: Path) -> None:
    kept = [one for one in SMALL if not (overrides == ["model=vae"] and one.startswith("model"))]
    with pytest.raises(UserError, match=f"^{message}"):
        run(compose(*kept, "federated=fedavg", *overrides, f"paths.logs={tmp_path}"))
    assert not any(tmp_path.glob("runs/*/*"))


def test_clients_can_be_protected(resumed: Callable[..., tuple[Path, Path]]) -> None:
    private = ("privacy=dp", "privacy.epsilon=20", "privacy.delta=1e-3", "privacy.max_grad_norm=0.1")
    clients = ("federated.num_clients=4", "federated.rounds=4", "federated.fraction=0.3", "data.seed=1")
    folder, stopped = resumed(
        *SMALL, "model.norm=group", "federated=fedavg", *private, *clients, "checkpoint.every_n_steps=2",
        where=in_the_second_round,
    )  # fmt: skip
    found = [read_report(one)["privacy"] for one in (folder, stopped)]
    assert found[0] == found[1]
    assert (found[0]["unit"], found[0]["steps"], found[0]["sample_rate"]) == ("client", 4, 0.3)
    assert 19.9 < found[0]["epsilon"] <= 20
    assert "with regard to each client: ε = 19.9" in model_card(folder)


@pytest.mark.parametrize("data", [["digit_pairs", "model=mlp"], ["digit_strings", "model=seq2seq"]])
def test_clients_with_composed_images(finished: Callable[..., Path], data: list[str]) -> None:
    small = ("data.num_train=60", "data.num_eval=20", "trainer=smoke", "federated.num_clients=3", "federated.rounds=1")
    report = read_report(finished(f"data={data[0]}", data[1], *small, "federated=fedavg"))
    assert [client["samples"] for client in report["clients"]] == [20, 20, 20]
    assert all(client["metrics"]["loss"] > 0 for client in report["clients"])


def test_several_processes_are_rejected() -> None:
    cfg = compose(*SMALL, "federated=fedavg", "trainer=ddp", "trainer.accelerator=cpu")
    with pytest.raises(UserError, match=r"^trainer.devices: got 2 processes, which cannot be combined with federated"):
        build_training(cfg, build_module(cfg), build_data(cfg), Path("unused"))
