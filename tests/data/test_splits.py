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


class TestHashedSplits:
    labels = torch.arange(3000) % 3
    ids = splits.identities([f"class/{number}.png".encode() for number in range(3000)])

    def test_about_the_fraction_of_each_class(self) -> None:
        chosen = splits.hashed_fraction(self.ids, self.labels, 0.1, 0, "val")
        counts = torch.bincount(self.labels[chosen])
        assert ((counts - 100).abs() < 30).all()  # the standard deviation is 9.5

    def test_it_depends_on_identity_seed_and_purpose_only(self) -> None:
        chosen = splits.hashed_fraction(self.ids, self.labels, 0.1, 0, "val")
        order = torch.randperm(3000)
        assert torch.equal(splits.hashed_fraction(self.ids[order], self.labels[order], 0.1, 0, "val"), chosen[order])
        assert torch.equal(splits.hashed_fraction(self.ids[:900], self.labels[:900], 0.1, 0, "val"), chosen[:900])
        for other in ((1, "val"), (0, "test")):
            both = splits.hashed_fraction(self.ids, self.labels, 0.1, *other) & chosen
            assert 10 <= int(both.sum()) <= 55  # 30 if they are independent

    def test_a_larger_fraction_contains_a_smaller_one(self) -> None:
        small, large = (splits.hashed_fraction(self.ids, self.labels, part, 0, "val") for part in (0.1, 0.2))
        assert (large | ~small).all()

    def test_folds_are_disjoint_and_cover_all(self) -> None:
        folds = torch.stack([splits.hashed_fold(self.ids, 5, index, 0) for index in range(5)])
        assert (folds.sum(0) == 1).all()
        assert (folds.sum(1) - 600).abs().max() < 100

    def test_the_hash_is_the_same_on_every_machine_and_version(self) -> None:
        """Runs that exist rely on it: these numbers must never change."""
        chosen = splits.hashed_fraction(self.ids[:60], self.labels[:60], 0.1, 0, "test")
        assert chosen.nonzero().flatten().tolist() == [4, 12, 32, 38, 39, 47, 59]


def test_a_number_of_samples_is_the_same_for_each_class_or_in_proportion() -> None:
    labels = torch.tensor([0] * 60 + [1] * 30 + [2] * 10)
    for num, equal, counts in ((30, True, [10, 10, 10]), (45, True, [18, 17, 10]), (10, False, [6, 3, 1])):
        assert torch.bincount(labels[splits.number(labels, num, 0, equal=equal)]).tolist() == counts
    assert torch.bincount(labels[splits.number(labels, 3, 0, equal=False)]).tolist() == [1, 1, 1]
    few, many = (splits.number(labels, num, 0, equal=False) for num in (10, 40))
    assert (many & few).equal(few)
    assert not splits.number(labels, 10, 1, equal=False).equal(few)
    assert splits.number(labels, 100, 0, equal=True).all()
