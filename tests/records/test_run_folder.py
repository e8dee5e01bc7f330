"""Paths, locks and files of a run folder, also of a folder that comes from a stranger."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from leyden.errors import UserError
from leyden.records import run_folder
from leyden.records.run_folder import (
    check_folder,
    create,
    lock,
    new_path,
    read_config,
    read_text,
    unlock,
    write_text,
    writing,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "run"
    create(path)
    (path / "config.yaml").write_text("seed: 1\n")
    return path


def test_many_runs_in_one_second_get_different_folders(tmp_path: Path) -> None:
    assert len({new_path(tmp_path) for _ in range(500)}) == 500


def test_an_existing_folder_is_never_reused(folder: Path) -> None:
    with pytest.raises(FileExistsError):
        create(folder)


def locks(folder: Path) -> bool:
    """Whether another process can lock `folder` now."""
    code = f"from pathlib import Path; from leyden.records.run_folder import lock; lock(Path({str(folder)!r}))"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_only_one_process_works_in_a_folder_until_it_ends(folder: Path) -> None:
    lock(folder)  # a second time in the same process is no error
    assert not locks(folder)
    unlock(folder)
    assert locks(folder)
    assert locks(folder), "the lock of a process that has ended is free"


def test_a_second_process_gets_one_line(folder: Path) -> None:
    code = f"from pathlib import Path; from leyden.records.run_folder import lock; lock(Path({str(folder)!r}))"
    error = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stderr
    assert f"{folder}: another process is working in this run folder" in error


class TestWriting:
    def test_the_old_file_stays_until_the_new_one_is_complete(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        write_text(path, "old")
        with pytest.raises(RuntimeError), writing(path) as file:  # noqa: PT012
            file.write(b"half of the new one")
            raise RuntimeError
        assert path.read_text() == "old"
        write_text(path, "new")
        assert path.read_text() == "new"
        assert not path.with_name("file.partial").exists()

    @pytest.mark.parametrize("name", ["file.partial", "file"])
    def test_a_link_is_not_followed(self, tmp_path: Path, name: str) -> None:
        victim = tmp_path / "victim"
        victim.write_text("mine")
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder" / name).symlink_to(victim)
        path = tmp_path / "folder" / "file"
        if name == "file":
            with pytest.raises(UserError, match="is a symbolic link"):
                write_text(path, "attack")
        else:
            write_text(path, "harmless")
            assert not path.is_symlink()
        assert victim.read_text() == "mine"

    def test_a_full_disk_gives_one_line_and_keeps_the_old_file(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        write_text(path, "old")
        with pytest.raises(UserError, match=r"file: cannot be written \(No space left on device\)"), writing(path):
            raise OSError(28, "No space left on device")
        assert path.read_text() == "old"
        assert [entry.name for entry in tmp_path.iterdir()] == ["file"]

    def test_a_rename_is_followed_by_a_sync_of_the_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        synced = []
        monkeypatch.setattr(
            run_folder, "sync_directory", lambda path: synced.append((path, (tmp_path / "file").exists()))
        )
        write_text(tmp_path / "file", "text")
        assert synced == [(tmp_path, True)]


class TestStrangers:
    def test_a_folder_with_real_files_is_accepted(self, folder: Path) -> None:
        check_folder(folder)
        assert read_config(folder).seed == 1

    @pytest.mark.parametrize(
        "name", ["config.yaml", "checkpoints", "report.json", "checkpoints/best.ckpt", "metrics.csv.partial"]
    )
    def test_a_part_that_is_a_link_is_rejected(self, folder: Path, tmp_path: Path, name: str) -> None:
        target = tmp_path / "elsewhere"
        target.mkdir()
        path = folder / name
        if path.is_dir():
            path.rmdir()
        path.unlink(missing_ok=True)
        path.symlink_to(target)
        with pytest.raises(UserError, match=f"{name}: is a symbolic link"):
            check_folder(folder)

    def test_a_pipe_is_rejected_and_not_read(self, folder: Path) -> None:
        os.mkfifo(folder / "metrics.csv")
        with pytest.raises(UserError, match="is a special file"):
            check_folder(folder)

    @pytest.mark.parametrize("path", ["", "nothing"])
    def test_what_is_no_run_folder_says_so(self, tmp_path: Path, path: str) -> None:
        with pytest.raises(UserError, match="is not a run folder"):
            check_folder(tmp_path / path)

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("name: ${oc.env:HOME}", "contains an interpolation"),
            ("a: &a [1]\nb: *a", "it contains an alias"),
            ("a: !!python/object/apply:os.system [true]", "cannot be read"),
            ("[1, 2]", "is not a config"),
            ("3", "is not a config"),
            ("a: [", "cannot be read"),
            ("[" * 20_000, "cannot be read"),
            ("x" * 2_000_000, "larger than 1 MB"),
        ],
    )
    def test_a_bad_config_gives_one_line(self, folder: Path, text: str, reason: str) -> None:
        (folder / "config.yaml").write_text(text)
        with pytest.raises(UserError, match=reason) as caught:
            read_config(folder)
        assert "\n" not in str(caught.value)

    def test_a_config_that_is_not_utf8(self, folder: Path) -> None:
        (folder / "config.yaml").write_bytes(b"name: \xff\xfe")
        with pytest.raises(UserError, match="cannot be read"):
            read_config(folder)

    def test_nine_levels_of_aliases_do_not_use_the_memory(self, folder: Path) -> None:
        levels = ["a0: &a0 [x, x]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10))]
        (folder / "config.yaml").write_text("\n".join(levels))
        with pytest.raises(UserError, match="alias"):
            read_config(folder)

    def test_numbers_without_a_dot_are_numbers_as_in_hydra(self, folder: Path) -> None:
        (folder / "config.yaml").write_text("lr: 1e-3\nname: '1e-3'\n")
        assert read_config(folder) == {"lr": 0.001, "name": "1e-3"}


def test_a_text_of_a_run_folder_is_read_without_following_links(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "words.json").write_text("café", encoding="utf-8")
    (folder / "link.json").symlink_to(folder / "words.json")
    (folder / "latin.json").write_bytes(b"caf\xe9")
    assert read_text(folder / "words.json") == "café"
    for name, problem in (("link", "real file"), ("none", "does not exist"), ("latin", "cannot be read")):
        with pytest.raises(UserError, match=f"{name}.json: .*{problem}"):
            read_text(folder / f"{name}.json")
    monkeypatch.setattr(run_folder, "MAX_TEXT_BYTES", 3)
    with pytest.raises(UserError, match=r"words\.json: is larger than"):
        read_text(folder / "words.json")
