"""Data that is larger than a quarter of the memory: the same samples, from files."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from leyden.config.builders import build_data
from leyden.config.compose import compose
from leyden.data import large
from leyden.data.datamodule import InMemoryData


@pytest.fixture
def small_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose memory is so small that every array is large."""
    monkeypatch.setattr(large, "memory", lambda: 4)
    monkeypatch.setattr(large, "CHUNK", 1000)


def ready(*overrides: str) -> InMemoryData:
    data = build_data(compose(*overrides))
    data.prepare_data()
    data.setup("fit")
    data.setup("test")
    return data


def is_mapped(values: torch.Tensor) -> bool:
    """Whether the values are in a mapped file: /proc/self/maps names the file of every address."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        first, last = (int(address, 16) for address in line.split()[0].split("-"))
        if first <= values.data_ptr() < last:
            return len(line.split()) > 5 and line.split()[5].startswith("/")
    return False


@pytest.mark.parametrize(
    "overrides",
    [
        ["data=synthetic", "data.num_train=300", "data.num_test=50", "data.limit=0.5"],
        ["data=synthetic", "data.num_train=300", "data.num_test=50", "data.exclude_class=3"],
        [
            "data=folder",
            "data.root={root}",
            "data.cache={cache}",
            "data.shape=[3,8,8]",
            "data.mean=null",
            "data.std=null",
        ],
    ],
)
def test_large_data_has_the_same_samples(
    overrides: list[str], files_root: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    places = {"root": files_root / "images", "cache": tmp_path}
    overrides = [override.format(**places) for override in overrides]
    small = ready(*overrides)
    request.getfixturevalue("small_machine")
    mapped = ready(*overrides)
    for split in ("train", "val", "test"):
        inputs, targets = getattr(small, split)
        others, same = getattr(mapped, split)
        assert torch.equal(inputs, others)
        assert torch.equal(targets, same)
        assert is_mapped(others)
        assert not is_mapped(inputs)
    assert small.measured() == mapped.measured()


def test_a_damaged_array_is_noticed_before_it_is_mapped(tmp_path: Path, small_machine: None) -> None:
    path = tmp_path / "images.npz"
    images = np.arange(24, dtype=np.uint8).reshape(2, 3, 2, 2)
    np.savez(path, key="a", images=images)
    with np.load(path) as arrays:
        found = large.npz_array(arrays, "images", path)
    assert isinstance(found, np.memmap)
    assert np.array_equal(found, images)
    content = bytearray(path.read_bytes())
    content[content.index(bytes(range(24)))] ^= 1
    path.write_bytes(content)
    with np.load(path) as arrays, pytest.raises(zipfile.BadZipFile):
        large.npz_array(arrays, "images", path)


def test_a_full_disk_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    message = r"^needs 1,000,000.0 GB, but .* has .* GB of space. Set TMPDIR to a folder on a larger disk"
    with pytest.raises(ValueError, match=message):
        large.zeros((10**6, 10**9))
