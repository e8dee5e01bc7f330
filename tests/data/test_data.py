"""Splits, batches and augmentation by hand-made examples; the readers on tiny files in the official formats."""

import gzip
import hashlib
import pickle
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch

from leyden.config.builders import cfg_dict
from leyden.config.compose import compose, groups
from leyden.config.instantiate import build
from leyden.data import mnist, splits
from leyden.data.cifar10 import CIFAR10
from leyden.data.datamodule import InMemoryData
from leyden.data.download import download
from leyden.data.images import ImageData, PixelData
from leyden.data.loaders import EvalLoader, Normalise, ShiftAndFlip, TrainLoader
from leyden.data.mnist import MNIST
from leyden.errors import UserError
from tests.conftest import chosen

CPU = torch.device("cpu")
AS_IS = Normalise([0.0], [1 / 255], CPU)  # 0 to 255 stay 0 to 255


def numbered(num: int, side: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """`num` grey images, each filled with its number, and the numbers as labels."""
    return torch.arange(num, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, side, side).clone(), torch.arange(num)


def augmented(images: tuple[torch.Tensor, torch.Tensor], batch_size: int, shift: int, flip: bool, **kwargs: Any) -> Any:
    """Training batches as those of an image data set with `shift` and `flip`."""
    augment = data("synthetic", f"data.shift={shift}", f"data.flip={flip}").augmentation(*images)
    return TrainLoader(*images, batch_size, AS_IS, augment=augment, **kwargs)


def data(name: str, *overrides: str) -> Any:
    return build(cfg_dict(compose(*chosen(name), *overrides).data), "data")


class TestEveryDataSet:
    @pytest.mark.parametrize("name", groups()["data"])
    def test_reads_what_its_config_says(self, name: str) -> None:
        module = data(name)
        assert isinstance(module, InMemoryData)
        if not all(path.exists() for path in module.files()):
            pytest.skip(f"the files of {name} are not here")
        module.setup("fit")
        assert module.test is None, "the test set was read before the end"
        module.setup("test")
        for split in (module.train, module.val, module.test):
            assert split is not None
            inputs, targets = split
            assert len(inputs) == len(targets) > 0
            if isinstance(module, ImageData):
                assert (inputs.dtype, targets.dtype) == (torch.uint8, torch.int64)
                assert targets.unique().tolist() == list(range(module.num_classes)), "a class is missing"
        for batches in (module.train_dataloader(), module.val_dataloader(), module.test_dataloader()):
            inputs, targets = next(iter(batches))
            assert inputs.dtype == torch.float32
            assert inputs.shape == (len(targets), *module.shape)
            assert targets.shape[1:] == next(iter(module.test_dataloader()))[1].shape[1:]

    @pytest.mark.parametrize("name", groups()["data"])
    def test_normalisation_fits_its_pixels(self, name: str) -> None:
        module = data(name)
        if not isinstance(module, PixelData):
            pytest.skip("its statistics are fitted, see tests/test_scaling.py")
        if not all(path.exists() for path in module.files()):
            pytest.skip(f"the files of {name} are not here")
        module.setup("fit")
        normalised = torch.cat([images for images, _ in module.val_dataloader()])
        assert normalised.mean().abs() < 0.1
        assert (normalised.std() - 1).abs() < 0.2


class TestSplits:
    labels = torch.tensor([0] * 50 + [1] * 30 + [2] * 20)

    def test_a_fraction_is_the_same_of_each_class(self) -> None:
        chosen = splits.fraction(self.labels, 0.1, seed=0)
        assert torch.bincount(self.labels[chosen]).tolist() == [5, 3, 2]

    def test_it_follows_from_the_seed(self) -> None:
        assert torch.equal(splits.fraction(self.labels, 0.1, 0), splits.fraction(self.labels, 0.1, 0))
        assert not torch.equal(splits.fraction(self.labels, 0.1, 0), splits.fraction(self.labels, 0.1, 1))

    def test_a_rare_class_is_not_left_out(self) -> None:
        assert splits.fraction(torch.tensor([0] * 100 + [1]), 0.1, 0)[100]

    def test_folds_are_disjoint_cover_all_and_stratified(self) -> None:
        folds = torch.stack([splits.fold(self.labels, 5, index, seed=0) for index in range(5)])
        assert (folds.sum(0) == 1).all()
        assert all(torch.bincount(self.labels[fold]).tolist() == [10, 6, 4] for fold in folds)

    def test_train_and_validation_share_no_image(self) -> None:
        module = data("synthetic", "data.num_folds=4", "data.fold=2")
        module.setup("fit")
        both = torch.cat([module.train[0], module.val[0]]).flatten(1)
        assert (len(module.train[1]), len(module.val[1])) == (1500, 500)
        assert len(both.unique(dim=0)) == 2000

    def test_limit_keeps_a_fraction_of_the_training_set_only(self) -> None:
        module = data("synthetic", "data.limit=0.1")
        module.setup("fit")
        module.setup("test")
        assert module.sizes() == {"train": 180, "val": 20, "test": 500}


class TestTrainBatches:
    def test_an_epoch_has_each_sample_once_in_an_order_of_its_own(self) -> None:
        epoch = 0
        batches = TrainLoader(*numbered(10), 4, AS_IS, position=lambda: (epoch, 0))
        first = torch.cat([labels for _, labels in batches])
        epoch = 1
        second = torch.cat([labels for _, labels in batches])
        assert len(batches) == 3
        assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(10))
        assert first.tolist() != second.tolist() != list(range(10))

    def test_images_stay_with_their_labels(self) -> None:
        for images, labels in augmented(numbered(10), 4, shift=1, flip=True):
            assert (images.flatten(1).amax(1).round() == labels).all()

    def test_it_goes_on_at_any_batch_as_if_it_had_never_stopped(self) -> None:
        whole = list(augmented(numbered(50), 8, shift=2, flip=True, seed=3, position=lambda: (5, 0)))
        rest = list(augmented(numbered(50), 8, shift=2, flip=True, seed=3, position=lambda: (5, 4)))
        assert len(rest) == 3
        for (images, labels), (same_images, same_labels) in zip(whole[4:], rest, strict=True):
            assert torch.equal(images, same_images)
            assert torch.equal(labels, same_labels)

    def test_processes_share_no_sample_and_have_equally_many_batches(self) -> None:
        shares = [TrainLoader(*numbered(20), 2, AS_IS, rank=rank, world=3) for rank in range(3)]
        seen = [torch.cat([labels for _, labels in share]).tolist() for share in shares]
        assert [len(share) for share in shares] == [3, 3, 3]
        assert [len(labels) for labels in seen] == [6, 6, 6]
        assert len({label for labels in seen for label in labels}) == 18

    def test_no_batch_of_one(self) -> None:
        assert [len(labels) for _, labels in TrainLoader(*numbered(9), 4, AS_IS)] == [4, 4]
        assert [len(labels) for _, labels in TrainLoader(*numbered(1), 4, AS_IS)] == [1]


