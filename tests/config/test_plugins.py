"""A user's own folder works like Leyden's own code, but only if the user names it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import leyden
from leyden.config import instantiate, plugins
from leyden.config.compose import compose, groups
from leyden.errors import UserError

NET = '''
import math
from collections.abc import Sequence
from torch import Tensor, nn

class Linear(nn.Module):
    """Logistic regression."""

    def __init__(self, in_shape: Sequence[int], num_outputs: int, bias: bool) -> None:
        super().__init__()
        self.layer = nn.Linear(math.prod(in_shape), num_outputs, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.flatten(1))
'''
YAML = """# logistic regression
_target_: {module}.Linear
in_shape: ${{data.shape}}
bias: true
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a net and its config; everything it changes in this process is undone."""
    name = f"linear_{tmp_path.name.replace('-', '_')}"
    folder = tmp_path / "my project"
    (folder / "conf" / "model").mkdir(parents=True)
    (folder / f"{name}.py").write_text(NET)
    (folder / "conf" / "model" / "linear.yaml").write_text(YAML.format(module=name))
    monkeypatch.setattr(plugins, "_conf_folders", [])
    monkeypatch.setattr(plugins, "_loaded", set())
    monkeypatch.setattr(instantiate, "_plugin_packages", [])
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        yield folder


def test_a_net_outside_of_the_package_trains_is_listed_and_loads(plugin: Path, finished: Callable[..., Path]) -> None:
    folder = finished(f"plugins=['{plugin}']", "model=linear", "trainer=smoke")
    assert groups()["model"]["linear"] == "logistic regression"
    assert leyden.load(folder).net.layer.out_features == 10


def test_a_run_folder_cannot_load_it_by_itself(
    plugin: Path, finished: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = finished(f"plugins=['{plugin}']", "model=linear", "trainer=smoke")
    monkeypatch.setattr(instantiate, "_plugin_packages", [])
    monkeypatch.setattr(plugins, "_loaded", set())
    with pytest.raises(UserError, match=r"model\._target_: .* is not in a trusted package .* plugins=\[FOLDER\]"):
        leyden.load(folder)
    assert leyden.load(folder, plugins=[plugin])


def test_the_environment_can_name_it(plugin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEYDEN_PLUGINS", str(plugin))
    assert compose("model=linear").model.bias is True


def test_a_wrong_value_names_its_key(plugin: Path) -> None:
    from leyden.config.builders import build_module

    with pytest.raises(UserError, match=r"model\.bias: got 'maybe', expected true or false"):
        build_module(compose(f"plugins=['{plugin}']", "model=linear", "model.bias=maybe"))


def test_a_missing_folder_and_a_name_that_is_taken_are_named(plugin: Path) -> None:
    with pytest.raises(UserError, match="plugins: there is no folder"):
        compose("plugins=[nowhere]")
    (plugin / "json.py").write_text("")
    with pytest.raises(UserError, match=r"json has the name of another Python module"):
        compose(f"plugins=['{plugin}']")
