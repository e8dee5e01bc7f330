"""Damaged and hostile checkpoints."""

import io
import pickle
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from scripts.torture_lib.corpus import EVALUATE, LOAD, RESUME, TRACE, Case, Place, flipped

FLIPS = 12
CUTS = 8
LAST, BEST = "checkpoints/last.ckpt", "checkpoints/best.ckpt"


def checkpoint_cases() -> Iterator[Case]:
    for name, command in ((LAST, RESUME), (BEST, RESUME), (BEST, LOAD), (BEST, EVALUATE)):
        for number in range(FLIPS):
            yield Case(
                f"a flipped bit in {name}, {number}, {command[0]}",
                on(name, flipped((number + 0.37) / FLIPS)),
                command,
                (0, 2),
                True,
            )
        if command is not EVALUATE:
            for number in range(CUTS):
                yield Case(
                    f"{name} cut, {number}, {command[0]}", on(name, cut((number + 0.5) / CUTS)), command, (0, 2), True
                )
            yield Case(
                f"a flipped bit inside the largest weight of {name}, {command[0]}",
                on(name, flip_weight),
                command,
                (0, 2),
                True,
            )
    for name, command in ((LAST, RESUME), (BEST, LOAD), (BEST, RESUME)):
        for what, make in BOMBS.items():

            def prepare(place: Place, name: str = name, make: Callable[[Path, str], None] = make) -> None:
                make(place.run / name, str(place.outside / TRACE))

            yield Case(f"{name} is {what}, {command[0]}", prepare, command, (0, 2), True)
        for what, change in CHANGES.items():
            yield Case(f"{name}: {what}, {command[0]}", on(name, changed(change)), command, (0, 2, 3))


def on(name: str, damage: Callable[[Path], None]) -> Callable[[Place], None]:
    return lambda place: damage(place.run / name)


def cut(fraction: float) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * fraction)])

    return damage


def flip_weight(path: Path) -> None:
    """Flip a bit in the middle of the largest record of the archive, without changing its checksum."""
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda info: info.file_size)
    data = bytearray(path.read_bytes())
    data[largest.header_offset + largest.file_size // 2] ^= 64
    path.write_bytes(bytes(data))


class Bomb:
    """Runs code when it is unpickled."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.function, self.arguments


def plain_pickle(path: Path, trace: str) -> None:
    path.write_bytes(pickle.dumps(Bomb(exec, f"open({trace!r}, 'w')")))


def zipped(path: Path, trace: str) -> None:
    torch.save({"state_dict": Bomb(exec, f"open({trace!r}, 'w')")}, path)


def legacy(path: Path, trace: str) -> None:
    torch.save({"state_dict": Bomb(open, trace, "w")}, path, _use_new_zipfile_serialization=False)


def zip_bomb(path: Path, trace: str) -> None:
    """A record of 4 GB of zeros, packed into 4 MB."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(16):
            archive.writestr(f"archive/data/{number}", bytes(1 << 28) if number == 0 else b"")
        archive.writestr("archive/data.pkl", pickle.dumps({}))


def huge_string(path: Path, trace: str) -> None:
    """A pickle that announces a string of 8 EB."""
    path.write_bytes(b"\x80\x04\x8d" + (1 << 62).to_bytes(8, "little") + b"x.")


def huge_tensor(path: Path, trace: str) -> None:
    """A tensor whose shape needs terabytes, although its storage has only four bytes."""
    tensor = torch.zeros(1).expand(1 << 20, 1 << 20)
    torch.save({"state_dict": {"net.weight": tensor}, "epoch": 0, "global_step": 0, "loops": {}}, path)


def deep(path: Path, trace: str) -> None:
    path.write_bytes(b"\x80\x04" + b"]" * 100_000 + b"a" * 99_999 + b".")


BOMBS: dict[str, Callable[[Path, str], None]] = {
    "a pickle that runs code": plain_pickle,
    "a zip with a pickle that runs code": zipped,
    "an old checkpoint that runs code": legacy,
    "a zip bomb": zip_bomb,
    "a pickle with a huge string": huge_string,
    "an expanded tensor of terabytes": huge_tensor,
    "a pickle with 100,000 lists": deep,
}


def changed(change: Callable[[Any], Any]) -> Callable[[Path], None]:
    """Load, change and save a checkpoint."""

    def damage(path: Path) -> None:
        checkpoint = torch.load(path, weights_only=True)
        result = change(checkpoint)
        data = io.BytesIO()
        torch.save(checkpoint if result is None else result, data)
        path.write_bytes(data.getvalue())

    return damage


def weights(function: Callable[[torch.Tensor], Any]) -> Callable[[Any], None]:
    def change(checkpoint: Any) -> None:
        checkpoint["state_dict"] = {name: function(value) for name, value in checkpoint["state_dict"].items()}

    return change


CHANGES: dict[str, Callable[[Any], Any]] = {
    "a list": lambda _: [1, 2],
    "a tensor": lambda _: torch.zeros(3),
    "no state_dict": lambda one: one.pop("state_dict") and None,
    "no loops": lambda one: one.pop("loops") and None,
    "no optimizer_states": lambda one: one.pop("optimizer_states", None) and None,  # best.ckpt never has them
    "no lr_schedulers": lambda one: one.pop("lr_schedulers", None) and None,
    "no callbacks": lambda one: one.pop("callbacks", None) and None,
    "state_dict is a list": lambda one: one.update(state_dict=[1]),
    "loops is a number": lambda one: one.update(loops=3),
    "loops is empty": lambda one: one.update(loops={}),
    "callbacks is a text": lambda one: one.update(callbacks="x"),
    "lr_schedulers is a text": lambda one: one.update(lr_schedulers="x"),
    "optimizer_states is empty": lambda one: one.update(optimizer_states=[]),
    "global_step is a text": lambda one: one.update(global_step="x"),
    "global_step is huge": lambda one: one.update(global_step=10**30),
    "numbers instead of weights": weights(lambda _: 3),
    "weights of another shape": weights(lambda weight: weight.reshape(-1)[:1]),
    "weights of another type": weights(lambda weight: weight.to(torch.complex64)),
    "weights that are NaN": weights(lambda weight: weight * float("nan") if weight.is_floating_point() else weight),
    "no weights": lambda one: one.update(state_dict={}),
    "more weights": lambda one: one["state_dict"].update({"net.\x1b[31mextra": torch.zeros(1)}),
}
