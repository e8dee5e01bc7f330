"""Downloads from a local server."""

import hashlib
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from leyden.data.download import download
from leyden.errors import UserError

CONTENT = bytes(range(256)) * 5000
CHECKSUM = hashlib.md5(CONTENT).hexdigest()


class Mirror(BaseHTTPRequestHandler):
    """Serves CONTENT, ranges too; under /cut/ it hangs up half-way, under /bad/ it serves something else."""

    requested: list[str | None]

    def do_GET(self) -> None:
        content = CONTENT[::-1] if "/bad/" in self.path else CONTENT
        wanted = self.headers["Range"]
        self.requested.append(wanted)
        first = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        self.wfile.write(content[first : len(content) // 2] if "/cut/" in self.path else content[first:])

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def mirror() -> Iterator[tuple[str, list[str | None]]]:
    handler = type("Handler", (Mirror,), {"requested": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", handler.requested
        server.shutdown()


class TestDownload:
    get = staticmethod(partial(download, "file.bin", checksum=CHECKSUM, wanted="file"))

    def test_a_broken_download_is_continued_not_repeated(
        self, tmp_path: Path, mirror: tuple[str, list[str | None]]
    ) -> None:
        address, requested = mirror
        with pytest.raises(UserError, match="file is missing and it cannot be downloaded"):
            self.get([f"{address}/cut/"], tmp_path)
        assert not (tmp_path / "file.bin").exists()
        assert self.get([f"{address}/"], tmp_path).read_bytes() == CONTENT
        assert requested == [None, f"bytes={len(CONTENT) // 2}-"]
        assert [path.name for path in tmp_path.iterdir()] == ["file.bin"]

    def test_a_mirror_with_something_else_is_passed_over(
        self, tmp_path: Path, mirror: tuple[str, list[str | None]]
    ) -> None:
        address, _ = mirror
        assert self.get([f"{address}/bad/", f"{address}/"], tmp_path).read_bytes() == CONTENT

    def test_what_is_not_the_published_file_is_not_kept(
        self, tmp_path: Path, mirror: tuple[str, list[str | None]]
    ) -> None:
        with pytest.raises(UserError, match=f"published is {CHECKSUM}"):
            self.get([f"{mirror[0]}/bad/"], tmp_path)
        assert list(tmp_path.iterdir()) == []
