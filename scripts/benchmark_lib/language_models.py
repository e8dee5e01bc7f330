"""The speed of training a small GPT."""

from rich.table import Table

from leyden.config.compose import compose
from scripts.benchmark_lib.plain_loops import PlainWindows, add_rows, alternate_run
from scripts.benchmark_lib.rates import Part


def gpt(repeat: int) -> Part:
    """Measure the training of a small GPT: epochs of Leyden and of a plain loop with the same net take turns."""
    table = Table("model=gpt", "optimizer", "plain loop", "Leyden", "ratio", title="tokens per second")
    found: dict[str, float] = {}
    for block, batch in ((64, 12), (128, 32)):
        cfg = compose(
            *("model=gpt", "data=characters", f"data.block={block}", f"data.batch_size={batch}", "data.limit=0.25"),
            *("optimizer=adam", "scheduler=none", "trainer.accelerator=cpu", "early_stopping.patience=1000"),
            *(f"trainer.max_epochs={repeat + 1}", "task.num_samples=0"),
        )
        rates = alternate_run(cfg, PlainWindows(cfg, fused=False), PlainWindows(cfg, fused=True))
        add_rows(table, found, f"block {block}, batch {batch}", rates, scale=block)
    table.caption = "optimizer: of the plain loop. The samples of the plain loop are windows at random places"
    return table, found
