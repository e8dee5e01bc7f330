"""Guarantees as code. Every net, data set and task of Leyden fulfils them, and you can check your own.

python -m leyden.checks model=linear data=digits

>>> from leyden.checks import check_model
>>> check_model("linear", "digits")
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from omegaconf import DictConfig
from torch import Tensor

from leyden.config.compose import compose
from leyden.errors import UserError
from leyden.modules.base import BaseModule
from leyden.records.json_files import read_report
from leyden.records.loggers import read_metrics
from leyden.records.run_folder import best_checkpoint, create, last_checkpoint, new_path
from leyden.run import resume, run
from leyden.tools.evaluate import evaluate
from leyden.tools.load import load

# A run of ten steps in two epochs, with checkpoints within the epochs.
SMALL = (
    "trainer.accelerator=cpu",
    "trainer.max_epochs=2",
    "trainer.limit_train_batches=5",
    "data.batch_size=8",
    "checkpoint.every_n_steps=2",
    "logger=none",
)
CUT_AT = 7  # a step within the second epoch, right after a checkpoint at step 6


class GuaranteeError(AssertionError):
    """A model, data set or task does not fulfil a guarantee."""


@dataclass
class Checked:
    """A small run that the guarantees inspect, and the settings to repeat it."""

    cfg: DictConfig
    overrides: Sequence[str]
    folder: Path
    module: BaseModule
    initial: dict[str, Tensor]
    missing_gradients: list[str]


class _Spy(Callback):
    """Records the initial weights and which weights have no gradient. Stops the run at step `cut_at`, like a kill."""

    pruned = False

    def __init__(self, cut_at: int | None = None) -> None:
        self.cut_at = cut_at
        self.initial: dict[str, Tensor] = {}
        self.missing: list[str] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.module = pl_module
        self.initial = {name: value.clone() for name, value in pl_module.state_dict().items()}

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        weights = self.module.named_parameters()
        self.missing = [name for name, weight in weights if weight.requires_grad and weight.grad is None]
        if trainer.global_step == self.cut_at:
            raise InterruptedError


def check_model(model: str, data: str = "digits", *overrides: str, processes: bool = False) -> list[str]:
    """Train small runs of a model on a data set, and check that they keep every guarantee in `GUARANTEES`.

    Args:
        model: a choice of the config group `model`, also of a plugin.
        data: a choice of the config group `data`.
        overrides: more overrides, such as ``plugins=[FOLDER]`` or sizes that make the net small.
        processes: also check that two processes give the metrics of one, which takes 20 seconds.

    Returns:
        The names of the guarantees that were checked.

    Raises:
        GuaranteeError: one of them does not hold; the message names it and what is wrong.
        UserError: the model and the data set do not fit together.
    """
    own = [override for override in overrides if override.startswith("plugins")]
    cfg = compose(*own, f"model={model}", f"data={data}", *SMALL, *(o for o in overrides if o not in own))
    guarantees = {**GUARANTEES, **(PROCESS_GUARANTEES if processes else {})}
    with tempfile.TemporaryDirectory(prefix="leyden-checks-") as logs:
        cfg.paths.logs = logs
        all_overrides = [f"model={model}", f"data={data}", *SMALL, *overrides]
        checked = _small_run(cfg, all_overrides)
        for name, guarantee in guarantees.items():
            if problem := guarantee(checked):
                raise GuaranteeError(f"model={model} data={data}: {name}: {problem}")
    return list(guarantees)


def _small_run(cfg: DictConfig, overrides: Sequence[str]) -> Checked:
    folder = new_path(Path(cfg.paths.logs))
    create(folder)
    spy = _Spy()
    run(cfg.copy(), folder, spy)
    assert isinstance(spy.module, BaseModule)
    return Checked(cfg, overrides, folder, spy.module, spy.initial, spy.missing)


def learns(checked: Checked) -> str:
    """Training changes the weights, and the loss is finite."""
    trained = torch.load(last_checkpoint(checked.folder), weights_only=True)["state_dict"]
    names = [name for name, weight in checked.module.named_parameters() if weight.requires_grad]
    same = [name for name in names if torch.equal(trained[name], checked.initial[name])]
    losses = [float(row["train/loss"]) for row in read_metrics(checked.folder / "metrics.csv") if row["train/loss"]]
    if not all(torch.tensor(losses).isfinite()):
        return f"the training loss is {losses}"
    return f"ten steps changed none of the weights, such as {same[0]}" if len(same) == len(names) else ""


def every_weight_has_a_gradient(checked: Checked) -> str:
    """No trainable weight is left out of the loss."""
    missing = checked.missing_gradients
    return f"no gradient reaches {', '.join(missing)}" if missing else ""


def resumes_exactly(checked: Checked) -> str:
    """A run that is stopped within an epoch and resumed ends with the same bits."""
    folder = new_path(Path(checked.cfg.paths.logs))
    create(folder)
    with suppress(InterruptedError):
        run(checked.cfg.copy(), folder, _Spy(cut_at=CUT_AT))
    plugins = [f"plugins=[{','.join(checked.cfg.plugins)}]"] if checked.cfg.plugins else []
    resume(folder, plugins)
    for path in (last_checkpoint, best_checkpoint):
        one, other = (torch.load(path(run), weights_only=True) for run in (checked.folder, folder))
        if difference := first_difference(one, other):
            return f"{path(folder).name} differs in {difference}"
    return ""


def first_difference(one: Any, other: Any, where: str = "") -> str:
    """Return where two checkpoints differ, an empty text if they are equal."""
    if isinstance(one, dict) and isinstance(other, dict):
        if one.keys() != other.keys():
            return f"{where} (other keys)"
        found = (first_difference(one[key], other[key], f"{where}.{key}".lstrip(".")) for key in one)
        return next(filter(None, found), "")
    if isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        found = (first_difference(a, b, f"{where}[{i}]") for i, (a, b) in enumerate(zip(one, other, strict=True)))
        return next(filter(None, found), "")
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return "" if torch.equal(one, other) else where
    return "" if one == other or (one != one and other != other) else where


def loads_from_its_folder(checked: Checked) -> str:
    """`leyden.load` gives the weights of the best checkpoint, which holds only plain values and tensors."""
    best = torch.load(best_checkpoint(checked.folder), weights_only=True)["state_dict"]
    loaded = load(checked.folder).module.state_dict()
    return f"the loaded weights differ in {difference}" if (difference := first_difference(best, loaded)) else ""


def takes_a_batch_of_one(checked: Checked) -> str:
    """The trained net accepts a single sample, and gives the same output as within a batch."""
    module = load(checked.folder).module
    torch.manual_seed(0)
    latent_size = getattr(module, "latent_size", None)
    inputs = torch.randn(4, latent_size) if latent_size else random_inputs(checked.cfg, 4)
    if inputs.is_floating_point():
        inputs = inputs.to(next(module.parameters()).dtype)
    forward: Callable[[Tensor], Tensor] = module.decode if latent_size else module  # type: ignore[assignment]
    with torch.no_grad():
        batch, single = forward(inputs), forward(inputs[:1])
    if single.shape[0] != 1 or not single.isfinite().all():
        return f"the output of one sample has the shape {list(single.shape)} or is not finite"
    return "" if torch.allclose(batch[:1], single, atol=1e-4) else "the output of a sample depends on its batch"


def random_inputs(cfg: DictConfig, num: int) -> Tensor:
    """Return random samples as a net receives them, (num, ...): numbers, or token ids of texts."""
    shape = (num, *cfg.data.shape)
    return torch.randint(1, cfg.data.vocab_size, shape) if "vocab_size" in cfg.data else torch.randn(shape)


def evaluates_as_reported(checked: Checked) -> str:
    """Two evaluations give the same metrics, and those are the metrics in report.json."""
    report = read_report(checked.folder)
    assert report
    once, again = (evaluate(checked.folder, "val") for _ in range(2))
    if once != again:
        return "two evaluations of the validation set differ"
    wrong = [name for name, value in once.items() if name in report["metrics"] and report["metrics"][name] != value]
    return f"{wrong[0]} is not what report.json says" if wrong else ""


def two_processes_equal_one(checked: Checked) -> str:
    """A run with two processes has the test metrics that one process computes from its best checkpoint."""
    logs = Path(checked.cfg.paths.logs) / "two"
    command = [
        *checked.overrides,
        "trainer.strategy=ddp",
        "trainer.devices=2",
        "trainer.max_epochs=1",
        "trainer.limit_train_batches=4",
        f"paths.logs={logs}",
    ]
    result = subprocess.run([sys.executable, "-m", "leyden.cli", *command], capture_output=True, text=True, check=False)
    if result.returncode:
        return f"two processes ended with exit code {result.returncode}: {result.stderr.strip().splitlines()[-1:]}"
    (folder,) = logs.glob("runs/*/*")
    report = read_report(folder)
    assert report
    metrics = evaluate(folder, "test")
    wrong = [name for name, value in metrics.items() if report["metrics"][name] != value]
    return (
        f"{wrong[0]} is {report['metrics'][wrong[0]]} with two processes, {metrics[wrong[0]]} with one" if wrong else ""
    )


GUARANTEES: dict[str, Callable[[Checked], str]] = {
    "training changes the weights": learns,
    "every weight has a gradient": every_weight_has_a_gradient,
    "a stopped and resumed run ends with the same bits": resumes_exactly,
    "the run folder loads": loads_from_its_folder,
    "a batch of one works": takes_a_batch_of_one,
    "evaluation is deterministic and equals the report": evaluates_as_reported,
}
PROCESS_GUARANTEES: dict[str, Callable[[Checked], str]] = {"two processes equal one": two_processes_equal_one}


def main() -> None:
    """Check the model and the data set that the command line names."""
    from leyden.config.exit_codes import exit_codes

    with exit_codes():
        values = dict(argument.partition("=")[::2] for argument in sys.argv[1:])
        if "model" not in values:
            raise UserError("model: is missing. Type: python -m leyden.checks model=NAME data=NAME [KEY=VALUE ...]")
        rest = [argument for argument in sys.argv[1:] if argument.partition("=")[0] not in ("model", "data")]
        try:
            for name in check_model(values["model"], values.get("data", "digits"), *rest, processes=True):
                print(f"holds: {name}")
        except GuaranteeError as error:
            print(f"does not hold: {error}", file=sys.stderr)
            sys.exit(1)


if __name__ == "__main__":
    main()
