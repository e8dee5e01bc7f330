"""Sentence pairs to translate: from a CSV or TSV file, from two parallel files, or dates in many formats.

Both sides share one vocabulary: names, numbers and many words are the same in both languages, and a net can use one
embedding for both. It is built on the training split only. Pairs of one file are split by a hash of their content, so
that equal pairs are in the same split, and added pairs do not change the split of the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from leyden.data import splits
from leyden.data.datamodule import DataFacts, check, content_hash
from leyden.data.dates import dates
from leyden.data.loaders import Batch
from leyden.data.pair_files import Column, Pairs, read_pairs
from leyden.data.text_cache import Arrays, TextCache
from leyden.data.text_table import LabelledTexts
from leyden.data.texts import TextData, fingerprint_of
from leyden.data.tokenizers import build_tokenizer
from leyden.data.tokens import Tokenizer
from leyden.errors import UserError


@dataclass(kw_only=True, eq=False, repr=False)
class Translation(TextData):
    """Sentence pairs: token ids of the source (N, max_tokens), and of the target, int64 (N, max_tokens + 1).

    Targets are the tokens, then `vocab_size` as the end symbol, then -1 as padding. One that is cut has no end symbol.

    Args:
        path: a CSV or TSV file with both sides, or a file with a source sentence per line. null: generated dates.
        target_path: a file with the translation of each line of `path`. null: it is a column of `path`.
        source: column of the sources in `path`: its name, or its position from 0.
        target: column of the translations.
        header: whether the first line of `path` contains the names of the columns.
        test_path: a file like `path` that is the test set. null: the test set is taken from `path`.
        test_target_path: a file like `target_path` that belongs to `test_path`.
        val_path: a file like `path` that is the validation set. null: it is taken from the training set.
        val_target_path: a file like `target_path` that belongs to `val_path`.
        test_fraction: fraction of the pairs that is the test set if there is no `test_path`.
        num_pairs: number of generated dates.
    """

    target_kind = "symbols"  # type: ignore[assignment]  # other targets than those of its base class

    path: str | None
    target_path: str | None
    source: Column
    target: Column
    header: bool
    test_path: str | None
    test_target_path: str | None
    val_path: str | None
    val_target_path: str | None
    test_fraction: float
    num_pairs: int

    def __post_init__(self) -> None:
        check(0 < self.test_fraction < 1, f"test_fraction: got {self.test_fraction}, must be between 0 and 1")
        check(self.num_pairs >= 10, f"num_pairs: got {self.num_pairs}, must be at least 10")
        for name in ("test", "val"):
            own, other = getattr(self, f"{name}_path"), getattr(self, f"{name}_target_path")
            check(own is None or self.path is not None, f"{name}_path: got {own}, needs data.path")
            given = other is not None, own is not None and self.target_path is not None
            wanted = "must be the file of the translations" if given[1] else "must be null without parallel files"
            check(given[0] == given[1], f"{name}_target_path: got {other}, {wanted}")
        check(self.path is not None or self.target_path is None, "target_path: needs data.path")
        super().__post_init__()

    def files(self) -> Sequence[Path]:
        paths = (
            self.path,
            self.target_path,
            self.val_path,
            self.val_target_path,
            self.test_path,
            self.test_target_path,
        )
        return [Path(path).expanduser() for path in paths if path is not None]

    def prepare_data(self) -> None:
        """Read the files once, so that a mistake in the test set is found before the training."""
        for pairs in (self._pairs, self._test_pairs, self._val_pairs):
            assert pairs is None or pairs[0]

    @cached_property
    def _pairs(self) -> Pairs:
        if self.path is None:
            return (*dates(self.num_pairs, self.seed), 0)
        return self._read(self.path, self.target_path, "data.path")

    @cached_property
    def _test_pairs(self) -> Pairs | None:
        return self._read(self.test_path, self.test_target_path, "data.test_path") if self.test_path else None

    @cached_property
    def _val_pairs(self) -> Pairs | None:
        return self._read(self.val_path, self.val_target_path, "data.val_path") if self.val_path else None

    def _read(self, path: str, other: str | None, key: str) -> Pairs:
        return read_pairs(path, other, (self.source, self.target), self.header, key)

    def _rows(self, train: bool) -> Tensor:
        """Return the numbers of the training or test pairs in `_pairs`, int64 (n,)."""
        if self._test_pairs is not None:
            return torch.arange(len(self._pairs[0]))
        groups = torch.zeros_like(self._all_ids)
        is_test = splits.hashed_fraction(self._all_ids, groups, self.test_fraction, self.seed, "test")
        return (is_test != train).nonzero().flatten()

    @cached_property
    def _all_ids(self) -> Tensor:
        pairs = zip(*self._pairs[:2], strict=True)
        return splits.identities([f"{source}\x1f{target}".encode(errors="replace") for source, target in pairs])

    def sample_ids(self) -> Tensor:
        return self._all_ids[self._rows(train=True)]

    def count_test(self) -> int:
        return len(self._test_pairs[0]) if self._test_pairs else len(self._rows(train=False))

    def both_sides(self, train: bool) -> tuple[list[str], list[str]]:
        """Return the sources and targets of the training set (from which validation is split) or the test set."""
        if not train and self._test_pairs is not None:
            return self._test_pairs[0], self._test_pairs[1]
        rows = self._rows(train).tolist()
        if len(rows) < 2:
            raise UserError(
                f"data.path: has {len(rows)} {'training' if train else 'test'} pairs, at least 2 are needed"
            )
        return [self._pairs[0][row] for row in rows], [self._pairs[1][row] for row in rows]

    def strata(self, targets: Tensor) -> Tensor:
        return torch.zeros(len(targets), dtype=torch.int64)

    def _make_fit(self) -> Arrays:
        sources, targets = self.both_sides(train=True)
        numbers = torch.arange(len(sources))
        if self._val_pairs is not None:
            train, _ = self._limited(numbers)
            parts = {"train": pick(sources, targets, train), "val": (self._val_pairs[0], self._val_pairs[1])}
            if self.train_on_all:
                joined = (one + other for one, other in zip(parts["train"], parts["val"], strict=True))
                parts["train"] = (next(joined), next(joined))
        else:
            chosen = self.split(numbers, numbers, self.sample_ids())
            parts = {name: pick(sources, targets, rows[0]) for name, rows in zip(("train", "val"), chosen, strict=True)}
        if self.encoder is None:
            known = parts["train"]
            self.encoder = build_tokenizer(self.tokenizer, [*known[0], *known[1]], self.vocab_size)
        found: Arrays = {
            "tokenizer": np.frombuffer(self.encoder.to_json().encode(), np.uint8),
            "fingerprint": np.array(fingerprint_of([*sources, *targets], numbers)),
        }
        for name, (own, other) in parts.items():
            found |= self._encoded(name, own, self._symbols(name, other))
        return found

    def _limited(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Return the fraction `limit` of the training pairs, twice, in the form of a batch."""
        if self.limit == 1:
            return numbers, numbers
        chosen = splits.hashed_fraction(self.sample_ids(), torch.zeros_like(numbers), self.limit, self.seed, "limit")
        return numbers[chosen], numbers[chosen]

    def _stored_test(self) -> Arrays:
        def make() -> Arrays:
            sources, targets = self.both_sides(train=False)
            return self._encoded("test", sources, self._symbols("test", targets))

        vocabulary = self._encoder().to_json()
        return self._cache(train=False, vocabulary=content_hash(vocabulary)).get(
            make, lambda arrays: self._problem(arrays, ("test",))
        )

    def _cache(self, train: bool, vocabulary: str = "") -> TextCache:
        """Generated dates are not stored: reading them would take as long as generating them."""
        return TextCache(None, "") if self.path is None else super()._cache(train, vocabulary)

    def _symbols(self, split: str, texts: Sequence[str]) -> Tensor:
        """Return the targets of texts, see the class, int64 (N, max_tokens + 1)."""
        ids, lengths = self._ids(split, texts)
        positions = torch.arange(self.max_tokens + 1)
        ends = torch.from_numpy(lengths)[:, None]
        padded = torch.nn.functional.pad(torch.from_numpy(ids).long(), (0, 1))
        symbols = padded.where(positions < ends, -1)
        symbols[:, -1] = -1
        return symbols.where(positions != ends, self.vocab_size)

    def check_targets(self, targets: Tensor) -> None:
        """Raise ValueError if targets from the cache are not what `_symbols` returns."""
        is_symbols = targets.dtype == torch.int64 and targets.dim() == 2 and targets.shape[1] == self.max_tokens + 1
        if not is_symbols or int(targets.min()) < -1 or int(targets.max()) > self.vocab_size:
            raise ValueError("it has other targets")

    def target_tokenizer(self) -> Tokenizer:
        return self._encoder()

    def facts(self) -> DataFacts:
        return DataFacts(tokenizer=self._encoder())

    def describe(self) -> str:
        """Return a text about the splits, the vocabulary, and the pairs that were cut or left out."""
        parts = [self._pairs, self._test_pairs, self._val_pairs]
        empty = sum(part[2] for part in parts if part is not None)
        return super().describe() + (f"; {empty:,} pairs with an empty side are left out" if empty else "")

    def columns(self) -> tuple[Column, Column]:
        return self.source, self.target

    def has_header(self) -> bool:
        return self.header

    def targets_of(self, found: LabelledTexts, key: str) -> Tensor:
        return self._symbols("test", found.labels)

    def _use(self, split: str, arrays: Arrays) -> Batch:
        """Return a split, and remember the lengths of its targets on the CPU."""
        batch = super()._use(split, arrays)
        self.target_lengths[split] = (batch[1] >= 0).sum(1)
        return batch


def pick(sources: Sequence[str], targets: Sequence[str], rows: Tensor) -> tuple[list[str], list[str]]:
    """Return the pairs with these numbers, int64 (n,)."""
    chosen = rows.tolist()
    return [sources[row] for row in chosen], [targets[row] for row in chosen]
