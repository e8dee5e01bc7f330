"""The duration of whole commands."""

import contextlib
import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from PIL import Image
from rich.table import Table

from leyden.config.compose import compose
from leyden.run import run
from scripts.benchmark_lib.rates import Part

ROOT = Path(__file__).resolve().parents[2]


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
