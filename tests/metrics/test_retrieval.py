"""Retrieval between images and texts: ranks and losses by hand, and sets that do not depend on the batches."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from leyden.metrics.retrieval import METRICS, Retrieval, losses, scores

NAMES = dict(zip(METRICS, range(len(METRICS)), strict=True))


def hits(logits: list[list[float]], numbers: list[int]) -> dict[str, list[float]]:
    """The metrics of each sample of a set with these logits: image i has the embedding ``logits[i]``, text i a unit
    vector.
    """
    found = scores(torch.tensor(logits), torch.eye(len(logits)), torch.tensor(numbers))
    return {name: found[:, place].tolist() for name, place in NAMES.items()}


def test_an_image_finds_its_text_and_a_text_its_image() -> None:
    found = hits([[3.0, 1.0, 0.0], [2.0, 1.0, 0.0], [0.0, 2.0, 1.0]], [0, 1, 2])
    assert found["i2t_acc"] == [1, 0, 0]
    assert found["t2i_acc"] == [1, 0, 1]
    assert found["i2t_top5"] == found["t2i_top5"] == [1, 1, 1]  # of three candidates


def test_the_text_of_another_sample_with_the_same_number_is_right() -> None:
    found = hits([[1.0, 3.0, 2.0], [3.0, 1.0, 2.0], [0.0, 0.0, 1.0]], [7, 7, 8])
    assert found["i2t_acc"] == [1, 1, 1]
    assert found["t2i_acc"] == [1, 1, 0]  # the images 0 and 1 are more similar to the text 8 than its own image


def test_equal_texts_are_one_candidate() -> None:
    """Five equal texts are more similar than the right one: it has the second rank, not the sixth."""
    logits = [[2.0] * 5 + [1.0]] * 6
    found = hits(logits, [0] * 5 + [1])
    assert found["i2t_acc"] == [1] * 5 + [0]
    assert found["i2t_top5"] == [1] * 6
    assert found["t2i_top5"][5] == 0  # the images are five candidates, and as similar as its own


def test_collapsed_and_nan_embeddings_find_nothing() -> None:
    for value in (0.0, math.nan):
        found = hits([[value] * 3] * 3, [0, 1, 2])
        assert found["i2t_acc"] == found["t2i_acc"] == [0, 0, 0]


def test_the_loss_is_that_of_the_paper_unless_texts_are_equal() -> None:
    logits = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    places = torch.arange(4)
    expected = (cross_entropy(logits, places) + cross_entropy(logits.T, places)) / 2
    assert torch.allclose(losses(logits, torch.eye(4, dtype=torch.bool)).mean(), expected)
    # equal embeddings of all, and all with the same text: each candidate has a quarter of the probability
    assert losses(torch.zeros(4, 4), torch.ones(4, 4, dtype=torch.bool)).tolist() == pytest.approx([math.log(4)] * 4)


def embeddings() -> tuple[Tensor, Tensor, Tensor]:
    rng = torch.Generator().manual_seed(1)
    texts = torch.randn(23, 3, generator=rng)
    return texts + torch.randn(23, 3, generator=rng), texts, torch.randint(0, 15, (23,), generator=rng)


@pytest.mark.parametrize("size", [1, 5, 23])
def test_the_sets_do_not_depend_on_the_batches_or_their_order(size: int) -> None:
    images, texts, numbers = embeddings()
    metric = Retrieval(10)
    parts = [part.split(size) for part in (images, texts, numbers)]
    for place in reversed(range(len(parts[0]))):
        metric.update(*(part[place] for part in parts), place)
    # three sets: the samples 0 to 9, 10 to 19, and 13 to 22, of which only the last three are looked for
    sets = [scores(images[at], texts[at], numbers[at]) for at in (slice(0, 10), slice(10, 20), slice(13, 23))]
    expected = torch.cat((sets[0], sets[1], sets[2][7:])).double().mean(0)
    assert list(metric.compute().values()) == expected.tolist()


def test_a_split_with_fewer_samples_is_one_set() -> None:
    images, texts, numbers = embeddings()
    metric = Retrieval(1000)
    metric.update(images, texts, numbers, 0)
    assert list(metric.compute().values()) == scores(images, texts, numbers).double().mean(0).tolist()
