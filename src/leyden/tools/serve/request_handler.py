"""Read one HTTP request, check it, and answer it. Every answer but the page is one line of JSON."""

import io
import re
import socket
import time
import traceback
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from leyden.errors import UserError
from leyden.records.run_folder import one_line
from leyden.tools.serve.answers import POSTS, RequestError, answer
from leyden.tools.serve.served_model import as_json

if TYPE_CHECKING:
    from leyden.tools.serve.http_server import ModelServer

MAX_BODY = 8_000_000  # bytes
SECONDS = 15.0  # for a client to send its request
LINGER_SECONDS = 2.0  # to read the rest of a request that was rejected, so that the client can read the answer

GETS = ("/", "/info")
IMAGE_TYPE = re.compile(r"image/[\w.+-]+|application/octet-stream")

HEADERS = {
    "Cache-Control": "no-store",
    "Connection": "close",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_busy = as_json({"error": "the server is busy, try again"})
BUSY = (
    f"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: {len(_busy)}\r\n"
    "Retry-After: 1\r\nConnection: close\r\n\r\n"
).encode() + _busy


class DeadlineReader(io.RawIOBase):
    """Reads from a socket until a deadline, however slowly the other side sends."""

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        self.connection, self.deadline = connection, time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        remaining = self.deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        self.connection.settimeout(remaining)
        return self.connection.recv_into(buffer)


class RequestHandler(BaseHTTPRequestHandler):
    """Answers one request and closes the connection."""

    server: "ModelServer"
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.rfile = io.BufferedReader(DeadlineReader(self.connection, SECONDS))
        self.unread = False  # whether a part of the request was not read

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def _answer(self, method: Any) -> None:
        """Answer with what `method` returns, or with the line that explains the error."""
        try:
            self._check_host()
            content_type, body = method()
            self._send(HTTPStatus.OK, content_type, body)
        except RequestError as error:
            self.send_error(error.status, str(error))
        except UserError as error:
            self.send_error(HTTPStatus.BAD_REQUEST, str(error))
        except (ConnectionError, TimeoutError):
            raise
        except Exception:
            traceback.print_exc()
            self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR, "the server failed; its terminal shows the reason")

    def _check_host(self) -> None:
        hosts = self.headers.get_all("Host", [])
        if len(hosts) != 1 or not self.server.knows_host(hosts[0]):
            raise RequestError(HTTPStatus.BAD_REQUEST, "Host: is not a name of this server")

    def _get(self) -> tuple[str, bytes]:
        path = urlsplit(self.path).path
        if path == "/":
            return "text/html; charset=utf-8", self.server.page.body
        if path == "/info":
            return "application/json", as_json(self.server.served.info())
        raise self._not_here(path, POSTS)

    def _post(self) -> tuple[str, bytes]:
        self.unread = True
        url = urlsplit(self.path)
        if url.path not in POSTS:
            raise self._not_here(url.path, GETS)
        self._check_origin()
        kind, length = self._content_type(), self._content_length()
        body = self.rfile.read(length)
        if len(body) < length:
            raise RequestError(HTTPStatus.BAD_REQUEST, f"body: has {len(body)} bytes instead of {length}")
        self.unread = False
        if not self.server.posts.acquire(blocking=False):
            raise RequestError(HTTPStatus.SERVICE_UNAVAILABLE, "the server is busy, try again")
        try:
            return "application/json", as_json(answer(self.server.served, url.path, url.query, kind, body))
        finally:
            self.server.posts.release()

    @staticmethod
    def _not_here(path: str, other_method: tuple[str, ...]) -> RequestError:
        if path in other_method:
            return RequestError(HTTPStatus.METHOD_NOT_ALLOWED, f"method: is not allowed for {path}")
        known = ", ".join((*GETS, *POSTS))
        return RequestError(HTTPStatus.NOT_FOUND, f"path: there is no such path; there are {known}")

    def _check_origin(self) -> None:
        """Reject requests from pages of other sites. Browsers always send their origin with a POST."""
        for origin in self.headers.get_all("Origin", []):
            scheme, _, host = origin.partition("://")
            if scheme != "http" or not self.server.knows_host(host):
                raise RequestError(HTTPStatus.BAD_REQUEST, "Origin: is another site")

    def _content_type(self) -> str:
        kind = self.headers.get_content_type() if "Content-Type" in self.headers else ""
        if kind != "application/json" and not IMAGE_TYPE.fullmatch(kind):
            message = "Content-Type: must be image/…, application/octet-stream or application/json"
            raise RequestError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, message)
        return kind

    def _content_length(self) -> int:
        values = self.headers.get_all("Content-Length", [])
        if not values or "Transfer-Encoding" in self.headers:
            raise RequestError(HTTPStatus.LENGTH_REQUIRED, "Content-Length: is missing")
        if len(values) > 1 or not re.fullmatch(r"[0-9]{1,18}", values[0]):
            raise RequestError(HTTPStatus.BAD_REQUEST, "Content-Length: must be one number")
        if int(values[0]) > MAX_BODY:
            message = f"body: has {int(values[0]):,} bytes, the limit is {MAX_BODY:,}"
            raise RequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message)
        return int(values[0])

    def _send(self, status: int, content_type: str, body: bytes) -> None:
        self.close_connection = True
        self.connection.settimeout(SECONDS)
        self.send_response(status)
        headers = {**HEADERS, "Content-Type": content_type, "Content-Length": str(len(body))}
        if content_type.startswith("text/html"):
            headers["Content-Security-Policy"] = self.server.page.policy
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = "POST" if urlsplit(self.path).path in POSTS else "GET"
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            headers["Retry-After"] = "1"
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer with one line of JSON. The base class calls this for requests that it cannot parse."""
        if code == HTTPStatus.NOT_IMPLEMENTED:  # the base class: there is no method do_PUT, …
            self.unread = True
            code, message = HTTPStatus.METHOD_NOT_ALLOWED, "method: must be GET or POST"
        self._send(code, "application/json", as_json({"error": one_line(Exception(message or ""))}))

    def handle_expect_100(self) -> bool:
        """Let the client send its body only if it will be read."""
        return self.command == "POST" and super().handle_expect_100()

    def finish(self) -> None:
        """Close the connection. Read what a rejected client still sends: otherwise it might not see the answer."""
        super().finish()
        if not self.unread:
            return
        reader = DeadlineReader(self.connection, LINGER_SECONDS)
        buffer, received = bytearray(1 << 16), 0
        try:
            self.connection.shutdown(socket.SHUT_WR)
            while received < 2 * MAX_BODY and (size := reader.readinto(buffer)):
                received += size
        except OSError:
            pass  # the client has closed the connection itself

    def version_string(self) -> str:
        """Return the header Server, without the version of Python."""
        return "Leyden"

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing: the terminal shows only what the user has to know."""
