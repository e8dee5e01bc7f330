"""Servers for the shared runs."""

from collections.abc import Callable, Iterator

import pytest

from leyden.tools.serve.http_server import ModelServer
from leyden.tools.serve.served_model import ServedModel
from tests.tools.conftest import Models
from tests.tools.serve.client import Client, serving

Clients = Callable[[str], Client]


@pytest.fixture
def client(model_of: Models) -> Iterator[Clients]:
    """Return a client of a server with the run of a task. The servers end with the test."""
    servers: list[ModelServer] = []

    def call(task: str) -> Client:
        servers.append(serving(ModelServer(ServedModel(model_of(task)), port=0)))
        return Client(servers[-1])

    yield call
    for server in servers:
        server.shutdown()
        server.server_close()
