"""Tab completion of the command leyden."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from leyden.config.completion import SCRIPTS, answer, completions
from leyden.config.compose import groups
from leyden.errors import UserError


def test_words() -> None:
    assert completions("leyden --ver") == ["--version"]
    assert completions("leyden optimi") == ["optimizer=", *(f"optimizer.{k}=" for k in ("lr", "betas", "weight_decay"))]
    assert "optimizer.momentum=" in completions("leyden optimizer=sgd optimizer.m")
    assert completions("leyden optimizer=nonsense optimizer.l") == ["optimizer.lr="]
    assert completions("leyden") == []
    assert not any("_target_" in word for word in completions("leyden "))


def test_values() -> None:
    assert completions("leyden model=") == [f"model={name}" for name in groups()["model"]]
    assert completions("leyden seed=1 model=gr") == ["model=gru"]
    assert completions("leyden trainer.precision=bf") == ["trainer.precision=bf16-mixed", "trainer.precision=bf16-true"]
    assert completions("leyden augment=") == ["augment=true", "augment=false"]
    assert completions("leyden seed=") == []
    assert completions("leyden nonsense.key=") == []


def test_files(tmp_path: Path) -> None:
    (tmp_path / "run one").mkdir()
    (tmp_path / "run.txt").touch()
    (tmp_path / ".hidden").touch()
    (tmp_path / "run\x1b[31m").touch()
    start = f"resume={tmp_path}/"
    assert completions(f"leyden {start}") == [f"{start}run one/", f"{start}run.txt"]
    assert completions(f"leyden {start}.h") == [f"{start}.hidden"]
    assert completions(f"leyden {start}missing/") == []


def test_shells() -> None:
    for shell in SCRIPTS:
        text = answer(["--completion", shell])
        assert f"{sys.executable} -P -m leyden.cli --complete" in text
        assert "train.py" not in text
    with pytest.raises(UserError, match="--completion: got tcsh, must be one of bash, zsh, fish"):
        answer(["--completion", "tcsh"])
    with pytest.raises(UserError, match="--completion: got nothing"):
        answer(["--completion"])
    assert answer(["--complete", "leyden model=gr"]) == "model=gru\n"


@pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash")
def test_bash_runs_nothing_of_the_line_or_the_folder(tmp_path: Path) -> None:
    (tmp_path / "$(touch pwned)").touch()
    for name in ("leyden.py", "hydra.py", "train.py"):
        (tmp_path / name).write_text("open('imported', 'w')")
    script = (
        answer(["--completion", "bash"])
        + """
complete_line() { COMP_LINE=$1 COMP_POINT=${#1}; _leyden_complete; printf '%s\\n' "${COMPREPLY[@]}"; }
complete_line 'leyden data=$(touch pwned) plugins=[.] model=gr'
complete_line 'leyden resume=$'
"""
    )
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.splitlines() == ["gru", r"\$\(touch\ pwned\)"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["$(touch pwned)", "hydra.py", "leyden.py", "train.py"]
