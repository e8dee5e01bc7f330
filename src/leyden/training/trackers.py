"""Experiment trackers: Weights & Biases and MLflow. Both packages are optional and imported when a run begins.

A tracker sends data to an address. So this file is in no package that a run folder may name by itself: when a run is
resumed, its tracker must be repeated on the command line, see `leyden.config.stored`.
"""

import importlib.util
import json
import os
import re
import secrets
import sys
import time
from abc import abstractmethod
from argparse import Namespace
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from leyden.errors import UserError
from leyden.records.json_files import read_json
from leyden.records.run_folder import one_line, refuse_link, write_text


class Tracker(Logger):
    """Sends config, metrics and report of a run to a tracker. A resumed run continues the same run of the tracker.

    The id of that run is in ``<key>.json`` in the run folder, together with what was sent last, so that a resumed run
    sends no metric twice. If the tracker fails during the training, the run prints a warning and continues without it.

    Args:
        folder: the run folder.
        first_step: the step at which a resumed run continues.

    Raises:
        UserError: a package is missing, or the file with the id is damaged or belongs to another project.
    """

    key: ClassVar[str]  # of the config, the extra and the file
    packages: ClassVar[tuple[str, ...]]

    def __init__(self, folder: Path, first_step: int = 0) -> None:
        super().__init__()
        missing = [package for package in self.packages if importlib.util.find_spec(package) is None]
        if missing:
            raise UserError(f'logger.{self.key}: needs {" and ".join(missing)}: pip install -e ".[{self.key}]"')
        self.folder, self.first_step = folder, first_step
        self.path = folder / f"{self.key}.json"
        self.run_id: str | None = None
        self.sent_step, self.sent_names = -1, list[str]()  # what was sent last
        self.active = False
        self._read()

    @property
    def name(self) -> str:
        return self.key

    @property
    def version(self) -> str | None:
        return self.run_id

    @property
    @abstractmethod
    def place(self) -> str:
        """Where the tracker keeps the run, for example the name of a project."""

    @property
    @abstractmethod
    def place_key(self) -> str:
        """The key of the config that sets `place`."""

    @abstractmethod
    def start(self, run_id: str | None, config: Mapping[str, Any]) -> str:
        """Begin a run, or continue the one with `run_id`. Returns its id."""

    @abstractmethod
    def send(self, metrics: Mapping[str, float], step: int) -> None:
        """Send metrics that belong to a step."""

    @abstractmethod
    def attach(self, name: str, text: str) -> None:
        """Attach a text file to the run."""

    @abstractmethod
    def end(self, succeeded: bool) -> None:
        """End the run."""

    @rank_zero_only
    def begin(self, cfg: DictConfig) -> None:
        """Start the run of the tracker, or continue it. Call it when the run folder exists.

        Raises:
            UserError: the tracker cannot be reached, or rejects the run.
        """
        try:
            self.run_id = self.start(self.run_id, dict(flat(OmegaConf.to_container(cfg))))
        except Exception as error:  # each package and each of its transports has its own errors
            raise UserError(f"logger.{self.key}: {one_line(error)}") from error
        self.active = True
        self._write()

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        assert step is not None
        known = self.sent_names if step == self.sent_step else list[str]()
        new = {name: value for name, value in metrics.items() if name != "epoch" and name not in known}
        if step < self.sent_step or not new or not self.active:
            return
        if self._tried(lambda: self.send(new, step)):
            self.sent_step, self.sent_names = step, [*known, *new]
            self._write()

    @rank_zero_only
    def finish(self, cfg: DictConfig, report: Mapping[str, Any]) -> None:
        """Attach config and report, and end the run."""

        def send() -> None:
            self.attach("config.yaml", OmegaConf.to_yaml(cfg))
            self.attach("report.json", json.dumps(report, indent=2, default=str))
            self.end(succeeded=True)

        if self.active and self._tried(send):
            self.active = False

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """End the run if the training has failed or was stopped. Lightning calls it after the training, too."""
        if status == "failed" and self.active:
            self._tried(lambda: self.end(succeeded=False))
            self.active = False

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Do nothing: `begin` sends the config."""

    def _tried(self, action: Any) -> bool:
        """Return whether `action` succeeds. If not, print a warning and stop sending."""
        try:
            action()
        except Exception as error:  # a training of days must not end because a server does
            print(f"warning: logger.{self.key}: {one_line(error)}. The run continues without it", file=sys.stderr)
            self.active = False
            return False
        return True

    def _read(self) -> None:
        refuse_link(self.path)
        if not self.path.exists():
            return
        values = read_json(self.path)
        run_id, place, step, names = (values.get(name) for name in ("id", "place", "step", "names"))
        plain = isinstance(run_id, str) and re.fullmatch(r"[A-Za-z0-9_-]{1,128}", run_id) and isinstance(place, str)
        counts = isinstance(step, int) and isinstance(names, list) and all(isinstance(name, str) for name in names)
        if not (plain and counts):
            raise UserError(f"{self.path}: is damaged. Delete it to begin a new run of the tracker")
        if place != self.place:
            before = one_line(ValueError(place))
            raise UserError(
                f"logger.{self.key}.{self.place_key}: got {self.place}, but this run is in {before}. Repeat it on the "
                f"command line, or delete {self.path}"
            )
        self.run_id, self.sent_step, self.sent_names = str(run_id), int(step or 0), list(names or ())

    def _write(self) -> None:
        values = {"id": self.run_id, "place": self.place, "step": self.sent_step, "names": self.sent_names}
        write_text(self.path, json.dumps(values) + "\n")


class WandB(Tracker):
    """Weights & Biases. Its files are in the folder ``wandb`` of the run folder; `wandb sync` sends those of an
    offline run.

    Args:
        folder, first_step: see `Tracker`.
        project: name of the project.
        entity: user or team. null: the default of the account.
        mode: online, offline (sends nothing) or disabled. null: the variable WANDB_MODE, else online.
    """

    key = "wandb"
    packages = ("wandb",)
    place_key = "project"

    def __init__(
        self,
        folder: Path,
        first_step: int = 0,
        project: str = "leyden",
        entity: str | None = None,
        mode: Literal["online", "offline", "disabled"] | None = None,
    ) -> None:
        self.project, self.entity, self.mode = project, entity, mode
        self.run: Any = None
        super().__init__(folder, first_step)

    @property
    def place(self) -> str:
        return f"{self.entity}/{self.project}" if self.entity else self.project

    def start(self, run_id: str | None, config: Mapping[str, Any]) -> str:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        mode = self.mode or os.environ.get("WANDB_MODE", "online")
        run_id = run_id or secrets.token_hex(4)
        self.run = wandb.init(
            project=self.project,
            entity=self.entity,
            id=run_id,
            name=self.folder.name,
            dir=self.folder,
            config=dict(config),
            mode=mode,
            resume="allow" if mode == "online" else None,
            settings=wandb.Settings(console="off", silent=True),
        )
        self.run.define_metric("*", step_metric="step")
        return run_id

    def send(self, metrics: Mapping[str, float], step: int) -> None:
        self.run.log({**metrics, "step": step})

    def attach(self, name: str, text: str) -> None:
        path = Path(self.run.dir) / name
        path.write_text(text, encoding="utf-8")
        self.run.save(str(path), base_path=self.run.dir, policy="now")

    def end(self, succeeded: bool) -> None:
        self.run.finish(exit_code=0 if succeeded else 1)


class MLflow(Tracker):
    """MLflow, with its server or a local database.

    Args:
        folder, first_step: see `Tracker`.
        experiment: name of the experiment.
        tracking_uri: address of the server, or ``sqlite:///FILE``. null: the variable MLFLOW_TRACKING_URI, else the
            default of MLflow.
    """

    key = "mlflow"
    packages = ("mlflow", "sqlalchemy", "alembic")
    place_key = "experiment"

    def __init__(
        self, folder: Path, first_step: int = 0, experiment: str = "leyden", tracking_uri: str | None = None
    ) -> None:
        self.experiment_name, self.tracking_uri = experiment, tracking_uri
        self.client: Any = None
        super().__init__(folder, first_step)

    @property
    def place(self) -> str:
        return self.experiment_name

    def start(self, run_id: str | None, config: Mapping[str, Any]) -> str:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient
        from mlflow.entities import Param

        self.client = MlflowClient(self.tracking_uri)
        if run_id:
            self.client.update_run(run_id, status="RUNNING")
            return run_id
        found = self.client.get_experiment_by_name(self.experiment_name)
        experiment = found.experiment_id if found else self.client.create_experiment(self.experiment_name)
        started: str = self.client.create_run(experiment, run_name=self.folder.name).info.run_id
        params = [Param(key, str(value)[:6000]) for key, value in config.items()]
        for first in range(0, len(params), 100):  # the largest number of parameters in one request
            self.client.log_batch(started, params=params[first : first + 100])
        return started

    def send(self, metrics: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self.client.log_batch(self.run_id, [Metric(name, float(value), now, step) for name, value in metrics.items()])

    def attach(self, name: str, text: str) -> None:
        self.client.log_text(self.run_id, text, name)

    def end(self, succeeded: bool) -> None:
        self.client.set_terminated(self.run_id, "FINISHED" if succeeded else "KILLED")


def flat(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted keys of nested mappings with their values."""
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
