"""Federated averaging of a model of Leyden with Flower: the app of the server and the app of a client.

`flwr run scripts/flower` sends this file to the server and to all clients. Both build module and data from the same
config, as ``python train.py`` does. A client trains the unchanged LightningModule with a plain Trainer of Lightning;
only its weights and its loss leave it. Flower's version pins exclude Leyden's, so both are installed into an
environment of their own, see docs/federated.md.

Settings of the app (``flwr run --run-config``):
    overrides: what ``python train.py`` would get, with ``federated=fedavg``.
    out: a JSON file on the server for the metrics after each round; empty: none.

Settings of a client (``flower-supernode --node-config``):
    partition-id, num-partitions: which of how many parts of the training set it has, as in a simulation of Leyden.
        Without them, a client has all samples that it finds on its machine.
"""

import json
import shlex
from pathlib import Path
from typing import Any

import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg as Strategy
from lightning.pytorch import Trainer

from leyden.config.builders import build_data, build_module, section
from leyden.config.compose import compose
from leyden.config.federated_rules import check_federated
from leyden.config.instantiate import instantiate
from leyden.data.datamodule import InMemoryData
from leyden.errors import UserError
from leyden.modules.base import BaseModule
from leyden.optim.federated import FedAvg, NoFederation
from leyden.optim.privacy import NoPrivacy
from leyden.records.run_folder import write_text
from leyden.seeding import seed_all
from leyden.training.trainer import silence_lightning

# `flwr run` looks for these two assignments in the text of this file.
client_app = ClientApp()
server_app = ServerApp()


def build(context: Context) -> tuple[FedAvg, BaseModule, InMemoryData]:
    """Return the settings, the module with the first weights of the seed, and the data, which is read.

    Raises:
        UserError: a value in the config is not allowed, or does not fit this app.
    """
    silence_lightning()
    cfg = compose(*shlex.split(str(context.run_config["overrides"])))
    settings = instantiate(section(cfg, "federated"), "federated", (NoFederation, FedAvg))
    if not isinstance(settings, FedAvg) or settings.mu:
        raise UserError("federated: the app of Flower averages weights only; use federated=fedavg")
    if cfg.privacy["_target_"].rpartition(".")[2] != NoPrivacy.__name__:
        raise UserError("privacy: the app of Flower adds no noise; use privacy=none")
    seed_all(torch.device("cpu"), cfg.seed, "init")
    module, data = build_module(cfg), build_data(cfg)
    check_federated(cfg, module, is_new=True)
    data.prepare_data()
    data.setup("fit")
    module.use_facts(data.facts())
    module.prepare_fit(data)
    return settings, module, data


def quiet_trainer(epochs: int) -> Trainer:
    return Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        limit_val_batches=0 if epochs else None,
    )


@client_app.train()  # type: ignore[untyped-decorator]
def train(message: Message, context: Context) -> Message:
    """Train the weights of the server on the samples of this client, and send them back."""
    settings, module, data = build(context)
    number, part = int(message.content["config"]["server-round"]) - 1, keep_own_samples(context, settings, data)
    module.load_state_dict(message.content["arrays"].to_torch_state_dict())
    trainer = quiet_trainer(settings.local_epochs)
    # The order of the samples is that of the same client and round in a simulation.
    data.order_seeds = (data.seed + part,)
    data.position = lambda: (number * settings.local_epochs + trainer.current_epoch, 0)
    trainer.fit(module, datamodule=data)
    assert data.train is not None
    loss = float(trainer.callback_metrics["train/loss"])
    metrics = MetricRecord({"num-examples": len(data.train[1]), "train/loss": loss})
    return Message(content=answer(module, metrics), reply_to=message)


def answer(module: BaseModule, metrics: MetricRecord) -> RecordDict:
    return RecordDict({"arrays": ArrayRecord(module.state_dict()), "metrics": metrics})


def keep_own_samples(context: Context, settings: FedAvg, data: InMemoryData) -> int:
    """Remove the samples of other clients from the training set, and return the number of this client.

    Raises:
        UserError: the number of parts is not the number of clients.
    """
    if "partition-id" not in context.node_config:
        return 0
    part, parts = (int(context.node_config[name]) for name in ("partition-id", "num-partitions"))
    if parts != settings.num_clients or not 0 <= part < parts:
        raise UserError(
            f"federated.num_clients: got {settings.num_clients}, but this client is part {part} of {parts}; "
            f"use federated.num_clients={parts}, and parts from 0 to {parts - 1}"
        )
    data.federation = settings
    samples = data.clients()[part]
    data.federation = None
    assert data.train is not None
    inputs, targets = data.train
    data.train = (inputs[samples], targets[samples])
    return part


@server_app.main()  # type: ignore[untyped-decorator]
def serve(grid: Grid, context: Context) -> None:
    """Average the weights of the clients in each round, and measure them on the validation set of the server."""
    settings, module, data = build(context)
    found: list[dict[str, Any]] = []

    def evaluate(number: int, arrays: ArrayRecord) -> MetricRecord:
        module.load_state_dict(arrays.to_torch_state_dict())
        (metrics,) = quiet_trainer(0).validate(module, datamodule=data, verbose=False)
        found.append({"round": number, **metrics})
        print("  ".join([f"round {number}", *(f"{name} {value:.4f}" for name, value in metrics.items())]), flush=True)
        if context.run_config["out"]:
            write_text(Path(str(context.run_config["out"])), json.dumps(found, indent=2) + "\n")
        return MetricRecord(metrics)

    chosen = max(1, round(settings.fraction * settings.num_clients))
    strategy = Strategy(
        fraction_train=settings.fraction,
        fraction_evaluate=0.0,
        min_train_nodes=chosen,
        min_available_nodes=settings.num_clients,
    )
    strategy.start(
        grid=grid,
        initial_arrays=ArrayRecord(module.state_dict()),
        num_rounds=settings.rounds,
        train_config=ConfigRecord({}),
        evaluate_fn=evaluate,
    )
