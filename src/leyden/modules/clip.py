"""CLIP (Radford et al., 2021): an image and its text have similar embeddings, others do not.

Images show numbers, and a text is a number in English words. The net is the image encoder, and its last layer the
projection to the shared space. A batch is compared with itself: which text belongs to an image, and which image to a
text? Differences to the paper: several samples of a batch may have the same text, which are then equally right; the
encoders are small; and the optimizer of the config also decays the temperature's parameter.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, pad

from leyden.data.datamodule import DataFacts
from leyden.data.loaders import Batch
from leyden.data.number_words import NumberTexts, Style, position_of
from leyden.errors import UserError
from leyden.metrics.retrieval import METRICS, Retrieval, losses
from leyden.modules.base import BaseModule
from leyden.modules.class_images import error_plot
from leyden.modules.large_batches import of_all_processes
from leyden.modules.pixels import register_pixel_statistics, to_pixels, use_pixel_statistics
from leyden.modules.predictions import Prediction
from leyden.nets.sequence_model import SequenceModel
from leyden.nets.text_encoder import text_encoder
from leyden.optim import OptimizerFactory, SchedulerFactory

LEAST_TEMPERATURE = 0.01  # as in the paper: smaller ones make the training unstable
CHUNK = 5000  # texts that are embedded at once
NUM_TOP = 5  # texts of a prediction
NUM_SHOWN = 20  # images of the plot


class CLIP(BaseModule):
    """Trains an image encoder and a text encoder together.

    Logs ``train/loss`` and ``train/temperature``, and for ``val`` and ``test`` the loss, and the accuracy of retrieval
    among `candidates` samples: ``i2t`` is the text of an image, ``t2i`` the image of a text; see
    `leyden.metrics.retrieval`.

    Args:
        net: the image encoder, float (B, C, H, W) → (B, embedding).
        optimizer, scheduler, objective: see `BaseModule`.
        in_shape: (C, H, W) of an image.
        words: how a number is spoken, see `leyden.data.number_words.in_words`.
        min_digits, max_digits: of a number.
        embedding: D, size of the shared space.
        text_dim, text_layers: sizes of the text encoder, see `leyden.nets.text_encoder`.
        temperature: divides the cosine similarities when the training begins; it is learned. 0.01 or above.
        candidates: samples with which each sample is compared in validation and test.

    Raises:
        UserError: the net writes symbols instead of giving one vector, or numbers have too many digits.
        ValueError: a number is out of its range.
    """

    validation_metrics = METRICS
    target_kind = "symbols"
    tokens: Tensor
    first: Tensor

    def __init__(
        self,
        net: nn.Module,
        optimizer: OptimizerFactory,
        scheduler: SchedulerFactory,
        objective: dict[str, str],
        in_shape: tuple[int, ...],
        words: Style,
        min_digits: int,
        max_digits: int,
        embedding: int,
        text_dim: int,
        text_layers: int,
        temperature: float,
        candidates: int,
    ) -> None:
        if isinstance(net, SequenceModel):
            name = type(net).__name__
            raise UserError(f"task: got clip, which needs one vector for an image, but a {name} writes symbols; use "
                            "model=cnn, resnet or transformer")  # fmt: skip
        if not LEAST_TEMPERATURE <= temperature < math.inf:
            raise ValueError(f"temperature: got {temperature}, must be at least {LEAST_TEMPERATURE}")
        if candidates < 2:
            raise ValueError(f"candidates: got {candidates}, must be at least 2")
        super().__init__(net, optimizer, scheduler, objective, ("loss", "temperature"))
        self.known = NumberTexts(words, min_digits, max_digits)
        max_tokens = self.known.tokens.shape[1]
        self.text_encoder = text_encoder(max_tokens, self.known.vocab_size, text_dim, text_layers, embedding)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))
        register_pixel_statistics(self, tuple(in_shape))
        self.register_buffer("tokens", self.known.tokens, persistent=False)
        self.register_buffer("first", self.known.first, persistent=False)
        self.retrieval = Retrieval(candidates)
        self.known_embeddings: Tensor | None = None
        self.shown: list[tuple[Tensor, Tensor, Tensor]] = []  # pixels, embeddings and numbers for the plot

    @property
    def num_parameters(self) -> int:
        """Number of weights of both encoders."""
        return super().num_parameters + sum(weight.numel() for weight in self.text_encoder.parameters())

    def use_facts(self, facts: DataFacts) -> None:
        use_pixel_statistics(self, facts)

    def train(self, mode: bool = True) -> "CLIP":
        """Switch between training and evaluation. Weights may change in between, so known embeddings are dropped."""
        self.known_embeddings = None
        super().train(mode)
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (B, C, H, W) → embeddings (B, D)."""
        embeddings: Tensor = self.net(images)
        return embeddings

    def embed_texts(self, numbers: Tensor) -> Tensor:
        """Numbers as positions in ``known``, int64 (B,), → embeddings of their texts, (B, D)."""
        embeddings: Tensor = self.text_encoder(self.tokens[numbers])
        return embeddings

    def scale(self) -> Tensor:
        """Return 1 / temperature, ()."""
        return self.log_scale.float().clamp(max=-math.log(LEAST_TEMPERATURE)).exp()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, symbols = batch
        numbers = position_of(symbols, self.first)
        image, text = self.net(images), self.embed_texts(numbers)
        image, text, numbers = (of_all_processes(part) for part in (image, text, numbers))
        scale = self.scale()
        loss = contrastive_loss(image, text, numbers, scale)
        self.train_means.add(len(images), loss, 1 / scale)
        return loss

    def on_validation_epoch_start(self) -> None:
        self.shown = []

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        embeddings, numbers = self.evaluate(batch, batch_idx)
        if not self.shown:
            shown = to_pixels(self, batch[0][:NUM_SHOWN]), embeddings[:NUM_SHOWN], numbers[:NUM_SHOWN]
            self.shown.append(shown)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self.evaluate(batch, batch_idx)

    def evaluate(self, batch: Batch, batch_idx: int) -> tuple[Tensor, Tensor]:
        """Add a batch to the metrics; return the embeddings of its images, (B, D), and its numbers, int64 (B,)."""
        images, symbols = batch
        numbers = position_of(symbols, self.first)
        embeddings = self(images)
        image, text = directions(embeddings), directions(self.embed_texts(numbers))
        place = batch_idx * self.trainer.world_size + self.global_rank
        self.retrieval.update(image * self.scale(), text, numbers, place)
        return embeddings, numbers

    def on_validation_epoch_end(self) -> None:
        self.log_split("val/")

    def on_test_epoch_end(self) -> None:
        self.log_split("test/")

    def log_split(self, prefix: str) -> None:
        """Log the metrics of a whole split."""
        for name, value in self.retrieval.compute().items():
            name = f"{prefix}{name}"
            self.log(name, value.float(), prog_bar=name in ("val/loss", self.objective["metric"]))
        self.retrieval.reset()

    def named_outputs(self, outputs: Tensor, inputs: Tensor) -> dict[str, Tensor]:
        """Return the embeddings with length 1, (B, D)."""
        return {"embeddings": directions(outputs)}

    def predictions(self, named: Mapping[str, Tensor]) -> list[Prediction]:
        """Return the text of each image: of all numbers in words, the one whose embedding is most similar."""
        with torch.no_grad():
            texts = self.embeddings_of_all_texts()
            logits = named["embeddings"].to(texts) @ texts.T * self.scale()
        best, index = logits.softmax(1).topk(min(NUM_TOP, len(texts)), dim=1)
        found = []
        for row, values in zip(index.tolist(), best.tolist(), strict=True):
            top = tuple((self.known.texts[number], value) for number, value in zip(row, values, strict=True))
            found.append(Prediction(*top[0], top))
        return found

    @torch.no_grad()
    def embeddings_of_all_texts(self) -> Tensor:
        """Return the embedding of each text that a number can have, with length 1, float32 (N, D)."""
        if self.known_embeddings is None or self.known_embeddings.device != self.device:
            parts = torch.split(torch.arange(len(self.tokens), device=self.device), CHUNK)
            self.known_embeddings = torch.cat([directions(self.embed_texts(part)) for part in parts])
        return self.known_embeddings

    def labels_of(self, targets: Tensor) -> list[str]:
        return [self.known.numbers[position] for position in self.positions(targets)]

    def texts_of(self, targets: Tensor) -> list[str]:
        """Return the text of each sample: targets int64 (B, L)."""
        return [self.known.texts[position] for position in self.positions(targets)]

    def positions(self, targets: Tensor) -> Sequence[int]:
        """Return the position of each number in ``known``: targets int64 (B, L)."""
        found: list[int] = position_of(targets.to(self.device), self.first).tolist()
        return found

    def report(self) -> dict[str, Any]:
        return {
            "retrieval": f"each image is compared with the texts of at most {self.retrieval.candidates:,} samples of "
            "its split, and each text with their images; equal texts are equally right"
        }

    def images(self) -> dict[str, Tensor]:
        """Return a plot of images of the last validation with the numbers whose texts are most similar."""
        pixels, embeddings, numbers = self.shown[0]
        captions = []
        read = self.predictions(self.named_outputs(embeddings, pixels))
        for found, true in zip(read, numbers.tolist(), strict=True):
            number = self.known.numbers[self.known.texts.index(str(found.prediction))]
            captions.append((f"{number} ({found.probability:.0%})", f"true: {self.known.numbers[true]}"))
        side = max(pixels.shape[2:])
        square = pad(pixels, (0, side - pixels.shape[3], 0, side - pixels.shape[2]))
        return {"texts": error_plot(square, captions)}


def directions(embeddings: Tensor) -> Tensor:
    """Return embeddings (B, D) with length 1, in float32: metrics must not depend on trainer.precision."""
    return normalize(embeddings.float(), dim=1)


def contrastive_loss(images: Tensor, texts: Tensor, numbers: Tensor, scale: Tensor) -> Tensor:
    """Return the symmetric contrastive loss of a batch, (), see `leyden.metrics.retrieval.losses`.

    Args:
        images, texts: embeddings, (B, D) each.
        numbers: which text each sample has, int64 (B,).
        scale: multiplies the cosine similarities, ().
    """
    with torch.autocast(images.device.type, enabled=False):
        logits = directions(images) @ directions(texts).T * scale
        return losses(logits, numbers[:, None] == numbers).mean()
