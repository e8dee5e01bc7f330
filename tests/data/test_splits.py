"""Stratified splits with hand-made labels."""

import torch

from leyden.data import splits
from tests.data.building import build_data


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
        module = build_data("synthetic", "data.num_folds=4", "data.fold=2")
        module.setup("fit")
        both = torch.cat([module.train[0], module.val[0]]).flatten(1)
        assert (len(module.train[1]), len(module.val[1])) == (1500, 500)
        assert len(both.unique(dim=0)) == 2000

    def test_limit_keeps_a_fraction_of_the_training_set_only(self) -> None:
        module = build_data("synthetic", "data.limit=0.1")
        module.setup("fit")
        module.setup("test")
        assert module.sizes() == {"train": 180, "val": 20, "test": 500}
