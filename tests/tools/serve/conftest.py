"""One small run of each kind of input, and servers for them."""

from collections.abc import Callable, Iterator

import pytest

import leyden
from leyden.config.compose import compose
from leyden.run import run
from leyden.tools.serve.http_server import ModelServer
from leyden.tools.serve.served_model import ServedModel
from leyden.tools.trained_model import TrainedModel
from tests.tools.serve.client import Client, serving

FAST = ("trainer=smoke", "trainer.max_epochs=1", "logger=none")
RUNS = {
    "image": ("model=mlp", "model.hidden=[8]"),
    "row": ("data=diabetes", "model=mlp", "model.hidden=[8]"),
    "series": ("data=series", "model=mlp", "model.hidden=[8]"),
    "text": ("data=digit_strings", "model=mlp", "model.hidden=[8]", "data.num_train=100", "data.num_eval=100"),
    "autoencoder": ("model=autoencoder", "model.channels=[4,8]"),
    "vae": ("model=vae", "model.channels=[4,8]", "task.num_samples=100"),
}


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], TrainedModel]:
    """Return the trained model of a kind in `RUNS`; each is trained once."""
    models: dict[str, TrainedModel] = {}

    def call(kind: str) -> TrainedModel:
        if kind not in models:
            logs = tmp_path_factory.mktemp(kind)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("leyden.metrics.frechet.MIN_STEPS", 5)
                run(compose(*RUNS[kind], *FAST, f"paths.logs={logs}"))
            models[kind] = leyden.load(next((logs / "runs").glob("*/*")))
        return models[kind]

    return call


@pytest.fixture
def client(model: Callable[[str], TrainedModel]) -> Iterator[Callable[[str], Client]]:
    """Return a client of a server with the model of a kind in `RUNS`. The servers end with the test."""
    servers: list[ModelServer] = []

    def call(kind: str) -> Client:
        servers.append(serving(ModelServer(ServedModel(model(kind)), port=0)))
        return Client(servers[-1])

    yield call
    for server in servers:
        server.shutdown()
        server.server_close()
