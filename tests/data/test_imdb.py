"""IMDB: the reviews in their folders, and an archive from a local server that may be hostile."""

import gzip
import hashlib
import io
import tarfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from leyden.data import imdb
from leyden.data.download import Published
from leyden.data.imdb import IMDB, unpack
from leyden.errors import UserError
from tests.data.building import build_data

REVIEWS = {
    f"aclImdb/{split}/{kind}/{number}_{stars}.txt": f"{kind} {number}<br /><br />It is {split}."
    for split in ("train", "test")
    for kind, stars in (("neg", 2), ("pos", 9))
    for number in range(3)
}


def archive(members: dict[str, str | tarfile.TarInfo]) -> bytes:
    """A .tar.gz of texts by name, and of other members as they are."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
                continue
            info = tarfile.TarInfo(name)
            info.size = len(content.encode())
            tar.addfile(info, io.BytesIO(content.encode()))
    return buffer.getvalue()


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def build(root: Path, *overrides: str) -> IMDB:
    found = build_data("imdb", f"data.root={root}", "data.cache=null", *overrides)
    assert isinstance(found, IMDB)
    return found


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[str]]]:
    """A mirror of a small archive, which counts as the published one; and the paths that were asked for."""
    content, asked = archive({**REVIEWS, "aclImdb/train/unsup/0_0.txt": "no label", "aclImdb/README": "x"}), list[str]()
    monkeypatch.setattr(imdb, "ARCHIVE_AS", Published(len(content), hashlib.md5(content).hexdigest()))
    monkeypatch.setattr(imdb, "NUM_PER_CLASS", 3)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/", asked
        running.shutdown()


class TestDownload:
    def test_the_archive_is_downloaded_once_verified_and_unpacked(
        self, server: tuple[str, list[str]], tmp_path: Path
    ) -> None:
        address, asked = server
        for _ in range(2):
            data = build(tmp_path, f"data.mirrors=[{address}]")
            data.prepare_data()
        data.setup("test")
        assert asked == ["/aclImdb_v1.tar.gz"]
        assert data.sizes() == {"train": 4, "val": 2, "test": 6}
        assert data.count_test() == 6
        assert data.verified
        texts, targets = data.read_texts(train=False)
        assert (texts[0], texts[3], targets.tolist()) == ("neg 0  It is test.", "pos 0  It is test.", [0] * 3 + [1] * 3)
        assert sorted(path.name for path in (tmp_path / "aclImdb").rglob("*.txt")) == sorted(
            Path(name).name for name in REVIEWS
        )

    def test_without_a_download_the_error_names_what_to_do(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"^data.root: .*aclImdb is missing and it cannot be downloaded \(data.d"):
            build(tmp_path, "data.download=false").prepare_data()

    def test_another_archive_is_rejected(self, server: tuple[str, list[str]], tmp_path: Path) -> None:
        (tmp_path / "aclImdb_v1.tar.gz").write_bytes(archive(REVIEWS))
        with pytest.raises(UserError, match=r"aclImdb_v1.tar.gz: MD5 is \w+, published is \w+; delete the archive$"):
            build(tmp_path).prepare_data()
        build(tmp_path, "data.verify=false").prepare_data()

    def test_a_missing_review_is_noticed(self, server: tuple[str, list[str]], tmp_path: Path) -> None:
        build(tmp_path, f"data.mirrors=[{server[0]}]").prepare_data()
        (tmp_path / "aclImdb/train/neg/0_2.txt").unlink()
        with pytest.raises(UserError, match=r"train/neg contains 2 reviews, published are 3; data.verify=false takes"):
            build(tmp_path).prepare_data()
        data = build(tmp_path, "data.verify=false")
        data.prepare_data()
        assert not data.verified


class TestHostileArchives:
    def unpacked(self, tmp_path: Path, members: dict[str, str | tarfile.TarInfo]) -> list[str]:
        """What an archive leaves in its folder and around it."""
        inside = tmp_path / "root"
        inside.mkdir()
        (tmp_path / "a.tar.gz").write_bytes(archive(members))
        unpack(tmp_path / "a.tar.gz", inside / "aclImdb")
        return sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if not path.is_dir())

    def test_only_reviews_are_written(self, tmp_path: Path) -> None:
        good, start = "aclImdb/train/pos/1_9.txt", "aclImdb/train/pos"
        members: dict[str, str | tarfile.TarInfo] = {
            good: "fine",
            f"{start}/../../../../outside_1.txt": "x",
            "/tmp/aclImdb/train/pos/2_9.txt": "x",
            f"{start}/..txt": "x",
            f"{start}/3_9.txt": link(f"{start}/3_9.txt", "/etc/passwd"),
            f"{start}/4_9.txt": link(f"{start}/4_9.txt", good, tarfile.LNKTYPE),
            f"{start}/5_9.txt": link(f"{start}/5_9.txt", "", tarfile.FIFOTYPE),
            "aclImdb/test": link("aclImdb/test", str(tmp_path)),
            "aclImdb/test/pos/1_9.txt": "second",
        }
        assert self.unpacked(tmp_path, members) == [
            "a.tar.gz", "root/aclImdb/test/pos/1_9.txt", "root/aclImdb/train/pos/1_9.txt",
        ]  # fmt: skip

    def test_a_link_in_the_place_of_the_folder_is_not_followed(self, tmp_path: Path) -> None:
        (tmp_path / "a.tar.gz").write_bytes(archive(dict(REVIEWS)))
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "aclImdb.partial").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(UserError, match=r"aclImdb\.partial: is a symbolic link"):
            unpack(tmp_path / "a.tar.gz", tmp_path / "aclImdb")
        assert list((tmp_path / "elsewhere").iterdir()) == []

    def test_what_is_damaged_empty_or_too_large_leaves_no_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path, content = tmp_path / "a.tar.gz", archive(dict(REVIEWS))
        monkeypatch.setattr(imdb, "MAX_UNPACKED", 100_000)
        cases = [
            (content[:200], "is damaged"),
            (b"no archive", "is damaged"),
            (archive({"x": "y"}), "contains no reviews"),
            (archive({"bomb": "0" * 200_000}), "unpacks to more than 100,000 bytes"),
            (gzip.compress(b"no tar"), "is damaged|contains no reviews"),
        ]
        for damaged, message in cases:
            path.write_bytes(damaged)
            with pytest.raises(UserError, match=message):
                unpack(path, tmp_path / "aclImdb")
            assert not (tmp_path / "aclImdb").exists()
        path.write_bytes(content)
        unpack(path, tmp_path / "aclImdb")
        assert len(list((tmp_path / "aclImdb").rglob("*.txt"))) == len(REVIEWS)


def test_a_review_that_is_predicted_is_treated_like_the_others(files_root: Path) -> None:
    data = build(files_root, "data.verify=false")
    data.setup("fit")
    assert data.encode("good<br />film").tolist() == data.encode("good film").tolist()
    assert data.tokens("good<br />film") == ["good", "film"]
