"""A client that sends what a test wants, also what no browser would send."""

import json
import socket
import threading
from http.client import HTTPConnection
from typing import Any, NamedTuple

from leyden.tools.serve.http_server import ModelServer


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def values(self) -> dict[str, Any]:
        """The body, which must be one line of JSON."""
        assert self.headers["Content-Type"] == "application/json"
        assert self.body.count(b"\n") == 1
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def error(self) -> tuple[int, str]:
        assert list(self.values) == ["error"]
        return self.status, self.values["error"]


class Client:
    def __init__(self, server: ModelServer) -> None:
        self.server = server

    def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """Send a request; underscores in the names of headers stand for hyphens."""
        connection = HTTPConnection("127.0.0.1", self.server.port, timeout=20)
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, names)
        response = connection.getresponse()
        answer = Answer(response.status, dict(response.getheaders()), response.read())
        connection.close()
        return answer

    def get(self, path: str, **headers: str) -> Answer:
        return self.request("GET", path, **headers)

    def image(self, payload: bytes, path: str = "/predict", **headers: str) -> Answer:
        return self.request("POST", path, payload, **{"Content_Type": "image/png", **headers})

    def json(self, values: Any, path: str = "/predict") -> Answer:
        body = values if isinstance(values, bytes) else json.dumps(values).encode()
        return self.request("POST", path, body, Content_Type="application/json")

    def raw(self, data: bytes) -> bytes:
        """Send bytes, and return all bytes that come back."""
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=20) as connection:
            connection.sendall(data)
            received = b""
            while block := connection.recv(65536):
                received += block
            return received


def serving(server: ModelServer) -> ModelServer:
    """Start to answer requests in a thread."""
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    return server
