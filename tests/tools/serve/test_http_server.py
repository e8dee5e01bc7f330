"""The server: every rejection, its limits, its headers, and how it stops. Requests are real, in this process."""

import io
import os
import signal
import socket
import sys
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leyden.errors import UserError
from leyden.tools.serve import http_server, request_handler
from leyden.tools.serve.http_server import ModelServer, serve_until_stopped
from leyden.tools.serve.served_model import ServedModel
from scripts import serve
from tests.tools.conftest import Models
from tests.tools.serve.client import Client, serving
from tests.tools.serve.conftest import Clients


def png(pixels: np.ndarray | None = None) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28), np.uint8) if pixels is None else pixels
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="png")
    return buffer.getvalue()


def test_a_prediction_is_that_of_the_model(client: Clients, model_of: Models) -> None:
    answer = client("classification").image(png())
    (expected,) = model_of("classification").predict([png()])
    assert answer.status == 200
    assert answer.values == {"input": "image", **expected.as_dict(5)}
    top = client("classification").image(png(), "/predict?top=10").values["top"]
    assert [name for name, _ in top] == [name for name, _ in expected.top]


def test_the_page_needs_nothing_else_and_allows_nothing_else(client: Clients) -> None:
    answer = client("classification").get("/")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["X-Frame-Options"] == "DENY"
    text = answer.body.decode()
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in text
    assert "/*STYLE*/" not in text
    assert "/*SCRIPT*/" not in text


def test_every_answer_has_the_headers_of_security(client: Clients) -> None:
    for answer in (
        client("classification").get("/"),
        client("classification").get("/info"),
        client("classification").get("/missing"),
    ):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "Python" not in answer.headers["Server"]


def test_wrong_paths_and_methods(client: Clients) -> None:
    images = client("classification")
    for path in ("/etc/passwd", "/../../config.yaml", "/page.js", "/predict/", "/%2e%2e/config.yaml"):
        assert images.get(path).error[0] == 404
        assert images.image(png(), path).error[0] == 404
    assert images.get("/predict").error == (405, "method: is not allowed for /predict")
    assert images.get("/predict").headers["Allow"] == "POST"
    assert images.image(png(), "/info").error[0] == 405
    for method in ("PUT", "DELETE", "OPTIONS", "PATCH"):
        answer = images.request(method, "/predict", png(), Content_Type="image/png")
        assert answer.error == (405, "method: must be GET or POST")
    assert images.request("HEAD", "/").status == 405


@pytest.mark.parametrize(
    "host", ["evil.example:{}", "127.0.0.1", "127.0.0.1:1", "10.0.0.1:{}", "", "localhost.evil:{}"]
)
def test_other_hosts_are_rejected(client: Clients, host: str) -> None:
    images = client("classification")
    host = host.format(images.server.port)
    for answer in (images.get("/", Host=host), images.image(png(), Host=host)):
        assert answer.error == (400, "Host: is not a name of this server")


def test_the_names_of_this_machine_are_accepted(client: Clients) -> None:
    images = client("classification")
    for name in ("127.0.0.1", "localhost", "LocalHost", "[::1]"):
        assert images.get("/info", Host=f"{name}:{images.server.port}").status == 200
    port = images.server.port
    twice = f"GET /info HTTP/1.1\r\nHost: localhost:{port}\r\nHost: localhost:{port}\r\n\r\n".encode()
    assert images.raw(twice).startswith(b"HTTP/1.1 400 ")
    assert images.raw(b"GET /info HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 400 ")


def test_posts_from_other_sites_are_rejected(client: Clients) -> None:
    images = client("classification")
    port = images.server.port
    for origin in ("http://evil.example", f"http://evil.example:{port}", "null", f"https://localhost:{port}"):
        assert images.image(png(), Origin=origin).error == (400, "Origin: is another site")
    assert images.image(png(), Origin=f"http://localhost:{port}").status == 200


def test_content_types(client: Clients) -> None:
    images, rows = client("classification"), client("regression")
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "image/"):
        assert images.image(png(), Content_Type=kind).error[0] == 415
    assert images.request("POST", "/predict", png()).error[0] == 415
    assert images.json({"row": [1]}).error[0] == 415
    assert rows.image(png()).error[0] == 415
    assert images.image(png(), Content_Type="application/octet-stream").status == 200


