"""The reader of CIFAR-10, with tiny files in the official format."""

import pickle
from pathlib import Path
from typing import Any

import pytest

from leyden.data.cifar10 import CIFAR10
from leyden.errors import UserError
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
