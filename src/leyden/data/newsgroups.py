"""20 Newsgroups (Lang, 1995): messages of twenty groups, as scikit-learn's `fetch_20newsgroups` gives them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import torch
from filelock import FileLock
from torch import Tensor

from leyden.data.datamodule import check
from leyden.data.file_access import read_utf8
from leyden.data.texts import TextData
from leyden.errors import UserError
from leyden.records.run_folder import writing

Part = Literal["headers", "footers", "quotes"]
PARTS: tuple[Part, ...] = ("headers", "footers", "quotes")


@dataclass(kw_only=True, eq=False, repr=False)
class Newsgroups(TextData):
    """20 Newsgroups: 11,314 + 7,532 messages of twenty groups; the test messages are newer.

    The first run asks scikit-learn for the messages, which downloads them if it does not have them, and writes them to
    ``root/20newsgroups``.

    Args:
        root: folder of the files of all data sets.
        remove: parts of the messages that are left out: headers, footers, quotes. Without them the task is harder, and
            closer to the meaning of the texts.
        download: whether scikit-learn may download the messages.
    """

    names: ClassVar[tuple[str, ...]] = (
        "alt.atheism", "comp.graphics", "comp.os.ms-windows.misc", "comp.sys.ibm.pc.hardware", "comp.sys.mac.hardware",
        "comp.windows.x", "misc.forsale", "rec.autos", "rec.motorcycles", "rec.sport.baseball", "rec.sport.hockey",
        "sci.crypt", "sci.electronics", "sci.med", "sci.space", "soc.religion.christian", "talk.politics.guns",
        "talk.politics.mideast", "talk.politics.misc", "talk.religion.misc",
    )  # fmt: skip

    root: str
    remove: Sequence[Part]
    download: bool

    def __post_init__(self) -> None:
        check(self.num_classes == len(self.names), f"num_classes: got {self.num_classes}, must be {len(self.names)}")
        check(len({*self.remove}) == len(self.remove), f"remove: got {list(self.remove)}, which names a part twice")
        super().__post_init__()

    @property
    def folder(self) -> Path:
        return Path(self.root).expanduser() / "20newsgroups"

    def files(self) -> Sequence[Path]:
        """The training and the test messages, one JSON object per line."""
        removed = "".join(f"-no-{part}" for part in PARTS if part in self.remove)
        return [self.folder / f"{split}{removed}.jsonl" for split in ("train", "test")]

    def prepare_data(self) -> None:
        """Write the files that are missing. If several runs start at once, one writes and the others wait."""
        if all(path.exists() for path in self.files()):
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / ".lock"):
                for path in self.files():
                    if not path.exists():
                        self._write(path)
        except OSError as error:
            raise UserError(f"data.root: cannot get {path} ({error}); data.download=true downloads it") from error

    def _write(self, path: Path) -> None:
        from sklearn.datasets import fetch_20newsgroups  # takes a second to import

        subset = path.name.partition("-")[0].partition(".")[0]
        bunch = fetch_20newsgroups(subset=subset, remove=tuple(self.remove), download_if_missing=self.download)
        rows = [
            json.dumps({"label": bunch.target_names[label], "text": text})
            for text, label in zip(bunch.data, bunch.target.tolist(), strict=True)
        ]
        with writing(path) as file:
            file.write("\n".join(rows).encode())

    def read_texts(self, train: bool) -> tuple[list[str], Tensor]:
        path = self.files()[0 if train else 1]
        texts, labels = [], []
        for number, line in enumerate(read_utf8(path, "data.root").split("\n"), 1):
            try:
                row = json.loads(line)
                texts.append(str(row["text"]))
                labels.append(self.names.index(row["label"]))
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise UserError(f"data.root: line {number} of {path} is damaged; delete the file") from error
        return texts, torch.tensor(labels)
