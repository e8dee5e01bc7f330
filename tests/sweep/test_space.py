"""Search spaces: parsing and enumerating."""

import pytest
from hydra import initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra

from leyden.config.compose import CONF, groups
from leyden.sweep.axes import Choice, Number, parse
from leyden.sweep.space import Space, read_axes, read_axis


@pytest.fixture
def loader() -> ConfigLoader:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return GlobalHydra.instance().config_loader()


@pytest.mark.parametrize(
    ("text", "axis"),
    [
        ("x=1,2", Choice("x", (), ("1", "2"))),
        ("x=choice([64],[256,128])", Choice("x", (), ("[64]", "[256,128]"))),
        ("+x='a b',c", Choice("+x", (), ("'a b'", "c"))),
        ("x=choice(1)", Choice("x", (), ("1",))),
        ("x=range(1,8)", Number("x", (), 1, 7, 1, integer=True, log=False)),
        ("x=range(8,65,8)", Number("x", (), 8, 64, 8, integer=True, log=False)),
        ("x=interval(1,8)", Number("x", (), 1, 8, 0, integer=False, log=False)),
        ("x=tag(log, interval(1e-4, 1e-1))", Number("x", (), 1e-4, 1e-1, 0, integer=False, log=True)),
        ("x=tag(log, int(interval(16, 512)))", Number("x", (), 16, 512, 1, integer=True, log=True)),
    ],
)
def test_hydras_grammar(text: str, axis: Choice | Number) -> None:
    assert read_axis(parse([text])[0]) == axis


def test_the_values_of_a_range_are_free_of_rounding() -> None:
    axis = read_axis(parse(["x=range(0.1,0.5,0.1)"])[0])
    assert axis.values() == [0.1, 0.2, 0.3, 0.4]
    assert axis.match(0.3) == 0.3
    assert axis.match(0.35) is None


def test_a_glob_is_the_choices_of_a_group(loader: ConfigLoader) -> None:
    axis = read_axis(parse(["data=glob(*,exclude=mnist)"], loader)[0])
    assert set(axis.values()) == set(groups()["data"]) - {"mnist"}, "hidden files (with a leading _) are not offered"


def test_points_under_a_condition(loader: ConfigLoader) -> None:
    space = {
        "optimizer": "choice(sgd, adamw)",
        "optimizer=sgd": {"optimizer.momentum": "0.8,0.9", "model=cnn": {"optimizer.nesterov": "true,false"}},
        "seed": "1,2",
    }
    axes = tuple(read_axes(space, loader))
    assert [axis.name for axis in axes] == [
        "optimizer",
        "optimizer.momentum (optimizer=sgd)",
        "optimizer.nesterov (optimizer=sgd, model=cnn)",
        "seed",
    ]
    found = Space(axes, {})
    assert [" ".join(found.overrides(point)) for point in found.points()] == [
        "optimizer=sgd optimizer.momentum=0.8 seed=1",
        "optimizer=sgd optimizer.momentum=0.8 seed=2",
        "optimizer=sgd optimizer.momentum=0.9 seed=1",
        "optimizer=sgd optimizer.momentum=0.9 seed=2",
        "optimizer=adamw seed=1",
        "optimizer=adamw seed=2",
    ]
    assert len(Space(axes, {"model": "cnn"}).points()) == 2 * 2 * 2 + 2, (
        "a fixed key of the command line fulfils a condition"
    )


def test_a_point_is_found_by_its_values_not_their_spelling() -> None:
    space = Space((Choice("model.hidden", (), ("[64]", "[256,128]")), Number("lr", (), 0, 1, 0, False, False)), {})
    assert space.point_at({"model.hidden": [256, 128], "lr": 1e-1}) == {"model.hidden": "[256,128]", "lr": 0.1}
