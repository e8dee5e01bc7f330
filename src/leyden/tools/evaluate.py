"""Evaluate the best checkpoint of a run again."""

import sys
from pathlib import Path
from typing import Any, Literal

from leyden.errors import UserError

ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps")
Split = Literal["val", "test"]


def evaluate(
    run: str | Path,
    split: Split = "test",
    data_root: str | None = None,
    data_path: str | None = None,
    accelerator: str = "auto",
) -> dict[str, float]:
    """Return the metrics of a run's best checkpoint on its validation or test split.

    Uses one device, the precision of the run and all samples of the split, without ``trainer.limit_test_batches``.

    Args:
        run: a run folder.
        split: ``val`` or ``test``.
        data_root: a folder to read instead of the run's ``data.root``.
        data_path: a file to read instead of the run's ``data.path``.
        accelerator: one of `ACCELERATORS`.

    Raises:
        UserError: `run` is not a run folder, its data is missing, or this machine has no such accelerator.
    """
    from leyden.config.builders import section
    from leyden.config.stored import stored_config
    from leyden.modules.generative import GenerativeModule
    from leyden.tools.load import load_module
    from leyden.training.trainer import silence_lightning

    silence_lightning()
    cfg = stored_config(Path(run))
    trainer = one_device_trainer(accelerator, section(cfg, "trainer"))
    data = existing_data(with_locations(section(cfg, "data"), root=data_root, path=data_path))
    module = load_module(Path(run), cfg)
    if isinstance(module, GenerativeModule):
        data.prepare_data()
        data.setup("fit")
        module.classes_in = data.facts().classes_in
    warn_if_changed(Path(run), data, elsewhere=bool(data_root or data_path))
    check = trainer.test if split == "test" else trainer.validate
    check(module, datamodule=data, verbose=False)
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def existing_data(spec: dict[str, Any]) -> Any:
    """Return the data module of `spec`, a ``data`` section.

    Raises:
        UserError: a file is missing. Nothing is downloaded.
    """
    from leyden.config.instantiate import instantiate
    from leyden.config.stored import harmless

    data = instantiate(harmless(spec), "data")
    if missing := [path for path in data.files() if not path.exists()]:
        raise UserError(f"{missing[0]}: does not exist. Name the folder of the data with --data-root")
    return data


def warn_if_changed(run: Path, data: Any, *, elsewhere: bool) -> None:
    """Print a warning if the data has changed since the run, unless the user gives another location (`elsewhere`)."""
    from leyden.training.resume import data_problem

    if elsewhere or not (run / "origin.json").exists():
        return
    data.prepare_data()
    if problem := data_problem(run, data):
        print(f"warning: data: {problem}, so the metrics may differ from its report", file=sys.stderr)


def with_locations(spec: dict[str, Any], **locations: str | None) -> dict[str, Any]:
    """Return `spec`, a ``data`` section, with the `locations` that are given, for example ``root="photos"``.

    Raises:
        UserError: the data set has no such key.
    """
    given = {key: value for key, value in locations.items() if value is not None}
    for key in given:
        if key not in spec:
            name = str(spec["_target_"]).rpartition(".")[2]
            others = [f"--data-{other}" for other in locations if other in spec]
            advice = f"Use {' or '.join(others)}" if others else f"Leave out --data-{key}"
            raise UserError(f"--data-{key}: the data set of this run ({name}) has no key data.{key}. {advice}")
    return {**spec, **given}


def one_device_trainer(accelerator: str, settings: dict[str, Any]) -> Any:
    """Return a Trainer that writes nothing and computes as the Trainer of the run did.

    Args:
        accelerator: one of `ACCELERATORS`.
        settings: the run's section ``trainer``.

    Raises:
        UserError: this machine has no such accelerator, or it does not support the precision.
    """
    import torch
    from lightning.fabric.utilities.exceptions import MisconfigurationException
    from lightning.pytorch import Trainer

    if accelerator not in ACCELERATORS:
        raise UserError(f"--accelerator: got {accelerator}, must be one of {', '.join(ACCELERATORS)}")
    torch.set_float32_matmul_precision(settings["matmul_precision"])
    try:
        return Trainer(
            accelerator=accelerator,
            devices=1,
            precision=settings["precision"],
            deterministic=settings["deterministic"],
            logger=False,
            enable_progress_bar=False,
            enable_checkpointing=False,
            enable_model_summary=False,
        )
    except (ValueError, MisconfigurationException, ModuleNotFoundError) as error:
        raise UserError(f"--accelerator: cannot use {accelerator} ({' '.join(str(error).split())})") from error
