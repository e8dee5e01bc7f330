"""Sizes of data, model and task that do not agree. `tests/test_pairs.py` has those that agree."""

import pytest

from leyden.config.builders import build_module
from leyden.config.compose import compose
from leyden.errors import UserError
from tests.conftest import chosen


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.num_outputs=9"], "model.num_outputs: got 9, must be 10 for this task"),
        (["task.num_classes=11"], "task.num_classes: got 11, must be 10, since data.num_classes is 10"),
        (["model.in_shape=[-3,56,56]"], "model.in_shape: got [-3, 56, 56], must be [1, 28, 28], since data.shape"),
        (["data=series", "model=mlp", "model.num_outputs=3"], "model.num_outputs: got 3, must be 12 for this task"),
        (["data=diabetes", "model=mlp", "task.num_outputs=2"], "task.num_outputs: got 2, must be 1, since"),
        (["data=digit_strings", "model=mlp", "task.length=3"], "task.length: got 3, must be 5, since data.max_digits"),
        (["data=digit_strings", "model=mlp", "task.num_symbols=3"], "task.num_symbols: got 3, must be 11, since"),
        (
            ["model=vae", "task=simclr"],
            "model.num_outputs: GaussianAutoencoder has no such key. If you",
        ),
        (["model=vae", "task.num_classes=2"], "task.num_classes: got 2, must be 10"),
        (["data.num_classes='null'"], "model.num_outputs: got 'null', expected a whole number"),
        (["data.num_classes=2.5"], "model.num_outputs: got 2.5, expected a whole number"),
        (["data=diabetes", "model=mlp", "task.num_outputs=x"], "task.num_outputs: got x, must be 1, since"),
        (["data=digit_strings", "model=mlp", "task.num_symbols=2.5"], "task.num_symbols: got 2.5, must be 11, since"),
    ],
)
def test_a_wrong_size_is_named(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        build_module(compose(*overrides))
    assert str(caught.value).startswith(message)


EMBEDDED = [
    "data=table", "data.categories=embedded", "data.schema={a: [], b: [x,y]}", "data.classes=[no,yes]",
]  # fmt: skip


class TestCategories:
    def test_a_model_without_vectors_takes_no_codes(self) -> None:
        with pytest.raises(UserError, match=r"^data.categories: got embedded, but this model has no vectors for"):
            build_module(compose(*EMBEDDED, "model=cnn"))

    def test_sizes_of_the_model_are_those_of_the_data(self) -> None:
        assert compose(*EMBEDDED, "model=mlp").model.category_sizes == [0, 2]
        assert compose("model=mlp").model.category_sizes == []
        with pytest.raises(UserError, match=r"^model.category_sizes: got \[0, 3\], must be \[0, 2\], since data"):
            build_module(compose(*EMBEDDED, "model=mlp", "model.category_sizes=[0,3]"))

    def test_bfloat16_has_too_few_whole_numbers_for_many_categories(self) -> None:
        many = [*EMBEDDED, "model=mlp", f"data.schema={{a: [{','.join(f'c{n}' for n in range(257))}]}}"]
        build_module(compose(*many, "trainer.precision=bf16-mixed"))
        with pytest.raises(UserError, match=r"^trainer.precision: got bf16-true, whose whole numbers are exact"):
            build_module(compose(*many, "trainer.precision=bf16-true"))


@pytest.mark.parametrize(
    ("override", "without"), [("task.mixup=0.2", "0"), ("task.cutmix=1", "0"), ("task.tta=mirror", "none")]
)
def test_texts_cannot_be_mixed_or_mirrored(override: str, without: str) -> None:
    key, _, value = override.partition("=")
    message = f"{key}: got {value}, needs images, but the data set has texts; use {without}"
    with pytest.raises(UserError, match=f"^{message}$"):
        build_module(compose("model=bag", *chosen("text"), override))
