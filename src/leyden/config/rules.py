"""Which keys the config has outside of data, model, task, optimizer and scheduler, and which values they may have.

Each section of the config is a dataclass here. Its fields are the allowed keys, their annotations the allowed types;
`__post_init__` checks the ranges. The keys of data, model and so on are the arguments of the class that is built;
`leyden.config.instantiate` checks both kinds in the same way. This file imports no torch.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from omegaconf import DictConfig, OmegaConf

from leyden.config.instantiate import check_arguments, config_errors
from leyden.errors import UserError

Mode = Literal["min", "max"]
MAX_DEVICES = 1024  # of one machine
Fraction = int | float  # an int is a number of batches, a float a fraction of all

# Metrics that are better if they are smaller. All others are better if they are larger.
SMALLER_IS_BETTER = re.compile(
    r"(^|_)(loss|error|mse|rmse|mae|nll|kl|bpd|bpc|fcd|fid|perplexity|ppl|ece|vs_naive)(_|$)"
)


def metric_mode(metric: Any) -> Mode:
    """Return whether the best value of `metric`, such as ``val/loss``, is its smallest (min) or largest (max)."""
    return "min" if SMALLER_IS_BETTER.search(str(metric).rpartition("/")[2].lower()) else "max"


def require(holds: bool, message: str) -> None:
    """Raise ValueError with `message`, which starts with the name of an argument, unless `holds`."""
    if not holds:
        raise ValueError(message)


@dataclass(kw_only=True)
class RunSettings:
    """The keys at the top level."""

    seed: int
    ensemble: int
    ensemble_lr: Sequence[float]
    ensemble_order: Literal["own", "shared"]
    name: str
    resume: str | None
    init_from: str | None
    plugins: Sequence[str]
    augment: bool

    def __post_init__(self) -> None:
        require(0 <= self.seed < 2**63, f"seed: got {self.seed}, must be at least 0 and below 2**63")
        require(self.ensemble >= 1, f"ensemble: got {self.ensemble}, must be at least 1 (1: a single net)")
        if self.ensemble_lr:
            num = len(self.ensemble_lr)
            require(num == self.ensemble, f"ensemble_lr: got {num} learning rates for ensemble={self.ensemble}")
            require(self.ensemble > 1, "ensemble_lr: needs ensemble above 1; for a single net, use optimizer.lr")
            positive = all(0 < rate < math.inf for rate in self.ensemble_lr)
            require(positive, f"ensemble_lr: got {list(self.ensemble_lr)}, every learning rate must be above 0")
        plain = self.name.isprintable() and not re.search(r"[/\\]|^\.*$|^\s|\s$", self.name)
        require(plain, f"name: got {self.name!r}, must be the name of a folder, without a path")


@dataclass(kw_only=True)
class PathSettings:
    """Where files are."""

    logs: str
    data: str

    def __post_init__(self) -> None:
        require(bool(self.logs), "logs: is empty, must be a folder")


@dataclass(kw_only=True)
class CheckpointSettings:
    """How often last.ckpt is written."""

    every_n_steps: int

    def __post_init__(self) -> None:
        require(
            self.every_n_steps >= 0, f"every_n_steps: got {self.every_n_steps}, must be at least 0 (0: once per epoch)"
        )


@dataclass(kw_only=True)
class EarlyStoppingSettings:
    """When to stop a run that no longer improves."""

    patience: int
    min_delta: float

    def __post_init__(self) -> None:
        require(self.patience >= 1, f"patience: got {self.patience}, must be at least 1 epoch")
        require(math.isfinite(self.min_delta), f"min_delta: got {self.min_delta}, must be a finite number")


@dataclass(kw_only=True)
class ObjectiveSettings:
    """The metric by which the best epoch is chosen."""

    metric: str
    mode: Mode

    def __post_init__(self) -> None:
        require(
            self.metric.startswith("val/"),
            f"metric: got {self.metric}, must be a validation metric such as val/loss, not one of the test set",
        )
        known = metric_mode(self.metric)
        smaller = known == "min"
        require(
            not smaller or self.mode == "min",
            f"mode: got {self.mode}, but {self.metric} is better if it is smaller; leave out objective.mode",
        )


@dataclass(kw_only=True)
class TrainerSettings:
    """Arguments of Lightning's Trainer, and some of our own: `compile`, `channels_last` and `matmul_precision`."""

    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"]
    devices: int | Sequence[int] | Literal["auto"]
    num_nodes: int
    strategy: Literal["auto", "ddp", "ddp_find_unused_parameters_true"]
    precision: Literal["32-true", "64-true", "16-mixed", "bf16-mixed", "bf16-true"]
    min_epochs: int
    max_epochs: int
    max_steps: int
    max_time: str | None
    check_val_every_n_epoch: int
    val_check_interval: Fraction
    limit_train_batches: Fraction
    limit_val_batches: Fraction
    limit_test_batches: Fraction
    accumulate_grad_batches: int
    gradient_clip_val: float
    gradient_clip_algorithm: Literal["norm", "value"]
    sync_batchnorm: bool
    deterministic: bool | Literal["warn"]
    benchmark: bool | None
    detect_anomaly: bool
    profiler: Literal["simple", "advanced", "pytorch"] | None
    compile: bool
    channels_last: bool
    matmul_precision: Literal["highest", "high", "medium"]

    def __post_init__(self) -> None:
        for name in ("num_nodes", "min_epochs", "max_epochs", "check_val_every_n_epoch", "accumulate_grad_batches"):
            value = getattr(self, name)
            require(value >= 1, f"{name}: got {value}, must be at least 1")
        require(
            self.max_steps == -1 or self.max_steps >= 1, f"max_steps: got {self.max_steps}, must be at least 1, or -1"
        )
        require(
            0 <= self.gradient_clip_val < math.inf,
            f"gradient_clip_val: got {self.gradient_clip_val}, must be at least 0 (0: no limit)",
        )
        for name in ("limit_train_batches", "limit_val_batches", "limit_test_batches", "val_check_interval"):
            self._check_fraction(name, getattr(self, name))
        self._check_devices()
        self._check_time()
        require(
            self.check_val_every_n_epoch <= self.max_epochs,
            f"check_val_every_n_epoch: got {self.check_val_every_n_epoch}, but there are only {self.max_epochs} epochs "
            "(trainer.max_epochs), so nothing would be validated",
        )

    @staticmethod
    def _check_fraction(name: str, value: Fraction) -> None:
        least = 0 if name == "limit_test_batches" else 1
        if isinstance(value, int):
            require(value >= least, f"{name}: got {value}, must be at least {least} batch{'es' * (least == 0)}")
        else:
            allowed = 0 < value <= 1 or (least == 0 and value == 0)
            require(allowed, f"{name}: got {value}, must be a fraction above 0 and at most 1.0, or a number of batches")

    def _check_devices(self) -> None:
        devices = self.devices
        if isinstance(devices, int):
            require(
                1 <= devices <= MAX_DEVICES,
                f"devices: got {devices}, must be a number from 1 to {MAX_DEVICES}, a list such as [0,1], or auto",
            )
        elif not isinstance(devices, str):
            distinct = len(set(devices)) == len(devices) > 0 and min(devices) >= 0
            require(distinct, f"devices: got {list(devices)}, must be a list of distinct device numbers, such as [0,1]")

    def _check_time(self) -> None:
        valid = self.max_time is None or re.fullmatch(r"\d{2}:\d{2}:\d{2}:\d{2}", self.max_time)
        require(bool(valid), f"max_time: got {self.max_time}, must be DD:HH:MM:SS, such as 00:01:30:00")


