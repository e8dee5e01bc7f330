"""A sweep uses only its own folders: what is compared, and that nothing is overwritten."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from leyden.errors import UserError
from leyden.sweep.identity import difference, flat_config
from leyden.sweep.plan import Plan
from leyden.sweep.worker import Sweep
from tests.sweep.fake_jobs import DROPOUT, FakeJobs, make_plan, quadratic, rows, sweep

SEARCH = [DROPOUT, "sweep.n_trials=3", "sweep.name=x"]


def files(folder: Path) -> dict[Path, bytes]:
    """Return all files of a folder with their content, without lock files."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and "lock" not in path.name}


def test_a_deleted_journal_is_reported(tmp_path: Path, logs: str) -> None:
    sweep(quadratic, logs, *SEARCH)
    folder = tmp_path / "sweeps" / "x"
    (folder / "journal.log").unlink()
    before = files(folder)
    with pytest.raises(UserError, match=r"sweeps/x contains the trials of another study. Was its journal deleted"):
        sweep(quadratic, logs, *SEARCH)
    with pytest.raises(UserError, match=r"x exists and is another sweep \(.*sweeps/x\); they differ: .*model.hidden"):
        sweep(quadratic, logs, "model.hidden=choice([4],[64],[128])", "sweep.name=x")
    assert files(folder) == before


def test_another_storage_with_the_same_name_is_reported(tmp_path: Path, logs: str) -> None:
    sweep(quadratic, logs, *SEARCH)
    before = files(tmp_path / "sweeps")
    with pytest.raises(UserError, match=r"sweeps/x contains the trials of another study.*sweep.storage changed"):
        sweep(quadratic, logs, *SEARCH, f"sweep.storage=sqlite:///{tmp_path}/study.db")
    assert files(tmp_path / "sweeps") == before


def test_a_sweep_in_the_storage_with_another_folder_is_compared_too(tmp_path: Path) -> None:
    storage = f"sweep.storage=sqlite:///{tmp_path}/study.db"
    sweep(quadratic, f"paths.logs={tmp_path}/a", *SEARCH, storage)
    with pytest.raises(UserError, match=r"x exists and is another sweep"):
        sweep(quadratic, f"paths.logs={tmp_path}/b", "model.dropout=interval(0, 0.5)", *SEARCH[1:], storage)


def test_the_report_of_another_run_is_not_used(tmp_path: Path, logs: str) -> None:
    """The sweep is stopped after trial 0, and folder 1 receives the files of another run."""
    arguments = [logs, "model=mlp,cnn", "sweep.name=x"]
    sweep(lambda _: 0.5, *arguments, "sweep.n_trials=1", "sweep.sampler=brute_force")
    folder = tmp_path / "sweeps" / "x"
    shutil.copytree(folder / "0", folder / "1")
    before = files(folder / "1")
    with pytest.raises(
        UserError, match=r"x/1: contains another run than this sweep's trial: .*model=mlp there, model=cnn here"
    ):
        sweep(lambda _: 0.5, *arguments, "sweep.n_trials=2", "sweep.sampler=brute_force")
    (folder / "1" / "trial.json").unlink()
    with pytest.raises(UserError, match=r"x/1: contains a run, but no trial.json"):
        sweep(lambda _: 0.5, *arguments, "sweep.n_trials=2", "sweep.sampler=brute_force")
    before = {path: text for path, text in before.items() if path.name != "trial.json"}
    assert files(folder / "1") == before


def with_conf(plan: Plan, key: str, value: Any, label: str = "") -> Plan:
    """Return the plan that the same command has after a change in ``conf/``."""

    def compose(overrides: Sequence[str]) -> DictConfig:
        cfg = plan.compose(overrides)
        OmegaConf.set_struct(cfg, False)
        OmegaConf.update(cfg, key, value)
        return cfg

    return replace(plan, values={**plan.values, key: json.dumps(value)}, compose=compose)


def test_a_change_of_conf_is_named(tmp_path: Path, logs: str) -> None:
    sweep(quadratic, logs, *SEARCH)
    changed = with_conf(make_plan(logs, *SEARCH[:1], "sweep.n_trials=4", "sweep.name=x"), "model.hidden", [7])
    with pytest.raises(UserError, match=r"conf/ has changed .*: model.hidden was \[120, 84\] and is \[7\] now"):
        Sweep(changed, FakeJobs(quadratic), "").run()
    assert len(rows(tmp_path / "sweeps" / "x")) == 3


def test_a_change_in_the_file_of_a_swept_choice_is_named(tmp_path: Path, logs: str) -> None:
    arguments = [logs, "model=cnn,mlp", "sweep.name=x"]
    sweep(quadratic, *arguments)
    plan = make_plan(*arguments)
    variants = {**plan.variants, "model=mlp": replace(plan.variants["model=mlp"], digest="other")}
    with pytest.raises(UserError, match=r"conf/ has changed since x began: model=mlp"):
        Sweep(replace(plan, variants=variants), FakeJobs(quadratic), "").run()


def test_other_paths_and_another_order_are_the_same_sweep(tmp_path: Path, logs: str) -> None:
    sweep(quadratic, logs, "paths.data=/a", "optimizer=sgd", "model=cnn,mlp", "sweep.name=x")
    assert sweep(quadratic, "optimizer=sgd", "model=cnn,mlp", logs, "paths.data=/b", "sweep.name=x").started == []


def test_damaged_identity_files_are_reported(tmp_path: Path, logs: str) -> None:
    sweep(quadratic, logs, *SEARCH)
    for text in ("", "{", "[]", "{}"):
        (tmp_path / "sweeps" / "x" / "identity.json").write_text(text)
        with pytest.raises(UserError, match=r"identity.json: is damaged"):
            sweep(quadratic, logs, *SEARCH)


@pytest.mark.parametrize(
    ("stored", "own", "text"),
    [
        ({"a": "1"}, {"a": "2"}, "a was 1 and is 2 now"),
        ({"a": "1"}, {"a": "1", "b": "2"}, "b is 2 now and did not exist"),
        ({"a": "1", "b": "2"}, {"a": "1"}, "b was 2 and does not exist now"),
        ({"a": ["x", "y"]}, {"a": ["x", "z"]}, "y there, z here"),
        ({"a": {"b": "1"}}, {"a": {"b": "2"}}, "b was 1 and is 2 now"),
        ({"a": "1"}, {"a": "1"}, ""),
    ],
)
def test_the_first_difference_is_named(stored: Any, own: Any, text: str) -> None:
    assert difference(stored, own) == text


def test_flat_config_does_not_depend_on_paths() -> None:
    cfg = OmegaConf.create({"paths": {"data": "/a"}, "data": {"root": "${paths.data}/x"}, "hydra": {}, "seed": 0})
    assert flat_config(cfg) == {"data.root": '"${paths.data}/x"', "seed": "0"}
