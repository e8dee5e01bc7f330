"""Your own images: splits, cache, statistics, mistakes and broken files."""

import json
import os
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import leyden
from leyden.config.builders import section
from leyden.config.compose import compose
from leyden.config.instantiate import instantiate
from leyden.data.folder import Folder
from leyden.data.image_files import decode as decode_module
from leyden.errors import UserError
from leyden.records.run_folder import read_config
from tests.conftest import write_folder
from tests.data.building import pixels, save

Finished = Callable[..., Path]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_folder(tmp_path / "images")
    return tmp_path / "images"


def folder(root: Path, *overrides: str) -> Folder:
    """Build the data set with 4x4 colour images and its cache next to `root`. Nothing is read yet."""
    cfg = compose(
        "data=folder", f"data.root={root}", f"data.cache={root.parent / 'cache'}", "data.shape=[3,4,4]", *overrides
    )
    data = instantiate(section(cfg, "data"), "data")
    assert isinstance(data, Folder)
    return data


def ready(root: Path, *overrides: str) -> Folder:
    data = folder(root, *overrides)
    data.prepare_data()
    data.setup("fit")
    data.setup("test")
    return data


def values(split: tuple[Tensor, Tensor] | None) -> list[int]:
    """What the images of a split are filled with, which tells them apart."""
    assert split is not None
    return split[0][:, 0, 0, 0].tolist()


