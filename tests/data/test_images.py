"""Normalisation statistics of the image data sets, which of them augment their images, and which labels they keep."""

import math

import pytest
import torch

from leyden.config.builders import build_data as from_config
from leyden.config.builders import build_module
from leyden.config.compose import compose, groups
from leyden.data.datamodule import InMemoryData
from leyden.data.images import mean_and_std
from leyden.errors import UserError
from leyden.modules.combinations import check_combinations
from tests.data.building import CPU, build_data

# Number of values, their sum and the sum of their squares, for each channel of the published training images.
SUMS = {
    "mnist": [(47_040_000, 1_567_298_545, 342_590_800_147)],
    "cifar10": [
        (51_200_000, 6_415_714_204, 1_007_102_432_534),
        (51_200_000, 6_295_060_180, 971_356_520_230),
        (51_200_000, 5_829_907_619, 891_641_299_129),
    ],
}


def test_mean_and_std_by_hand() -> None:
    images = torch.tensor([[0, 255], [51, 51]], dtype=torch.uint8).view(2, 1, 1, 2).repeat(1, 2, 1, 1)
    images[:, 1] = 255
    means, stds = mean_and_std(images)
    assert means == [0.35, 1.0]  # (0 + 1 + 0.2 + 0.2) / 4
    assert stds == [0.3841, 0.0039]  # √((0.35² + 0.65² + 2 · 0.15²) / 4); one grey level


@pytest.mark.parametrize("name", SUMS)
def test_the_statistics_in_the_config_are_those_of_the_published_images(name: str) -> None:
    means = [total / num / 255 for num, total, _ in SUMS[name]]
    stds = [math.sqrt(squares / num - (total / num) ** 2) / 255 for num, total, squares in SUMS[name]]
    data = compose(f"data={name}").data
    assert data.mean == pytest.approx(means, abs=5e-5)
    assert data.std == pytest.approx(stds, abs=5e-5)


@pytest.mark.parametrize("name", SUMS)
def test_the_sums_are_those_of_the_published_images(name: str) -> None:
    data = build_data(name)
    if not all(path.exists() for path in data.files()):
        pytest.skip(f"the files of {name} are not here")
    images, _ = data.read(train=True)
    values = torch.arange(256)
    for channel, expected in enumerate(SUMS[name]):
        counts = torch.bincount(images[:, channel].flatten(), minlength=256)
        assert (int(counts.sum()), int((counts * values).sum()), int((counts * values**2).sum())) == expected


@pytest.mark.parametrize("name", ["digits", "synthetic", "digit_pairs", "digit_strings"])
def test_normalisation_fits_the_pixels(name: str) -> None:
    data = build_data(name)
    data.setup("fit")
    normalised = torch.cat([images for images, _ in data.val_dataloader()])
    assert normalised.mean().abs() < 0.1
    assert (normalised.std() - 1).abs() < 0.2


def test_statistics_that_are_not_given_are_measured_on_the_training_split() -> None:
    data = build_data("digits", "data.mean=null", "data.std=null")
    data.setup("test")
    assert (data.mean, data.std) == mean_and_std(data.train[0])
    assert data.measured() == {"mean": data.mean, "std": data.std}
    assert data.facts().mean == tuple(data.mean)


class TestWhichImagesAreAugmented:
    @pytest.mark.parametrize(
        ("overrides", "expected"),
        [
            (("data=mnist",), (2, False)),
            (("data=cifar10",), (2, True)),
            (("data=cifar10", "augment=false"), (0, False)),
            (("data=cifar10", "model=vae"), (0, False)),
            (("data=cifar10", "model=gan", "augment=true"), (2, True)),
            (("data=mnist", "model=vae", "data.shift=1"), (1, False)),
            (("data=digits",), (0, False)),
        ],
    )
    def test_by_data_set_and_model(self, overrides: tuple[str, ...], expected: tuple[int, bool]) -> None:
        data = compose(*overrides).data
        assert (data.shift, data.flip) == expected

    @pytest.mark.parametrize("model", groups()["model"])
    def test_a_data_set_without_these_keys_goes_with_every_model(self, model: str) -> None:
        assert "shift" not in compose(f"model={model}", "task=multilabel", "data=digit_pairs").data


class TestLabels:
    """`data.labels` keeps the labels of a part of the training split."""

    def test_a_number_and_a_fraction_are_stratified(self) -> None:
        for labels, counts in ((50, [5] * 10), (0.1, [13] * 10)):
            data = build_data("digits", f"data.labels={labels}")
            data.setup("fit")
            found = torch.bincount(data.train[1]).tolist()
            assert found == pytest.approx(counts, abs=0 if labels == 50 else 2)
            assert len(data.val[1]) == 144  # the validation split keeps all labels

    def test_all_images_are_kept_where_labels_are_not_trained_on(self) -> None:
        data, labelled = (build_data("digits", "data.labels=50") for _ in range(2))
        data.trains_unlabelled = True
        for one in (data, labelled):
            one.setup("fit")
        assert (len(data.train[1]), len(labelled.train[1])) == (1294, 50)
        assert data.describe().endswith(", 50 labels")
        batches = [*data.facts().labelled(None)]
        pixels, targets = (torch.cat(parts) for parts in zip(*batches, strict=True))
        assert targets.equal(labelled.train[1])
        assert pixels.equal(labelled.transform(CPU)(labelled.train[0]))
        assert sum(len(targets) for _, targets in data.labelled(20)) == 20

    @pytest.mark.parametrize("labels", ["9", "0", "0.0", "1.5"])
    def test_too_few_labels_are_one_line(self, labels: str) -> None:
        with pytest.raises(UserError, match=f"^data.labels: got {labels}, must be a "):
            config_data("data=digits", f"data.labels={labels}")

    def test_too_many_labels_are_one_line(self) -> None:
        data = build_data("digits", "data.labels=5000")
        with pytest.raises(UserError, match=r"^data.labels: got 5000, must be from 10, .* to 1,294, the number of"):
            data.setup("fit")

    def test_a_task_without_labels_has_no_use_for_them(self) -> None:
        cfg = compose("model=vae", "data=digits", "data.labels=100", "task.num_samples=10")
        with pytest.raises(UserError, match=r"^data.labels: got 100, but VAE needs none; use data.limit for fewer"):
            check_combinations(
                build_module(cfg), config_data("model=vae", "data=digits", "data.labels=100"), compiled=False
            )


def config_data(*overrides: str) -> InMemoryData:
    return from_config(compose(*overrides))
