"""Measure how fast Leyden is, relative to the code that a user would write without it.

Times depend on the machine and on what else it does; the ratios depend on them much less. Each number is the median of
several repetitions, in which all sides take turns. The images are random, in the shapes of MNIST and CIFAR-10, so
nothing is downloaded.

Examples:
    python scripts/benchmark.py
    python scripts/benchmark.py --only steps --repeat 10
    python scripts/benchmark.py --save          # store the figures of this machine in logs/benchmarks
    python scripts/benchmark.py --compare       # measure again, and show what has become slower
"""

import argparse
import contextlib
import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from omegaconf import DictConfig
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from leyden.config.builders import build_data, section
from leyden.config.compose import compose
from leyden.config.exit_codes import exit_codes
from leyden.config.instantiate import instantiate
from leyden.data import text_table
from leyden.data.loaders import Normalise, ShiftAndFlip, TrainLoader
from leyden.data.text_loaders import TextTrainLoader, padding_fraction
from leyden.data.texts import TextData
from leyden.run import run
from leyden.training.callbacks import EpochStats

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from scripts.baseline import baseline_file, comparison, read, save  # noqa: E402

BATCH = 128
PLAIN = ("Adam", "fused Adam")  # optimizers of the plain loops
MEMBERS = 32
ENSEMBLES = {
    "mlp": ["mlp"],
    "mlp, bf16-mixed": ["mlp", "trainer.precision=bf16-mixed"],
    "mlp, hidden=[32]": ["mlp", "model.hidden=[32]"],
    "cnn": ["cnn"],
}

Part = tuple[Table, dict[str, float]]  # for reading, and the ratio of Leyden to its rival for --save


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5, help="repetitions of each measurement (default: 5)")
    parser.add_argument("--only", choices=PARTS, help="run one part (default: all)")
    parser.add_argument("--save", action="store_true", help="store the figures as the baseline of this machine")
    parser.add_argument("--compare", action="store_true", help="show what is slower than the baseline of this machine")
    args = parser.parse_args()
    with exit_codes():
        measure(args)


def measure(args: argparse.Namespace) -> None:
    path = baseline_file()
    before = read(path) if args.compare else None
    warnings.filterwarnings("ignore")
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"  # Lightning sets it, which slows the plain loop too
    console = Console()
    console.print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, {args.repeat} repetitions")
    ratios: dict[str, float] = {}
    for name, part in PARTS.items():
        if args.only in (None, name):
            table, found = part(args.repeat)
            console.print(table)
            ratios |= {f"{name}: {measurement}": value for measurement, value in found.items()}
    if before:
        console.print(comparison(ratios, before))
    if args.save:
        save(ratios, path)
        console.print(f"written to {path}")


def feeding(repeat: int) -> Part:
    """Measure the speed of the loaders, which make shuffled and normalised batches from data in memory."""
    table = Table("feeding, batch 128", "torchvision + DataLoader", "Leyden", "ratio", title="images per second")
    found = {}
    cases = (
        ("1x28x28", (1, 28, 28), 0, False),
        ("3x32x32", (3, 32, 32), 0, False),
        ("3x32x32, shift + flip", (3, 32, 32), 4, True),
    )
    for name, shape, shift, flip in cases:
        images = torch.randint(0, 256, (20_000, *shape), dtype=torch.uint8)
        labels = torch.randint(0, 10, (20_000,))
        mean, std = [0.5] * shape[0], [0.25] * shape[0]
        theirs = torchvision_loader(images[:4_000], labels[:4_000], mean, std, shift, flip)
        ours = leyden_loader(images, labels, mean, std, shift, flip)
        rates = alternate(repeat, lambda: feed(theirs), lambda: feed(ours))  # noqa: B023 (called at once)
        table.add_row(name, *row(rates))
        found[name] = median_ratio(rates)
    return table, found


def leyden_loader(
    images: Tensor, labels: Tensor, mean: list[float], std: list[float], shift: int, flip: bool
) -> TrainLoader:
    """Return the loader that `ImageData` makes."""
    normalise = Normalise(mean, std, images.device)
    augment = ShiftAndFlip(images, labels, shift, flip) if shift or flip else None
    return TrainLoader(images, labels, BATCH, normalise, augment=augment)


