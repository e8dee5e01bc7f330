"""The speed of texts: how long many of them take until they are ready, the loader, and the training."""

import contextlib
import io
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from rich.table import Table
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

from leyden.config.builders import build_data
from leyden.config.compose import compose
from leyden.data import text_table
from leyden.data.text_loaders import TextTrainLoader, padding_fraction
from leyden.data.texts import TextData
from scripts.benchmark_lib.plain_loops import PlainBatches, add_rows, alternate_run
from scripts.benchmark_lib.rates import Part, alternate, feed, median_ratio, row


def texts(repeat: int) -> Part:
    """Measure texts: how long 25,000 of them take until they are ready, the loader, and the training."""
    table = Table(
        "25,000 generated texts", "optimizer", "plain", "Leyden", "ratio", title="texts: words with data=text"
    )
    with tempfile.TemporaryDirectory() as temporary, contextlib.redirect_stdout(io.StringIO()):
        path = write_reviews(Path(temporary, "reviews.csv"), 25_000)
        common = ("data=text", f"data.path={path}", "data.max_tokens=400", f"paths.data={temporary}")
        cfg = compose("model=bag", *common)
        for name in ("ready, first time", "ready, from the cache"):
            data, duration = ready(cfg)
            table.add_row(f"{name}: seconds", "", "", f"{duration:.1f}", "")
        loader = data.train_dataloader()
        assert isinstance(loader, TextTrainLoader)
        rates = alternate(repeat, lambda: feed(padded_loader(loader)), lambda: feed(loader))
        table.add_row("loader, texts/s", "", *row(rates))
        found = {"loader": median_ratio(rates)}
        for model, limit in (("bag", 0.5), ("textcnn", 0.05), ("lstm", 0.05)):
            options = ("optimizer=adam", "scheduler=none", "trainer.accelerator=cpu", "early_stopping.patience=1000")
            cfg = compose(
                f"model={model}", *common, f"data.limit={limit}", *options, f"trainer.max_epochs={repeat + 1}"
            )
            epochs = alternate_run(cfg, PlainBatches(cfg, fused=False), PlainBatches(cfg, fused=True))
            add_rows(table, found, f"{model}, texts/s", epochs)
        order, widths, _ = loader.plan(0)
        padding = padding_fraction(loader.lengths[order[0]], widths, loader.batch_size)
    table.caption = (
        f"padding: {padding:.1%} of the tokens. Plain: of the loader, a DataLoader that pads each shuffled batch; of "
        "the training, a loop over the batches of Leyden's loader with this optimizer"
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
