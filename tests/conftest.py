"""What tests share: tiny data in the official formats, and runs of the real command line."""

import itertools
import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from omegaconf import DictConfig
from PIL import Image

from leyden.config.compose import compose, groups
from leyden.data.newsgroups import Newsgroups
from leyden.records.run_folder import last_checkpoint
from leyden.run import resume, run
from leyden.sweep.forking import AVAILABLE, ForkServer
from leyden.training.checkpoints import Checkpoints
from scripts.torture_lib.same_bits import differing, metrics
from tests import speed

speed.install()

ROOT = Path(__file__).resolve().parents[1]

# Models that continue texts. They take the data sets of texts to continue, and no others.
LANGUAGE = ["gpt"]
RUNNING_TEXTS = ["characters"]

# Data sets of texts with labels, models that read texts and nothing else, and all that read texts.
TEXTS = ["docstrings", "imdb", "newsgroups", "text"]
TEXT = ["bag", "textcnn"]
READ_TEXTS = [*TEXT, "gru", "lstm", "rnn", "seq2seq", "seq2seq_rnn", "transformer"]

# Models whose net has one output per class or predicted number; the others select their own task.
SUPERVISED = [
    model for model in groups()["model"] if "num_outputs" in compose(f"model={model}").model and model not in LANGUAGE
]

# Data sets of texts to translate. They need a model that writes sequences.
PAIRS_OF_TEXTS = ["translation"]

# Models that are tested with one data set of each kind, and not with all.
FEW_PAIRS = ["seq2seq_rnn"]
ONE_OF_EACH_KIND = ["characters", "diabetes", "digit_strings", "digits", "series", "text", "translation"]

FEW_TOKENS = ["data.max_tokens=12", "data.vocab_size=60"]

# What a data set cannot be composed without, where its files are not here, or what makes it small.
NEEDED = {
    "folder": ["data.classes=[cat,dog]"],
    "table": ["data.schema={size: [], colour: [blue, red]}", "data.classes=[no,yes]"],
    "text": ["data.classes=[bad,good]", *FEW_TOKENS],
    "imdb": FEW_TOKENS,
    "translation": FEW_TOKENS,
    "newsgroups": FEW_TOKENS,
    "docstrings": ["data.topics=[scipy.integrate,scipy.cluster+scipy.spatial]", *FEW_TOKENS],
}

Train = Callable[..., subprocess.CompletedProcess[str]]


def pytest_collection_finish() -> None:
    speed.freeze_imports()


# What a model needs in order to be small, or to do without a download.
SMALL = {
    "pretrained": ("model.name=shufflenet_v2_x0_5", "model.weights=none", "model.size=32"),
    "resnet": ("model.widths=[4,8]", "model.depths=[1,1]"),
    "airbench": ("model.widths=[8,16]",),
    "wrn": ("model.widths=[4,8]", "model.depths=[1,1]"),
    "autoencoder": ("model.channels=[4,8]",),
    "gan": ("model.channels=[4,8]", "task.num_samples=100"),
    "vae": ("model.channels=[4,8]", "task.num_samples=100"),
    "flow": ("model.widths=[8,8]", "task.num_samples=100", "task.num_steps=2", "task.val_steps=1"),
    "ddpm": ("model.widths=[8,8]", "task.num_samples=100", "task.num_steps=2", "task.val_steps=1"),
    "dit": ("model.dim=16", "model.num_layers=1", "task.num_samples=100", "task.num_steps=2", "task.val_steps=1"),
    "transformer": ("model.dim=16", "model.num_layers=2"),
    "seq2seq": ("model.dim=16", "model.num_layers=1"),
    "seq2seq_rnn": ("model.embedding=8", "model.hidden=16"),
    "gpt": ("model.dim=16", "model.num_layers=1"),
    "bag": ("model.embedding=8", "model.buckets=50"),
    "textcnn": ("model.embedding=8", "model.channels=4"),
    "rnn": ("model.hidden=16", "model.embedding=16"),
    "lstm": ("model.hidden=16", "model.embedding=16"),
    "gru": ("model.hidden=16", "model.embedding=16"),
}


