"""The speed of training nets for images, one at a time and many in one process."""

from collections.abc import Sequence

from rich.table import Table

from leyden.config.compose import compose
from scripts.benchmark_lib.plain_loops import PlainImages, add_rows, alternate_run
from scripts.benchmark_lib.rates import Part

BATCH = 128
MEMBERS = 32
ENSEMBLES = {
    "mlp": ["mlp"],
    "mlp, bf16-mixed": ["mlp", "trainer.precision=bf16-mixed"],
    "mlp, hidden=[32]": ["mlp", "model.hidden=[32]"],
    "cnn": ["cnn"],
}


def steps(repeat: int) -> Part:
    """Measure training: epochs of Leyden and of a plain loop with either kind of Adam take turns."""
    table = Table("training, batch 128", "optimizer", "plain loop", "Leyden", "ratio", title="images per second")
    found: dict[str, float] = {}
    for model, shape, num in (("mlp", "[1,28,28]", 20_000), ("cnn", "[1,28,28]", 5_000), ("cnn", "[3,32,32]", 4_000)):
        rates = alternate_epochs(model, shape, num, epochs=6 * repeat)
        add_rows(table, found, f"{model} on {shape}", rates)
    table.caption = "optimizer: of the plain loop. Leyden uses fused Adam; its times include metrics and checkpoints"
    return table, found


def ensembles(repeat: int) -> Part:
    """Measure the training of 32 nets together, relative to 32 plain loops, one after the other."""
    title = f"{MEMBERS} nets in one process (ensemble={MEMBERS}), batch {BATCH}: images per second"
    table = Table("training", "optimizer", f"{MEMBERS} plain loops", "Leyden", "ratio", title=title)
    found: dict[str, float] = {}
    for name, (model, *options) in ENSEMBLES.items():
        options += [f"ensemble={MEMBERS}"]
        rates = alternate_epochs(model, "[1,28,28]", 1_500, 2 * repeat, options, loops=8)
        add_rows(table, found, name, rates)
    table.caption = "optimizer: of the plain loops, which compute in float32. A ratio of 2 is half of the time"
    return table, found


def alternate_epochs(
    model: str, shape: str, num: int, epochs: int, options: Sequence[str] = (), loops: int = 1
) -> list[tuple[float, float, float]]:
    """Return, per epoch, the images per second of the plain loop with default and with fused Adam, and of Leyden.

    A plain loop trains for `loops` epochs in each turn. The first turn is left out, because caches are still empty.
    """
    cfg = compose(*overrides(model, shape, num), f"trainer.max_epochs={epochs + 1}", *options)
    return alternate_run(cfg, PlainImages(cfg, fused=False), PlainImages(cfg, fused=True), loops)


def overrides(model: str, shape: str, num: int) -> list[str]:
    """Return the overrides of a run without augmentation, because the plain loop has none."""
    return [
        f"model={model}", "data=synthetic", f"data.shape={shape}", f"data.num_train={num}", f"data.batch_size={BATCH}",
        "optimizer=adam", "scheduler=none", "trainer.accelerator=cpu", "early_stopping.patience=1000",
        f"data.mean=[{','.join(['0.5'] * int(shape[1]))}]", f"data.std=[{','.join(['0.25'] * int(shape[1]))}]",
    ]  # fmt: skip
