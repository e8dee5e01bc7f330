"""A small run of each task, which the tests of the tools share, and the command lines of the tools in this process."""

import importlib
import io
import json
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

import leyden
from leyden.run import run
from leyden.tools.trained_model import TrainedModel

TINY = ("trainer.max_epochs=1", "trainer.accelerator=cpu", "trainer.limit_train_batches=4", "logger=none")
FEW = ("data.num_train=64", "data.num_eval=64")
MLP = ("model=mlp", "model.hidden=[8]")
SEQ2SEQ = ("model=seq2seq", "model.dim=16", "model.num_layers=1")
RUNS: dict[str, tuple[str, ...]] = {
    "classification": ("model=cnn", "model.channels=[4,8]", "model.hidden=[]"),
    "multilabel": (*MLP, "data=digit_pairs", *FEW),
    "transcription": (*SEQ2SEQ, "data=digit_strings", "data.max_digits=2", *FEW),
    "regression": (*MLP, "data=diabetes"),
    "forecasting": (*MLP, "data=series", "data.num_steps=400"),
    "autoencoder": ("model=autoencoder", "model.channels=[4,8]", "data.exclude_class=0"),
    "vae": ("model=vae", "model.channels=[4,8]", "task.num_samples=64"),
    "language_modelling": (
        *("model=gpt", "model.dim=16", "model.num_layers=1", "data=characters", "data.block=32"),
        *("task.sample_length=20", "task.num_samples=1"),
    ),
    "translation": (*SEQ2SEQ, "data=translation", "data.num_pairs=200", "data.max_tokens=24"),
    "flow": ("model=flow", "model.widths=[8,8]", "task.num_samples=64", "task.num_steps=2", "task.val_steps=1"),
    "gan": ("model=gan", "model.channels=[4,8]", "task.num_samples=64"),
}

RUNS |= {task: (f"task={task}", *RUNS["classification"], "task.projector=[8]") for task in ("byol", "simclr", "vicreg")}
RUNS["clip"] = ("task=clip", *MLP, "data=digit_strings", "data.max_digits=2", *FEW, "task.text_dim=8")
RUNS["mae"] = ("task=mae", "model=transformer", "model.dim=16", "model.num_layers=1", "task.decoder_dim=8")

Folders = Callable[[str], Path]
Models = Callable[[str], TrainedModel]


@pytest.fixture(scope="session")
def run_of(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """Train a run of a task when it is first needed; give its folder. Tests change only its folder ``evaluation``."""
    found: dict[str, Path] = {}

    def call(task: str) -> Path:
        if task not in found:
            logs = tmp_path_factory.mktemp(task)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("leyden.metrics.frechet.MIN_STEPS", 5)  # the quality does not matter
                run(leyden.compose(*RUNS[task], *TINY, f"paths.logs={logs}"))
            (found[task],) = logs.glob("runs/*/*")
        return found[task]

    return call


@pytest.fixture(scope="session")
def model_of(run_of: Folders) -> Models:
    """Load the run of a task."""
    return lambda task: leyden.load(run_of(task))


@pytest.fixture(scope="session")
def evaluated(run_of: Folders) -> Folders:
    """Evaluate the run of a task on the test split, once; give the folder of the files."""
    done: set[Path] = set()

    def call(task: str) -> Path:
        folder = run_of(task) / "evaluation" / "test"
        if folder not in done:
            code, output, _ = script("evaluate", run_of(task), "--json", "--accelerator", "cpu")
            assert code == 0
            assert json.loads(output) == json.loads((folder / "metrics.json").read_text())["metrics"]
            done.add(folder)
        return folder

    return call


def script(name: str, *arguments: str | Path, stdin: str = "") -> tuple[int, str, str]:
    """Call a script in this process; give its exit code and what it prints on stdout and stderr."""
    with (
        pytest.MonkeyPatch.context() as patch,
        redirect_stdout(io.StringIO()) as out,
        redirect_stderr(io.StringIO()) as err,
    ):
        patch.setattr("sys.argv", [f"{name}.py", *map(str, arguments)])
        patch.setattr("sys.stdin", io.StringIO(stdin))
        try:
            code = importlib.import_module(f"scripts.{name}").main()
        except SystemExit as ended:
            code = ended.code
    return int(code or 0), out.getvalue(), err.getvalue()
