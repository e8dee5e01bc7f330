"""The documentation: its code runs, its commands are valid, its links lead somewhere.

A code block is marked by an HTML comment in the line before it:

    <!-- file: PATH -->      the block is written to PATH in a scratch clone
    <!-- run -->             the block is run there by bash
    <!-- test: python -->    the block is run in Python, with RUN set to a run folder
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from leyden.config.compose import compose, groups
from tests.conftest import ROOT, Fork

DOCUMENTS = [ROOT / name for name in ("README.md", "README.zh.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")]
DOCUMENTS += sorted((ROOT / "docs").glob("*.md"))
BLOCK = re.compile(r"(?:<!-- (?P<mark>[^\n]*) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)```", re.DOTALL)


def blocks(document: Path) -> Iterator[tuple[str, str, str]]:
    """Yield (mark, language, text) of each code block."""
    for match in BLOCK.finditer(document.read_text(encoding="utf-8")):
        yield match["mark"] or "", match["language"], match["text"]


def commands(document: Path) -> list[list[str]]:
    """Return the words of each command line in the bash blocks of `document`."""
    texts = [text.replace("\\\n", " ") for _, language, text in blocks(document) if language == "bash"]
    return [shlex.split(line, comments=True) for text in texts for line in text.splitlines() if line.strip()]


def training_commands() -> Iterator[tuple[str, ...]]:
    """Yield the overrides of each ``python train.py`` command that starts one run without plugins."""
    for document in DOCUMENTS:
        for words in commands(document):
            if words[:2] == ["python", "train.py"] and not {"-m", "--help"} & set(words):
                overrides = tuple(word for word in words[2:] if word not in ("--cfg", "job"))
                if not any(word.startswith(("resume=", "plugins=")) for word in overrides):
                    yield overrides


@pytest.mark.parametrize("overrides", dict.fromkeys(training_commands()), ids=" ".join)
def test_training_commands_are_valid(overrides: tuple[str, ...], tmp_path: Path) -> None:
    table = tmp_path / "houses.csv"
    table.write_text("rooms,price\n1,100.5\n2,200.5\n", encoding="utf-8")
    texts = {"reviews.csv": "review,stars\nbad,1\ngood,2\n", "r8-train.tsv": "earn\tprofit\ncrude\toil\n"}
    for name, content in texts.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    places = {"data.root=photos": f"data.root={tmp_path}", "data.path=houses.csv": f"data.path={table}"}
    places |= {f"data.path={name}": f"data.path={tmp_path / name}" for name in texts}
    given = [places.get(word, word) for word in overrides]
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
    assert compose(*given).trainer.max_epochs >= 1


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_scripts_in_commands_exist(document: Path) -> None:
    for words in commands(document):
        if words[0] == "python" and words[1].endswith(".py"):
            assert (ROOT / words[1]).is_file(), words


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#\s]+)", text)
    missing = [link for link in links if "://" not in link and not (document.parent / link).exists()]
    assert missing == []


def test_every_choice_is_documented() -> None:
    text = "".join((ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("models.md", "data.md"))
    listed = {group: groups()[group] for group in ("model", "data", "task", "optimizer", "scheduler")}
    assert [name for choices in listed.values() for name in choices if f"`{name}`" not in text] == []


def test_the_chinese_readme_has_the_commands_of_the_english_one() -> None:
    assert commands(ROOT / "README.zh.md") == commands(ROOT / "README.md")


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


@pytest.mark.parametrize("name", ["README.md", "README.zh.md"])
def test_python_code_of_the_readme_runs(name: str, finished: Callable[..., Path], tmp_path: Path) -> None:
    run = finished("model=mlp", "trainer.max_epochs=1")
    (code,) = (text for mark, _, text in blocks(ROOT / name) if mark == "test: python")
    variables = {"RUN": str(run)}
    exec(compile(code, name, "exec"), variables)
    assert tuple(variables["logits"].shape) == (1, 10)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the repository with the files of CONTRIBUTING.md."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("src", "scripts", "conf"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "train.py", folder)
    for mark, _, text in blocks(ROOT / "CONTRIBUTING.md"):
        if mark.startswith("file: "):
            path = folder / mark.removeprefix("file: ")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return folder


RUN_BLOCKS = [text for mark, _, text in blocks(ROOT / "CONTRIBUTING.md") if mark == "run"]


@pytest.mark.parametrize("script", RUN_BLOCKS, ids=lambda text: text.splitlines()[0][:60])
def test_commands_of_contributing_run(script: str, clone: Path, fork: Fork) -> None:
    """Its runs are forked, which saves their imports. The code of the clone is a copy of this code."""
    lines = script.splitlines()
    runs = [line for line in lines if line.startswith("python train.py ")]
    for line in runs:
        done = fork(*shlex.split(line)[2:], folder=clone).wait()
        assert done.returncode == 0, done.stdout + done.stderr
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(clone / "src")}
    others = "\n".join(line for line in lines if line not in runs)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", others],
        cwd=clone, env=environment, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_code_of_contributing_passes_the_checks_of_the_project(clone: Path) -> None:
    ruff = Path(sys.executable).with_name("ruff")
    done = subprocess.run(
        [ruff, "check", "--config", ROOT / "pyproject.toml", clone / "my_project"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
