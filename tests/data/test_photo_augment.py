"""Crops, rotations, colours, RandAugment and balanced sampling: hand-made examples, and the results of torchvision."""

import math
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torchvision.transforms import functional as tv

from leyden.config.compose import compose
from leyden.config.stored import upgraded
from leyden.data import colours
from leyden.data.loaders import ShiftAndFlip, TrainLoader, balanced_order
from leyden.data.photo_augment import (
    GEOMETRIC,
    OPERATIONS,
    PhotoAugment,
    PhotoChanges,
    cropped,
    in_pixels,
    recoloured,
    resampled,
    rotation,
)
from leyden.errors import UserError
from leyden.seeding import generator
from tests.data.building import UNCHANGED, build_data

ALL = PhotoChanges(crop=0.3, rotate=20, jitter=0.4, randaugment=9)


def photos(num: int = 6, size: tuple[int, int] = (8, 10), channels: int = 3) -> torch.Tensor:
    return torch.randint(0, 256, (num, channels, *size), dtype=torch.uint8, generator=generator(0, "photos"))


def loader(changes: PhotoChanges, num: int = 24, batch_size: int = 6, **kwargs: Any) -> TrainLoader:
    images, targets = photos(num), torch.arange(num)
    augment = PhotoAugment(images, targets, 1, True, changes)
    return TrainLoader(images, targets, batch_size, UNCHANGED, augment=augment, **kwargs)


class TestMaps:
    def test_the_identity_changes_nothing(self) -> None:
        images = photos().float()
        maps = torch.eye(3)[:2].repeat(len(images), 1, 1)
        torch.testing.assert_close(resampled(images, maps), images, atol=1e-3, rtol=0)

    def test_a_crop_of_the_upper_left_quarter_enlarges_it(self) -> None:
        image = torch.zeros(1, 1, 8, 8)
        image[..., :4, :4] = 100
        # area 1/4, ratio 1 (the middle of the logarithms), left and top 0
        maps = cropped(torch.tensor([[0.0, 0.5, 0.0, 0.0]]), 0.25)
        torch.testing.assert_close(maps[0, :2], torch.tensor([[0.5, 0, -0.5], [0, 0.5, -0.5]]))
        assert (resampled(image, maps[:, :2])[..., :7, :7] == 100).all()  # the last line is blended with its neighbour

    def test_a_crop_never_leaves_the_image_and_keeps_its_area(self) -> None:
        maps = cropped(torch.rand(1000, 4, generator=generator(0)), 0.3)
        width, height = maps[:, 0, 0], maps[:, 1, 1]
        assert (maps[:, 0, 2].abs() + width <= 1 + 1e-6).all()
        assert (maps[:, 1, 2].abs() + height <= 1 + 1e-6).all()
        assert (width * height).min() >= 0.3 * 0.75
        inside = (width < 1) & (height < 1)
        assert (width * height)[inside].min() >= 0.3 - 1e-6
        assert (width / height)[inside].min() >= 0.75 - 1e-6

    def test_a_quarter_turn_is_exact_and_counter_clockwise(self) -> None:
        images = photos(size=(6, 6)).float()
        maps = rotation(torch.full((len(images),), math.pi / 2))[:, :2]
        torch.testing.assert_close(resampled(images, maps), images.rot90(1, (2, 3)), atol=0.05, rtol=0)

    def test_a_rotation_of_a_wide_image_keeps_angles(self) -> None:
        image = torch.zeros(1, 1, 9, 21)
        image[..., 4, 10:15] = 255  # a line from the centre to the right
        turned = resampled(image, in_pixels(rotation(torch.tensor([math.pi / 2])), 9, 21)[:, :2])
        assert turned[0, 0, 0:5, 10].min() > 250  # now it goes upwards, with the same length


class TestColours:
    @pytest.mark.parametrize("factor", [0.3, 1.0, 1.7])
    @pytest.mark.parametrize(
        ("ours", "theirs"),
        [
            (colours.brightness, tv.adjust_brightness),
            (colours.contrast, tv.adjust_contrast),
            (colours.saturation, tv.adjust_saturation),
            (colours.sharpness, tv.adjust_sharpness),
        ],
    )
    def test_factors_are_those_of_torchvision(self, ours: Any, theirs: Any, factor: float) -> None:
        images = photos() / 255
        expected = torch.stack([theirs(image, factor) for image in images])
        found = ours(images * 255, torch.full((len(images),), factor)) / 255
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)

    @pytest.mark.parametrize("turn", [-0.5, -0.1, 0.0, 0.3])
    def test_hue_is_that_of_torchvision(self, turn: float) -> None:
        images = photos() / 255
        expected = torch.stack([tv.adjust_hue(image, turn) for image in images])
        found = colours.hue(images * 255, torch.full((len(images),), turn)) / 255
        torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)

    def test_posterise_solarise_autocontrast_and_equalise_are_those_of_torchvision(self) -> None:
        images = photos(size=(20, 30)) // 2
        ones = torch.ones(len(images))
        for found, expected in (
            (colours.posterise(images.float(), 4 * ones), tv.posterize(images, 4)),
            (colours.solarise(images.float(), 100 * ones), tv.solarize(images, 100)),
            (colours.autocontrast(images.float()), tv.autocontrast(images)),
            (colours.equalise(images.float()), tv.equalize(images)),
        ):
            torch.testing.assert_close(found, expected.float(), atol=1.0, rtol=0)

    def test_an_image_with_one_value_stays_as_it_is(self) -> None:
        image = torch.full((1, 3, 4, 4), 77.0)
        assert torch.equal(colours.autocontrast(image), image)
        assert torch.equal(colours.equalise(image), image)
        assert torch.equal(colours.hue(image, torch.tensor([0.3])), image)

    @pytest.mark.parametrize("separately", [True, False])
    def test_each_image_gets_its_own_operation(self, separately: bool) -> None:
        images = 40 + photos(len(OPERATIONS)).float() / 2
        chosen, signs = torch.arange(len(OPERATIONS)), torch.ones(len(OPERATIONS), dtype=torch.int64)
        found = recoloured(images, chosen, signs, 15, separately)
        for number, name in enumerate(OPERATIONS):
            changed = not torch.equal(found[number], images[number])
            assert changed == (name not in ("identity", *GEOMETRIC)), name
        bright = OPERATIONS.index("brightness")
        assert torch.equal(found[bright], (images[bright] * 1.45).clamp(0, 255))


