"""ImageLogger of several digits: laid out by hand, and no image in two splits."""

from typing import Any

import pytest
import torch

from leyden.config.builders import cfg_dict
from leyden.config.compose import compose
from leyden.config.instantiate import build
from leyden.data.composed import DigitCanvas
from leyden.data.digit_pairs import DigitPairs
from leyden.errors import UserError


def pairs(*overrides: str) -> Any:
    return pictures("digit_pairs", *overrides)


def strings(*overrides: str) -> Any:
    return pictures("digit_strings", *overrides)


def pictures(data: str, *overrides: str) -> Any:
    cfg = compose(f"data={data}", "data.num_train=300", "data.num_eval=200", *overrides)
    return build(cfg_dict(cfg.data), "data")


def test_where_the_images_go_and_what_shows_where_two_meet() -> None:
    images = torch.tensor([[[1, 2], [3, 4]], [[9, 9], [0, 9]]], dtype=torch.uint8)[:, None]
    chosen = torch.tensor([[0, 1], [1, -1]])
    corners = torch.tensor([[[0, 0], [1, 1]], [[-1, 2], [0, 0]]])  # the last one is not used
    found = DigitCanvas(images, (3, 4))(chosen, corners)
    assert found.tolist() == [
        [[[1, 2, 0, 0], [3, 9, 9, 0], [0, 0, 9, 0]]],
        [[[0, 0, 0, 9], [0, 0, 0, 0], [0, 0, 0, 0]]],
    ]