class TestEvalBatches:
    @pytest.mark.parametrize("world", [1, 2, 3])
    def test_processes_together_see_each_sample_once_in_batches_that_do_not_depend_on_them(self, world: int) -> None:
        shares = [list(EvalLoader(*numbered(101), 500, AS_IS, rank, world)) for rank in range(world)]
        batches = {tuple(labels.tolist()) for share in shares for _, labels in share}
        assert batches == {tuple(range(start, min(start + 7, 101))) for start in range(0, 101, 7)}


class TestAugmentation:
    def test_without_shift_and_flip_it_gives_the_images_back(self) -> None:
        images = torch.randint(0, 256, (5, 3, 4, 6), dtype=torch.uint8)
        index = torch.tensor([4, 0, 2])
        assert torch.equal(ShiftAndFlip(images, 0, False)(index, torch.Generator()), images[index])

    def test_every_result_is_a_shift_or_mirror_of_its_image_and_all_of_them_come(self) -> None:
        images = torch.randint(1, 256, (2, 3, 4, 5), dtype=torch.uint8)
        padded = torch.nn.functional.pad(images, (1, 1, 1, 1), mode="reflect")
        possible = [
            [torch.stack([window, window.flip(-1)]) for y in range(3) for x in range(3)
             for window in [padded[number, :, y : y + 4, x : x + 5]]]
            for number in range(2)
        ]  # fmt: skip
        index = torch.arange(2).repeat(400)
        found = ShiftAndFlip(images, 1, True)(index, torch.Generator().manual_seed(0))
        for number in range(2):
            mine = found[index == number]
            choices = torch.cat(possible[number])
            matches = (mine[:, None] == choices[None]).flatten(2).all(2)
            assert (matches.sum(1) == 1).all()
            assert (matches.sum(0) > 0).all(), "some shift or mirror never comes"

    def test_normalise(self) -> None:
        pixels = torch.tensor([[[[0, 255]], [[51, 102]]]], dtype=torch.uint8)
        expected = torch.tensor([[[[-1.0, 1.0]], [[0.0, 0.8]]]])
        assert torch.allclose(Normalise([0.5, 0.2], [0.5, 0.25], CPU)(pixels), expected, atol=1e-6)