def test_the_length_is_required_and_bounded(client: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    images = client("classification")
    start = f"POST /predict HTTP/1.1\r\nHost: localhost:{images.server.port}\r\nContent-Type: image/png\r\n"
    for header, status in (
        ("", 411),
        ("Transfer-Encoding: chunked\r\n", 411),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", 411),
        ("Content-Length: -1\r\n", 400),
        ("Content-Length: 5x\r\n", 400),
        ("Content-Length: 5\r\nContent-Length: 6\r\n", 400),
        ("Content-Length: 8000001\r\n", 413),
        (f"Content-Length: {'9' * 5000}\r\n", 400),
    ):
        received = images.raw(f"{start}{header}\r\n".encode())
        assert received.startswith(f"HTTP/1.1 {status} ".encode()), header
        assert b"Traceback" not in received
    # The client sees the answer although it is still sending.
    assert images.image(bytes(9_000_000)).error == (413, "body: has 9,000,000 bytes, the limit is 8,000,000")
    assert images.raw(f"{start}Content-Length: 8000001\r\nExpect: 100-continue\r\n\r\n".encode())


def test_requests_that_are_not_http(client: Clients) -> None:
    images = client("classification")
    assert b'{"error"' in images.raw(b"\x16\x03\x01\x02\x00\x01\x00 nonsense here and there\r\n\r\n")
    assert images.raw(b"GET /" + b"a" * 70000 + b" HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 414 ")
    many = b"".join(b"X-%d: 1\r\n" % number for number in range(200))
    assert images.raw(b"GET / HTTP/1.1\r\n" + many + b"\r\n").startswith(b"HTTP/1.1 431 ")


def test_images_that_cannot_be_read(client: Clients) -> None:
    images = client("classification")
    header = b"IHDR" + (8000).to_bytes(4, "big") * 2 + b"\x08\0\0\0\0"
    huge = b"\x89PNG\r\n\x1a\n\0\0\0\r" + header + zlib.crc32(header).to_bytes(4, "big") + b"\0\0\0\0IDAT" + bytes(4)
    for payload in (b"", b"no image", png()[:60], huge):
        status, message = images.image(payload).error
        assert status == 400
        assert message.startswith("image: ")
        assert images.image(payload, "/predict?drawing=1").error[0] == 400
    assert images.image(huge).error[1].startswith("image: 8000x8000 pixels, more than the 50,000,000")
    assert (
        images.image(png(np.zeros((28, 28), np.uint8)), "/predict?drawing=1").error[1].startswith("drawing: is empty")
    )
    for top in ("0", "-1", "x", "9" * 30):
        assert images.image(png(), f"/predict?top={top}").error[0] == 400
    assert images.image(png(), "/predict?" + "&".join(f"a{number}=1" for number in range(20))).error[0] == 400


def test_rows(client: Clients, model_of: Models) -> None:
    rows = client("regression")
    names = rows.get("/info").values["features"]
    row = {name: float(number) for number, name in enumerate(names)}
    (expected,) = model_of("regression").predict([row])
    assert rows.json({"row": row}).values == {"input": "row", **expected.as_dict()}
    assert rows.json({"row": list(row.values())}).values["prediction"] == expected.prediction
    assert rows.json({"row": {**row, names[0]: ""}}).status == 200  # missing, filled by the median
    del row[names[0]]
    assert rows.json({"row": row}).error[1].startswith(f"row: column {names[0]} is missing")
    for body in (b"", b"{", b"[1]", b'{"series": [1]}', b'{"row": NaN}', b"[" * 100_000, b"\xff", b'{"row": "abc"}'):
        assert rows.json(body).error[0] == 400
    assert rows.json({"row": dict.fromkeys(names, "heavy\x1b[31m")}).error[0] == 400
    assert rows.json({"row": row}, "/explain").error[0] == 400


def test_series(client: Clients, model_of: Models) -> None:
    series = client("forecasting")
    window = series.get("/info").values["shape"][0]
    steps = [float(np.sin(step)) for step in range(window + 3)]
    (expected,) = model_of("forecasting").predict([steps])
    assert series.json({"series": steps}).values["prediction"] == expected.prediction
    assert series.json({"series": steps[:2]}).error[1].startswith("series: has 2 steps")
    assert series.json({"series": ["a"] * window}).error[0] == 400


def test_samples(client: Clients) -> None:
    vae, images = client("vae"), client("classification")
    answer = vae.json({"num": 5, "seed": 3}, "/sample").values
    assert answer == vae.json({"num": 5, "seed": 3}, "/sample").values
    assert answer != vae.json({"num": 5, "seed": 4}, "/sample").values
    for values in ({"num": 0}, {"num": 65}, {"num": "5"}, {"seed": -1}, {"seed": 2**63}, {"num": True}):
        assert vae.json(values, "/sample").error[0] == 400
    assert (
        vae.image(png()).error[1] == "predict: does not apply to task=vae, which generates images. Use sample instead"
    )
    assert images.json({}, "/sample").error[0] == 400


def test_defects_stay_in_the_terminal(
    client: Clients, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images = client("classification")
    monkeypatch.setattr(ServedModel, "predict", lambda *_: 1 / 0)
    assert images.image(png()).error == (500, "the server failed; its terminal shows the reason")
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_few_requests_are_in_work_at_the_same_time(client: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    images = client("classification")
    entered, release = threading.Semaphore(0), threading.Event()

    def slow(*_: object) -> dict[str, object]:
        entered.release()
        assert release.wait(20)
        return {"prediction": 1}

    monkeypatch.setattr(ServedModel, "predict", slow)
    threads = [threading.Thread(target=images.image, args=(png(),)) for _ in range(http_server.MAX_POSTS)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert entered.acquire(timeout=20)
    answer = images.image(png())
    assert answer.error == (503, "the server is busy, try again")
    assert answer.headers["Retry-After"] == "1"
    assert images.get("/info").status == 200
    release.set()
    for thread in threads:
        thread.join()
    assert images.image(png()).status == 200


def test_few_connections_are_open_at_the_same_time(client: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "MAX_CONNECTIONS", 2)
    images = client("classification")
    idle = [socket.create_connection(("127.0.0.1", images.server.port)) for _ in range(2)]
    time.sleep(0.1)
    assert images.get("/info").error[0] == 503
    for connection in idle:
        connection.close()
    time.sleep(0.2)
    assert images.get("/info").status == 200


def test_slow_clients_are_disconnected(client: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_handler, "SECONDS", 0.3)
    images = client("classification")
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", images.server.port), timeout=20) as connection:
        connection.sendall(b"GET /info HTTP/1.1\r\n")
        try:
            while time.monotonic() - began < 10:  # one byte at a time, always before a timeout of a single read
                connection.sendall(b"X")
                time.sleep(0.1)
                connection.setblocking(False)
                try:
                    if not connection.recv(100):
                        break
                except BlockingIOError:
                    connection.setblocking(True)
        except ConnectionError:
            pass
    assert 0.2 < time.monotonic() - began < 8
    assert images.get("/info").status == 200


def test_a_busy_port_and_a_wrong_host(model_of: Models) -> None:
    served = ServedModel(model_of("classification"))
    first = ModelServer(served, port=0)
    try:
        with pytest.raises(UserError, match=rf"^--port: {first.port} is used by another program. Use --port 0"):
            ModelServer(served, port=first.port)
    finally:
        first.server_close()
    ModelServer(served, port=first.port).server_close()
    with pytest.raises(UserError, match=r"^--host: cannot listen on 192\.0\.2\.1"):
        ModelServer(served, "192.0.2.1", 0)
    with pytest.raises(UserError, match=r"^--port: got 70000, must be"):
        ModelServer(served, port=70000)


def test_an_open_server_knows_addresses_but_no_foreign_names(model_of: Models) -> None:
    server = serving(ModelServer(ServedModel(model_of("classification")), "0.0.0.0", 0))
    try:
        assert server.is_open
        images = Client(server)
        for host, status in (("192.0.2.7", 200), (socket.gethostname(), 200), ("evil.example", 400)):
            assert images.get("/info", Host=f"{host}:{server.port}").status == status
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def arguments(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    return lambda *given: monkeypatch.setattr(sys, "argv", ["serve.py", *given])


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_and_releases_the_port(
    model_of: Models,
    signum: signal.Signals,
    arguments: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ports = []

    def stop(server: ModelServer, started: Callable[[], None]) -> None:
        def then() -> None:
            started()
            ports.append(server.port)
            threading.Timer(0.1, os.kill, (os.getpid(), signum)).start()

        serve_until_stopped(server, then)

    monkeypatch.setattr(http_server, "serve_until_stopped", stop)
    arguments(str(model_of("classification").folder), "--port", "0")
    handler = signal.getsignal(signum)
    assert serve.main() == 0
    assert signal.getsignal(signum) is handler
    assert f": http://127.0.0.1:{ports[0]}/  (Ctrl-C stops it)" in capsys.readouterr().out
    with socket.socket() as again:
        again.bind(("127.0.0.1", ports[0]))


def test_mistakes_of_the_command_line(
    arguments: Callable[..., None], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for given, message in (
        ((str(tmp_path),), f"error: {tmp_path}: is not a run folder (it has no config.yaml)\n"),
        ((str(tmp_path), "--port", "70000"), "error: --port: got 70000, must be between 0 and 65535\n"),
    ):
        arguments(*given)
        with pytest.raises(SystemExit, match="2"):
            serve.main()
        assert capsys.readouterr().err == message