class TestDigitPairs:
    def test_a_digit_that_is_there_twice_is_one_label(self) -> None:
        found = pairs().targets(torch.tensor([[7, 7, -1], [0, 9, 3]]))
        assert found.tolist() == [[0, 0, 0, 0, 0, 0, 0, 1, 0, 0], [1, 0, 0, 1, 0, 0, 0, 0, 0, 1]]

    def test_digits_stand_in_corners_of_their_own_and_stay_inside(self) -> None:
        corners = pairs().corners(500, torch.Generator().manual_seed(0))
        assert corners.shape == (500, 3, 2)
        assert set(corners.flatten().tolist()) == {0, 1, 2, 3, 4, 24, 25, 26, 27, 28}
        which = (corners >= 24).long() @ torch.tensor([2, 1])  # (500, 3), of 4 corners
        assert all(len(set(row)) == 3 for row in which.tolist())

    def test_targets_say_what_the_pictures_were_made_of(self) -> None:
        """Each source image is filled with its label, so a picture shows its labels."""
        data = pairs("data.jitter=0")
        labels = torch.arange(10).repeat(5)
        images = (labels + 1).to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 28, 28)
        pictures, targets = data.augmentation(images, labels)(torch.arange(50), torch.Generator().manual_seed(1))
        for picture, target, first in zip(pictures, targets, labels.tolist(), strict=True):
            shown = set(picture.unique().tolist()) - {0}
            assert shown == {number + 1 for number in target.nonzero().flatten().tolist()}
            assert first + 1 in shown
            assert int((picture > 0).sum()) in (2 * 784, 3 * 784)
        assert {int((picture > 0).sum()) for picture in pictures} == {2 * 784, 3 * 784}

    def test_no_image_is_in_two_splits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each source image is filled with a number of its own, from which its split can be told."""
        data = pairs("data.jitter=0", "data.num_eval=40")
        labels = torch.arange(10).repeat_interleave(20)
        numbered = torch.arange(200).to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 28, 28)
        monkeypatch.setattr(data.source, "read", lambda train: (numbered, labels))
        data.setup("fit")
        in_training = set(data.train[0][:, 0, 0, 0].tolist())
        in_pictures = set(data.val[0].unique().tolist())
        assert len(in_training) == 180
        assert (in_pictures - {0}) & in_training == set()
        assert data.sizes() == {"train": 300, "val": 40}

    def test_pictures_follow_from_seed_and_epoch_those_of_the_test_from_neither(self) -> None:
        one, same, other = (pairs(f"seed={seed}") for seed in (1, 1, 2))
        for data in (one, same, other):
            data.setup("fit")
            data.setup("test")
        assert torch.equal(one.val[0], same.val[0])
        assert not torch.equal(one.val[0], other.val[0])
        assert torch.equal(one.test[0], other.test[0])
        assert torch.equal(one.test[1], other.test[1])
        batches = one.train_dataloader()
        (first, _), (again, _) = next(iter(batches)), next(iter(same.train_dataloader()))
        batches.position = lambda: (1, 0)
        assert torch.equal(first, again)
        assert not torch.equal(first, next(iter(batches))[0])

    @pytest.mark.parametrize(
        ("override", "message"),
        [
            ("data.max_digits=5", "data.max_digits: got 5, a picture has 4 corners"),
            ("data.min_digits=4", "data.min_digits: got 4, must be between 1 and 3"),
            ("data.jitter=29", "data.jitter: got 29, must be between 0 and 28 pixels"),
            ("data.source=letters", "data.source: got 'letters'; allowed are digits, mnist"),
            ("data.num_eval=0", "data.num_eval: got 0"),
        ],
    )
    def test_a_wrong_value_names_its_key(self, override: str, message: str) -> None:
        with pytest.raises(UserError, match=f"^{message}"):
            pairs(override)

    def test_its_source_may_be_mnist(self, files_root: Any) -> None:
        data = pairs("data.source=mnist", f"paths.data={files_root}", "data.verify=false")
        data.prepare_data()
        with pytest.warns(UserWarning, match="taken as it is"):
            data.setup("fit")
        assert isinstance(data, DigitPairs)
        assert not data.verified
        assert data.sizes() == {"train": 300, "val": 200}


class TestDigitStrings:
    def test_digits_then_the_end_then_nothing(self) -> None:
        found = strings().targets(torch.tensor([[7, 7, -1, -1], [0, 9, 3, 1]]))
        assert found.tolist() == [[7, 7, 10, -1, -1], [0, 9, 3, 1, 10]]

    def test_digits_follow_each_other_from_the_left_and_stay_inside(self) -> None:
        corners = strings().corners(500, torch.Generator().manual_seed(0))
        assert corners.shape == (500, 4, 2)
        top, left = corners.unbind(2)
        assert set(top.flatten().tolist()) == set(range(32 - 28 + 1))
        assert set(left.diff().flatten().tolist()) == {22, 23, 24, 25, 26}
        assert left[:, 0].min() == 0
        assert left.max() <= 112 - 28

    def test_the_text_is_what_the_picture_shows(self) -> None:
        """Each source image is filled with its label, and none meets another, so a picture shows its text."""
        data = strings("data.spacing=32", "data.shape=[1,28,140]", "data.jitter=0")
        labels = torch.arange(10).repeat(5)
        images = (labels + 1).to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 28, 28)
        pictures, texts = data.augmentation(images, labels)(torch.arange(50), torch.Generator().manual_seed(1))
        lengths = set()
        for picture, text, first in zip(pictures, texts.tolist(), labels.tolist(), strict=True):
            line = picture[0, 14].long()
            starts = (line.diff(prepend=torch.zeros(1)) > 0).nonzero().flatten()
            shown = [int(line[start]) - 1 for start in starts]
            assert shown[0] == first
            assert text == [*shown, 10, *[-1] * (4 - len(shown))]
            lengths.add(len(shown))
        assert lengths == {1, 2, 3, 4}

    @pytest.mark.parametrize(
        ("override", "message"),
        [
            ("data.jitter=25", "data.jitter: got 25, must be between 0 and the spacing, 24 pixels"),
            ("data.max_digits=5", r"data.shape: got \[1, 32, 112\], but 5 digits need 28 rows, 132 columns"),
            ("data.shape=[1,20,112]", r"data.shape: got \[1, 20, 112\], but 4 digits need 28 rows, 106 columns"),
        ],
    )
    def test_a_wrong_value_names_its_key(self, override: str, message: str) -> None:
        with pytest.raises(UserError, match=f"^{message}"):
            strings(override)
