"""The reader of MNIST, with tiny files in the official format."""

import gzip
import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from leyden.data import mnist
from leyden.data.download import Published
from leyden.data.mnist import MNIST
from leyden.errors import UserError
from tests.conftest import write_idx
from tests.data.building import build_data


def published(folder: Path) -> dict[str, Published]:
    """Say that the files in `folder` are the published ones."""
    return {
        name: Published((folder / name).stat().st_size, hashlib.md5((folder / name).read_bytes()).hexdigest())
        for name in mnist.FILES
    }


class TestMNIST:
    def test_reads_the_official_format(self, mnist_root: Path) -> None:
        module = build_data("mnist", f"data.root={mnist_root}", "data.verify=false")
        with pytest.warns(UserWarning, match="taken as it is"):
            images, labels = module.read(train=True)
        assert images.shape == (40, 1, 28, 28)
        assert images[:, 0, 0, 0].tolist() == list(range(40))
        assert labels.tolist() == [number % 10 for number in range(40)]
        assert not module.verified

    def test_another_checksum_is_an_error_that_names_the_file(self, mnist_root: Path) -> None:
        with pytest.raises(
            UserError, match=r"images-idx3-ubyte: has 15,696 bytes, published are 7,840,016; .*data.verify=false"
        ):
            build_data("mnist", f"data.root={mnist_root}").read(train=False)

    def test_a_file_that_is_cut_off(self, mnist_root: Path) -> None:
        path = mnist_root / "MNIST/raw/train-images-idx3-ubyte"
        for size, problem in ((len(path.read_bytes()) - 1, "holds 31359 bytes, its header says 31360"), (9, "header")):
            path.write_bytes(path.read_bytes()[:size])
            with pytest.raises(UserError, match=problem):
                mnist.read_idx(path.read_bytes(), path, num_axes=3)

    def test_unpacks_what_lies_there_packed(self, mnist_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = mnist_root / "MNIST/raw/train-labels-idx1-ubyte"
        content = path.read_bytes()
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(content))
        path.unlink()
        module = build_data("mnist", f"data.root={mnist_root}", "data.download=false")
        module.prepare_data()
        assert path.read_bytes() == content

    def test_offline_it_says_the_three_ways_out(self, tmp_path: Path) -> None:
        module = build_data("mnist", f"data.root={tmp_path}", "data.download=false")
        with pytest.raises(UserError) as caught:
            module.prepare_data()
        message = str(caught.value)
        assert str(tmp_path / "MNIST/raw/train-images-idx3-ubyte") in message
        assert "data.mirrors=" in message
        assert "data=digits" in message
        assert isinstance(module, MNIST)

    def test_a_damaged_test_file_is_found_before_the_training(
        self, mnist_root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The test set is not read before the end, but its files are verified."""
        monkeypatch.setattr(MNIST, "published", published(mnist_root / "MNIST/raw"))
        module = build_data("mnist", f"data.root={mnist_root}")
        module.setup("fit")
        assert module.verified
        assert module.test is None
        assert module.describe() == "10 classes (0, 1, 2, 3, 4, 5, 6, 7, 8, 9), 30 train, 10 val, 20 test"
        path = mnist_root / "MNIST/raw/t10k-images-idx3-ubyte"
        content = bytearray(path.read_bytes())
        content[5000] ^= 1
        path.write_bytes(content)
        other = build_data("mnist", f"data.root={mnist_root}")
        with pytest.raises(UserError, match=r"t10k-images-idx3-ubyte: MD5 is .*, published is"):
            other.setup("fit")
        tolerant = build_data("mnist", f"data.root={mnist_root}", "data.verify=false")
        with pytest.warns(UserWarning, match="taken as it is"):
            tolerant.setup("fit")
        assert not tolerant.verified
        assert tolerant.fingerprint() != module.fingerprint()
        tolerant.setup("test")  # warns once


HEADER = b"\0\0\x08"


def test_a_test_file_that_cannot_be_read_is_found_before_the_training_also_without_verification(
    mnist_root: Path,
) -> None:
    path = mnist_root / "MNIST/raw/t10k-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    for data in (("mnist",), ("digit_pairs", "data.source=mnist")):
        module = build_data(*data, f"data.root={mnist_root}", "data.verify=false")
        with (
            pytest.warns(match="taken as it is"),
            pytest.raises(UserError, match="t10k-images-idx3-ubyte: holds 15679"),
        ):
            module.setup("fit")


class TestHostileFiles:
    """One line, in bounded time and memory."""

    @pytest.mark.parametrize(
        ("payload", "message"),
        [
            (b"", "is not an IDX file of bytes"),
            (HEADER + b"\x03" + b"\xff" * 12, "holds 0 bytes, its header says"),
            (HEADER + b"\x03" + bytes(12), "contains no values"),
            (HEADER + b"\xff" + bytes(2000), "has 255 axes instead of 3"),
            (HEADER + b"\x03\0\0", "is cut off in its header"),
        ],
    )
    def test_headers(self, payload: bytes, message: str) -> None:
        with pytest.raises(UserError, match=f"^x: {message}"):
            mnist.read_idx(payload, Path("x"), num_axes=3)

    def test_a_label_that_does_not_exist(self, mnist_root: Path) -> None:
        labels = np.arange(40) % 10
        labels[17] = 11
        write_idx(mnist_root / "MNIST/raw/train-labels-idx1-ubyte", labels)
        module = build_data("mnist", f"data.root={mnist_root}", "data.verify=false")
        message = "data.num_classes: got 10, but training image 17 has the label 11; labels are 0 to 9"
        with pytest.warns(match="taken as it is"), pytest.raises(UserError, match=f"^{message}"):
            module.setup("fit")

    def test_a_gzip_bomb(self, tmp_path: Path) -> None:
        with gzip.open(tmp_path / "bomb.gz", "wb") as file:
            for _ in range(50):
                file.write(bytes(1_000_000))
        with pytest.raises(UserError, match=r"bomb.gz: contains more than the 40,000 bytes that were published"):
            mnist.unpack(tmp_path / "bomb.gz", tmp_path / "bomb", size=40_000)
        assert not (tmp_path / "bomb").exists()

    @pytest.mark.parametrize("verify", [True, False])
    def test_pipes_devices_and_huge_files(self, mnist_root: Path, verify: bool) -> None:
        path = mnist_root / "MNIST/raw/t10k-labels-idx1-ubyte"
        module = build_data("mnist", f"data.root={mnist_root}", f"data.verify={verify}")
        for create, message in (
            (lambda: os.mkfifo(path), "is not a regular file"),
            (lambda: path.symlink_to("/dev/zero"), "is not a regular file"),
            (lambda: path.symlink_to(path), "cannot read"),
            (lambda: os.truncate(path, 10**12) if path.write_bytes(b"") == 0 else None, "bytes"),
        ):
            path.unlink()
            create()
            with pytest.raises(UserError, match=message):
                module.read_file(path)

    def test_the_partial_file_of_unpacking_is_never_a_link(self, mnist_root: Path, tmp_path: Path) -> None:
        victim = tmp_path / "victim"
        victim.write_text("precious")
        with gzip.open(mnist_root / "packed.gz", "wb") as file:
            file.write(b"1234")
        (mnist_root / "unpacked.partial").symlink_to(victim)
        mnist.unpack(mnist_root / "packed.gz", mnist_root / "unpacked", size=100)
        assert (mnist_root / "unpacked").read_bytes() == b"1234"
        assert victim.read_text() == "precious"
