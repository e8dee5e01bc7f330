"""Damage in a checkpoint is found, wherever it is, and nothing in it runs."""

import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from leyden.errors import UserError
from leyden.records.checkpoint_file import AtomicCheckpointIO, check_resumable, read_checkpoint

GOOD: dict[str, Any] = {
    "state_dict": {"w": torch.arange(1000.0)},
    "epoch": 1,
    "global_step": 10,
    "loops": {"fit_loop": {}},
    "callbacks": {},
    "optimizer_states": [],
    "lr_schedulers": [],
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint(GOOD, path)
    return path


def test_it_reads_what_was_written(path: Path) -> None:
    assert torch.equal(read_checkpoint(path)["state_dict"]["w"], GOOD["state_dict"]["w"])
    assert [entry.name for entry in path.parent.iterdir()] == ["last.ckpt"]


@pytest.mark.parametrize("name", ["callbacks", "optimizer_states", "lr_schedulers"])
def test_a_checkpoint_without_the_state_of_the_training_can_be_read_but_not_resumed(path: Path, name: str) -> None:
    check_resumable(read_checkpoint(path), path)
    torch.save({key: value for key, value in GOOD.items() if key != name}, path)
    checkpoint = read_checkpoint(path)
    assert torch.equal(checkpoint["state_dict"]["w"], GOOD["state_dict"]["w"])
    with pytest.raises(UserError, match=rf"last\.ckpt: cannot be resumed from, because it has no {name}"):
        check_resumable(checkpoint, path)


def test_a_flipped_bit_in_a_weight_is_found(path: Path) -> None:
    content = bytearray(path.read_bytes())
    place = content.index(GOOD["state_dict"]["w"][500:510].numpy().tobytes())
    content[place] ^= 0x40
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"last\.ckpt: is damaged \(the checksum of .* does not match\)"):
        read_checkpoint(path)
    with pytest.raises(UserError, match="is damaged"):
        AtomicCheckpointIO().load_checkpoint(path)


@pytest.mark.parametrize("size", [0, 1, 100, 1000, 4000])
def test_a_truncated_file_is_found(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(UserError, match="cannot be read") as caught:
        read_checkpoint(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        [1, 2],
        {"state_dict": {}},
        {**GOOD, "callbacks": "x"},
        {**GOOD, "optimizer_states": {}},
        {**GOOD, "lr_schedulers": {}},
        {name: value for name, value in GOOD.items() if name != "loops"},
        {**GOOD, "state_dict": [1]},
        {**GOOD, "state_dict": {"w": 3}},
        7,
        "text",
        None,
    ],
)
def test_a_file_that_is_no_checkpoint_is_named(path: Path, content: Any) -> None:
    torch.save(content, path)
    with pytest.raises(UserError, match="is not a checkpoint of Leyden"):
        read_checkpoint(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_reported(path: Path, value: float) -> None:
    torch.save({**GOOD, "state_dict": {"w": torch.tensor([1.0, value])}}, path)
    with pytest.raises(UserError, match="the weight w is not finite"):
        read_checkpoint(path)


def test_garbage_and_other_archives_give_one_line(path: Path) -> None:
    for content in (b"\x00" * 5000, b"PK\x03\x04" + b"x" * 500, b"ustar" * 300):
        path.write_bytes(content)
        with pytest.raises(UserError, match="cannot be read"):
            read_checkpoint(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"garbage")
    with pytest.raises(UserError, match="cannot be read"):
        read_checkpoint(path)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        read_checkpoint(tmp_path / "last.ckpt")


def test_code_in_a_checkpoint_does_not_run(path: Path, tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "attacked",))

    torch.save({**GOOD, "state_dict": Attack()}, path)
    with pytest.raises(UserError, match="cannot be read"):
        read_checkpoint(path)
    assert not (tmp_path / "attacked").exists()