class ImageDataset(Dataset[tuple[Tensor, Tensor]]):
    """A data set that works like torchvision's MNIST and CIFAR10: one image at a time, converted to PIL."""

    def __init__(self, images: Tensor, labels: Tensor, transform: Callable[[object], Tensor]) -> None:
        self.images, self.labels, self.transform = images, labels, transform
        self.to_pil = transforms.ToPILImage()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.transform(self.to_pil(self.images[index])), self.labels[index]


def torchvision_loader(
    images: Tensor, labels: Tensor, mean: list[float], std: list[float], shift: int, flip: bool
) -> DataLoader[tuple[Tensor, Tensor]]:
    """Return the loader of the tutorials, without worker processes: they cost more than they save for small images."""
    augment = [transforms.RandomCrop(images.shape[-1], padding=shift)] if shift else []
    augment += [transforms.RandomHorizontalFlip()] if flip else []
    transform = transforms.Compose([*augment, transforms.ToTensor(), transforms.Normalize(mean, std)])
    return DataLoader(ImageDataset(images, labels, transform), batch_size=BATCH, shuffle=True)


def feed(batches: Iterable[tuple[Tensor, Tensor]]) -> float:
    """Return the images per second of one pass."""
    began = time.perf_counter()
    num = sum(len(labels) for _, labels in batches)
    return num / (time.perf_counter() - began)


def steps(repeat: int) -> Part:
    """Measure training: epochs of Leyden and of a plain loop with either kind of Adam take turns."""
    table = Table("training, batch 128", "optimizer", "plain loop", "Leyden", "ratio", title="images per second")
    found = {}
    for model, shape, num in (("mlp", "[1,28,28]", 20_000), ("cnn", "[1,28,28]", 5_000), ("cnn", "[3,32,32]", 4_000)):
        rates = alternate_epochs(model, shape, num, epochs=6 * repeat)
        for index, kind in enumerate(PLAIN):
            pairs = [(one[index], one[2]) for one in rates]
            table.add_row(f"{model} on {shape}", kind, *row(pairs))
            found[f"{model} on {shape}, {kind}"] = median_ratio(pairs)
    table.caption = "optimizer: of the plain loop. Leyden uses fused Adam; its times include metrics and checkpoints"
    return table, found


def ensembles(repeat: int) -> Part:
    """Measure the training of 32 nets together, relative to 32 plain loops, one after the other."""
    title = f"{MEMBERS} nets in one process (ensemble={MEMBERS}), batch {BATCH}: images per second"
    table = Table("training", "optimizer", f"{MEMBERS} plain loops", "Leyden", "ratio", title=title)
    found = {}
    for name, (model, *options) in ENSEMBLES.items():
        options += [f"ensemble={MEMBERS}"]
        rates = alternate_epochs(model, "[1,28,28]", 1_500, 2 * repeat, options, loops=8)
        for index, kind in enumerate(PLAIN):
            pairs = [(one[index], one[2]) for one in rates]
            table.add_row(name, kind, *row(pairs))
            found[f"{name}, {kind}"] = median_ratio(pairs)
    table.caption = "optimizer: of the plain loops, which compute in float32. A ratio of 2 is half of the time"
    return table, found


def alternate_epochs(
    model: str, shape: str, num: int, epochs: int, options: Sequence[str] = (), loops: int = 1
) -> list[tuple[float, float, float]]:
    """Return, per epoch, the images per second of the plain loop with default and with fused Adam, and of Leyden.

    A plain loop trains for `loops` epochs in each turn. The first turn is left out, because caches are still empty.
    """
    cfg = compose(*overrides(model, shape, num), f"trainer.max_epochs={epochs + 1}", *options)
    return alternate_run(cfg, PlainLoop(cfg, fused=False), PlainLoop(cfg, fused=True), loops)


def alternate_run(
    cfg: DictConfig, plain: "PlainLoop", fused: "PlainLoop", loops: int = 1
) -> list[tuple[float, float, float]]:
    """Return the rates of `alternate_epochs` for a run and two plain loops."""
    rates = []

    class AlternatingStats(EpochStats):
        def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            rates.append((plain.train(loops), fused.train(loops), self.samples / self.seconds))
            super().on_train_epoch_end(trainer, pl_module)

    with (
        tempfile.TemporaryDirectory() as logs,
        contextlib.redirect_stdout(io.StringIO()),
        patch("leyden.training.trainer.EpochStats", AlternatingStats),
    ):
        cfg.paths.logs = logs
        run(cfg)
    return rates[1:]