# Arguments of Lightning's Trainer that Leyden sets itself → what to use instead.
REPLACED = {
    "logger": "use logger=… (see --help), or +logger.NAME._target_=CLASS",
    "callbacks": "use +callbacks.NAME._target_=CLASS",
    "plugins": "use the key plugins=[FOLDER] for your own code; Lightning's plugins are not supported",
    "fast_dev_run": "use trainer=smoke",
    "overfit_batches": "use trainer.limit_train_batches=1 with data.shift=0",
    "max_samples": "use trainer.max_steps",
    "min_steps": "use trainer.min_epochs",
    "log_every_n_steps": "metrics are logged once per epoch",
    "enable_checkpointing": "checkpoints are always written; use checkpoint.every_n_steps",
    "enable_progress_bar": "a bar is shown in a terminal, a line per epoch elsewhere",
    "enable_model_summary": "use callbacks=model_summary",
    "default_root_dir": "use paths.logs",
    "num_sanity_val_steps": "there is no sanity check",
    "use_distributed_sampler": "the loaders divide the samples themselves",
    "reload_dataloaders_every_n_epochs": "the loaders are made once",
    "inference_mode": "validation and test always use it",
    "barebones": "it leaves out what Leyden needs",
    "model_registry": "it contacts a server",
    "limit_predict_batches": "Leyden does not use Lightning's predict",
    "enable_autolog_hparams": "hyperparameters are in config.yaml",
}

