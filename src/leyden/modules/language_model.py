"""Language modelling: the next token of a text, with a net that returns logits after each token."""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from leyden.data.datamodule import DataFacts
from leyden.data.loaders import Batch
from leyden.data.tokens import PADDING, UNKNOWN
from leyden.errors import UserError
from leyden.metrics.accumulators import EpochMeanAccumulator
from leyden.modules.base import BaseModule
from leyden.modules.predictions import Prediction, ranked
from leyden.modules.text_sampling import Sampling, continued
from leyden.nets.gpt import GPT
from leyden.optim import OptimizerFactory, SchedulerFactory
from leyden.seeding import generator


class LanguageModel(BaseModule):
    """Predicts each token of a text from the tokens before it.

    Logs ``train/loss``, and for ``val`` and ``test`` the loss, perplexity (``ppl``) and bits per character (``bpc``).
    The loss is minus the log-likelihood of a token, in nats. Perplexity is its exponential. Bits per character are the
    same for all characters of the split together: log-likelihood in bits, divided by the number of characters of the
    original text. They do not depend on the tokenizer, so models with different tokenizers can be compared; but a
    tokenizer with unknown tokens, or one that does not keep spaces and capital letters, leaves out what it cannot see.

    Args:
        net: int64 (B, T) → logits (B, T, V).
        optimizer, scheduler, objective: see `BaseModule`.
        in_shape: (T,) the largest number of tokens.
        num_samples: number of texts that are written after each validation. 0: none.
        sample_length: number of their tokens.
        temperature, top_k, top_p: how these tokens are drawn, see `Sampling`.

    Raises:
        ValueError: a number is out of its range.
        UserError: the net is no `GPT`.
    """

    target_kind = "next"
    validation_metrics = ("loss", "ppl", "bpc")

    net: GPT
    allowed: Tensor

    def __init__(
        self,
        net: nn.Module,
        optimizer: OptimizerFactory,
        scheduler: SchedulerFactory,
        objective: dict[str, str],
        in_shape: Sequence[int],
        num_samples: int,
        sample_length: int,
        temperature: float,
        top_k: int,
        top_p: float,
    ) -> None:
        if not isinstance(net, GPT):
            raise UserError(
                f"model.in_shape: got {list(in_shape)}, a text to continue, for which a {type(net).__name__.lower()} "
                "has no outputs; use model=gpt"
            )
        for name, value, least in (("num_samples", num_samples, 0), ("sample_length", sample_length, 1)):
            if value < least:
                raise ValueError(f"{name}: got {value}, must be at least {least}")
        super().__init__(net, optimizer, scheduler, objective)
        self.num_samples, self.sample_length = num_samples, sample_length
        self.sampling = Sampling(temperature, top_k, top_p)
        self.eval_means = EpochMeanAccumulator("loss")
        # Split → characters of the original text per token. Evaluation needs it, also of a loaded run.
        self.characters_per_token: Callable[[str], float] = one_character
        allowed = torch.ones(net.vocab_size, dtype=torch.bool)
        allowed[[PADDING, UNKNOWN]] = False
        self.register_buffer("allowed", allowed)  # (V,), the tokens that a generated text may have
        self.symbols = [str(number) for number in range(net.vocab_size)]

    def use_facts(self, facts: DataFacts) -> None:
        if facts.num_tokens is not None:
            self.allowed[facts.num_tokens :] = False
        self.characters_per_token = facts.characters_per_token or one_character

    def use_classes(self, classes: Sequence[str] | None) -> None:
        if classes is not None:
            self.symbols[: len(classes)] = classes

    def forward(self, inputs: Tensor) -> Tensor:
        """Token ids, int64 (B, T) → logits of the next token after each of them, (B, T, V)."""
        logits: Tensor = self.net(inputs)
        return logits

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of all tokens that are not padding, (): logits (B, T, V), targets int64 (B, T)."""
        return cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=PADDING)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        inputs, targets = batch  # targets[:, t] is the token after inputs[:, t]
        loss = self.loss(self.net(inputs), targets)
        self.train_means.add(len(targets), loss)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.evaluate(batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self.evaluate(batch)

    def evaluate(self, batch: Batch) -> None:
        """Add a batch to the mean loss of its split. The last window of a split has padding."""
        inputs, targets = batch
        self.eval_means.add((targets != PADDING).sum(), self.loss(self.net(inputs), targets))

    def on_validation_epoch_end(self) -> None:
        self._log_split("val")

    def on_test_epoch_end(self) -> None:
        self._log_split("test")

    def _log_split(self, split: str) -> None:
        loss = self.eval_means.means(self, f"{split}/")[f"{split}/loss"]  # nats per token
        bits = loss / math.log(2) / self.characters_per_token(split)
        values = {f"{split}/loss": loss, f"{split}/ppl": loss.exp(), f"{split}/bpc": bits}
        for name, value in values.items():
            self.log(name, value, prog_bar=name in ("val/loss", self.objective["metric"]))

    def named_outputs(self, outputs: Tensor, inputs: Tensor) -> dict[str, Tensor]:
        """Return all logits, (B, T, V), and the probabilities of the token after each text, (B, V)."""
        last = (inputs != PADDING).sum(1).clamp(min=1) - 1  # (B,), position of the last token
        index = last[:, None, None].expand(-1, 1, outputs.shape[2])  # (B, 1, V)
        return {"logits": outputs, "probabilities": outputs.gather(1, index)[:, 0].float().softmax(1)}

    def predictions(self, named: Mapping[str, Tensor]) -> list[Prediction]:
        """Return the most likely next token of each text, with the probabilities of all tokens."""
        ranks = [ranked(row, self.symbols) for row in named["probabilities"].tolist()]
        return [Prediction(pairs[0][0], pairs[0][1], pairs) for pairs in ranks]

    def continued(
        self, prompt: Sequence[int], num: int, length: int, sampling: Sampling | None = None, seed: int = 0
    ) -> list[list[int]]:
        """Return `num` continuations of a prompt, each with `length` token ids. The same seed gives the same texts.

        Args:
            prompt: at least one token id.
            num: number of texts.
            length: number of new tokens of each text.
            sampling: how they are drawn; None: as the config says.
            seed: of the random numbers.
        """
        was_training = self.net.training
        self.net.eval()
        prompts = torch.tensor([list(prompt)] * num, device=self.allowed.device)  # (num, S)
        rng = generator(seed, "text")
        found = continued(self.net, prompts, length, sampling or self.sampling, rng, self.allowed)
        self.net.train(was_training)
        rows: list[list[int]] = found.tolist()
        return rows


def one_character(split: str) -> float:
    """Return 1, the number of characters of a token, if nothing else is known."""
    return 1.0
