"""What --help KEY prints."""

import sys

import pytest

from leyden.cli import help_for, main
from leyden.config.compose import compose, groups, with_choices
from leyden.config.key_help import Comments, described, key_help, plain_section, receiver, shown, yaml_comments
from leyden.errors import UserError


def test_a_value_has_a_type_and_a_meaning() -> None:
    assert key_help("task.gamma").splitlines() == [
        "task.gamma",
        "  value     2  (of task=classification)",
        "  type      a number",
        "  meaning   exponent of the focal loss, at least 0.",
        "  resume    stays the same when a run is resumed",
    ]
    text = key_help("trainer.precision")
    assert "one of 32-true, 64-true, 16-mixed, bf16-mixed, bf16-true\n" in text
    assert "can change when a run is resumed" in key_help("trainer.max_epochs")


def test_the_choices_on_the_command_line_count() -> None:
    assert "0.05  (of optimizer=sgd)" in key_help("optimizer.lr", ["optimizer=sgd", "model.dropuot=1"])
    assert "classes" in key_help("data.classes", ["data=folder"])
    assert key_help("data.root", ["data=folder"]).splitlines()[1].endswith("(of data=folder)")


def test_groups_and_sections_list_what_they_contain() -> None:
    text = key_help("model")
    assert "  a group; chosen: cnn\n" in text
    for name, headline in groups()["model"].items():
        assert f"model={name}" in text
        assert headline in text
    assert "  model.hidden=[120,84]\n" in text
    assert "early_stopping.patience=10  epochs without a better objective\n" in key_help("early_stopping")


@pytest.mark.parametrize(("key", "hint"), [("lr", "optimizer.lr"), ("optimizer.lrr", "optimizer.lr")])
def test_a_key_that_does_not_exist(key: str, hint: str) -> None:
    with pytest.raises(UserError, match=f"^{key}: there is no such key, did you mean {hint}"):
        key_help(key)


def test_every_key_of_the_default_config_is_described() -> None:
    sections = ("paths", "checkpoint", "early_stopping", "trainer", "data", "task", "optimizer", "scheduler")
    cfg = with_choices([])
    comments = Comments(cfg.hydra.runtime.choices)
    silent = []
    for section in sections:
        known = described(receiver(section, cfg))
        keys = [f"{section}.{name}" for name in plain_section(cfg, section) if name != "_target_"]
        silent += [key for key in keys if not known.get(key.partition(".")[2]) and not comments.find(key)]
    assert silent == []
    assert all(comments.find(key) for key in ("seed", "name", "resume", "init_from", "plugins", "augment"))


def test_values_are_shown_as_they_are_typed() -> None:
    assert [shown(value) for value in (None, True, 1e-4, [1, "a"], {"a": None}, "x")] == [
        "null", "true", "0.0001", "[1,a]", "{a:null}", "x",
    ]  # fmt: skip


def test_comments_of_nested_keys(tmp_path) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "a.yaml"
    file.write_text("# heading\none: 1 # first\nouter:\n  inner: '#3' # second\n  other: 2\nlast: [1, 2] # third # x\n")
    assert yaml_comments(file, "group") == {
        "group.one": "first",
        "group.outer.inner": "second",
        "group.last": "third # x",
    }
    file.write_text("# @package _global_\ndata:\n  shape: 3 # size\n")
    assert yaml_comments(file, "data") == {"data.shape": "size"}


def test_the_command_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert help_for(["--help", "optimizer.lr"]) == help_for(["--help-key", "optimizer.lr"]) == key_help("optimizer.lr")
    assert help_for(["--help"]).startswith("Leyden trains")
    monkeypatch.setattr(sys, "argv", ["leyden", "--help-key"])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert capsys.readouterr().err == "error: --help-key: needs a key, for example: --help-key optimizer.lr\n"


def test_the_comments_do_not_change_the_config() -> None:
    assert compose().trainer.max_epochs == 10