def overrides(model: str, shape: str, num: int) -> list[str]:
    """Return the overrides of a run without augmentation, because the plain loop has none."""
    return [
        f"model={model}", "data=synthetic", f"data.shape={shape}", f"data.num_train={num}", f"data.batch_size={BATCH}",
        "optimizer=adam", "scheduler=none", "trainer.accelerator=cpu", "early_stopping.patience=1000",
        f"data.mean=[{','.join(['0.5'] * int(shape[1]))}]", f"data.std=[{','.join(['0.25'] * int(shape[1]))}]",
    ]  # fmt: skip


class PlainLoop:
    """The shortest training loop: float tensors in memory, a shuffled index, forward, backward, step."""

    def __init__(self, cfg: DictConfig, fused: bool) -> None:
        self.net: nn.Module = instantiate(section(cfg, "model"), "model")
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=cfg.optimizer.lr, fused=fused)
        data = build_data(cfg)
        data.setup("fit")
        assert data.train is not None
        images, self.labels = data.train
        self.images = images.float() / 255

    def train(self, epochs: int) -> float:
        """Train; return the images per second."""
        torch.use_deterministic_algorithms(False)  # a plain loop does not use them
        began = time.perf_counter()
        for _ in range(epochs):
            for index in torch.split(torch.randperm(len(self.labels)), BATCH):
                self.optimizer.zero_grad()
                loss = cross_entropy(self.net(self.images[index]), self.labels[index])
                loss.backward()  # type: ignore[no-untyped-call]
                self.optimizer.step()
        rate = epochs * len(self.labels) / (time.perf_counter() - began)
        torch.use_deterministic_algorithms(True, warn_only=True)
        return rate


def gpt(repeat: int) -> Part:
    """Measure the training of a small GPT: epochs of Leyden and of a plain loop with the same net take turns."""
    table = Table("model=gpt", "optimizer", "plain loop", "Leyden", "ratio", title="tokens per second")
    found = {}
    for block, batch in ((64, 12), (128, 32)):
        cfg = compose(
            *("model=gpt", "data=characters", f"data.block={block}", f"data.batch_size={batch}", "data.limit=0.25"),
            *("optimizer=adam", "scheduler=none", "trainer.accelerator=cpu", "early_stopping.patience=1000"),
            *(f"trainer.max_epochs={repeat + 1}", "task.num_samples=0"),
        )
        rates = alternate_run(cfg, PlainGPT(cfg, fused=False), PlainGPT(cfg, fused=True))
        for index, kind in enumerate(PLAIN):
            pairs = [(one[index] * block, one[2] * block) for one in rates]
            table.add_row(f"block {block}, batch {batch}", kind, *row(pairs))
            found[f"block {block}, batch {batch}, {kind}"] = median_ratio(pairs)
    table.caption = "optimizer: of the plain loop. The samples of the plain loop are windows at random places"
    return table, found


class PlainGPT(PlainLoop):
    """The loop of nanoGPT: windows at random places of a text in memory, forward, backward, step."""

    def __init__(self, cfg: DictConfig, fused: bool) -> None:
        self.net = instantiate(section(cfg, "model"), "model")
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=cfg.optimizer.lr, fused=fused)
        data = build_data(cfg)
        data.setup("fit")
        assert data.train is not None
        self.text = data.train[0].flatten().long()
        self.num, self.block = data.train[0].shape
        self.batch: int = cfg.data.batch_size

    def train(self, epochs: int) -> float:
        """Train; return the windows per second."""
        torch.use_deterministic_algorithms(False)  # a plain loop does not use them
        began = time.perf_counter()
        steps = epochs * self.num // self.batch
        for _ in range(steps):
            starts = torch.randint(len(self.text) - self.block, (self.batch,))
            windows = self.text[starts[:, None] + torch.arange(self.block + 1)]  # (B, T + 1)
            self.optimizer.zero_grad()
            logits = self.net(windows[:, :-1])
            cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten()).backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
        rate = steps * self.batch / (time.perf_counter() - began)
        torch.use_deterministic_algorithms(True, warn_only=True)
        return rate


