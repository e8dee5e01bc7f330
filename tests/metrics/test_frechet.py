"""Quality of generated images against values worked out by hand."""

import math
from functools import partial

import pytest
import torch
from torch.nn.functional import one_hot

from leyden.data.loaders import Normalise, TrainLoader
from leyden.metrics.frechet import (
    FeatureSums,
    SampleQuality,
    coverage,
    fit_feature_net,
    frechet_distance,
    uniform_over,
)


def test_frechet_distance_of_known_normal_distributions() -> None:
    one = torch.tensor([0.0, 0.0]).double(), torch.diag(torch.tensor([1.0, 4.0])).double()
    other = torch.tensor([3.0, 4.0]).double(), torch.diag(torch.tensor([9.0, 4.0])).double()
    assert frechet_distance(*one, *one).item() == pytest.approx(0, abs=1e-9)
    assert frechet_distance(*one, *other).item() == pytest.approx(25 + (3 - 1) ** 2)
    turned = torch.tensor([[2.0, 1.0], [1.0, 2.0]]).double()  # eigenvalues 1 and 3
    plain = torch.eye(2).double()
    expected = 2 + 4 - 2 * (1 + math.sqrt(3))
    assert frechet_distance(one[0], plain, one[0], turned).item() == pytest.approx(expected)


def test_features_are_summed_up_to_their_mean_and_covariance() -> None:
    features = torch.randn(50, 64, generator=torch.Generator().manual_seed(0))
    sums = FeatureSums(64)
    for part in features.split(20):
        sums.add(part, torch.arange(len(part)) < 5)
    mean, covariance, correct = sums.moments()
    assert torch.allclose(mean, features.double().mean(0))
    assert torch.allclose(covariance, features.double().T.cov())
    assert correct == 15 / 50


def test_a_class_counts_from_a_tenth_of_its_uniform_frequency() -> None:
    classes = torch.tensor([0] * 90 + [1] * 9 + [2] * 1)
    assert coverage(classes, 4).item() == pytest.approx(2 / 4), "a tenth of 25 is more than one"


def test_images_are_of_one_class_or_of_several() -> None:
    assert uniform_over(torch.tensor([[0, 0, 1], [1, 0, 1], [0, 0, 0]])).tolist() == [
        [0, 0, 1],
        [0.5, 0, 0.5],
        [0] * 3,
    ]


def test_the_feature_extractor_learns_and_does_not_depend_on_the_seed_of_the_run() -> None:
    images = torch.zeros(64, 1, 28, 28, dtype=torch.uint8)
    labels = torch.arange(64) % 2
    images[labels == 1] = 200
    extractors = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        quality = SampleQuality((1, 28, 28), 2, 10)
        batches = TrainLoader(images, labels, 16, Normalise([0.0], [1.0], images.device))
        fit_feature_net(quality.feature_net, batches, partial(one_hot, num_classes=2))
        extractors.append(quality.eval())
    one, other = (quality.state_dict() for quality in extractors)
    assert all(torch.equal(weight, other[name]) for name, weight in one.items())
    assert not any(weight.requires_grad for weight in extractors[0].parameters())
    features, classes = extractors[0].features(images / 255)
    assert features.shape == (64, 64)
    assert torch.equal(classes, labels)


def test_the_names_of_the_weights_are_those_of_stored_checkpoints() -> None:
    names = SampleQuality((1, 28, 28), 2, 10).state_dict().keys()
    assert {name.partition(".")[0] for name in names} == {"judge"}


def test_features_do_not_depend_on_the_precision_of_the_run() -> None:
    quality, pixels = SampleQuality((1, 28, 28), 2, 10).eval(), torch.rand(4, 1, 28, 28)
    features, _ = quality.features(pixels)
    with torch.autocast("cpu", torch.bfloat16):
        in_autocast, _ = quality.features(pixels)
    assert torch.equal(features, in_autocast)
