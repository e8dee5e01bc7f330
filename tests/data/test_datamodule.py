"""Every data set reads what its config says, and documents its arguments."""

import inspect
import typing

import pytest
import torch

from leyden.config.compose import compose, groups
from leyden.config.instantiate import locate
from leyden.data.datamodule import InMemoryData
from leyden.data.images import ImageData
from leyden.data.scaling import Scaling
from leyden.data.texts import TextData
from leyden.errors import UserError
from tests.conftest import chosen
from tests.data.building import build_data


class TestEveryDataSet:
    @pytest.mark.parametrize("name", groups()["data"])
    def test_reads_what_its_config_says(self, name: str) -> None:
        module = build_data(name)
        assert isinstance(module, InMemoryData)
        if not all(path.exists() for path in module.files()):
            pytest.skip(f"the files of {name} are not here")
        module.setup("fit")
        assert module.test is None, "the test set was read before the end"
        num_test, described = module.count_test(), module.describe()
        assert module.fingerprint() == build_data(name).fingerprint()
        module.setup("test")
        assert num_test in (len(module.test[1]), None)
        assert described == module.describe()
        for split in (module.train, module.val, module.test):
            assert split is not None
            inputs, targets = split
            assert len(inputs) == len(targets) > 0
            if isinstance(module, ImageData):
                assert (inputs.dtype, targets.dtype) == (torch.uint8, torch.int64)
                assert targets.unique().tolist() == list(range(module.num_classes)), "a class is missing"
        kinds = set()
        for batches in (module.train_dataloader(), module.val_dataloader(), module.test_dataloader()):
            inputs, targets = next(iter(batches))
            assert inputs.dtype == (torch.int64 if module.input_kind == "text" else torch.float32)
            if isinstance(module, TextData):  # without the padding that no text of the batch needs
                assert inputs.shape[1] <= module.max_tokens
            else:
                assert inputs.shape == (len(targets), *module.shape)
            kinds.add((targets.dtype, targets.shape[1:]))
        assert len(kinds) == 1, "the targets differ between the splits"

    @pytest.mark.parametrize("name", groups()["data"])
    def test_help_lists_and_describes_every_argument(self, name: str) -> None:
        target = compose(*chosen(name)).data["_target_"]
        parameters = inspect.signature(locate(target, "data")).parameters
        assert set(parameters) == set(compose(*chosen(name)).data) - {"_target_"}
        doc = inspect.getdoc(locate(target, "data")) or ""
        assert not doc.startswith("Args")
        for argument, parameter in parameters.items():
            assert parameter.kind == parameter.KEYWORD_ONLY
            assert f"\n    {argument}: " in doc
            assert parameter.default is parameter.empty, "its default is in the YAML file"
        hints = typing.get_type_hints(locate(target, "data").__init__)
        assert set(parameters) <= set(hints)


class TestFacts:
    def test_of_images(self) -> None:
        data = build_data("digits")
        data.setup("fit")
        facts = data.facts()
        assert (facts.mean, facts.std, facts.scaling) == ((0.305,), (0.361,), None)
        assert facts.classes == tuple("0123456789")
        assert facts.classes_in is not None
        assert facts.classes_in(torch.tensor([1])).tolist() == [[0, 1, 0, 0, 0, 0, 0, 0, 0, 0]]

    def test_of_composed_images(self) -> None:
        data = build_data("digit_pairs", "data.num_train=20", "data.num_eval=20")
        data.setup("fit")
        covered = 2.5 * 28**2 / 56**2
        assert data.facts().mean == pytest.approx((covered * 0.305,))
        assert data.facts().classes == tuple("0123456789")

    def test_of_tables_and_series(self) -> None:
        for name in ("diabetes", "series"):
            data = build_data(name)
            data.setup("fit")
            facts = data.facts()
            assert (facts.mean, facts.classes_in) == (None, None)
            scaling = Scaling(data.shape, data.train[1].shape[1])
            data.fit_scaling(scaling)
            assert facts.scaling is not None
            assert facts.scaling.mean.tolist() == scaling.mean.tolist() != [0.0] * len(scaling.mean)
            assert facts.scaling.target_std.tolist() == scaling.target_std.tolist()


