"""airbench94 with Muon as a plain PyTorch loop: the rival of ``experiment=cifar10_94`` in docs/records.md.

The same net and the same steps, without Lightning, configs, metrics and checkpoints: random crops and flips, forward,
backward, one Newton-Schulz iteration per kernel, and torch's SGD for the other weights.
"""

import time
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, pad
from torch.optim import SGD

from leyden.nets.airbench import Airbench

BATCH, SHIFT = 2_000, 2
MUON_LR, BIAS_LR, HEAD_LR, DECAY = 0.24, 0.053, 0.67, 2e-6 * BATCH


class PlainLoop:
    """Trains the net of airbench94 on normalised images.

    Args:
        images: float (N, 3, 32, 32), normalised.
        labels: int64 (N,)
        precision: bf16 for autocast, otherwise fp32.
        epochs: for the schedule.
    """

    def __init__(self, images: Tensor, labels: Tensor, precision: str, epochs: int) -> None:
        self.images = images.contiguous(memory_format=torch.channels_last)
        self.labels, self.precision, self.num_steps = labels, precision, epochs * (len(labels) // BATCH)
        self.net = Airbench((3, 32, 32), 10, (64, 256, 256), depth=2, kernel=2, head_scale=1.0, bias_epochs=epochs)
        self.net.prepare(images[:5_000])
        weights = [weight for weight in self.net.parameters() if weight.requires_grad]
        self.kernels = [weight for weight in weights if weight.dim() == 4]
        self.momenta = [torch.zeros_like(kernel) for kernel in self.kernels]
        biases = [weight for weight in weights if weight.dim() == 1]
        groups = [
            {"params": biases, "lr": BIAS_LR, "weight_decay": DECAY / BIAS_LR},
            {"params": [self.net.head.weight], "lr": HEAD_LR, "weight_decay": DECAY / HEAD_LR},
        ]
        self.sgd = SGD(groups, momentum=0.85, nesterov=True, fused=True)
        self.rates = [group["lr"] for group in self.sgd.param_groups]
        self.step = 0

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of an epoch, with random translations, mirrored in odd epochs."""
        padded = pad(self.images, (SHIFT,) * 4, "reflect")
        moves = torch.randint(0, 2 * SHIFT + 1, (len(self.images), 2))
        order = torch.randperm(len(self.images))
        for start in range(0, len(order) - BATCH + 1, BATCH):
            index = order[start : start + BATCH]
            batch = torch.empty_like(self.images[index])
            for y in range(2 * SHIFT + 1):
                for x in range(2 * SHIFT + 1):
                    chosen = (moves[index] == torch.tensor([y, x])).all(1)
                    batch[chosen] = padded[index[chosen], :, y : y + 32, x : x + 32]
            yield batch.flip(-1) if epoch % 2 else batch, self.labels[index]

    def train(self, max_steps: int) -> list[float]:
        """Train for at most `max_steps` steps, and return the seconds of each."""
        seconds: list[float] = []
        epoch = 0
        self.net.train()
        began = time.perf_counter()
        while len(seconds) < max_steps:
            for images, labels in self.batches(epoch):
                self.train_step(images, labels)
                now = time.perf_counter()
                seconds.append(now - began)
                began = now
                if len(seconds) == max_steps:
                    break
            epoch += 1
        return seconds

    def train_step(self, images: Tensor, labels: Tensor) -> None:
        """Take one step."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bf16"):
            loss = cross_entropy(self.net(images), labels, label_smoothing=0.2, reduction="sum")
        loss.backward()  # type: ignore[no-untyped-call]
        rest = 1 - self.step / self.num_steps
        for group, rate in zip(self.sgd.param_groups, self.rates, strict=True):
            group["lr"] = rate * rest
        self.sgd.step()
        self.muon_step(MUON_LR * rest)
        self.net.zero_grad()
        self.step += 1

    @torch.no_grad()
    def muon_step(self, rate: float) -> None:
        """Take a step of the kernels."""
        for kernel, momentum in zip(self.kernels, self.momenta, strict=True):
            assert kernel.grad is not None
            momentum.mul_(0.6).add_(kernel.grad)
            direction = kernel.grad.add(momentum, alpha=0.6).reshape(len(kernel), -1)
            kernel.mul_(len(kernel) ** 0.5 / kernel.norm())
            kernel.add_(newton_schulz(direction).view(kernel.shape), alpha=-rate)


def newton_schulz(matrix: Tensor) -> Tensor:
    """Return the orthogonal matrix of `matrix`, (rows, columns), approximately, in bfloat16."""
    x: Tensor = (matrix / matrix.norm()).bfloat16()
    for _ in range(3):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x
