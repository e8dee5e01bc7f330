"""Nearest neighbours, the linear probe and the indicators of collapse."""

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch.nn.functional import normalize

from leyden.metrics.frechet import FeatureSums
from leyden.metrics.representation import Bank, LinearProbe, spread_and_rank

RNG = torch.Generator().manual_seed(0)
LABELS = torch.arange(60) % 3
CENTRES = torch.eye(3, 5) * 3
FEATURES = CENTRES[LABELS] + torch.randn(60, 5, generator=RNG)


def test_the_neighbours_vote_by_their_similarity() -> None:
    bank = Bank(torch.tensor([[1.0, 0.0], [0.99, 0.1], [0.0, 1.0], [0.1, 3.0]]), torch.tensor([2, 2, 0, 0]), 3)
    assert bank.neighbours(torch.tensor([[5.0, 1.0], [0.1, 1.0]])).tolist() == [2, 0]
    # one very similar sample counts more than several others
    bank = Bank(torch.tensor([[1.0, 0.0], *[[0.5, 1.0]] * 3]), torch.tensor([0, 1, 1, 1]), 2)
    assert bank.neighbours(torch.tensor([[1.0, 0.01]])).tolist() == [0]


@pytest.mark.parametrize("classes", [[0, 1, 2], [1, 2]])
def test_the_probe_is_that_of_scikit_learn(classes: list[int]) -> None:
    chosen = torch.isin(LABELS, torch.tensor(classes))
    features, labels = FEATURES[chosen].double(), LABELS[chosen]
    standard = (features - features.mean(0)) / features.std(0, correction=0)
    expected = LogisticRegression(max_iter=300).fit(standard.numpy(), labels.numpy()).predict(standard.numpy())
    assert LinearProbe(features.float(), labels)(features.float()).tolist() == expected.tolist()


def moments(features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    sums = FeatureSums(features.shape[1])
    sums.add(normalize(features, dim=1), torch.ones(len(features), dtype=torch.bool))
    return sums.moments()[:2]


def test_spread_and_rank_show_a_collapse() -> None:
    point = torch.ones(50, 4)
    spread, rank = spread_and_rank(*moments(point))
    assert spread == pytest.approx(0, abs=1e-3)
    line = torch.stack([torch.randn(50, generator=RNG).sign(), *[torch.zeros(50)] * 3], 1)
    spread, rank = spread_and_rank(*moments(line))
    assert (float(spread), float(rank)) == (pytest.approx(1, abs=0.1), pytest.approx(1))
    sphere = torch.randn(5000, 4, generator=RNG)
    spread, rank = spread_and_rank(*moments(sphere))
    assert (float(spread), float(rank)) == (pytest.approx(1, abs=0.01), pytest.approx(4, abs=0.01))