def texts(repeat: int) -> Part:
    """Measure texts: how long 25,000 of them take until they are ready, the loader, and the training."""
    table = Table("25,000 generated texts", "plain", "Leyden", "ratio", title="texts: words with data=text")
    with tempfile.TemporaryDirectory() as temporary, contextlib.redirect_stdout(io.StringIO()):
        path = write_reviews(Path(temporary, "reviews.csv"), 25_000)
        common = ("data=text", f"data.path={path}", "data.max_tokens=400", f"paths.data={temporary}")
        cfg = compose("model=bag", *common)
        for name in ("ready, first time", "ready, from the cache"):
            data, duration = ready(cfg)
            table.add_row(f"{name}: seconds", "", f"{duration:.1f}", "")
        loader = data.train_dataloader()
        assert isinstance(loader, TextTrainLoader)
        rates = alternate(repeat, lambda: feed(padded_loader(loader)), lambda: feed(loader))
        table.add_row("loader, texts per second", *row(rates))
        found = {"loader": median_ratio(rates)}
        for model, limit in (("bag", 0.5), ("textcnn", 0.05), ("lstm", 0.05)):
            options = ("optimizer=adam", "scheduler=none", "trainer.accelerator=cpu", "early_stopping.patience=1000")
            cfg = compose(
                f"model={model}", *common, f"data.limit={limit}", *options, f"trainer.max_epochs={repeat + 1}"
            )
            pairs = [(one[1], one[2]) for one in alternate_run(cfg, PlainTexts(cfg, False), PlainTexts(cfg, True))]
            table.add_row(f"{model}, texts per second", *row(pairs))
            found[model] = median_ratio(pairs)
        order, widths, _ = loader.plan(0)
        padding = padding_fraction(loader.lengths[order[0]], widths, loader.batch_size)
    table.caption = (
        f"padding: {padding:.1%} of the tokens. Plain: of the loader, a DataLoader that pads each shuffled batch; of "
        "the training, a loop with fused Adam and the same batches"
    )
    return table, found


def write_reviews(path: Path, num: int) -> Path:
    """Write texts of about the length of a review, whose words have the frequencies of Zipf's law, and two labels."""
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(5.2, 0.6, num), 10, 2_000).astype(int)
    words = np.array([f"word{number}" for number in range(50_000)])
    with path.open("w", encoding="utf-8") as file:
        file.write("text,label\n")
        for row, length in enumerate(lengths):
            chosen = words[(rng.zipf(1.2, length) - 1) % len(words)]
            file.write(f"text{row} {' '.join(chosen)} class{row % 2},{row % 2}\n")
    return path


def ready(cfg: DictConfig) -> tuple[TextData, float]:
    """Return a data set that is ready for its training, and how many seconds that took. Nothing is in memory before."""
    text_table._read.cache_clear()
    began = time.perf_counter()
    data = build_data(cfg)
    data.prepare_data()
    data.setup("fit")
    assert isinstance(data, TextData)
    return data, time.perf_counter() - began


def padded_loader(loader: TextTrainLoader) -> DataLoader[Any]:
    """Return the loader of the tutorials: shuffled texts, of which each batch is padded to its longest one."""
    pairs = zip(loader.inputs, loader.lengths.tolist(), loader.targets, strict=True)
    samples = [(ids[:length].long(), target) for ids, length, target in pairs]

    def collate(batch: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        return pad_sequence([ids for ids, _ in batch], batch_first=True), torch.stack([target for _, target in batch])

    return DataLoader(samples, batch_size=loader.batch_size, shuffle=True, collate_fn=collate)  # type: ignore[arg-type]


class PlainTexts(PlainLoop):
    """A loop over the batches of Leyden's loader, which are made before."""

    def __init__(self, cfg: DictConfig, fused: bool) -> None:
        self.net = instantiate(section(cfg, "model"), "model")
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=cfg.optimizer.lr, fused=fused)
        data = build_data(cfg)
        data.setup("fit")
        self.batches = list(data.train_dataloader())

    def train(self, epochs: int) -> float:
        """Train; return the texts per second."""
        torch.use_deterministic_algorithms(False)  # a plain loop does not use them
        began = time.perf_counter()
        for _ in range(epochs):
            for ids, targets in self.batches:
                self.optimizer.zero_grad()
                cross_entropy(self.net(ids), targets).backward()  # type: ignore[no-untyped-call]
                self.optimizer.step()
        rate = epochs * sum(len(targets) for _, targets in self.batches) / (time.perf_counter() - began)
        torch.use_deterministic_algorithms(True, warn_only=True)
        return rate


