"""Docstrings: the documentation of installed packages by topic, as English texts that need no download.

The source files are parsed, not imported. A text is what a docstring says before its sections, such as Parameters, and
before its examples. The test set is chosen by a hash of each text, so it is the same in all runs. A new version of a
package only adds and removes texts.
"""

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from leyden.data import splits
from leyden.data.datamodule import check
from leyden.data.file_access import read_utf8
from leyden.data.texts import TextData
from leyden.errors import UserError

MIN_WORDS = 10  # shorter texts say too little
TEST = 5  # every fifth text, by its hash, belongs to the test set
DOTTED = re.compile(r"[A-Za-z]\w*(\.[A-Za-z]\w*)*", re.ASCII)
DISTRIBUTIONS = {"sklearn": "scikit-learn"}  # package → its name in an installation, if it is another one
SECTION = re.compile(r"\n[^\n]+\n *[-=~]{3,} *\n|\n *(?:>>>|\.\. )")  # Parameters and so on; examples; directives


@dataclass(kw_only=True, eq=False, repr=False)
class Docstrings(TextData):
    """Docstrings: which topic does a text of the documentation of installed packages belong to? No download.

    Args:
        topics: packages whose docstrings have one topic, joined by +, such as ``scipy.linalg+scipy.sparse``.
    """

    topics: Sequence[str]

    def __post_init__(self) -> None:
        num = len(self.topics)
        check(num >= 2, f"topics: got {num}, must be at least 2")
        check(len({*self.topics}) == num, "topics: contains a topic twice")
        check(self.num_classes == num, f"num_classes: got {self.num_classes}, must be {num}, the number of topics")
        for name in self._packages():
            check(
                bool(DOTTED.fullmatch(name)),
                f"topics: got {name!r}, must be packages such as scipy.linalg+scipy.sparse",
            )
            check(package_folder(name) is not None, f"topics: there is no package {name}")
        super().__post_init__()

    def _packages(self) -> list[str]:
        return [name for topic in self.topics for name in topic.split("+")]

    def class_names(self) -> tuple[str, ...]:
        return tuple(self.topics)

    def stamp(self, train: bool) -> object:
        return self.versions()

    def versions(self) -> dict[str, str]:
        """Return package → its version."""
        names = sorted({name.partition(".")[0] for name in self._packages()})
        return {name: package_version(name) for name in names}

    def describe(self) -> str:
        return f"{super().describe()}; from {', '.join(' '.join(item) for item in self.versions().items())}"

    def read_texts(self, train: bool) -> tuple[list[str], Tensor]:
        found = labelled(tuple(self.topics))
        chosen = [(text, label) for text, label in found if is_test(text) != train]
        if len({label for _, label in chosen}) < self.num_classes:
            raise UserError("data.topics: a topic has too few docstrings; give it more packages")
        return [text for text, _ in chosen], torch.tensor([label for _, label in chosen])

    def sample_ids(self) -> Tensor:
        return splits.identities([text.encode(errors="surrogatepass") for text in self.read_texts(train=True)[0]])


def package_folder(name: str) -> Path | None:
    """Return the folder of an installed package, None if there is none. Nothing is imported."""
    first, *rest = name.split(".")
    spec = find_spec(first)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        folder = Path(place).joinpath(*rest)
        if folder.is_dir():
            return folder
    return None


def package_version(package: str) -> str:
    """Return the version of an installed package."""
    try:
        return version(DISTRIBUTIONS.get(package, package))
    except PackageNotFoundError:
        return "unknown"


@lru_cache(maxsize=2)  # the training and the test set are read one after the other
def labelled(topics: tuple[str, ...]) -> tuple[tuple[str, int], ...]:
    """Return different texts with the numbers of their topics. A text that occurs twice belongs to the first topic."""
    found: dict[str, int] = {}
    for label, topic in enumerate(topics):
        for name in topic.split("+"):
            folder = package_folder(name)
            assert folder is not None
            for text in docstrings(folder):
                found.setdefault(text, label)
    return tuple(found.items())


def docstrings(folder: Path) -> Iterator[str]:
    """Yield the docstrings of classes and functions in the source files of a package, in the order of the files."""
    for path in sorted(folder.rglob("*.py")):
        if {"tests", "testing"} & set(path.relative_to(folder).parts):
            continue
        try:
            tree = ast.parse(read_utf8(path, "data.topics"))
        except (SyntaxError, ValueError, RecursionError):
            continue  # for a newer Python than this one
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                text = " ".join(SECTION.split(ast.get_docstring(node) or "", 1)[0].split())
                if text.count(" ") + 1 >= MIN_WORDS:
                    yield text


def is_test(text: str) -> bool:
    """Whether a text belongs to the test set."""
    return blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest()[0] % TEST == 0