def everything(data: Folder) -> list[int]:
    return values(data.train) + values(data.val) + values(data.test)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by the number of files at each decoding."""
    counts: list[int] = []
    decode_all = decode_module.decode_all

    def counted(files: Sequence[Any], shape: Sequence[int]) -> Any:
        counts.append(len(files))
        return decode_all(files, shape)

    monkeypatch.setattr(decode_module, "decode_all", counted)
    return counts


class TestSplits:
    def test_one_folder_is_divided_by_class_without_overlap(self, root: Path) -> None:
        data = ready(root, "data.test_fraction=0.2", "data.val_fraction=0.25")
        assert sorted(everything(data)) == [*range(20), *range(100, 110)]
        for split in (data.train, data.val, data.test):
            assert split is not None
            assert [value >= 100 for value in values(split)] == split[1].bool().tolist()
            assert set(split[1].tolist()) == {0, 1}

    @pytest.mark.parametrize("folds", [[], ["data.num_folds=3", "data.fold=1"], ["data.limit=0.7"]])
    def test_an_added_image_does_not_change_the_split_of_another_one(self, root: Path, folds: list[str]) -> None:
        for number in range(20, 60):
            save(root / "cat" / f"{number}.png", pixels(number))
            save(root / "dog" / f"1{number}.png", pixels(number + 100))
        before = ready(root, *folds)
        splits = [set(values(split)) for split in (before.train, before.val, before.test)]
        for number in range(30):
            save(root / "cat" / f"0{number}-new.png", pixels(200 + number))
            save(root / "dog" / f"{number}-new.png", pixels(200 + number))
        after = ready(root, *folds)
        old = {*range(60), *range(100, 110), *range(120, 160)}
        assert [set(values(split)) & old for split in (after.train, after.val, after.test)] == splits
        assert all(splits)

    def test_each_class_has_an_image_in_each_split_also_if_it_is_rare(self, root: Path) -> None:
        for number in range(3):
            save(root / "eel" / f"{number}.png", pixels(number))
        data = ready(root, "data.test_fraction=0.01", "data.val_fraction=0.01")
        assert data.sizes() == {"train": 27, "val": 3, "test": 3}
        assert all(set(split[1].tolist()) == {0, 1, 2} for split in (data.train, data.val, data.test) if split)

    def test_the_split_depends_on_names_and_not_on_the_place_of_the_folder(self, root: Path) -> None:
        before = values(ready(root).test)
        moved = root.rename(root.parent / "elsewhere")
        assert values(ready(moved).test) == before

    def test_the_division_follows_from_the_seed(self, root: Path) -> None:
        one, same, other = (ready(root, f"seed={seed}") for seed in (0, 0, 1))
        assert (values(one.test), values(one.val)) == (values(same.test), values(same.val))
        assert values(one.test) != values(other.test)

    def test_classes_are_in_the_order_of_their_names_and_kept_in_the_config(self, root: Path) -> None:
        save(root / "Ant" / "deep" / "er" / "1.PNG", pixels(200))
        assert compose("data=folder", f"data.root={root}").data.classes == ["Ant", "cat", "dog"]
        assert compose("data=folder", f"data.root={root}").model.num_outputs == 3
        images, labels = folder(root).caches["train"].read()
        assert labels.tolist() == [0] + [1] * 20 + [2] * 10
        assert images[0, 0, 0, 0] == 200

    @pytest.fixture
    def split_root(self, root: Path) -> Path:
        for part in ("train", "test"):
            (root / part).mkdir()
        for name in ("cat", "dog"):
            (root / name).rename(root / "train" / name)
        for number in (50, 51):
            save(root / "test" / "cat" / f"{number}.png", pixels(number))
        return root

    def test_a_test_folder_is_the_test_set(self, split_root: Path) -> None:
        data = ready(split_root)
        assert values(data.test) == [50, 51]
        assert sorted(values(data.train) + values(data.val)) == [*range(20), *range(100, 110)]
        assert data.describe().endswith("val, 2 test")

    def test_a_val_folder_is_the_validation_set(self, split_root: Path) -> None:
        save(split_root / "val" / "dog" / "60.png", pixels(60))
        data = ready(split_root, "data.limit=0.5")
        assert (values(data.val), values(data.test)) == ([60], [50, 51])
        assert 8 <= data.sizes()["train"] <= 22
        with pytest.raises(UserError, match=r"^data\.num_folds: must be 0, because .*val is the validation set"):
            folder(split_root, "data.num_folds=3").prepare_data()

    def test_without_a_test_folder_test_is_cut_from_train(self, split_root: Path) -> None:
        (split_root / "test").rename(split_root / "val")
        data = ready(split_root)
        assert values(data.val) == [50, 51]
        assert sorted(values(data.train) + values(data.test)) == [*range(20), *range(100, 110)]
        assert len(values(data.test)) >= 2

    @pytest.mark.parametrize(
        "names",
        [
            ("Train", "Val", "Test"),
            ("training", "validation", "testing"),
            ("TRAIN", "valid", "test"),
            ("train", "eval"),
        ],
    )
    def test_names_of_the_split_folders(self, root: Path, names: tuple[str, ...]) -> None:
        for name in ("cat", "dog"):
            (root / names[0]).mkdir(exist_ok=True)
            (root / name).rename(root / names[0] / name)
            for number, split in enumerate(names[1:], 50):
                save(root / split / name / "1.png", pixels(number))
        data = ready(root)
        assert data.classes == ["cat", "dog"]
        assert values(data.val) == [50, 50]
        if len(names) == 3:
            assert values(data.test) == [51, 51]
            assert data.describe() == "2 classes (cat, dog), 30 train, 2 val, 2 test"

    def test_two_folders_for_one_split(self, split_root: Path) -> None:
        for name in ("val", "Validation"):
            save(split_root / name / "cat" / "1.png", pixels(1))
        with pytest.raises(UserError, match="contains Validation and val; there must be one folder val"):
            folder(split_root)

    def test_a_test_folder_without_a_train_folder(self, root: Path) -> None:
        save(root / "test" / "cat" / "1.png", pixels(1))
        with pytest.raises(UserError, match="contains test but no folder train"):
            folder(root)

    def test_a_class_folder_next_to_train_is_named(self, split_root: Path) -> None:
        save(split_root / "eel" / "1.png", pixels(1))
        with pytest.warns(match="these folders next to train are not used: eel"):
            folder(split_root).prepare_data()

    def test_a_class_may_be_called_train(self, root: Path) -> None:
        save(root / "train" / "1.png", pixels(1))
        assert compose("data=folder", f"data.root={root}").data.classes == ["cat", "dog", "train"]


class TestCache:
    def test_it_is_decoded_once(self, root: Path, decoded: list[int]) -> None:
        one, other = ready(root), ready(root)
        assert decoded == [30]
        assert one.train is not None is not other.train
        assert torch.equal(one.train[0], other.train[0])
        ready(root, "data.shape=[1,4,4]")
        ready(root)
        assert decoded == [30, 30]

    def test_it_follows_the_files(self, root: Path, decoded: list[int]) -> None:
        ready(root)
        save(root / "cat" / "20.png", pixels(20))
        assert 20 in everything(ready(root))
        (root / "cat" / "00.png").unlink()
        assert 0 not in everything(ready(root))
        save(root / "cat" / "01.png", pixels(99))
        os.utime(root / "cat" / "01.png", ns=(0, 1))  # of the same size, and no clock is as fine as this test
        assert 99 in everything(ready(root))
        (root / "dog" / "100.png").rename(root / "cat" / "100.png")
        ready(root)
        assert decoded == [30, 31, 30, 30, 30]

    @pytest.mark.parametrize("damage", [lambda content: content[:-500], lambda content: b"", None])
    def test_damage_is_noticed(
        self, root: Path, decoded: list[int], capsys: pytest.CaptureFixture[str], damage: Any
    ) -> None:
        ready(root)
        (path,) = (root.parent / "cache").rglob("*.npz")
        content = path.read_bytes()
        middle = len(content) // 2  # among the pixels, which are at the end
        flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        path.write_bytes(damage(content) if damage else flipped)
        data = ready(root)
        assert decoded == [30, 30]
        assert "is damaged" in capsys.readouterr().out
        assert sorted(everything(data)) == [*range(20), *range(100, 110)]

    def test_a_compressed_cache_is_not_read(self, root: Path, decoded: list[int]) -> None:
        """It could unpack to any size."""
        ready(root)
        (path,) = (root.parent / "cache").rglob("*.npz")
        with np.load(path) as arrays:
            np.savez_compressed(path, **dict(arrays))
        ready(root)
        assert decoded == [30, 30]

    def test_of_several_at_once_one_decodes(
        self, root: Path, decoded: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        decode_all = decode_module.decode_all

        def slow(files: Sequence[Any], shape: Sequence[int]) -> Any:
            time.sleep(0.3)
            return decode_all(files, shape)

        monkeypatch.setattr(decode_module, "decode_all", slow)
        modules = [folder(root) for _ in range(4)]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(Folder.prepare_data, modules))
        assert decoded == [30]

    def test_the_images_folder_is_left_as_it_is(self, root: Path) -> None:
        before = sorted(root.rglob("*"))
        ready(root)
        assert sorted(root.rglob("*")) == before


class TestNormalisation:
    def test_mean_and_std_are_those_of_the_training_images(self, root: Path) -> None:
        data = ready(root)
        numbers = torch.tensor(values(data.train), dtype=torch.float64) / 255
        assert data.mean == pytest.approx([numbers.mean().item()] * 3, abs=1e-4)
        assert data.std == pytest.approx([numbers.std(correction=0).item()] * 3, abs=1e-4)

    def test_they_can_be_given(self, root: Path) -> None:
        data = ready(root, "data.mean=[0.1,0.2,0.3]", "data.std=[1,1,1]")
        assert data.measured() == {"mean": [0.1, 0.2, 0.3], "std": [1, 1, 1]}


class TestMistakes:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda root: root.rename(root.with_name("moved")), "there is no folder"),
            (lambda root: [path.unlink() for path in root.rglob("*.png")], "images/cat holds no images"),
            (lambda root: (root / "eel").mkdir(), "images/eel holds no images"),
            (lambda root: save(root / "train" / "a" / "1.png", pixels(1)), "train contains only one class folder, a"),
            (lambda root: save(root / "eel" / "1.png", pixels(1)), "class eel has too few images: 0 for training"),
            (lambda root: _move_to_train(root), "test/dgo is not one of the classes, which are cat, dog"),
            (lambda root: (root / "cat" / "x.png").symlink_to("nowhere"), "cannot read .*x.png"),
        ],
    )
    def test_one_line_names_it(self, root: Path, change: Callable[[Path], object], message: str) -> None:
        change(root)
        with pytest.raises(UserError, match=rf"^data\.root: .*{message}") as caught:
            ready(root)
        assert "\n" not in str(caught.value)

    def test_images_without_class_folders(self, tmp_path: Path) -> None:
        save(tmp_path / "images" / "1.png", pixels(1))
        with pytest.raises(UserError, match=r"^data\.root: .*images contains no class folders"):
            folder(tmp_path / "images")

    @pytest.mark.parametrize(
        ("override", "message"),
        [
            ("data.shape=[2,4,4]", r"data\.shape: got \[2, 4, 4\]"),
            ("data.shape=[4]", r"data\.shape: got \[4\]"),
            ("data.mean=[0.5,0.5,0.5]", r"data\.mean: .* both"),
            ("data.test_fraction=1.0", r"data\.test_fraction: got 1\.0"),
            ("data.num_classes=3", r"data\.classes: got 2 names, but data\.num_classes is 3"),
        ],
    )
    def test_a_wrong_value_names_its_key(self, root: Path, override: str, message: str) -> None:
        with pytest.raises(UserError, match=f"^{message}"):
            folder(root, override)

    def test_other_files_are_left_out_with_a_note(self, root: Path) -> None:
        for name in ("notes.txt", "more.TXT", "README", ".hidden"):
            (root / "cat" / name).write_text("hello")
        with pytest.warns(match=r"3 files in .* are left out \(2 \.txt, 1 without an extension; images are \.avif"):
            data = ready(root)
        assert sum(data.sizes().values()) == 30

    def test_a_cache_that_cannot_be_written(self, root: Path) -> None:
        (root.parent / "cache").write_text("in the way")
        with pytest.raises(UserError, match=r"^data\.cache: cannot use"):
            ready(root)


def _move_to_train(root: Path) -> None:
    save(root / "test" / "dgo" / "1.png", pixels(1))
    (root / "train").mkdir()
    for name in ("cat", "dog"):
        (root / name).rename(root / "train" / name)


class TestBrokenFiles:
    @pytest.fixture
    def broken(self, root: Path) -> Path:
        (root / "cat" / "03.png").write_text("no image")
        content = (root / "dog" / "105.png").read_bytes()
        (root / "dog" / "105.png").write_bytes(content[:50])
        return root

    def test_they_are_named_in_one_error(self, broken: Path, decoded: list[int]) -> None:
        with pytest.raises(UserError) as caught:
            ready(broken)
        assert str(caught.value).startswith(f"data.root: 2 broken images: {broken}/cat/03.png (not an image of a known")
        assert f"{broken}/dog/105.png (" in str(caught.value)
        assert str(caught.value).endswith("data.skip_broken=true leaves them out")
        with pytest.raises(UserError, match="2 broken images"):
            ready(broken)
        assert decoded == [30], "the others were decoded again"

    def test_many_are_counted(self, root: Path) -> None:
        for path in (root / "cat").iterdir():
            path.write_text("no image")
        with pytest.raises(UserError, match=r"20 broken images: .*00\.png.*02\.png [^;]*; and 17 more; data\.skip"):
            ready(root)

    def test_they_can_be_left_out(self, broken: Path) -> None:
        with pytest.warns(match="2 broken images: .*; they are left out because"):
            data = ready(broken, "data.skip_broken=true")
        rest = sorted(everything(data))
        assert rest == [*range(3), *range(4, 20), *range(100, 105), *range(106, 110)]
        for split in (data.train, data.val, data.test):
            assert split is not None
            assert [value >= 100 for value in values(split)] == split[1].bool().tolist()

    def test_a_class_of_broken_images_only(self, root: Path) -> None:
        for path in (root / "dog").iterdir():
            path.write_text("no image")
        with (
            warnings.catch_warnings(action="ignore"),
            pytest.raises(UserError, match=r"^data\.root: class dog has too few images: 0 for"),
        ):
            ready(root, "data.skip_broken=true")


def test_a_run_folder_has_all_that_its_model_needs(finished: Finished, root: Path) -> None:
    run = finished(
        "data=folder", f"data.root={root}", f"data.cache={root.parent / 'cache'}", "data.shape=[3,8,8]", "model=mlp",
        "trainer=cpu", "trainer.max_epochs=1", "data.batch_size=8",
    )  # fmt: skip
    cfg = read_config(run)
    assert (cfg.data.classes, cfg.data.num_classes) == (["cat", "dog"], 2)
    assert len(cfg.data.mean) == len(cfg.data.std) == 3
    report = json.loads((run / "report.json").read_text())
    assert sum(report["data"]["sizes"].values()) == 30
    root.rename(root.with_name("moved"))
    assert leyden.load(run).module(torch.zeros(1, 3, 8, 8)).shape == (1, 2)


class TestDescription:
    def test_it_names_classes_and_sizes_without_reading_the_test_images(self, root: Path) -> None:
        data = folder(root)
        data.setup("fit")
        assert data.test is None
        described = data.describe()
        data.setup("test")
        sizes = data.sizes()
        assert described == f"2 classes (cat, dog), {sizes['train']} train, {sizes['val']} val, {sizes['test']} test"

    def test_of_many_classes_only_some_are_named_and_control_characters_are_escaped(self, root: Path) -> None:
        for number in range(20):
            for image in range(3):
                save(root / f"b{number:02}\x1b[2J" / f"{image}.png", pixels(1))
        data = folder(root)
        data.setup("fit")
        assert data.describe().startswith("22 classes (b00\\x1b[2J, b01\\x1b[2J, b02\\x1b[2J, …, dog), ")


class TestFingerprint:
    def test_it_changes_with_the_images(self, root: Path) -> None:
        before = folder(root).fingerprint()
        assert folder(root).fingerprint() == before
        assert folder(root, "seed=1").fingerprint() == before
        save(root / "cat" / "new.png", pixels(7))
        after = folder(root).fingerprint()
        assert after != before
        (root / "cat" / "new.png").rename(root / "dog" / "new.png")
        assert folder(root).fingerprint() not in (before, after)


class TestShape:
    def test_it_is_the_size_that_the_net_scales_images_to(self, root: Path) -> None:
        """Otherwise photographs would be reduced to 64x64 and enlarged to 224x224 again."""
        overrides = ["data=folder", f"data.root={root}"]
        assert compose(*overrides, "model=cnn").data.shape == [3, 64, 64]
        assert compose(*overrides, "model=pretrained").data.shape == [3, 224, 224]
        assert compose(*overrides, "model=pretrained", "model.size=96").model.in_shape == [3, 96, 96]
        assert compose(*overrides, "model=pretrained", "data.shape=[1,32,32]").data.shape == [1, 32, 32]