def start_up(repeat: int) -> Part:
    """Measure commands that do not import torch, relative to the time that importing Lightning takes."""
    table = Table("start-up", "seconds", "relative to import lightning")
    commands = {
        "import lightning": ["-c", "import lightning"],
        "train.py --help": ["train.py", "--help"],
        "train.py --cfg job": ["train.py", "--cfg", "job"],
        "train.py model=cnnn": ["train.py", "model=cnnn"],
        "train.py model.dropuot=1": ["train.py", "model.dropuot=1"],
    }
    times = {name: statistics.median(seconds(command) for _ in range(repeat)) for name, command in commands.items()}
    for name, duration in times.items():
        table.add_row(name, f"{duration:.2f}", f"{duration / times['import lightning']:.0%}")
    rival = times.pop("import lightning")
    return table, {name: rival / duration for name, duration in times.items()}


def seconds(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, check=False)
    return time.perf_counter() - began


def prediction(repeat: int) -> Part:
    """Measure scripts/predict.py with a cnn on small PNG files: the whole command, and its peak memory."""
    table = Table("PNG files of 28x28", "seconds", "images per second", "peak memory", title="predict.py, cnn")
    with tempfile.TemporaryDirectory() as temporary:
        logs = Path(temporary, "logs")
        with contextlib.redirect_stdout(io.StringIO()):
            run(compose("model=cnn", "trainer=smoke", "trainer.max_epochs=1", "logger=none", f"paths.logs={logs}"))
        (folder,) = logs.glob("runs/*/*")
        found = []
        for num in (1_000, 10_000):
            images = write_images(Path(temporary, str(num)), num)
            measured = [predicted(folder, images) for _ in range(repeat)]
            seconds, memory = (statistics.median(values) for values in zip(*measured, strict=True))
            found.append((seconds, memory))
            table.add_row(f"{num:,}", f"{seconds:.2f}", f"{num / seconds:,.0f}", f"{memory / 1e6:,.0f} MB")
    (few, small), (many, large) = found
    table.caption = f"after the start: {9_000 / (many - few):,.0f} images per second; memory: ratio {large / small:.2f}"
    return table, {}  # there is no rival to compare with


def write_images(folder: Path, num: int) -> Path:
    """Write PNG files with random pixels."""
    folder.mkdir()
    pixels = torch.randint(0, 256, (num, 28, 28), dtype=torch.uint8).numpy()
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{number:05}.png")
    return folder


def predicted(run_folder: Path, images: Path) -> tuple[float, float]:
    """Return the seconds of a command that predicts a folder of images, and its peak memory in bytes."""
    command = [sys.executable, str(ROOT / "scripts" / "predict.py"), str(run_folder), str(images)]
    began = time.perf_counter()
    process = subprocess.Popen([*command, "--csv", str(run_folder / "predictions.csv")])
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    return time.perf_counter() - began, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def alternate(repeat: int, theirs: Callable[[], float], ours: Callable[[], float]) -> list[tuple[float, float]]:
    """Return `repeat` pairs of rates. Both sides take turns, so that a slow moment of the machine affects both."""
    return [(theirs(), ours()) for _ in range(repeat)]


def row(rates: list[tuple[float, float]]) -> Iterator[str]:
    """Yield the median of each side, then the median of the ratios with their range."""
    for side in zip(*rates, strict=True):
        yield f"{statistics.median(side):,.0f}"
    ratios = sorted(ours / theirs for theirs, ours in rates)
    yield f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"


def median_ratio(rates: list[tuple[float, float]]) -> float:
    return statistics.median(ours / theirs for theirs, ours in rates)


PARTS = {
    "feeding": feeding,
    "steps": steps,
    "ensembles": ensembles,
    "gpt": gpt,
    "texts": texts,
    "start-up": start_up,
    "prediction": prediction,
}


if __name__ == "__main__":
    main()