class TestCombinationsOfKeys:
    """Each is one line that names the key that is wrong."""

    @pytest.mark.parametrize(
        ("name", "overrides", "message"),
        [
            ("digits", ["num_folds=20000"], "data.num_folds: got 20000, but there are only 1438 samples"),
            ("digits", ["num_folds=1000000000000000000"], "data.num_folds: got 1000000000000000000, but there"),
            ("digits", ["num_folds=400", "fold=399"], "data.num_folds: 400 folds of 1438 samples leave fold 399 empty"),
            ("diabetes", ["num_folds=5000"], "data.num_folds: got 5000, but there are only 354 samples"),
            ("digits", ["val_fraction=0.9999"], "data.val_fraction: 0.9999 of 1438 samples leaves none for training"),
            ("digits", ["limit=0.0001"], "data.limit: 0.0001 of 1438 samples leaves none for training"),
            ("diabetes", ["limit=0.001"], "data.limit: 0.001 of 354 samples leaves none for training"),
            ("digits", ["exclude_class=true"], "data.exclude_class: got True, expected a whole number or null"),
            ("digits", ["num_classes=-10"], "data.num_classes: got -10, must be at least 2"),
            ("digit_pairs", ["num_classes=-10"], "data.num_classes: got -10, must be at least 2"),
            ("digits", ["num_classes=9"], "data.num_classes: got 9, but training image 25 has the label 9"),
            ("diabetes", ["shape=[-1]"], r"data.shape: got \[-1\], expected \[features\]"),
            ("digits", ["shape=[-1,28,28]"], r"data.shape: got \[-1, 28, 28\], expected \[channels"),
            ("synthetic", ["num_train=1000000000000"], "data.num_train: got 1000000000000, needs 784,000.0 GB"),
            ("synthetic", ["shape=[1,1000000,1000000]"], "data.num_train: got 2000, needs .* GB, but"),
            ("digits", ["shape=[1,1000000,1000000]"], r"data.shape: got .*, needs .* GB of memory"),
            ("digit_strings", ["num_eval=1000000000000"], "data.num_eval: got 1000000000000, needs .* GB of memory"),
            ("digit_pairs", ["num_train=1000000000000"], "data.num_train: got 1000000000000, needs .* GB of memory"),
        ],
    )  # fmt: skip
    def test_one_line(self, name: str, overrides: list[str], message: str) -> None:
        with pytest.raises(UserError, match=f"^{message}") as caught:
            build_data(name, *(f"data.{override}" for override in overrides)).setup("fit")
        assert "\n" not in str(caught.value)

    def test_a_tiny_validation_fraction_leaves_one_sample_of_each_class(self) -> None:
        data = build_data("digits", "data.val_fraction=1e-12")
        data.setup("fit")
        assert sorted(data.val[1].tolist()) == list(range(10))


@pytest.mark.parametrize("name", ["digits", "series", "digit_pairs"])
def test_a_training_on_all_samples_has_those_of_the_validation(name: str) -> None:
    alone, together = build_data(name), build_data(name, "data.train_on_all=true")
    for data in (alone, together):
        data.setup("fit")
    assert torch.equal(alone.val[0], together.val[0])
    if name == "digits":
        assert len(together.train[1]) == len(alone.train[1]) + len(alone.val[1])
        assert "1,438 train (with those of val)" in together.describe()
        with pytest.raises(UserError, match=r"^data.train_on_all: got true, cannot be combined with data.num_folds"):
            build_data(name, "data.train_on_all=true", "data.num_folds=3")
    if name == "series":
        assert torch.equal(together.train[0][-1], alone.val[0][-1])
