"""Images from a trained generative model."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from leyden.errors import UserError
from leyden.tools.sample import sample

SMALL = ("data=digits", "model.channels=[4,8]", "task.num_samples=100", "trainer=smoke", "trainer.max_epochs=1")


def test_a_seed_gives_the_same_grid_again(finished: Callable[..., Path], tmp_path: Path) -> None:
    folder = finished("model=vae", *SMALL)
    for name, seed in (("one", 0), ("again", 0), ("other", 1)):
        sample(folder, tmp_path / f"{name}.png", num=4, seed=seed)
    one, again, other = ((tmp_path / f"{name}.png").read_bytes() for name in ("one", "again", "other"))
    assert one == again
    assert one != other
    with Image.open(tmp_path / "one.png") as image:
        assert min(image.size) >= 28
    with pytest.raises(UserError, match="--num: got 0, must be at least 1"):
        sample(folder, tmp_path / "none.png", num=0)


def test_a_classifier_does_not_generate_images(finished: Callable[..., Path], tmp_path: Path) -> None:
    folder = finished("model=mlp", "model.hidden=[8]", "trainer.max_epochs=1")
    with pytest.raises(UserError, match="does not generate images"):
        sample(folder, tmp_path / "none.png")
