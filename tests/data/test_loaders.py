"""Training and evaluation loaders, normalisation and augmentation, with hand-made examples."""

from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from leyden.data.loaders import EvalLoader, Normalise, ShiftAndFlip, TrainLoader
from tests.data.building import CPU, UNCHANGED, build_data, numbered


def augmented(images: tuple[torch.Tensor, torch.Tensor], batch_size: int, shift: int, flip: bool, **kwargs: Any) -> Any:
    """Return training batches as those of an image data set with `shift` and `flip`."""
    augment = build_data("synthetic", f"data.shift={shift}", f"data.flip={flip}").augmentation(*images)
    return TrainLoader(*images, batch_size, UNCHANGED, augment=augment, **kwargs)


class TestTrainLoader:
    def test_an_epoch_has_each_sample_once_in_an_order_of_its_own(self) -> None:
        epoch = 0
        batches = TrainLoader(*numbered(10), 4, UNCHANGED, position=lambda: (epoch, 0))
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
        whole = list(augmented(numbered(50), 8, shift=2, flip=True, seeds=(3,), position=lambda: (5, 0)))
        rest = list(augmented(numbered(50), 8, shift=2, flip=True, seeds=(3,), position=lambda: (5, 4 * 8)))
        assert len(rest) == 3
        for (images, labels), (same_images, same_labels) in zip(whole[4:], rest, strict=True):
            assert torch.equal(images, same_images)
            assert torch.equal(labels, same_labels)

    def test_the_samples_and_their_augmentation_do_not_depend_on_the_number_of_processes(self) -> None:
        images = torch.randint(0, 256, (24, 1, 6, 6), dtype=torch.uint8), torch.arange(24)
        alone = list(augmented(images, 6, shift=2, flip=True, position=lambda: (3, 6)))
        ranks = [
            augmented(images, 3, shift=2, flip=True, rank=rank, world=2, position=lambda: (3, 6)) for rank in (0, 1)
        ]
        assert len(alone) == 3
        for (inputs, labels), (first, first_labels), (second, second_labels) in zip(alone, *ranks, strict=True):
            assert torch.equal(inputs, torch.stack([first, second], 1).flatten(0, 1))
            assert torch.equal(labels, torch.stack([first_labels, second_labels], 1).flatten())

    def test_random_numbers_are_drawn_once_per_epoch(self) -> None:
        drawn: list[int] = []

        class Counting(ShiftAndFlip):
            def draw(self, num: int, rng: torch.Generator, epoch: int = 0) -> tuple[torch.Tensor, ...]:
                drawn.append(num)
                return super().draw(num, rng, epoch)

        augment = Counting(*numbered(40), 1, True)
        assert len(list(TrainLoader(*numbered(40), 4, UNCHANGED, augment=augment))) == 10
        assert drawn == [40]

    def test_processes_share_no_sample_and_have_equally_many_batches(self) -> None:
        shards = [TrainLoader(*numbered(20), 2, UNCHANGED, rank=rank, world=3) for rank in range(3)]
        seen = [torch.cat([labels for _, labels in shard]).tolist() for shard in shards]
        assert [len(shard) for shard in shards] == [3, 3, 3]
        assert [len(labels) for labels in seen] == [6, 6, 6]
        assert len({label for labels in seen for label in labels}) == 18

    def test_no_batch_of_one(self) -> None:
        assert [len(labels) for _, labels in TrainLoader(*numbered(9), 4, UNCHANGED)] == [4, 4]
        assert [len(labels) for _, labels in TrainLoader(*numbered(1), 4, UNCHANGED)] == [1]


class TestEvalLoader:
    @pytest.mark.parametrize("world", [1, 2, 3])
    def test_processes_together_see_each_sample_once_in_batches_that_do_not_depend_on_them(self, world: int) -> None:
        shards = [list(EvalLoader(*numbered(101), 500, UNCHANGED, rank, world)) for rank in range(world)]
        batches = {tuple(labels.tolist()) for shard in shards for _, labels in shard}
        assert batches == {tuple(range(start, min(start + 7, 101))) for start in range(0, 101, 7)}