class TestLoader:
    def test_it_resumes_at_any_batch(self) -> None:
        whole = list(loader(ALL, position=lambda: (5, 0)))
        rest = list(loader(ALL, position=lambda: (5, 2 * 6)))
        assert len(rest) == 2
        for (images, labels), (same_images, same_labels) in zip(whole[2:], rest, strict=True):
            assert torch.equal(images, same_images)
            assert torch.equal(labels, same_labels)

    def test_an_image_does_not_depend_on_the_number_of_processes(self) -> None:
        alone = dict(pair for images, labels in loader(ALL) for pair in zip(labels.tolist(), images, strict=True))
        for rank in (0, 1):
            for images, labels in loader(ALL, batch_size=3, rank=rank, world=2):
                for image, label in zip(images, labels, strict=True):
                    torch.testing.assert_close(image, alone[int(label)], atol=1e-2, rtol=0)

    @pytest.mark.parametrize("channels", [1, 3])
    def test_values_stay_between_0_and_255(self, channels: int) -> None:
        images = photos(64, channels=channels)
        augment = PhotoAugment(images, torch.arange(64), 0, False, PhotoChanges(0.1, 180, 1, 30))
        batch, _ = augment(torch.arange(64), *augment.draw(64, generator(1)))
        assert batch.shape == images.shape
        assert batch.isfinite().all()
        assert batch.min() >= -1e-3
        assert batch.max() <= 255 + 1e-3
        assert not torch.equal(batch, images.float())

    def test_without_changes_the_images_are_those_of_shift_and_flip(self) -> None:
        plain = build_data("synthetic", "data.shift=2").augmentation(photos(), torch.arange(6))
        assert type(plain) is ShiftAndFlip
        changed = build_data("synthetic", "data.crop=0.5").augmentation(photos(), torch.arange(6))
        assert isinstance(changed, PhotoAugment)
        assert changed.changes == PhotoChanges(crop=0.5)

    @pytest.mark.parametrize(
        ("override", "message"),
        [
            ("data.crop=0", "data.crop: got 0"),
            ("data.rotate=181", "data.rotate: got 181"),
            ("data.jitter=1.5", "data.jitter: got 1.5"),
            ("data.randaugment=31", "data.randaugment: got 31"),
        ],
    )
    def test_a_value_out_of_range_is_one_line(self, override: str, message: str) -> None:
        with pytest.raises(UserError) as error:
            build_data("synthetic", override)
        assert str(error.value).startswith(message)


class TestBalance:
    def test_each_class_has_the_same_number_of_places(self) -> None:
        classes = torch.tensor([0] * 12 + [2] * 3 + [5])
        order = balanced_order(classes, generator(0))
        assert len(order) == 16
        assert sorted(torch.bincount(classes[order])[[0, 2, 5]].tolist()) == [5, 5, 6]
        of_two = torch.bincount(order, minlength=16)[12:15].tolist()
        assert max(of_two) - min(of_two) <= 1  # the three samples of class 2 are repeated equally often
        assert torch.bincount(order, minlength=16)[:12].max() == 1  # no sample of class 0 is repeated

    def test_a_balanced_epoch_is_a_function_of_seed_and_epoch(self) -> None:
        classes = torch.arange(40) % 7 // 3  # 0, 1 and 2, unequally often
        images = torch.arange(40).view(-1, 1, 1, 1)

        def labels(epoch: int, done: int = 0) -> list[int]:
            batches = TrainLoader(images, classes, 8, UNCHANGED, position=lambda: (epoch, done), balance=classes)
            return [round(number) for inputs, _ in batches for number in inputs.flatten().tolist()]

        assert labels(1) == labels(1) != labels(2)
        assert labels(1, done=16) == labels(1)[16:]
        assert sorted(torch.bincount(classes[labels(3)]).tolist()) == [13, 13, 14]


def test_a_run_folder_of_an_earlier_version_has_none_of_these_changes() -> None:
    cfg = compose("data=synthetic", "data.crop=0.5", "task.class_weights=balanced")
    OmegaConf.set_struct(cfg, False)
    added = {"crop": 1.0, "rotate": 0.0, "jitter": 0.0, "randaugment": 0, "balanced": False}
    for key in added:
        del cfg.data[key]
    del cfg.task.class_weights
    cfg = upgraded(cfg)
    assert added.items() <= cfg.data.items()
    assert cfg.task.class_weights == "none"
    assert "crop" not in upgraded(compose("data=diabetes", "model=mlp")).data