class TestMNIST:
    def test_reads_the_official_format(self, mnist_root: Path) -> None:
        module = data("mnist", f"data.root={mnist_root}", "data.verify=false")
        with pytest.warns(UserWarning, match="taken as it is"):
            images, labels = module.read(train=True)
        assert images.shape == (40, 1, 28, 28)
        assert images[:, 0, 0, 0].tolist() == list(range(40))
        assert labels.tolist() == [number % 10 for number in range(40)]
        assert not module.verified

    def test_another_checksum_is_an_error_that_names_the_file(self, mnist_root: Path) -> None:
        with pytest.raises(UserError, match=r"t10k-images-idx3-ubyte: MD5 is .* data.verify=false"):
            data("mnist", f"data.root={mnist_root}").read(train=False)

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
        module = data("mnist", f"data.root={mnist_root}", "data.download=false")
        module.prepare_data()
        assert path.read_bytes() == content

    def test_offline_it_says_the_three_ways_out(self, tmp_path: Path) -> None:
        module = data("mnist", f"data.root={tmp_path}", "data.download=false")
        with pytest.raises(UserError) as caught:
            module.prepare_data()
        message = str(caught.value)
        assert str(tmp_path / "MNIST/raw/train-images-idx3-ubyte") in message
        assert "data.mirrors=" in message
        assert "data=digits" in message
        assert isinstance(module, MNIST)


class TestCIFAR10:
    def test_reads_the_official_format(self, cifar_root: Path) -> None:
        module = data("cifar10", f"data.root={cifar_root}", "data.verify=false")
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
        module = data("cifar10", f"data.root={cifar_root}", "data.verify=false")
        with pytest.raises(UserError, match="it wants to call"), pytest.warns(match="taken as it is"):
            module.read(train=False)
        assert not (tmp_path / "attacked").exists()

    @pytest.mark.parametrize("keep", [0, 100, -5])
    def test_a_file_that_is_cut_off(self, cifar_root: Path, keep: int) -> None:
        path = cifar_root / "cifar-10-batches-py/test_batch"
        path.write_bytes(path.read_bytes()[:keep])
        module = data("cifar10", f"data.root={cifar_root}", "data.verify=false")
        with (
            pytest.raises(UserError, match="test_batch: is not a CIFAR-10 batch or is damaged"),
            pytest.warns(match="taken as it is"),
        ):
            module.read(train=False)


CONTENT = bytes(range(256)) * 5000
CHECKSUM = hashlib.md5(CONTENT).hexdigest()


class Mirror(BaseHTTPRequestHandler):
    """Serves CONTENT, ranges too; under /cut/ it hangs up half-way, under /bad/ it serves something else."""

    requested: list[str | None]

    def do_GET(self) -> None:
        content = CONTENT[::-1] if "/bad/" in self.path else CONTENT
        wanted = self.headers["Range"]
        self.requested.append(wanted)
        first = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
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
    get = staticmethod(partial(download, "file.bin", checksum=CHECKSUM, wanted="file"))

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
