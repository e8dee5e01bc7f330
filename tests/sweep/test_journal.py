"""The journal: damage is reported, and a writer that died leaves no trace."""

import os
from pathlib import Path

import pytest

from leyden.errors import UserError
from leyden.sweep.journal import CheckedJournal
from tests.sweep.fake_jobs import DROPOUT, folder, quadratic, rows, sweep


def test_an_incomplete_last_line_is_dropped(tmp_path: Path, logs: str) -> None:
    sweep(quadratic, logs, DROPOUT, "sweep.n_trials=2")
    with (folder(tmp_path) / "journal.log").open("a") as journal:
        journal.write('{"op_code": 4, "wor')
    sweep(quadratic, logs, DROPOUT, "sweep.n_trials=3")
    assert len(rows(folder(tmp_path))) == 3


def cut(lines: list[bytes]) -> None:
    lines[4] = lines[4][:20] + b"\n"


def flip(lines: list[bytes]) -> None:
    """Flip a bit of a number: the line remains valid JSON."""
    index = max(index for index, line in enumerate(lines) if b'"values":[' in line)
    position = lines[index].index(b'"values":[') + len(b'"values":[0.')
    changed = bytearray(lines[index])
    changed[position] ^= 1
    lines[index] = bytes(changed)


def insert(lines: list[bytes]) -> None:
    lines.insert(3, b"\x00\xff garbage\n")


def insert_json(lines: list[bytes]) -> None:
    lines.insert(3, b'{"a": 1}\n')


@pytest.mark.parametrize("damage", [cut, flip, insert, insert_json])
def test_a_damaged_line_is_reported(tmp_path: Path, logs: str, damage: object) -> None:
    assert callable(damage)
    sweep(quadratic, logs, DROPOUT, "sweep.n_trials=2", "sweep.name=x")
    path = tmp_path / "sweeps" / "x" / "journal.log"
    lines = path.read_bytes().splitlines(keepends=True)
    damage(lines)
    path.write_bytes(b"".join(lines))
    with pytest.raises(UserError, match=r"journal.log: line \d+ is damaged"):
        sweep(quadratic, logs, DROPOUT, "sweep.n_trials=3", "sweep.name=x")
    assert path.read_bytes() == b"".join(lines)


def test_lines_are_read_once_and_from_any_number_on(tmp_path: Path) -> None:
    journal, other = CheckedJournal(tmp_path / "j"), CheckedJournal(tmp_path / "j")
    logs = [{"op_code": number, "worker_id": "a"} for number in range(5)]
    journal.append_logs(logs[:3])
    assert list(other.read_logs(0)) == logs[:3]
    other.append_logs(logs[3:])
    assert list(other.read_logs(3)) == logs[3:]
    assert list(journal.read_logs(4)) == logs[4:]
    assert list(journal.read_logs(5)) == []


def test_a_line_of_optuna_itself_has_no_checksum(tmp_path: Path) -> None:
    (tmp_path / "j").write_text('{"op_code":0,"worker_id":"a"}\n')
    assert list(CheckedJournal(tmp_path / "j").read_logs(0)) == [{"op_code": 0, "worker_id": "a"}]


def test_a_full_disk_is_reported(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    journal = CheckedJournal(tmp_path / "j")
    (tmp_path / "j").unlink()
    (tmp_path / "j").symlink_to(full)
    journal.lock.acquire = lambda: None  # type: ignore[method-assign]
    journal.lock.release = lambda: None  # type: ignore[method-assign]
    with pytest.raises(UserError, match=r"j: cannot be written \(No space left on device\)"):
        journal.append_logs([{"op_code": 0, "worker_id": "a"}])


@pytest.mark.parametrize(
    "text",
    [
        '{"op_code": 99, "worker_id": "w"}\n',
        '{"op_code": 5, "worker_id": "w"}\n',
        '{"op_code": 0, "worker_id": "w", "study_name": "x", "directions": [1]}\n'
        '{"op_code": 2, "worker_id": "w", "study_id": 0, "user_attr": {"identity": "other"}}\n',
    ],
)
def test_a_journal_of_another_program_is_reported(tmp_path: Path, logs: str, text: str) -> None:
    path = tmp_path / "sweeps" / "x" / "journal.log"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(UserError, match=r"is damaged"):
        sweep(quadratic, logs, "seed=0,1", "sweep.name=x")


@pytest.mark.parametrize("name", ["journal.log", "identity.json", "0/trial.json"])
def test_a_pipe_is_not_read(tmp_path: Path, logs: str, name: str) -> None:
    path = tmp_path / "sweeps" / "x" / name
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    with pytest.raises(UserError, match=rf"{name}: is not a regular file"):
        sweep(quadratic, logs, "seed=0,1", "sweep.name=x")


def test_a_link_to_another_folder_is_no_trial(tmp_path: Path, logs: str) -> None:
    (tmp_path / "sweeps" / "x").mkdir(parents=True)
    (tmp_path / "run").mkdir()
    (tmp_path / "sweeps" / "x" / "0").symlink_to(tmp_path / "run")
    with pytest.raises(UserError, match=r"x/0: is a symbolic link"):
        sweep(quadratic, logs, "seed=0,1", "sweep.name=x")
    assert list((tmp_path / "run").iterdir()) == []
