"""The base of data sets of texts. The texts are tokenized once; their token ids are in memory as small integers.

The vocabulary is built on the training split only. It is stored in the run folder as ``tokenizer.json``. Validation and
test sets are sorted by length, so that their batches need little padding.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from hashlib import blake2b
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leyden.data.datamodule import MANY, DataFacts, InMemoryData, check, content_hash, printable
from leyden.data.file_access import GB, memory, read_utf8
from leyden.data.image_files.progress import progress
from leyden.data.loaders import Batch
from leyden.data.table_file import Key
from leyden.data.text_cache import VERSION, Arrays, TextCache
from leyden.data.text_loaders import TextEvalLoader, TextTrainLoader
from leyden.data.text_table import LabelledTexts
from leyden.data.tokenizers import build_tokenizer, check_tokenizer, tokenizer_from_json
from leyden.data.tokens import PADDING, Tokenizer
from leyden.errors import UserError

FILE = "tokenizer.json"
SMALL = 1 << 15  # ids below it are stored as int16
MAX_BYTES = 100_000_000  # of a text file that is predicted
NOT_IN_KEY = ("batch_size", "eval_batch_size", "cache")  # arguments that do not change the tokens


@dataclass(kw_only=True, eq=False, repr=False)
class TextData(InMemoryData):
    """Texts, as token ids (N, max_tokens) with padding 0 at the end.

    A subclass implements `read_texts`. It may override `stamp` and `sample_ids`.

    Args:
        num_classes: number of classes or labels, 0 if the targets are numbers.
        tokenizer: words, characters, bytes or bpe, see `leyden.data.tokenizers`.
        vocab_size: largest number of different tokens; the most frequent ones of the training split are kept.
        max_tokens: tokens of a text that are used; the others at its end are cut off.
        long_texts: cut, or error: whether a text with more tokens is an error.
        cache: folder for token ids, so that the next run starts faster. null: they are not stored.
    """

    input_kind = "text"
    target_kind = "class"
    names: ClassVar[tuple[str, ...]] = ()  # of the classes; empty: another data set finds them elsewhere

    num_classes: int
    tokenizer: Literal["words", "characters", "bytes", "bpe"]
    vocab_size: int
    max_tokens: int
    long_texts: Literal["cut", "error"]
    cache: str | None

    def __post_init__(self) -> None:
        check(self.max_tokens >= 1, f"max_tokens: got {self.max_tokens}, must be at least 1")
        check(
            list(self.shape) == [self.max_tokens],
            f"shape: got {list(self.shape)}, must be [{self.max_tokens}], which is data.max_tokens; leave it out",
        )
        check_tokenizer(self.tokenizer, self.vocab_size)
        super().__post_init__()
        self.encoder: Tokenizer | None = None
        self.num_cut: dict[str, int] = {}  # split → number of its texts that were cut
        self.lengths: dict[str, Tensor] = {}  # split → tokens of each text, on the CPU
        self.target_lengths: dict[str, Tensor] = {}  # the same for targets that are texts
        self._fingerprint = ""

    def read_texts(self, train: bool) -> tuple[list[str], Tensor]:
        """Read the training set (from which validation is split) or the test set: N texts, targets (N, ...).

        Raises:
            UserError: a file is missing or damaged, or does not fit the config.
        """
        raise NotImplementedError

    def stamp(self, train: bool) -> object:
        """Return plain values that change when the texts change, without reading them: a cache depends on it."""
        found = [(str(path), path.stat()) for path in self.files() if path.exists()]
        return [(name, status.st_size, status.st_mtime_ns) for name, status in found]

    def read(self, train: bool) -> Batch:
        """Return the numbers of the texts, int64 (N,), and their targets: splits depend only on these."""
        texts, targets = self.read_texts(train)
        return torch.arange(len(texts)), targets

    def class_names(self) -> tuple[str, ...] | None:
        return self.names or None

    def strata(self, targets: Tensor) -> Tensor:
        return targets if targets.dim() == 1 else super().strata(targets)

    def setup(self, stage: str) -> None:
        """Read and tokenize what `stage` needs, or take it from the cache."""
        if stage == "test":
            if self.encoder is None:
                self.setup("fit")
            self.test = self.test or self._use("test", self._stored_test())
        elif self.train is None:
            arrays = self._stored_fit()
            self.encoder = self.encoder or tokenizer_in(arrays)
            self._fingerprint = str(arrays["fingerprint"])
            self.train, self.val = self._use("train", arrays), self._use("val", arrays)

    def fingerprint(self) -> str:
        """Return a hash of the texts and targets of the training set."""
        self.setup("fit")
        return self._fingerprint

    def files_of_run(self) -> dict[str, str]:
        return {FILE: self._encoder().to_json()}

    def use_files_of_run(self, read: Callable[[str], str]) -> None:
        found = tokenizer_from_json(read(FILE))
        if found.kind != self.tokenizer:
            raise UserError(f"data.tokenizer: got {self.tokenizer}, but {FILE} of the run contains {found.kind}")
        if found.size > self.vocab_size:
            raise UserError(
                f"data.vocab_size: got {self.vocab_size}, but {FILE} of the run contains {found.size} tokens"
            )
        self.encoder = found

    def _encoder(self) -> Tokenizer:
        assert self.encoder is not None, "call setup or use_files_of_run first"
        return self.encoder

    def _key(self, train: bool, vocabulary: str) -> str:
        """Return the key of the cache; `vocabulary` is a hash of the tokenizer, empty if it is built."""
        values = {one.name: getattr(self, one.name) for one in fields(self) if one.name not in NOT_IN_KEY}
        return content_hash(VERSION, type(self).__name__, train, vocabulary, sorted(values.items()), self.stamp(train))

    def _cache(self, train: bool, vocabulary: str = "") -> TextCache:
        folder = Path(self.cache).expanduser() / "texts" if self.cache is not None else None
        return TextCache(folder, self._key(train, vocabulary))

    def _stored_fit(self) -> Arrays:
        """Return tokenizer, fingerprint, and ids and targets of both splits."""
        cache = self._cache(train=True)
        if self.encoder is not None:
            vocabulary = self.encoder.to_json()
            found = cache.read()  # usually the tokenizer of a run is the one that its config builds
            if found is None or bytes(found.get("tokenizer", np.zeros(0, np.uint8))) != vocabulary.encode():
                cache = self._cache(train=True, vocabulary=content_hash(vocabulary))
        return cache.get(self._make_fit, lambda arrays: self._problem(arrays, ("train", "val")))

    def _make_fit(self) -> Arrays:
        texts, targets = self.read_texts(train=True)
        parts = self.split(torch.arange(len(texts)), targets, self.sample_ids())
        if self.encoder is None:
            chosen = [texts[number] for number in parts[0][0].tolist()]
            counted = progress(f"counting the {self.tokenizer} of {len(chosen):,} texts", chosen, len(chosen))
            self.encoder = build_tokenizer(self.tokenizer, counted, self.vocab_size)
        found = {
            "tokenizer": np.frombuffer(self.encoder.to_json().encode(), np.uint8),
            "fingerprint": np.array(fingerprint_of(texts, targets)),
        }
        for split, (index, part) in zip(("train", "val"), parts, strict=True):
            found |= self._encoded(split, [texts[number] for number in index.tolist()], part)
        return found

    def _stored_test(self) -> Arrays:
        cache = self._cache(train=False, vocabulary=content_hash(self._encoder().to_json()))
        return cache.get(
            lambda: self._encoded("test", *self.read_texts(train=False)),
            lambda arrays: self._problem(arrays, ("test",)),
        )

    def _encoded(self, split: str, texts: Sequence[str], targets: Tensor) -> Arrays:
        """Return ids, targets and the number of cut texts. All splits but the training split are sorted by length."""
        ids, lengths = self._ids(split, texts)
        num_cut = int((lengths > self.max_tokens).sum())
        if split != "train":
            order = np.argsort(lengths, kind="stable")
            ids, targets = ids[order], targets[torch.from_numpy(order)]
        return {f"{split}_ids": ids, f"{split}_targets": targets.numpy(), f"{split}_cut": np.array(num_cut)}

    def _ids(self, split: str, texts: Sequence[str]) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Return token ids (N, max_tokens), and the number of tokens of each text before it is cut, (N,)."""
        encoder = self._encoder()
        small = encoder.size < SMALL
        needed = len(texts) * self.max_tokens * (2 if small else 4)
        if needed > memory():
            raise UserError(
                f"data.max_tokens: got {self.max_tokens}; {len(texts):,} texts need {needed / GB:,.1f} GB of memory"
            )
        ids = np.zeros((len(texts), self.max_tokens), np.int16 if small else np.int32)
        lengths = np.zeros(len(texts), np.int64)
        for row, text in enumerate(progress(f"tokenizing {len(texts):,} {split} texts", texts, len(texts))):
            found = encoder.encode(text)
            lengths[row] = len(found)
            self._check_length(len(found), f"text {row} of the {split} split")
            kept = found[: self.max_tokens]
            ids[row, : len(kept)] = kept
        return ids, lengths

    def _check_length(self, length: int, what: str) -> None:
        if length > self.max_tokens and self.long_texts == "error":
            raise UserError(
                f"data.max_tokens: got {self.max_tokens}, but {what} has {length:,} tokens; data.long_texts=cut cuts it"
            )

    def _problem(self, arrays: Arrays, splits: Sequence[str]) -> str:
        """Return why arrays of the cache cannot be used, an empty text if they can: a foreign file is harmless."""
        encoder = self.encoder or tokenizer_in(arrays)
        for split in splits:
            ids, targets = arrays[f"{split}_ids"], arrays[f"{split}_targets"]
            if ids.dtype not in (np.int16, np.int32) or ids.shape != (len(targets), self.max_tokens) or not len(ids):
                return f"the ids of the {split} split have another shape"
            if ids.min() < 0 or ids.max() >= encoder.size or (ids[:, 0] == PADDING).any():
                return f"the {split} split has ids that the tokenizer does not have"
            self.check_targets(torch.from_numpy(targets))
            int(arrays[f"{split}_cut"])
        return ""

    def check_targets(self, targets: Tensor) -> None:
        """Raise ValueError if targets from the cache are not what `read_texts` returns."""
        is_class = targets.dtype == torch.int64 and targets.dim() == 1
        if not is_class or not 0 <= int(targets.min()) <= int(targets.max()) < self.num_classes:
            raise ValueError("it has other targets")

    def _use(self, split: str, arrays: Arrays) -> Batch:
        """Return a split, and remember its lengths."""
        ids = torch.from_numpy(arrays[f"{split}_ids"])
        self.lengths[split] = (ids != PADDING).sum(1)
        self.num_cut[split] = int(arrays[f"{split}_cut"])
        return ids, torch.from_numpy(arrays[f"{split}_targets"])

    def facts(self) -> DataFacts:
        assert self.train is not None
        targets = self.train[1]
        if targets.dtype != torch.int64 or targets.dim() != 1:
            facts = super().facts()
            return DataFacts(scaling=facts.scaling, classes=self.class_names())
        counts = torch.bincount(targets.cpu(), minlength=self.num_classes)
        return DataFacts(classes=self.class_names(), class_counts=tuple(counts.tolist()))

    def describe(self) -> str:
        """Return a text about the classes and splits, the vocabulary, and the texts that were cut."""
        parts = [super().describe()]
        if self.encoder is not None:
            parts.append(f"{self.encoder.size:,} different tokens ({self.tokenizer})")
        if num := self.num_cut.get("train", 0) + self.num_cut.get("val", 0):
            parts.append(f"{num:,} of train and val are cut to {self.max_tokens} tokens (data.max_tokens)")
        return "; ".join(parts)

    def encode(self, item: Any) -> Tensor:
        """Convert a text to token ids, int16 or int32 (max_tokens,).

        Args:
            item: the text; the path of a text file as a `Path`; or a row, as a mapping of columns to values.
        """
        text = self.text_of(item)
        if not text.strip():
            raise UserError("text: is empty")
        encoder = self._encoder()
        found = encoder.encode(text)
        self._check_length(len(found), "the text")
        ids = torch.zeros(self.max_tokens, dtype=torch.int16 if encoder.size < SMALL else torch.int32)
        kept = torch.tensor(found[: self.max_tokens])
        ids[: len(kept)] = kept
        return ids

    def tokens(self, item: Any) -> list[str]:
        """Return the tokens of a raw input, see `encode`, as text, without a limit of their number."""
        return self._encoder().tokens(self.text_of(item))

    def text_of(self, item: Any) -> str:
        """Return the text of a raw input, see `encode`."""
        if isinstance(item, str):
            return item
        if isinstance(item, Path):
            return read_utf8(item, "text", MAX_BYTES)
        text, _ = self.columns()
        if isinstance(item, Mapping) and isinstance(item.get(text), str):
            return str(item[text])
        raise UserError(f"text: got {type(item).__name__}, must be a text, a Path, or a row with a text in {text}")

    def columns(self) -> tuple[Key, Key]:
        """Return the columns of texts and of labels in files that are predicted or evaluated."""
        return "text", "label"

    def has_header(self) -> bool:
        """Whether the first line of such a file contains the names of its columns."""
        return True

    def targets_of(self, found: LabelledTexts, key: str) -> Tensor:
        """Return the targets of labelled texts, as `read_texts` does.

        Args:
            found: the texts.
            key: config key to name in an error.

        Raises:
            UserError: a label is not one of the classes.
        """
        labels = {name: number for number, name in enumerate(self.class_names() or ())}
        return torch.tensor(
            [number_of(one, labels, f"{key}: {found.place(row)}") for row, one in enumerate(found.labels)]
        )

    def transform(self, device: torch.device) -> Callable[[Tensor], Tensor]:
        """Return the function that converts token ids (B, T) to int64."""
        return to_int64

    def train_dataloader(self) -> TextTrainLoader:
        assert self.train is not None
        inputs, targets = self.train = self._on_device(self.train)
        return TextTrainLoader(
            inputs,
            targets,
            self.batch_size,
            self.transform(inputs.device),
            lengths=self.lengths["train"],
            target_lengths=self.target_lengths.get("train"),
            seeds=self.order_seeds,
            rank=self._rank,
            world=self._world,
            position=self.position,
        )

    def _eval_loader(self, split: Batch, name: str) -> TextEvalLoader:
        inputs, targets = split
        transform = self.transform(inputs.device)
        return TextEvalLoader(
            inputs,
            targets,
            self.eval_batch_size,
            transform,
            self._rank,
            self._world,
            lengths=self.lengths[name],
            target_lengths=self.target_lengths.get(name),
        )


def number_of(label: str, labels: Mapping[str, int], where: str) -> int:
    """Return the number of a label.

    Raises:
        UserError: there is no such label; the message begins with `where`.
    """
    if label not in labels:
        known = list(labels) if len(labels) <= MANY else [*list(labels)[:MANY], "…"]
        listed = printable(", ".join(known))
        raise UserError(
            f"{where} has the label {printable(label)[:100]!r}, but the labels of the training are {listed}"
        )
    return labels[label]


def to_int64(ids: Tensor) -> Tensor:
    """Convert token ids (B, T) to int64, which embeddings need."""
    return ids.long()


def tokenizer_in(arrays: Arrays) -> Tokenizer:
    """Return the tokenizer of a cache."""
    return tokenizer_from_json(bytes(arrays["tokenizer"]).decode(), "the cache")


def fingerprint_of(texts: Sequence[str], targets: Tensor) -> str:
    """Return a hash of texts and targets."""
    digest = blake2b(targets.contiguous().numpy().tobytes(), digest_size=16)
    for text in texts:
        payload = text.encode(errors="surrogatepass")
        digest.update(len(payload).to_bytes(8, "little") + payload)
    return digest.hexdigest()
