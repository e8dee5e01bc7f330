"""Digit pairs: their digits, corners and splits."""

from typing import Any

import pytest
import torch

from leyden.data.digit_pairs import DigitPairs
from leyden.errors import UserError
from tests.data.building import build_data


def pairs(*overrides: str) -> Any:
    return build_data("digit_pairs", "data.num_train=300", "data.num_eval=200", *overrides)


def test_a_digit_that_occurs_twice_is_one_label() -> None:
    found = pairs().targets(torch.tensor([[7, 7, -1], [0, 9, 3]]))
    assert found.tolist() == [[0, 0, 0, 0, 0, 0, 0, 1, 0, 0], [1, 0, 0, 1, 0, 0, 0, 0, 0, 1]]


def test_digits_are_in_different_corners_and_inside_the_image() -> None:
    corners = pairs().corners(500, torch.Generator().manual_seed(0))
    assert corners.shape == (500, 3, 2)
    assert set(corners.flatten().tolist()) == {0, 1, 2, 3, 4, 24, 25, 26, 27, 28}
    which = (corners >= 24).long() @ torch.tensor([2, 1])  # (500, 3), of 4 corners
    assert all(len(set(row)) == 3 for row in which.tolist())


def test_targets_are_the_digits_that_an_image_was_composed_of() -> None:
    """Each source image is filled with its label, so an image shows its labels."""
    data = pairs("data.jitter=0")
    labels = torch.arange(10).repeat(5)
    images = (labels + 1).to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 28, 28)
    augment = data.augmentation(images, labels)
    composed, targets = augment(torch.arange(50), *augment.draw(50, torch.Generator().manual_seed(1)))
    for image, target, first in zip(composed, targets, labels.tolist(), strict=True):
        shown = set(image.unique().tolist()) - {0}
        assert shown == {number + 1 for number in target.nonzero().flatten().tolist()}
        assert first + 1 in shown
        assert int((image > 0).sum()) in (2 * 784, 3 * 784)
    assert {int((image > 0).sum()) for image in composed} == {2 * 784, 3 * 784}


def test_no_image_is_in_two_splits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each source image is filled with its own number, which shows its split."""
    data = pairs("data.jitter=0", "data.num_eval=40")
    labels = torch.arange(10).repeat_interleave(20)
    numbered = torch.arange(200).to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 28, 28)
    monkeypatch.setattr(data.source_data, "read", lambda train: (numbered, labels))
    data.setup("fit")
    in_training = set(data.train[0][:, 0, 0, 0].tolist())
    in_val = set(data.val[0].unique().tolist())
    assert len(in_training) == 180
    assert (in_val - {0}) & in_training == set()
    assert data.sizes() == {"train": 300, "val": 40}


def test_train_and_val_images_depend_on_seed_and_epoch_test_images_do_not() -> None:
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
        ("data.max_digits=5", "data.max_digits: got 5, must be at most 4, one digit per corner"),
        ("data.min_digits=4", "data.min_digits: got 4, must be between 1 and 3"),
        ("data.jitter=29", "data.jitter: got 29, must be between 0 and 28 pixels"),
        ("data.source=letters", "data.source: got 'letters'; allowed are digits, mnist"),
        ("data.num_eval=0", "data.num_eval: got 0"),
    ],
)
def test_a_wrong_value_names_its_key(override: str, message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}"):
        pairs(override)


def test_its_source_may_be_mnist(files_root: Any) -> None:
    data = pairs("data.source=mnist", f"paths.data={files_root}", "data.verify=false")
    data.prepare_data()
    with pytest.warns(UserWarning, match="taken as it is"):
        data.setup("fit")
    assert isinstance(data, DigitPairs)
    assert not data.verified
    assert data.sizes() == {"train": 300, "val": 200}
