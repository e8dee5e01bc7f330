"""Retrieval between images and texts: is the text of an image the most similar one among many, and the reverse?

A split is divided into sets of `candidates` successive samples. Within a set, each image is compared with all texts,
and each text with all images. So the metrics depend neither on the size of a batch nor on the number of processes.

N  samples of a split        C  candidates        D  size of the shared space
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

TOP = 5


class Retrieval(Metric):
    """The contrastive loss, and the accuracy of retrieval in both directions, over sets of `candidates` samples.

    Every sample is looked for once. The last set is filled up with samples of the set before it. A split with fewer
    samples is a single, smaller set.

    Args:
        candidates: C, at least 2.
    """

    images: list[Tensor]
    texts: list[Tensor]
    numbers: list[Tensor]
    batches: list[Tensor]

    def __init__(self, candidates: int) -> None:
        super().__init__()
        self.candidates = candidates
        for name in ("images", "texts", "numbers", "batches"):
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(self, images: Tensor, texts: Tensor, numbers: Tensor, batch: int) -> None:
        """Add a batch.

        Args:
            images, texts: embeddings, (B, D) each. Their inner products are the logits of the loss.
            numbers: which text each sample has, int64 (B,).
            batch: the place of this batch among those of all processes.
        """
        self.images.append(images)
        self.texts.append(texts)
        self.numbers.append(numbers)
        self.batches.append(torch.full_like(numbers, batch))

    def compute(self) -> dict[str, Tensor]:
        order = dim_zero_cat(self.batches).argsort(stable=True)
        images, texts, numbers = (dim_zero_cat(part)[order] for part in (self.images, self.texts, self.numbers))
        size, found = min(self.candidates, len(numbers)), []
        for start in range(0, len(numbers), size):
            first = min(start, len(numbers) - size)
            part = slice(first, first + size)
            found.append(scores(images[part], texts[part], numbers[part])[start - first :])
        loss, *hits = torch.cat(found).cpu().double().mean(0)
        return dict(zip(METRICS, (loss, *hits), strict=True))


METRICS = ("loss", "i2t_acc", "t2i_acc", f"i2t_top{TOP}", f"t2i_top{TOP}")


def scores(images: Tensor, texts: Tensor, numbers: Tensor) -> Tensor:
    """Return `METRICS` of each sample of a set, (C, 5): its part of the loss, and 1 or 0 for found or not.

    Args:
        images, texts, numbers: see `Retrieval.update`, of the samples of the set.
    """
    logits, same = images @ texts.T, numbers[:, None] == numbers
    is_first = ~same.tril(-1).any(1)  # a text that several samples have is one candidate
    image_ranks, text_ranks = ranks(logits, same, is_first), ranks(logits.T, same, torch.ones_like(is_first))
    hits = [ranks < least for least in (1, TOP) for ranks in (image_ranks, text_ranks)]
    return torch.stack([losses(logits, same), *(hit.to(logits.dtype) for hit in hits)], 1)


def ranks(logits: Tensor, same: Tensor, counted: Tensor) -> Tensor:
    """Return how many wrong candidates are at least as similar as the best right one, int64 (C,).

    Args:
        logits: (C, C), a row for each sample that is looked for, a column for each candidate.
        same: bool (C, C), whether a candidate has the text of the sample.
        counted: bool (C,), candidates that are not counted are left out of the wrong ones.
    """
    best = logits.where(same, -math.inf).amax(1, keepdim=True)
    return (~(logits < best) & ~same & counted).sum(1)  # NaN is no hit


def losses(logits: Tensor, same: Tensor) -> Tensor:
    """Return the symmetric contrastive loss (InfoNCE) of each sample, (C,): the mean over both directions.

    It is the cross-entropy of the softmax over the candidates. Candidates with the same text have equal targets.

    Args:
        logits: (C, C), a row for each image, a column for each text.
        same: bool (C, C), whether both have the same text.
    """
    targets = same / same.sum(1, keepdim=True)
    both: Sequence[Tensor] = [cross_entropy(one, targets, reduction="none") for one in (logits, logits.T)]
    return (both[0] + both[1]) / 2
