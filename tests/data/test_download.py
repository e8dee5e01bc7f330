"""Downloads from a local server."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from leyden.data.download import Published, download
from leyden.errors import UserError

CONTENT = bytes(range(256)) * 5000
CHECKSUM = hashlib.md5(CONTENT).hexdigest()


class Mirror(BaseHTTPRequestHandler):
    """Serves CONTENT, ranges too; under /cut/ it hangs up half-way, under /bad/ it serves something else,
    under /endless/ it never stops.
    """

    requested: list[str | None]

    def do_GET(self) -> None:
        content = CONTENT[::-1] if "/bad/" in self.path else CONTENT
        wanted = self.headers["Range"]
        self.requested.append(wanted)
        first = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        if "/endless/" in self.path:
            self.send_response(200)
            self.end_headers()
            with suppress(ConnectionError):
                while True:
                    self.wfile.write(content)
            return
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
    get = staticmethod(partial(download, "file.bin", published=Published(len(CONTENT), CHECKSUM), wanted="file"))

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

    def test_no_more_than_the_published_size_is_accepted(
        self, tmp_path: Path, mirror: tuple[str, list[str | None]]
    ) -> None:
        address, _ = mirror
        for size, message in ((1000, "it offers 1,280,000 bytes, published are 1,000"),):
            with pytest.raises(UserError, match=message):
                download("file.bin", [f"{address}/"], tmp_path, Published(size, CHECKSUM), wanted="file")
        with pytest.raises(UserError, match="MD5 is"):
            download("file.bin", [f"{address}/endless/"], tmp_path, Published(5_000_000, CHECKSUM), wanted="file")
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("link", ["symlink_to", "hardlink_to"])
    def test_a_partial_file_that_is_a_link_is_not_followed(
        self, tmp_path: Path, mirror: tuple[str, list[str | None]], link: str
    ) -> None:
        victim = tmp_path / "victim"
        victim.write_text("precious")
        (tmp_path / "data").mkdir()
        getattr(tmp_path / "data" / "file.bin.partial", link)(victim)
        assert self.get([f"{mirror[0]}/"], tmp_path / "data").read_bytes() == CONTENT
        assert victim.read_text() == "precious"

    def test_a_partial_file_that_is_a_pipe(self, tmp_path: Path, mirror: tuple[str, list[str | None]]) -> None:
        os.mkfifo(tmp_path / "file.bin.partial")
        assert self.get([f"{mirror[0]}/"], tmp_path).read_bytes() == CONTENT

    @pytest.mark.parametrize("address", ["file:///etc/", "ftp://127.0.0.1/", "/etc/"])
    def test_only_web_addresses_are_contacted(self, tmp_path: Path, address: str) -> None:
        with pytest.raises(UserError, match=f"{address}: the address must start with http"):
            self.get([address], tmp_path)