def small(model: str) -> list[str]:
    """Overrides that choose `model`, no larger than a test can train."""
    return [f"model={model}", *SMALL.get(model, ())]


def chosen(data: str) -> list[str]:
    """Overrides that choose the data set `data`."""
    return [f"data={data}", *NEEDED.get(data, [])]


def data_for(model: str) -> str:
    """A data set that `model` takes."""
    return "characters" if model in LANGUAGE else "text" if model in TEXT else "digits"


def pairs_of(models: Sequence[str], data: Sequence[str]) -> list[tuple[str, str]]:
    """The pairs of a model and a data set that are tested: of those that are rejected for one reason, a few."""
    found = itertools.product(models, data)
    few = [(one, other) for one, other in found if one not in FEW_PAIRS or other in ONE_OF_EACH_KIND]
    some = [*READ_TEXTS, *LANGUAGE, "mlp"]
    return [(one, other) for one, other in few if other not in PAIRS_OF_TEXTS or one in some]


def model_for(data: str) -> str:
    """A small model that takes the data set `data`."""
    if data in PAIRS_OF_TEXTS:
        return "seq2seq"
    return "gpt" if data in RUNNING_TEXTS else "bag" if data in TEXTS else "mlp"


def start(*overrides: str) -> subprocess.Popen[str]:
    """``python train.py <overrides>`` with its output in one pipe."""
    command = [sys.executable, str(ROOT / "train.py"), *overrides]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


Fork = Callable[..., "Forked"]


class Forked:
    """``python <script> <arguments>`` as a forked process, which has done its imports already.

    Args:
        server: forks it.
        script: the Python file that it runs.
        arguments: its arguments.
        outputs: folder for its outputs.
        folder: its working directory.
    """

    def __init__(self, server: ForkServer, script: Path, arguments: Sequence[str], outputs: Path, folder: Path) -> None:
        self.paths = [outputs / f"{name}-{server.number}.txt" for name in ("stdout", "stderr")]
        with self.paths[0].open("wb") as output, self.paths[1].open("wb") as errors:
            command = [str(script), *arguments]
            self.run = server.start(command, os.environ, output, errors=errors, folder=folder)

    @property
    def stdout(self) -> str:
        """What it has printed so far."""
        return self.paths[0].read_text()

    @property
    def returncode(self) -> int | None:
        """Its exit code; None while it runs."""
        return self.run.code

    def kill(self) -> None:
        """Kill it."""
        self.run.kill()

    def communicate(self, *, timeout: float | None = None) -> tuple[str, str]:
        """Wait for its end, and return what it has printed on stdout and stderr."""
        done = self.wait(timeout or 120)
        return done.stdout, done.stderr

    def wait(self, seconds: float = 120) -> subprocess.CompletedProcess[str]:
        """Wait for its end."""
        code = self.run.wait(seconds)
        assert code is not None, "it has not ended in time"
        return subprocess.CompletedProcess([], code, *(path.read_text() for path in self.paths))


@pytest.fixture(scope="session")
def fork_server() -> Iterator[ForkServer]:
    """Starts runs without their imports. On systems without forks, the tests that use it are skipped."""
    if not AVAILABLE:
        pytest.skip("forked runs need Linux")
    with ForkServer(os.environ) as server:
        yield server


@pytest.fixture
def fork(fork_server: ForkServer, tmp_path: Path) -> Fork:
    """Starts ``python train.py <overrides>``, or another script, as a forked process."""

    def call(*overrides: str, folder: Path = ROOT, script: Path = ROOT / "train.py") -> Forked:
        return Forked(fork_server, script, overrides, tmp_path, folder)

    return call


