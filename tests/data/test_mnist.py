"""The reader of MNIST, with tiny files in the official format."""

import gzip
from pathlib import Path

import pytest

from leyden.data import mnist
from leyden.data.mnist import MNIST
from leyden.errors import UserError
from tests.data.building import build_data


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
        with pytest.raises(UserError, match=r"t10k-images-idx3-ubyte: MD5 is .* data.verify=false"):
            build_data("mnist", f"data.root={mnist_root}").read(train=False)

    def test_a_file_that_is_cut_off(self, mnist_root: Path) -> None:
        path = mnist_root / "MNIST/raw/train-images-idx3-ubyte"
        for size, problem in ((len(path.read_bytes()) - 1, "holds 31359 bytes, its header says 31360"), (9, "header")):
            path.write_bytes(path.read_bytes()[:size])
            with pytest.raises(UserError, match=problem):
                mnist.read_idx(path)

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
