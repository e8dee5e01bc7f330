"""Trackers: what they receive, that a resumed run continues theirs, and that a run folder cannot choose one."""

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from omegaconf import OmegaConf

from leyden.config.compose import compose
from leyden.config.stored import stored_config
from leyden.errors import UserError
from leyden.records.json_files import read_report
from leyden.records.loggers import read_metrics
from leyden.records.run_folder import read_config, save_config
from leyden.run import resume, run
from leyden.training.trackers import MLflow, Tracker, WandB
from tests.conftest import power_cut

RUN = ("model=mlp", "model.hidden=[8]", "data.limit=0.2", "trainer=cpu", "trainer.max_epochs=3")
needs_mlflow = pytest.mark.skipif(
    any(importlib.util.find_spec(package) is None for package in MLflow.packages), reason="mlflow is not installed"
)
needs_wandb = pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="wandb is not installed")
other_peoples_warnings = pytest.mark.filterwarnings("ignore::Warning")


class ListTracker(Tracker):
    """Keeps in memory what a server would receive."""

    key = "list"
    packages = ()
    place_key = "project"
    place = "here"
    runs: ClassVar[dict[str, dict[str, Any]]] = {}
    fails = False

    def __init__(
        self,
        folder: Path,
        first_step: int = 0,
        project: str = "",
        entity: str | None = None,
        mode: str | None = None,
    ) -> None:
        super().__init__(folder, first_step)

    def start(self, run_id: str | None, config: Mapping[str, Any]) -> str:
        run_id = run_id or f"run{len(self.runs)}"
        self.received = self.runs.setdefault(run_id, {"points": [], "texts": {}, "config": dict(config), "ends": []})
        return run_id

    def send(self, metrics: Mapping[str, float], step: int) -> None:
        if self.fails:
            raise ConnectionError("the server does not answer")
        self.received["points"] += [(name, step, float(value)) for name, value in metrics.items()]

    def attach(self, name: str, text: str) -> None:
        self.received["texts"][name] = text

    def end(self, succeeded: bool) -> None:
        self.received["ends"].append(succeeded)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    monkeypatch.setattr(ListTracker, "runs", {})
    monkeypatch.setattr("leyden.training.trackers.WandB", ListTracker)  # stands where logger=wandb looks
    return ListTracker.runs


def start(logs: Path, *overrides: str) -> Path:
    cfg = compose(*RUN, f"paths.logs={logs}", "logger=none", *overrides)
    if not cfg.logger:
        cfg.logger = {"wandb": {"_target_": "leyden.training.trackers.WandB"}}
    run(cfg)
    return only(logs)


def only(logs: Path) -> Path:
    (folder,) = (logs / "runs").glob("*/*")
    return folder


def test_a_tracker_receives_the_metrics_the_config_and_the_report(runs: dict[str, Any], tmp_path: Path) -> None:
    folder = start(tmp_path)
    (received,) = runs.values()
    report = read_report(folder)
    assert report is not None
    for row in read_metrics(folder / "metrics.csv"):
        for name in ("train/loss", "val/acc", "test/acc"):
            if row.get(name):
                assert (name, int(row["step"]), pytest.approx(float(row[name]))) in received["points"]
    assert json.loads(received["texts"]["report.json"])["metrics"] == report["metrics"]
    assert OmegaConf.create(received["texts"]["config.yaml"]) == read_config(folder)
    assert received["config"]["model.hidden"] == [8]
    assert received["ends"] == [True]


def test_a_resumed_run_continues_the_same_run_and_sends_nothing_twice(runs: dict[str, Any], tmp_path: Path) -> None:
    start(tmp_path / "alone")
    with power_cut():  # after the first epoch
        start(tmp_path / "cut")
    assert runs["run1"]["ends"] == [False]
    resume(only(tmp_path / "cut"), ["logger=wandb"])
    alone, continued = runs.values()
    times = ("time/train_seconds", "time/images_per_second")
    points = [[point for point in one["points"] if point[0] not in times] for one in (alone, continued)]
    assert points[0] == points[1]
    assert len(set(points[1])) == len(points[1])
    assert continued["ends"] == [False, True]


def test_a_server_that_fails_does_not_end_the_training(
    runs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ListTracker, "fails", True)
    assert read_report(start(tmp_path, "trainer.max_epochs=1")) is not None
    warnings = [line for line in capsys.readouterr().err.splitlines() if "warning: logger.list" in line]
    assert warnings == ["warning: logger.list: the server does not answer. The run continues without it"]