@pytest.fixture
def train(tmp_path: Path) -> Train:
    """Runs ``python train.py <overrides>`` in a new interpreter, its logs below `tmp_path`."""

    def call(*overrides: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(ROOT / "train.py"), f"paths.logs={tmp_path / 'logs'}", *overrides]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)

    return call


@pytest.fixture
def finished(tmp_path: Path) -> Callable[..., Path]:
    """Runs a config, or the one that overrides give, in this process, without TensorBoard; gives the run folder."""

    def call(*overrides: str | DictConfig) -> Path:
        cfg = overrides[0] if isinstance(overrides[0], DictConfig) else compose(*overrides)
        cfg.paths.logs, cfg.logger = str(tmp_path / "logs"), {}
        run(cfg)
        return max((tmp_path / "logs" / "runs").glob("*/*"), key=lambda folder: folder.stat().st_mtime_ns)

    return call


@pytest.fixture
def short_feature_net(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train the feature extractor of generative models for 5 steps: its quality does not matter to these tests."""
    monkeypatch.setattr("leyden.metrics.frechet.MIN_STEPS", 5)


class PowerCutError(RuntimeError):
    """Stands for a kill at a chosen place; `tests/test_processes.py` has real ones."""


@contextmanager
def power_cut(
    owner: type = Checkpoints,
    method: str = "_save_last",
    where: Callable[[Any, Trainer], bool] = lambda checkpoints, trainer: True,
) -> Iterator[None]:
    """Cut the power where `method` of `owner` ends, the first time that `where(its self, the trainer)` holds."""
    real = getattr(owner, method)

    def cut(self: Any, trainer: Trainer, *args: Any) -> None:
        real(self, trainer, *args)
        if where(self, trainer):
            raise PowerCutError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, method, cut)
        with pytest.raises(PowerCutError):
            yield


@pytest.fixture
def resumed(finished: Callable[..., Path]) -> Callable[..., tuple[Path, Path]]:
    """Trains twice: left alone, and cut and resumed; asserts that both end alike. Gives the folders of both.

    The cut is where `method` of `owner` ends, the first time that `where(its self, the trainer)` holds.
    """

    def call(
        *overrides: str | DictConfig,
        owner: type = Checkpoints,
        method: str = "_save_last",
        where: Callable[[Any, Trainer], bool] = lambda checkpoints, trainer: not checkpoints.between_epochs,
        within_epoch: bool = True,
    ) -> tuple[Path, Path]:
        def here(checkpoints: Any, trainer: Trainer) -> bool:
            found = where(checkpoints, trainer)
            assert not (found and within_epoch and trainer.is_last_batch)
            return found

        alone = finished(*overrides)
        with power_cut(owner, method, here):
            finished(*overrides)
        stopped = max(alone.parent.iterdir(), key=lambda path: path.stat().st_mtime_ns)
        assert stopped != alone
        saved, end = (torch.load(last_checkpoint(folder), weights_only=True) for folder in (stopped, alone))
        batches = saved["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]
        assert saved["global_step"] < end["global_step"], "it was not stopped before its end"
        assert (0 < batches["ready"] > batches["completed"]) == within_epoch
        resume(stopped)
        again = torch.load(last_checkpoint(stopped), weights_only=True)
        assert differing(end, again, "last.ckpt") == []
        assert metrics(alone) == metrics(stopped)
        return alone, stopped

    return call


def only_run(tmp_path: Path) -> Path:
    (folder,) = (tmp_path / "logs" / "runs").glob("*/*")
    return folder


def same_weights(one: LightningModule, other: LightningModule) -> bool:
    theirs = other.state_dict()
    return all(torch.equal(weight, theirs[name]) for name, weight in one.state_dict().items())


def write_idx(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    header = b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


@pytest.fixture
def mnist_root(tmp_path: Path) -> Path:
    write_mnist(tmp_path)
    return tmp_path


@pytest.fixture
def cifar_root(tmp_path: Path) -> Path:
    write_cifar(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def files_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny files of every data set that has any."""
    root = tmp_path_factory.mktemp("data")
    write_mnist(root)
    write_cifar(root)
    write_folder(root / "images")
    write_table(root / "table.csv")
    write_texts(root)
    return root


def write_mnist(root: Path) -> None:
    """40 training and 20 test images in MNIST's format; the pixel at (0, 0) is the image's number."""
    for prefix, num in (("train", 40), ("t10k", 20)):
        images = np.zeros((num, 28, 28))
        images[:, 0, 0] = np.arange(num)
        write_idx(root / "MNIST/raw" / f"{prefix}-images-idx3-ubyte", images)
        write_idx(root / "MNIST/raw" / f"{prefix}-labels-idx1-ubyte", np.arange(num) % 10)


def write_cifar(root: Path) -> None:
    """20 images a file in CIFAR-10's format; pixel (c, y, x) of image i is (i + 2c + 3y + 5x) mod 256."""
    c, y, x = np.meshgrid(np.arange(3), np.arange(32), np.arange(32), indexing="ij")
    images = (np.arange(20)[:, None] + (2 * c + 3 * y + 5 * x).reshape(1, -1)) % 256
    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    for name in [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]:
        (folder / name).write_bytes(python2_pickle(images.astype(np.uint8), list(range(10)) * 2))


def write_folder(root: Path) -> None:
    """Twenty cats and ten dogs, 4x4, filled with 0 to 19 and 100 to 109."""
    for name, numbers in (("cat", range(20)), ("dog", range(100, 110))):
        (root / name).mkdir(parents=True)
        for number in numbers:
            Image.new("RGB", (4, 4), (number,) * 3).save(root / name / f"{number:02}.png")


def write_table(path: Path) -> None:
    """Sixty rows. The target is yes for a size from 30; red things are larger by 100; every seventh size is missing."""
    rows = []
    for number in range(60):
        size = "" if number % 7 == 6 else number + 100 * (number % 2)
        rows.append(f"{size},{('blue', 'red')[number % 2]},{'yes' if number >= 30 else 'no'}")
    path.write_text("\n".join(["size,colour,target", *rows]) + "\n", encoding="utf-8")


def sentence(number: int) -> str:
    """A short text: odd ones are good, and each has words that no other one has."""
    opinion = ("a bad and boring film", "a good film , I like it")[number % 2]
    return f"film{number} is {opinion}{' , really' * (number % 5)} number{number}"


def write_texts(root: Path) -> None:
    """Forty texts in a CSV file, 12 + 12 reviews in IMDB's layout, 40 + 40 messages."""
    rows = [f'"{sentence(number)}",{("bad", "good")[number % 2]}' for number in range(40)]
    (root / "texts.csv").write_text("\n".join(["text,label", *rows]) + "\n", encoding="utf-8")
    for split, start in (("train", 0), ("test", 12)):
        for number in range(start, start + 12):
            folder = root / "aclImdb" / split / ("neg", "pos")[number % 2]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{number}_1.txt").write_text(sentence(number).replace(" , ", "<br />"), encoding="utf-8")
    (root / "20newsgroups").mkdir()
    for split in ("train", "test"):
        rows = [
            {"label": Newsgroups.names[n % 20], "text": f"{Newsgroups.names[n % 20]} {sentence(n)}"} for n in range(40)
        ]
        (root / f"20newsgroups/{split}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")


def python2_pickle(images: np.ndarray, labels: list[int]) -> bytes:
    """``{"data": images, "labels": labels}`` in the opcodes of Python 2's protocol 2, as the official files are."""
    rows, columns = (b"M" + struct.pack("<H", size) for size in images.shape)
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01" + rows + columns + b"\x86"
        b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89T" + struct.pack("<i", images.nbytes) + images.tobytes() + b"tb"
    )
    numbers = b"".join(b"K" + bytes([label]) for label in labels)
    return b"\x80\x02}(U\x04data" + array + b"U\x06labels](" + numbers + b"eu."
