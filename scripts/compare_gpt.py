"""Compare experiment=shakespeare_gpt with nanoGPT's recipe for CPUs as a plain loop, and write docs/models.md.

The plain loop has the net and the recipe that nanoGPT's README gives for CPUs: 4 layers, 4 heads, width 128, contexts
of 64 characters at random places, 12 of them per step, 2,000 steps. Both train on the same part of the text, and both
are measured on the same parts for validation and test, in windows that do not overlap. Runs of Leyden that --logs has
already are not trained again.

Examples:
    python scripts/compare_gpt.py --data-root data
    python scripts/compare_gpt.py --data-root data --seeds 0
"""

import argparse
import math
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.progress import track
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from leyden.config.builders import build_data
from leyden.config.compose import compose
from leyden.data.tokens import PADDING

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from scripts.documents import measured_with, replace_part, spread, table  # noqa: E402
from scripts.results import report  # noqa: E402

DOCUMENT = ROOT / "docs" / "models.md"
TITLES = ("tinyshakespeare", "validation, bits per character", "test", "training", "parameters")
EXPERIMENT = "experiment=shakespeare_gpt"
BLOCK, BATCH, STEPS, LAYERS, HEADS, WIDTH = 64, 12, 2_000, 4, 4, 128
LR, MIN_LR, WARMUP, BETAS, DECAY, CLIP, STD = 1e-3, 1e-4, 100, (0.9, 0.99), 0.1, 1.0, 0.02


@dataclass(frozen=True)
class Measured:
    """What one training reached: bits per character of two splits, seconds of training, number of parameters."""

    val: float
    test: float
    seconds: float
    parameters: int


class NanoGPT(nn.Module):
    """GPT-2 without biases: token ids, int64 (B, T) → logits of the next token, (B, T, V)."""

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocab_size, WIDTH), nn.Embedding(BLOCK, WIDTH)
        layer = nn.TransformerEncoderLayer(
            WIDTH, HEADS, 4 * WIDTH, dropout=0.0, activation="gelu", batch_first=True, norm_first=True, bias=False
        )
        self.layers = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(WIDTH, bias=False)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(BLOCK), persistent=False)
        for name, weight in self.named_parameters():
            if weight.dim() > 1:
                last = name.endswith(("out_proj.weight", "linear2.weight"))
                nn.init.normal_(weight, std=STD / math.sqrt(2 * LAYERS) if last else STD)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.tokens(ids) + self.positions.weight[: ids.shape[1]]  # (B, T, D)
        x = self.norm(self.layers(x, mask=self.get_buffer("mask"), is_causal=True))
        logits: Tensor = x @ self.tokens.weight.T  # the output layer has the weights of the embedding
        return logits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", default="data", help="the folder of the data sets (default: data)")
    parser.add_argument("--logs", default="logs/compare_gpt", help="the folder of the runs (default: logs/compare_gpt)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="(default: 0 1 2)")
    args = parser.parse_args()
    common = [f"paths.data={args.data_root}", f"paths.logs={args.logs}"]
    plain, own = [], []
    for seed in args.seeds:
        plain.append(train_plain(common, seed))
        own.append(leyden_run(Path(args.logs), common, seed))
    rows = [row("nanoGPT's recipe for CPUs", plain), row(f"`{EXPERIMENT}`", own)]
    text = table(TITLES, rows)
    print(text)
    footer = measured_with("python scripts/compare_gpt.py --data-root data", args.seeds)
    replace_part(DOCUMENT, "compare_gpt.py", f"{text}\n\n{footer}")


def leyden_run(logs: Path, common: Sequence[str], seed: int) -> Measured:
    """Return what a run of Leyden reached."""
    found = report(logs, [EXPERIMENT, *common], seed)
    metrics = found["metrics"]
    return Measured(metrics["val/bpc"], metrics["test/bpc"], found["seconds"]["training"], found["parameters"])


def train_plain(common: Sequence[str], seed: int) -> Measured:
    """Train nanoGPT's net on the training part of the text."""
    data = build_data(compose(EXPERIMENT, *common, f"data.block={BLOCK}"))
    data.setup("fit")
    data.setup("test")
    assert data.train is not None
    assert data.val is not None
    assert data.test is not None
    text = data.train[0].flatten().long()
    torch.manual_seed(seed)
    net = NanoGPT(int(text.max()) + 1)
    groups = [
        {"params": [weight for weight in net.parameters() if weight.dim() > 1], "weight_decay": DECAY},
        {"params": [weight for weight in net.parameters() if weight.dim() == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=LR, betas=BETAS, fused=True)
    began = time.perf_counter()
    for step in track(range(STEPS), f"nanoGPT, seed {seed}"):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step)
        starts = torch.randint(len(text) - BLOCK - 1, (BATCH,))
        windows = torch.stack([text[start : start + BLOCK + 1] for start in starts.tolist()])
        loss = cross_entropy(net(windows[:, :-1]).flatten(0, 1), windows[:, 1:].flatten())
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(net.parameters(), CLIP)
        optimizer.step()
        optimizer.zero_grad()
    seconds = time.perf_counter() - began
    num = sum(weight.numel() for weight in net.parameters())
    return Measured(bits(net.eval(), *data.val), bits(net, *data.test), seconds, num)


def learning_rate(step: int) -> float:
    """Return nanoGPT's learning rate: a linear warm-up, then half a cosine."""
    if step < WARMUP:
        return LR * (step + 1) / (WARMUP + 1)
    return MIN_LR + 0.5 * (LR - MIN_LR) * (1 + math.cos(math.pi * (step - WARMUP) / (STEPS - WARMUP)))


@torch.no_grad()
def bits(net: nn.Module, inputs: Tensor, targets: Tensor) -> float:
    """Return the bits per character of windows, (N, T). Padding does not count."""
    total = 0.0
    for start in range(0, len(inputs), 256):
        ids, wanted = inputs[start : start + 256], targets[start : start + 256]
        logits = net(ids.long()).flatten(0, 1)
        total += float(cross_entropy(logits, wanted.flatten(), ignore_index=PADDING, reduction="sum"))
    return total / int((targets != PADDING).sum()) / math.log(2)


def row(name: str, measured: Sequence[Measured]) -> tuple[str, ...]:
    """Return one row of the table."""
    return (
        name,
        spread([one.val for one in measured], 3),
        spread([one.test for one in measured], 3),
        f"{spread([one.seconds for one in measured], 0)} s",
        f"{statistics.mean(one.parameters for one in measured):,.0f}",
    )


if __name__ == "__main__":
    main()