def folder_with(tmp_path: Path, logger: dict[str, Any]) -> Path:
    cfg = compose(*RUN)
    OmegaConf.set_struct(cfg, False)
    cfg.logger = logger
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    save_config(folder, cfg)
    return folder


STRANGERS = {"_target_": "leyden.training.trackers.MLflow", "tracking_uri": "http://stranger.example"}


@pytest.mark.parametrize(
    "overrides", [(), ("logger.mlflow.experiment=mine",), ("logger.mlflow.tracking_uri=sqlite:///mine.db",)]
)
def test_a_run_folder_cannot_choose_a_tracker(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    folder = folder_with(tmp_path, {"mlflow": STRANGERS})
    with pytest.raises(UserError, match=r"^logger\.mlflow: the run in .* If you trust it, repeat .*: logger=mlflow$"):
        stored_config(folder, overrides)


@pytest.mark.parametrize("own", ["logger=mlflow", "+logger.mlflow._target_=leyden.training.trackers.MLflow"])
def test_a_repeated_tracker_has_no_address_of_the_run_folder(tmp_path: Path, own: str) -> None:
    folder = folder_with(tmp_path, {"mlflow": STRANGERS})
    assert "stranger" not in str(stored_config(folder, [own]).logger)
    cfg = stored_config(folder, [own, "logger.mlflow.experiment=mine"])
    assert cfg.logger.mlflow.experiment == "mine"
    assert "stranger" not in str(cfg.logger)
    cfg = stored_config(folder, ["logger=[tensorboard,csv]", "logger.tensorboard.histograms=true"])
    assert list(cfg.logger) == ["tensorboard"]
    assert cfg.logger.tensorboard.histograms


def test_a_choice_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^logger=wandbb: there is no such logger, did you mean wandb"):
        stored_config(folder_with(tmp_path, {}), ["logger=wandbb"])


@pytest.mark.parametrize(
    "content", ['{"id": "../x", "place": "leyden", "step": 1, "names": []}', '{"id": "a"}', "[]", "{"]
)
def test_a_damaged_file_with_the_id_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "list.json").write_text(content)
    with pytest.raises(UserError, match=r"^/.*list\.json: .*damaged"):
        ListTracker(tmp_path)


def test_another_project_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text('{"id": "a", "place": "there", "step": 1, "names": []}')
    with pytest.raises(UserError, match=r"^logger\.list\.project: got here, but this run is in there"):
        ListTracker(tmp_path)


def test_a_missing_package_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WandB, "packages", ("no_such_package",))
    with pytest.raises(UserError) as error:
        compose_and_run(tmp_path, "logger=wandb")
    assert str(error.value) == 'logger.wandb: needs no_such_package: pip install -e ".[wandb]"'
    assert not list(tmp_path.glob("runs/*/*"))


def compose_and_run(logs: Path, *overrides: str) -> None:
    run(compose(*RUN, f"paths.logs={logs}", *overrides))


@needs_mlflow
@other_peoples_warnings
def test_mlflow_with_a_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient

    monkeypatch.chdir(tmp_path)
    options = ("logger=mlflow", f"logger.mlflow.tracking_uri=sqlite:///{tmp_path}/mlflow.db")
    with power_cut():
        start(tmp_path / "logs", *options)
    folder = only(tmp_path / "logs")
    resume(folder, options)
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    (found,) = client.search_runs([client.get_experiment_by_name("leyden").experiment_id])
    assert found.info.status == "FINISHED"
    assert found.data.params["model.hidden"] == "[8]"
    report = read_report(folder)
    assert report is not None
    assert found.data.metrics["test/acc"] == pytest.approx(report["metrics"]["test/acc"])
    history = [(metric.step, metric.value) for metric in client.get_metric_history(found.info.run_id, "train/loss")]
    rows = read_metrics(folder / "metrics.csv")
    assert history == [(int(row["step"]), float(row["train/loss"])) for row in rows if row["train/loss"]]
    assert {file.path for file in client.list_artifacts(found.info.run_id)} == {"config.yaml", "report.json"}


@needs_wandb
@other_peoples_warnings
def test_wandb_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    with power_cut():
        start(tmp_path, "logger=wandb")
    folder = only(tmp_path)
    run_id = json.loads((folder / "wandb.json").read_text())["id"]
    resume(folder, ["logger=wandb"])
    assert json.loads((folder / "wandb.json").read_text())["id"] == run_id
    parts = sorted((folder / "wandb").glob(f"offline-run-*-{run_id}"))
    assert len(parts) == 2  # `wandb sync` joins them, because they have the same id
    files = parts[-1] / "files"
    assert json.loads((files / "report.json").read_text())["metrics"]
    assert (files / "config.yaml").exists()
