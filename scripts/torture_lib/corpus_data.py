"""Damaged and hostile data files: IDX files, CIFAR batches and archives."""

import gzip
import io
import os
import pickle
import struct
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from scripts.torture_lib.corpus import DAMAGES, TRACE, Case, Place
from scripts.torture_lib.corpus_checkpoints import Bomb

SMOKE = ("trainer=smoke", "model=mlp", "paths.logs=RUN/logs", "data.batch_size=4")
MNIST = ("train.py", "data=mnist", "data.root=RUN", "data.verify=false", "data.download=false", *SMOKE)
CIFAR = ("train.py", "data=cifar10", "data.root=RUN", "data.verify=false", "data.download=false", *SMOKE)
SPOILT = (0, 2)  # some damage leaves a valid file


def data_cases() -> Iterator[Case]:
    for maker in (idx_cases, cifar_cases, archive_cases):
        yield from maker()


def idx(*shape: int, data: bytes | None = None) -> bytes:
    header = b"\0\0\x08" + bytes([len(shape)]) + struct.pack(f">{len(shape)}I", *shape)
    return header + (bytes(int(np.prod(shape))) if data is None else data)


def mnist(root: Path) -> Path:
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for prefix, number in (("train", 40), ("t10k", 20)):
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(idx(number, 28, 28))
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(number, data=bytes(i % 10 for i in range(number))))
    return raw


def idx_cases() -> Iterator[Case]:
    contents = {
        "no images": idx(0, 28, 28),
        "a huge header": idx(1 << 31, 1 << 31, 1 << 31, data=b"xx"),
        "255 axes": b"\0\0\x08\xff" + b"\0\0\0\1" * 255 + b"x",
        "no axes": b"\0\0\x08\0x",
        "float data": b"\0\0\x0d\x03" + bytes(100),
        "images of another size": idx(40, 14, 14),
        "one axis too few": idx(40, 784),
        "fewer images": idx(39, 28, 28),
    }
    makers = {**DAMAGES, **{what: write_content(content) for what, content in contents.items()}}
    for what, damage in makers.items():
        for name in ("train-images-idx3-ubyte", "t10k-images-idx3-ubyte"):

            def prepare(place: Place, name: str = name, damage: Callable[[Path], None] = damage) -> None:
                damage(mnist(place.run) / name)

            yield Case(f"{name}: {what}", prepare, MNIST, SPOILT, template="empty")
    for what, labels in {"out of range": bytes([200] * 40), "one missing": bytes(39), "one class": bytes(40)}.items():

        def prepare_labels(place: Place, labels: bytes = labels) -> None:
            (mnist(place.run) / "train-labels-idx1-ubyte").write_bytes(idx(len(labels), data=labels))

        yield Case(f"MNIST labels: {what}", prepare_labels, MNIST, SPOILT, template="empty")
    packed = {"a gzip bomb": None, "damaged": b"\x1f\x8b" + bytes(50), "not gzip": b"hello", "empty": b""}
    for what, content in packed.items():

        def prepare_packed(place: Place, content: bytes | None = content) -> None:
            raw = mnist(place.run)
            (raw / "train-images-idx3-ubyte").unlink()
            (raw / "train-images-idx3-ubyte.gz").write_bytes(gzip_bomb() if content is None else content)

        yield Case(f"train-images-idx3-ubyte.gz: {what}", prepare_packed, MNIST, template="empty")


def write_content(content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content)

    return write


def gzip_bomb(gigabytes: int = 4) -> bytes:
    """Return a gzip file of zeros that unpacks to `gigabytes`. Such files may be joined, so one is repeated."""
    return gzip.compress(bytes(1 << 26)) * (gigabytes << 4)


def batch(images: object, labels: object) -> bytes:
    return pickle.dumps({b"data": images, b"labels": labels}, protocol=2)


def cifar(root: Path) -> Path:
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    good = batch(np.zeros((20, 3072), np.uint8), list(range(10)) * 2)
    for name in [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]:
        (folder / name).write_bytes(good)
    return folder


def cifar_cases() -> Iterator[Case]:
    images = np.zeros((20, 3072), np.uint8)
    contents = {
        "labels of -1": batch(images, [-1] * 20),
        "labels of 200": batch(images, [200] * 20),
        "nested labels": batch(images, [[1]] * 20),
        "text labels": batch(images, ["a"] * 20),
        "too few labels": batch(images, [1]),
        "no images": batch(np.zeros((0, 3072), np.uint8), []),
        "images of another size": batch(np.zeros((20, 100), np.uint8), [1] * 20),
        "float images": batch(np.full((20, 3072), np.nan), [1] * 20),
        "a number": pickle.dumps(3, 2),
        "a list": pickle.dumps([1], 2),
        "other keys": pickle.dumps({b"x": 1}, 2),
        "code": pickle.dumps(Bomb(os.system, f"touch {TRACE}"), 2),
        "a huge text": b"\x80\x04\x8d" + (1 << 62).to_bytes(8, "little") + b"x.",
        "100,000 lists": b"\x80\x04" + b"]" * 100_000 + b"a" * 99_999 + b".",
        "state for a dict": b"\x80\x02}}b.",
        "an array of objects": pickle.dumps({b"data": np.array([None], dtype=object), b"labels": [1]}, 2),
    }
    makers = {**DAMAGES, **{what: write_content(content) for what, content in contents.items()}}
    for what, damage in makers.items():

        def prepare(place: Place, damage: Callable[[Path], None] = damage) -> None:
            damage(cifar(place.run) / "data_batch_2")

        yield Case(f"data_batch_2: {what}", prepare, CIFAR, SPOILT, template="empty")


def archive_cases() -> Iterator[Case]:
    name = "cifar-10-batches-py/data_batch_2"

    def member(kind: bytes, target: str = "", path: str = name, size: int = 0) -> bytes:
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w:gz") as tar:
            info = tarfile.TarInfo(path)
            info.type, info.linkname, info.size = kind, target, size
            tar.addfile(info, io.BytesIO(bytes(size)) if size else None)
        return data.getvalue()

    contents = {
        "links in a ring": member(tarfile.SYMTYPE, "data_batch_2"),
        "a link to a file outside": member(tarfile.SYMTYPE, "/etc/passwd"),
        "a folder": member(tarfile.DIRTYPE),
        "a pipe": member(tarfile.FIFOTYPE),
        "a path that leads outside": member(tarfile.REGTYPE, path="../../outside/x", size=10),
        "an empty file": member(tarfile.REGTYPE),
        "a huge file of zeros": member(tarfile.REGTYPE, size=1 << 29),
        "empty": b"",
        "not an archive": b"hello" * 100,
        "cut": member(tarfile.REGTYPE, size=1 << 16)[:60],
    }
    for what, content in contents.items():

        def prepare(place: Place, content: bytes = content) -> None:
            (cifar(place.run) / "data_batch_2").unlink()
            (place.run / "cifar-10-python.tar.gz").write_bytes(content)

        yield Case(f"cifar-10-python.tar.gz: {what}", prepare, CIFAR, template="empty")
