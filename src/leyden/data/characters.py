"""Running text for language modelling: one text file, cut into windows of tokens.

Training, validation and test follow each other in the text. The vocabulary is that of the training part. In each epoch
the windows of the training part begin at another place, so that a token is not always seen with the same context.

    N  windows          T  tokens of a window, `block`
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from leyden.data.datamodule import DataFacts, InMemoryData, check
from leyden.data.file_access import check_regular, read_utf8
from leyden.data.loaders import Augment, Batch
from leyden.data.tokenizers import build_tokenizer, check_tokenizer, tokenizer_from_json
from leyden.data.tokens import PADDING, UNKNOWN, Tokenizer
from leyden.errors import UserError

MAX_BYTES = 1_000_000_000  # of a text file
PIECE = 1 << 20  # characters that are encoded at a time
CONTEXT = 100  # characters before a part, from which the token before its first one is taken
FILE = "tokenizer.json"  # of a run folder


@dataclass(kw_only=True, eq=False, repr=False)
class RunningText(InMemoryData):
    """Running text: windows of tokens of one text file, and the token that follows each of them.

    Inputs are token ids, int64 (B, T); targets are the same ids shifted by one. Windows of validation and test do not
    overlap, and each token of these parts is a target once; the last window is padded with 0.

    Args:
        path: a text file in UTF-8, or in UTF-16 with a byte order mark. null: the pages of Python's manual that come
            with its standard library (`pydoc_data`), about 0.5 MB of English.
        tokenizer: characters, bytes, words or bpe.
        vocab_size: largest number of token ids. The rarest tokens of a larger vocabulary are unknown tokens.
        block: T, number of tokens of a window.
        val_fraction: fraction of the text before the test part, at its end, that is used for validation.
        test_fraction: fraction of the text, at its end, that is the test part.
        limit: fraction of the training part to use. Its end is used.
    """

    input_kind = "text"
    target_kind = "next"

    num_folds: int = field(default=0, init=False)  # the splits follow each other in the text, so there are no folds
    fold: int = field(default=0, init=False)
    path: str | None
    tokenizer: Literal["characters", "bytes", "words", "bpe"]
    vocab_size: int
    block: int
    test_fraction: float

    def __post_init__(self) -> None:
        check(self.block >= 1, f"block: got {self.block}, must be at least 1")
        check(0 < self.test_fraction < 1, f"test_fraction: got {self.test_fraction}, must be between 0 and 1")
        expected = [self.block]
        check(list(self.shape) == expected, f"shape: got {list(self.shape)}, must be [data.block], here {expected}")
        check_tokenizer(self.tokenizer, self.vocab_size)
        super().__post_init__()
        self.vocabulary: Tokenizer | None = None  # built in `setup`, or that of a run folder
        self.ratios: dict[str, float] = {}  # characters per token of the splits that were read

    def files(self) -> Sequence[Path]:
        return [Path(self.path)] if self.path is not None else []

    def prepare_data(self) -> None:
        for path in self.files():
            check_regular(path, "data.path", MAX_BYTES)

    def read(self, train: bool) -> Batch:
        text = self._text()
        first, val, test = self._borders(text)
        if not train:
            return self._whole_part("test", text, test, len(text))
        return self._training_windows(text[first : test if self.train_on_all else val])

    def read_val(self) -> Batch:
        text = self._text()
        _, val, test = self._borders(text)
        return self._whole_part("val", text, val, test)

    def setup(self, stage: str) -> None:
        """Read what `stage` needs, once. The vocabulary is built on the training part, unless a run has one."""
        if stage == "fit" and self.train is None:
            self.train, self.val = self.read(train=True), self.read_val()
        elif stage != "fit" and self.vocabulary is None:
            self.setup("fit")
        if stage == "validate" and self.val is None:
            self.val = self.read_val()
        if stage == "test" and self.test is None:
            self.test = self.read(train=False)

    def files_of_run(self) -> dict[str, str]:
        assert self.vocabulary is not None
        return {FILE: self.vocabulary.to_json()}

    def use_files_of_run(self, read: Callable[[str], str]) -> None:
        found = tokenizer_from_json(read(FILE), FILE)
        if found.size > self.vocab_size:
            raise UserError(f"{FILE}: has {found.size:,} tokens, but data.vocab_size is {self.vocab_size:,}")
        self.vocabulary = found

    def facts(self) -> DataFacts:
        assert self.vocabulary is not None
        return DataFacts(num_tokens=self.vocabulary.size, characters_per_token=self.characters_per_token)

    def characters_per_token(self, split: str) -> float:
        """Return the number of characters of ``val`` or ``test``, divided by its number of tokens. It was read."""
        return self.ratios[split]

    def fingerprint(self) -> str:
        """Return a hash of the text."""
        return blake2b(self._text().encode(), digest_size=16).hexdigest()

    def class_names(self) -> tuple[str, ...] | None:
        return None if self.vocabulary is None else self.vocabulary.symbols

    def encode(self, item: Any) -> Tensor:
        """Convert a text to token ids, int64 (T,): its last T tokens, then 0."""
        if not isinstance(item, str):
            raise UserError(f"text: got {type(item).__name__}, must be a text")
        ids = self._encoded(item)[-self.block :]
        return torch.nn.functional.pad(ids.long(), (0, self.block - len(ids)), value=PADDING)

    def prompt(self, text: str) -> list[int]:
        """Return the token ids of the beginning of a text. An empty one begins like a new line, if possible."""
        assert self.vocabulary is not None
        if text:
            return self.vocabulary.encode(text)
        known = (ids for start in ("\n", ".") if UNKNOWN not in (ids := self.vocabulary.encode(start)))
        return next(known, [self.vocabulary.first])

    def continued(self, prompt: str, ids: Sequence[int]) -> str:
        """Return a text and its continuation by token ids."""
        assert self.vocabulary is not None
        if not prompt:
            return self.vocabulary.decode(ids)
        before = self.vocabulary.encode(prompt)
        shown, whole = self.vocabulary.decode(before), self.vocabulary.decode([*before, *ids])
        return prompt + whole.removeprefix(shown) if whole.startswith(shown) else whole

    def windows(self, before: Sequence[int], text: str) -> Batch:
        """Return inputs and targets (N, T) in which each token of a text is a target once; the rest is padding.

        Args:
            before: the id of the token before the text.
            text: the text.
        """
        ids = self._encoded(text)
        ids = torch.cat((ids.new_tensor(before), ids))
        padded = torch.nn.functional.pad(ids, (0, (1 - len(ids)) % self.block), value=PADDING)
        return padded[:-1].view(-1, self.block), padded[1:].view(-1, self.block).long()

    def transform(self, device: torch.device) -> Callable[[Tensor], Tensor]:
        return torch.Tensor.long

    def augmentation(self, inputs: Tensor, targets: Tensor) -> Augment:
        return ShiftedWindows(inputs, targets)

    def describe(self) -> str:
        assert self.vocabulary is not None
        # The number of test windows is known only after the test part was encoded, at the end.
        sizes = ", ".join(f"{num:,} {split}" for split, num in self.sizes().items() if split != "test")
        kind = "tokens" if self.tokenizer == "bpe" else self.tokenizer
        return f"{self.vocabulary.size - self.vocabulary.first:,} {kind}, windows of {self.block}: {sizes}"

    def _text(self) -> str:
        text = manual() if self.path is None else read_utf8(Path(self.path), "data.path", MAX_BYTES)
        if not text.strip():
            raise UserError(f"data.path: {self.path} has no text")
        return text

    def _borders(self, text: str) -> tuple[int, int, int]:
        """Return the positions at which the training part, the validation part and the test part begin."""
        test = len(text) - round(len(text) * self.test_fraction)
        val = test - round(test * self.val_fraction)
        end = test if self.train_on_all else val
        first = end - round(end * self.limit)
        parts = {"limit": (first, end), "val_fraction": (val, test), "test_fraction": (test, len(text))}
        for key, (start, stop) in parts.items():
            if start >= stop:
                value, num = getattr(self, key), len(text)
                raise UserError(f"data.{key}: {value} of a text of {num:,} characters leaves an empty part")
        return first, val, test

    def _training_windows(self, text: str) -> Batch:
        """Return inputs and targets, (N, T) each. Both are views of the same ids."""
        if self.vocabulary is None:
            self.vocabulary = build_tokenizer(self.tokenizer, pieces(text), self.vocab_size)
        ids, size = self._encoded(text), self.block
        num = (len(ids) - 1) // size
        if num < 1:
            raise UserError(
                f"data.block: windows of {size} tokens and the next token do not fit into the training part, which has "
                f"{len(ids):,} tokens; give a smaller data.block or a longer text"
            )
        return ids[: num * size].view(num, size), ids[1 : num * size + 1].view(num, size)

    def _whole_part(self, split: str, text: str, start: int, stop: int) -> Batch:
        """Return the windows of a part of the text, see `windows`, and note its number of characters per token."""
        before = self._encoded(text[max(0, start - CONTEXT) : start])[-1:].tolist()
        inputs, targets = self.windows(before, text[start:stop])
        self.ratios[split] = (stop - start) / int((targets != PADDING).sum())
        return inputs, targets

    def _encoded(self, text: str) -> Tensor:
        """Return the token ids of a text, int16 or int32 (tokens,)."""
        assert self.vocabulary is not None
        dtype = torch.int16 if self.vocab_size < 1 << 15 else torch.int32
        return torch.cat([torch.tensor(self.vocabulary.encode(piece), dtype=dtype) for piece in pieces(text)])


class ShiftedWindows:
    """Windows of a text that begin at another place in each epoch.

    Args:
        inputs: token ids (N, T), one window after the other.
        targets: the same ids shifted by one, (N, T).
    """

    def __init__(self, inputs: Tensor, targets: Tensor) -> None:
        self.num, self.block = inputs.shape
        self.ids = torch.cat((inputs.flatten(), targets[-1, -1:]))  # (N · T + 1,)
        self.window = torch.arange(self.block + 1, device=inputs.device)

    def draw(self, num: int, rng: torch.Generator, epoch: int = 0) -> tuple[Tensor, ...]:
        """Draw one shift for all windows of an epoch, (num,)."""
        return (torch.randint(self.block, (1,), generator=rng).expand(num),)

    def __call__(self, index: Tensor, *draws: Tensor) -> Batch:
        """Return inputs and targets of windows, int64 (B, T) each. The last window ends where the text ends."""
        (shift,) = draws
        starts = (index * self.block + shift).clamp(max=(self.num - 1) * self.block)  # (B,)
        windows = self.ids[starts[:, None] + self.window].long()  # (B, T + 1)
        return windows[:, :-1], windows[:, 1:]


def pieces(text: str) -> Iterator[str]:
    """Cut a text into pieces of about `PIECE` characters that end with a line, a word or anywhere; "" gives one."""
    start = 0
    while len(text) - start > PIECE:
        stop = start + PIECE
        end = 1 + max(text.rfind("\n", start, stop), text.rfind(" ", start, stop))  # after the last line or word
        stop = end if end > start else stop
        yield text[start:stop]
        start = stop
    yield text[start:]


def manual() -> str:
    """Return the pages of Python's manual that ``help("topics")`` lists, in alphabetical order.

    Raises:
        UserError: this Python comes without them.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise UserError("data.path: is null, but this Python has no pydoc_data; give data.path=FILE") from error
    return "\n\n".join(topics[name] for name in sorted(topics))
