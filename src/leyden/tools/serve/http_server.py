"""A small web server for one model on this machine, with the standard library only.

It accepts few and small requests, opens no path that a request names, and does not wait for slow clients. See
docs/tools.md for the endpoints and for the reasons not to use a web framework.
"""

import errno
import ipaddress
import os
import socket
import sys
import threading
from collections.abc import Callable
from http.server import ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

from leyden.errors import UserError
from leyden.tools.serve.page import Page
from leyden.tools.serve.request_handler import BUSY, RequestHandler
from leyden.tools.serve.served_model import ServedModel
from leyden.training.signals import handling

LOCAL = "127.0.0.1"
LOOPBACK = (LOCAL, "localhost", "::1")
MAX_CONNECTIONS = 32  # open at the same time; browsers open some without using them
MAX_POSTS = 4  # in work at the same time; one of them computes
WAIT_FOR_POSTS = 5.0  # seconds, when the server stops


class ModelServer(ThreadingHTTPServer):
    """Listens on one address and answers each connection in a thread.

    Args:
        served: the model.
        host: the address to listen on. Another one than `LOCAL` can be reached by other machines.
        port: 0 for a free one.

    Raises:
        UserError: the address cannot be used.
    """

    daemon_threads = True
    allow_reuse_address = os.name == "posix"  # elsewhere two programs could share a port
    request_queue_size = 16

    def __init__(self, served: ServedModel, host: str = LOCAL, port: int = 8000) -> None:
        self.served, self.page, self.host = served, Page(), host
        self.connections = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self.posts = threading.BoundedSemaphore(MAX_POSTS)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), RequestHandler)
        except OverflowError:
            raise UserError(f"--port: got {port}, must be between 0 and 65535") from None
        except OSError as error:
            raise UserError(_reason(error, host, port)) from error
        self.port: int = self.server_address[1]
        self.hosts = self._hosts()

    def server_bind(self) -> None:
        """Bind to the address. `HTTPServer` would ask the name service for the machine's name, which can be slow."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.host, self.server_address[1]

    @property
    def url(self) -> str:
        """The address of the page."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/"

    def _hosts(self) -> frozenset[str]:
        """Return the values of the header Host that name this server."""
        names = {*LOOPBACK, self.host}
        if self.is_open:
            names.add(socket.gethostname())
        names = {f"[{name}]" if ":" in name else name.lower() for name in names}
        return frozenset({f"{name}:{self.port}" for name in names} | (names if self.port == 80 else set()))

    @property
    def is_open(self) -> bool:
        """Whether other machines can reach the server."""
        return self.host not in LOOPBACK

    def knows_host(self, value: str) -> bool:
        """Return whether a header Host names this server.

        A page of another site whose name resolves to this machine (DNS rebinding) sends the name of that site. A
        server for other machines also accepts IP addresses: they cannot be rebound.
        """
        if value.lower() in self.hosts:
            return True
        host, _, port = value.rpartition(":")
        return self.is_open and port == str(self.port) and _is_address(host.strip("[]"))

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a new thread, or at once that there are too many connections."""
        if not self.connections.acquire(blocking=False):
            request.settimeout(1.0)
            try:
                request.sendall(BUSY)
            except OSError:
                pass  # the client has gone, so nobody waits for the answer
            finally:
                self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.connections.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print the error, unless the client has gone away."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


def _reason(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"--port: {port} is used by another program. Use --port 0 for a free one"
    if error.errno == errno.EACCES:
        return f"--port: {port} needs the rights of an administrator. Use a port from 1024"
    return f"--host: cannot listen on {host} ({error.strerror or error})"


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def serve_until_stopped(server: ModelServer, started: Callable[[], None]) -> None:
    """Answer requests until Ctrl-C or SIGTERM. Then finish those in work, for some seconds, and release the port.

    Args:
        server: a new server. It is closed at the end.
        started: called when the server answers.
    """
    stopped = threading.Event()
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
    try:
        with handling(lambda signum, frame: stopped.set()):
            thread.start()
            started()
            while not stopped.wait(1.0):  # with a limit, because Windows does not interrupt an endless wait
                pass
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        for _ in range(MAX_POSTS):
            server.posts.acquire(timeout=WAIT_FOR_POSTS / MAX_POSTS)