SECTIONS: Mapping[str, Callable[..., Any]] = {
    "": RunSettings,
    "paths": PathSettings,
    "checkpoint": CheckpointSettings,
    "early_stopping": EarlyStoppingSettings,
    "objective": ObjectiveSettings,
    "trainer": TrainerSettings,
}
# Each is built from its `_target_`.
BUILT = (
    "data",
    "model",
    "task",
    "optimizer",
    "scheduler",
    "averaging",
    "privacy",
    "federated",
)
LISTED = ("callbacks", "logger")  # each has an object per name


def check_config(cfg: DictConfig) -> None:
    """Check everything that can be checked before a class is imported.

    Raises:
        UserError: a key is unknown or missing, or a value has the wrong type or is out of its range.
    """
    values = OmegaConf.to_container(cfg, resolve=False)
    assert isinstance(values, dict)
    check_numbers(values)
    for group in (*BUILT, *LISTED):
        if not isinstance(values.get(group), dict):
            found = f"got {values[group]!r}" if group in values else "is missing"
            raise UserError(f"{group}: {found}, must be a choice that --help lists")
    for group in BUILT:
        if not isinstance(values[group].get("_target_"), str):
            raise UserError(
                f"{group}._target_: is missing. Choose one of the groups that --help lists, such as {group}=…"
            )
    top = {str(key): value for key, value in values.items() if key not in (*SECTIONS, *BUILT, *LISTED)}
    for section, kind in SECTIONS.items():
        check_section(kind, top if section == "" else values.get(section), section)


def check_numbers(node: Any, key: str = "") -> None:
    """Raise UserError if a number in the config is NaN or infinite, or a whole number with more than 64 bits."""
    if isinstance(node, float) and not math.isfinite(node):
        raise UserError(f"{key}: got {node}, must be a finite number")
    if isinstance(node, int) and not -(2**63) <= node < 2**63:
        raise UserError(f"{key}: got {node}, must be a whole number from -2**63 to 2**63 - 1")
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for name, value in items:
        check_numbers(value, f"{key}.{name}".lstrip("."))


def check_section(kind: Callable[..., Any], values: Any, key: str) -> Any:
    """Return the section `key` of the config as an object of the dataclass `kind`.

    Raises:
        UserError: it does not fit the dataclass.
    """
    if not isinstance(values, dict):
        raise UserError(f"{key}: got {values!r}, must be a mapping of keys to values")
    if key == "trainer":
        for name in values:
            if name in REPLACED:
                raise UserError(f"trainer.{name}: cannot be set; {REPLACED[name]}")
    arguments = check_arguments(kind, values, key)
    for name in kind.__dataclass_fields__:  # type: ignore[attr-defined]
        if name not in arguments:
            raise UserError(f"{key}.{name}: is missing".lstrip("."))
    with config_errors(key, kind):
        return kind(**arguments)


# Keys that users look for in the wrong data set → what to use instead.
FORECASTING = (
    "belongs to data=series. To forecast a column of a table with a column of times, use data=series data.path=FILE "
    "data.column=COLUMN data.time=COLUMN, and data.group=COLUMN for several series"
)
ELSEWHERE = {"data.time": FORECASTING, "data.group": FORECASTING, "data.series": FORECASTING}

# Keys that may differ when a run is resumed. Each changes when the run ends, or where it finds and writes its files.
RESUMABLE = (
    "trainer.max_epochs",
    "trainer.min_epochs",
    "trainer.max_steps",
    "trainer.max_time",
    "trainer.devices",
    "trainer.profiler",
    "checkpoint.every_n_steps",
    "early_stopping.patience",
    "early_stopping.min_delta",
    "data.root",
    "data.cache",
    "data.path",
    "data.test_path",
    "data.mirrors",
    "data.verify",
    "data.download",
    "plugins",
)
RESUMABLE_GROUPS = ("callbacks", "logger")  # a run folder cannot bring its own, so they are given again


def check_resumable(keys: Iterable[str]) -> None:
    """Raise UserError if one of `keys` must stay as it is when a run is resumed."""
    for key in keys:
        if key not in RESUMABLE and not key.startswith(tuple(f"{group}." for group in RESUMABLE_GROUPS)):
            raise UserError(f"{key}: cannot change when a run is resumed. These keys can: {', '.join(RESUMABLE)}")