class TestAugmentation:
    def test_without_shift_and_flip_it_gives_the_images_back(self) -> None:
        images = torch.randint(0, 256, (5, 3, 4, 6), dtype=torch.uint8)
        index = torch.tensor([4, 0, 2])
        augment = ShiftAndFlip(images, torch.arange(5), 0, False)
        found, targets = augment(index, *augment.draw(3, torch.Generator()))
        assert torch.equal(found, images[index])
        assert targets.tolist() == [4, 0, 2]

    def test_every_result_is_a_shift_or_mirror_of_its_image_and_all_of_them_come(self) -> None:
        images = torch.randint(1, 256, (2, 3, 4, 5), dtype=torch.uint8)
        padded = torch.nn.functional.pad(images, (1, 1, 1, 1), mode="reflect")
        possible = [
            [torch.stack([window, window.flip(-1)]) for y in range(3) for x in range(3)
             for window in [padded[number, :, y : y + 4, x : x + 5]]]
            for number in range(2)
        ]  # fmt: skip
        index = torch.arange(2).repeat(400)
        augment = ShiftAndFlip(images, torch.arange(2), 1, True)
        found, _ = augment(index, *augment.draw(800, torch.Generator().manual_seed(0)))
        for number in range(2):
            mine = found[index == number]
            choices = torch.cat(possible[number])
            matches = (mine[:, None] == choices[None]).flatten(2).all(2)
            assert (matches.sum(1) == 1).all()
            assert (matches.sum(0) > 0).all(), "some shift or mirror never comes"

    def test_an_alternate_flip_mirrors_each_image_in_every_other_epoch(self) -> None:
        images = torch.arange(40 * 3, dtype=torch.uint8).view(40, 1, 1, 3)
        augment = ShiftAndFlip(images, torch.arange(40), 0, "alternate", seed=1)
        index = torch.randperm(40)  # it depends on the sample, not on its place in the epoch
        first, second, third = (
            augment(index, *augment.draw(40, torch.Generator().manual_seed(epoch), epoch))[0] for epoch in range(3)
        )
        assert torch.equal(first, second.flip(-1))
        assert torch.equal(first, third)
        assert 5 < int((first == images[index]).all(-1).sum()) < 35, "some images begin mirrored, others do not"
        other = ShiftAndFlip(images, torch.arange(40), 0, "alternate", seed=2)
        assert not torch.equal(first, other(index, *other.draw(40, torch.Generator(), 0))[0])

    def test_normalise(self) -> None:
        pixels = torch.tensor([[[[0, 255]], [[51, 102]]]], dtype=torch.uint8)
        expected = torch.tensor([[[[-1.0, 1.0]], [[0.0, 0.8]]]])
        assert torch.allclose(Normalise([0.5, 0.2], [0.5, 0.25], CPU)(pixels), expected, atol=1e-6)


class CopiesToADevice(TorchDispatchMode):
    """Counts the operations that create a tensor on another device."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        inputs = [arg for arg in args if isinstance(arg, torch.Tensor)]
        if isinstance(found, torch.Tensor) and inputs and found.device != inputs[0].device:
            self.count += 1
        return found


@pytest.mark.parametrize("name", ["cifar10", "digits", "digit_pairs", "digit_strings"])
def test_an_epoch_on_a_gpu_copies_only_order_and_draws_to_it(name: str) -> None:
    """A copy in a step would block it. The tensors are fake: they have a device and a shape, but no values."""
    data = build_data(name)
    channels, height, width = data.shape if name in ("cifar10", "digits") else (1, 28, 28)
    with FakeTensorMode(), CopiesToADevice() as copies:
        images = torch.zeros((40, channels, height, width), dtype=torch.uint8, device="cuda")
        labels = torch.zeros(40, dtype=torch.int64, device="cuda")
        batches = iter(
            TrainLoader(images, labels, 4, data.transform(images.device), augment=data.augmentation(images, labels))
        )
        next(batches)
        assert copies.count > 0
        copies.count = 0
        rest = list(batches)
    assert len(rest) == 9
    assert {tensor.device.type for batch in rest for tensor in batch} == {"cuda"}
    assert copies.count == 0
