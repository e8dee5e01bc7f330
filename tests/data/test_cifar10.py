"""The reader of CIFAR-10, with tiny files in the official format."""

import gzip
import io
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from leyden.data.cifar10 import CIFAR10, unpack
from leyden.errors import UserError
from tests.conftest import python2_pickle
from tests.data.building import build_data


class TestCIFAR10:
    def test_reads_the_official_format(self, cifar_root: Path) -> None:
        module = build_data("cifar10", f"data.root={cifar_root}", "data.verify=false")
        assert isinstance(module, CIFAR10)
        with pytest.warns(UserWarning, match="taken as it is"):
            images, labels = module.read(train=True)
        assert images.shape == (100, 3, 32, 32)
        assert images[27, 2, 10, 20] == (7 + 2 * 2 + 3 * 10 + 5 * 20) % 256
        assert labels.tolist() == list(range(10)) * 10

    def test_a_pickle_cannot_call_anything(self, cifar_root: Path, tmp_path: Path) -> None:
        class Attack:
            def __reduce__(self) -> tuple[Any, ...]:
                return (Path.touch, (tmp_path / "attacked",))

        (cifar_root / "cifar-10-batches-py/test_batch").write_bytes(pickle.dumps({b"data": Attack()}, protocol=2))
        module = build_data("cifar10", f"data.root={cifar_root}", "data.verify=false")
        with pytest.raises(UserError, match="it calls"), pytest.warns(match="taken as it is"):
            module.read(train=False)
        assert not (tmp_path / "attacked").exists()

    @pytest.mark.parametrize("keep", [0, 100, -5])
    def test_a_file_that_is_cut_off(self, cifar_root: Path, keep: int) -> None:
        path = cifar_root / "cifar-10-batches-py/test_batch"
        path.write_bytes(path.read_bytes()[:keep])
        module = build_data("cifar10", f"data.root={cifar_root}", "data.verify=false")
        with (
            pytest.raises(UserError, match="test_batch: is not a CIFAR-10 batch or is damaged"),
            pytest.warns(match="taken as it is"),
        ):
            module.read(train=False)


class TestHostileArchives:
    def unpack(self, archive: Path) -> None:
        unpack(archive, [archive.parent / "cifar-10-batches-py" / "test_batch"])

    def packed(self, tmp_path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
        with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
            for info, content in members:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        return tmp_path / "a.tar.gz"

    def member(self, name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
        info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
        info.type, info.linkname = kind, target
        return info

    def test_files_are_unpacked(self, tmp_path: Path) -> None:
        self.unpack(self.packed(tmp_path, (self.member("x"), b"1"), (self.member("test_batch"), b"22")))
        assert [path.name for path in (tmp_path / "cifar-10-batches-py").iterdir()] == ["test_batch"]
        assert (tmp_path / "cifar-10-batches-py" / "test_batch").read_bytes() == b"22"

    @pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
    def test_links_in_a_ring(self, tmp_path: Path, kind: bytes) -> None:
        names = ("test_batch", "other")
        ring = [
            (self.member(name, kind, f"cifar-10-batches-py/{target}"), b"") for name, target in (names, names[::-1])
        ]
        with pytest.raises(UserError, match=r"does not contain cifar-10-batches-py/test_batch; delete the archive"):
            self.unpack(self.packed(tmp_path, *ring))

    def test_a_bomb(self, tmp_path: Path) -> None:
        archive = tmp_path / "bomb.tar.gz"
        with gzip.open(archive, "wb", compresslevel=1) as file:
            info = self.member("test_batch")
            info.size = 10**11
            file.write(info.tobuf())
            for _ in range(25):
                file.write(bytes(10_000_000))
        with pytest.raises(UserError, match="unpacks to more than 200,000,000 bytes"):
            self.unpack(archive)
        assert not (tmp_path / "cifar-10-batches-py" / "test_batch").exists()

    @pytest.mark.parametrize(
        "content",
        [b"", b"no archive", gzip.compress(b"no tar" * 100), gzip.compress(b"")[:-3]],
        ids=["empty", "no archive", "no tar", "truncated"],
    )
    def test_damaged(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "a.tar.gz").write_bytes(content)
        with pytest.raises(UserError, match=r"a\.tar\.gz: (is damaged|does not contain)"):
            self.unpack(tmp_path / "a.tar.gz")


class TestHostileBatches:
    @pytest.mark.parametrize(
        ("payload", "message"),
        [
            (python2_pickle(np.zeros((0, 3072), np.uint8), []), "data.root: the test set contains no images"),
            (python2_pickle(np.zeros((2, 3072), np.uint8), [0]), "holds 2 images but 1 labels"),
            (python2_pickle(np.zeros((2, 3000), np.uint8), [0, 1]), "its images do not have 3x32x32 pixels"),
            (python2_pickle(np.zeros((1, 3072), np.uint8), [200]), "test image 0 has the label 200"),
            (b"\x80\x02}(U\x04dataK\x01U\x06labels]u.", "its images do not have"),
            (b"\x80\x02}.", "'data'"),
            (b"\x80\x02].", "does not contain a dictionary"),
        ],
    )
    def test_wrong_content(self, cifar_root: Path, payload: bytes, message: str) -> None:
        (cifar_root / "cifar-10-batches-py/test_batch").write_bytes(payload)
        module = build_data("cifar10", f"data.root={cifar_root}", "data.verify=false")
        with pytest.warns(match="taken as it is"), pytest.raises(UserError, match=message):
            module.read_checked(train=False)

    def test_a_label_below_0(self, cifar_root: Path) -> None:
        payload = python2_pickle(np.zeros((1, 3072), np.uint8), [5]).replace(b"K\x05eu.", b"J\xff\xff\xff\xffeu.")
        (cifar_root / "cifar-10-batches-py/test_batch").write_bytes(payload)
        module = build_data("cifar10", f"data.root={cifar_root}", "data.verify=false")
        with pytest.warns(match="taken as it is"), pytest.raises(UserError, match="test image 0 has the label -1"):
            module.read_checked(train=False)
