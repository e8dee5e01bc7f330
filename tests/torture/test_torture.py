"""A few cases of each part of `scripts/torture.py`, and checks that the parts can fail."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch

from scripts.torture_lib import power
from scripts.torture_lib.corpus import Case
from scripts.torture_lib.corpus_checkpoints import checkpoint_cases
from scripts.torture_lib.corpus_configs import config_cases
from scripts.torture_lib.corpus_data import data_cases
from scripts.torture_lib.corpus_images import csv_cases, image_cases
from scripts.torture_lib.corpus_runs import run_cases
from scripts.torture_lib.corpus_sweeps import sweep_cases
from scripts.torture_lib.exhaustive import Exhaustive
from scripts.torture_lib.files import Files
from scripts.torture_lib.forks import ROOT, TRAIN, Ended, Forks
from scripts.torture_lib.fuzz import Fuzz, verdict
from scripts.torture_lib.kills import Kills
from scripts.torture_lib.races import Races
from scripts.torture_lib.same_bits import differences, end_state
from scripts.torture_lib.shim import Fault, read_log
from scripts.torture_lib.summary import BEGIN, END, Part, combine, environment, write_docs, write_json


def test_a_run_that_is_interrupted_at_file_operations_ends_in_the_same_bits(
    forks: Forks, part: Part, tmp_path: Path
) -> None:
    """Kill, power cut, full disk and broken disk."""
    for _ in Exhaustive(forks, tmp_path).cases(part, sample=4, seed=3):
        pass
    assert part.failures == []
    assert part.counts["compared"] == 4


def test_random_kills_of_a_run_with_float64_end_in_the_same_bits(forks: Forks, part: Part, tmp_path: Path) -> None:
    for _ in Kills(forks, tmp_path).cases(part, kills=2, kinds=("mlp float64",)):
        pass
    assert part.failures == []
    assert part.counts["compared runs"] >= 1


def test_wrong_command_lines_end_in_one_line(forks: Forks, part: Part, tmp_path: Path) -> None:
    fuzz = Fuzz(forks, tmp_path)
    for line in (
        "data=digits model=mlp trainer=smoke name=true",
        "data=digits model=mlp trainer=smoke trainer.limit_train_batches=0",
        "data=digits model=mlp trainer=smoke +trainer.profiler=nothing",
        "data=digits model=mlp trainer=smoke resume=",
    ):
        fuzz._case(part, line.split())
    assert part.failures == []
    assert part.counts["exit code 2"] == 4


def test_hostile_files_are_rejected_and_do_no_harm(forks: Forks, part: Part, tmp_path: Path) -> None:
    """One case of each kind; `scripts/torture.py --only files` has all of them."""
    files = Files(forks, tmp_path)
    files._templates()
    for case in chosen():
        files._case(part, case)
    assert part.failures == []


def chosen() -> list[Case]:
    wanted = (
        "an intact config that was written again",
        "checkpoints/best.ckpt is empty, -c",
        "config.yaml.partial is a link to another file",
        "name is ${oc.env:CANARY}",
        "model._target_ is os.system, -c",
        "aliases that expand to gigabytes, load",
        "data.mirrors points to a server, train.py",
        "checkpoints/last.ckpt is a zip with a pickle that runs code, train.py",
        "a flipped bit inside the largest weight of checkpoints/best.ckpt, -c",
        "data_batch_2: code",
        "an image is a pipe, data.skip_broken=false",
        "a CSV file: UTF-16",
    )
    cases = {case.name: case for maker in MAKERS for case in maker()}
    return [cases[name] for name in wanted]


MAKERS = (run_cases, config_cases, checkpoint_cases, data_cases, image_cases, csv_cases, sweep_cases)


def test_the_corpus_has_at_least_300_cases_with_different_names() -> None:
    names = [case.name for maker in MAKERS for case in maker()]
    assert len(set(names)) == len(names) >= 300


def test_of_two_resumes_at_once_one_is_rejected(forks: Forks, part: Part, tmp_path: Path) -> None:
    races = Races(forks, tmp_path)
    races.prepare()
    races.two_resumes(part, tmp_path / "logs")
    assert part.failures == []


def test_a_flipped_bit_is_a_difference(forks: Forks, tmp_path: Path) -> None:
    """The comparison can fail."""
    logs = tmp_path / "logs"
    assert forks.train("trainer=smoke", "model=mlp", "model.hidden=[4]", f"paths.logs={logs}").code == 0
    (run,) = logs.glob("runs/*/*")
    state, other = end_state(run), end_state(run)
    assert differences(state, other) == []
    weight = next(iter(other["last.ckpt"]["state_dict"].values()))
    weight.reshape(-1)[:1].view(torch.int32).bitwise_xor_(1)
    assert len(differences(state, other)) == 1


def test_a_process_dies_in_the_middle_of_its_nth_operation(forks: Forks, tmp_path: Path) -> None:
    logs, records = tmp_path / "logs", tmp_path / "records"
    code = f"import os\nos.mkdir({str(logs)!r})\nopen({str(logs / 'x')!r}, 'wb', buffering=0).write(b'12345678')"
    ended = forks.run(["-c", code], fault=Fault(logs, records, "kill", 3))
    assert ended.code == -9
    assert (logs / "x").read_bytes() == b"1234"
    assert [operation.name for operation in read_log(records)] == ["mkdir", "create", "write"]


@pytest.mark.parametrize(("synced", "expected"), [(True, b"new"), (False, b"old")])
def test_a_power_cut_undoes_a_rename_that_was_not_synced(
    synced: bool, expected: bytes, forks: Forks, tmp_path: Path
) -> None:
    logs, records = tmp_path / "logs", tmp_path / "records"
    logs.mkdir()
    (logs / "x").write_bytes(b"old")
    code = f"""
import os
os.chdir({str(logs)!r})
with open("x.partial", "wb") as file:
    file.write(b"new")
    file.flush()
    os.fsync(file.fileno())
os.replace("x.partial", "x")
if {synced}:
    os.fsync(os.open(".", os.O_RDONLY))
os.mkdir("end")
"""
    ended = forks.run(["-c", code], fault=Fault(logs, records, "power", 6 if synced else 5))
    assert ended.code == -9
    power.cut(read_log(records), records / "backup")
    assert (logs / "x").read_bytes() == expected


@pytest.mark.parametrize(("started", "at_once", "code"), [(20, False, 0), (20, True, -9)])
def test_a_case_may_start_many_processes_but_not_at_the_same_time(
    started: int, at_once: bool, code: int, forks: Forks
) -> None:
    wait = "" if at_once else ".wait()"
    ended = forks.run(
        [
            "-c",
            f"import subprocess\nfor _ in range({started}): subprocess.Popen(['sleep', '{9 if at_once else 0}']){wait}",
        ]
    )
    assert ended.code == code


def test_a_traceback_a_hang_and_a_wrong_exit_code_are_failures() -> None:
    assert verdict(Ended(2, "error: x: got 3\n", 1)) == ""
    assert verdict(Ended(2, "Traceback (most recent call last):\n", 1))
    assert verdict(Ended(None, "", 20))
    assert verdict(Ended(1, "error: x\n", 1))
    assert verdict(Ended(2, "error: x\nerror: y\n", 1))


def test_the_counts_are_written_between_the_markers(tmp_path: Path) -> None:
    path = tmp_path / "reliability.md"
    path.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    part = Part("kills", planned=5, done=5)
    part.add("kills", 5)
    write_docs(path, [part], environment(ROOT), ["kills", "fuzz"])
    text = path.read_text()
    assert "5 kills" in text
    assert "- fuzz: not run" in text
    assert "old" not in text
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")


ABOUT = {"date": "2026-01-02", "commit": "abc", "versions": "torch 2", "hardware": "a machine"}


def test_the_results_of_several_calls_are_combined(tmp_path: Path) -> None:
    paths = [tmp_path / "kills.json", tmp_path / "fuzz.json"]
    for path in paths:
        part = Part(path.stem, planned=5, done=5)
        part.count("cases")
        write_json(path, [part], ABOUT)
    parts, about = combine(paths)
    assert [part.name for part in parts] == ["kills", "fuzz"]
    assert parts[0].counts == Counter(cases=1)
    assert about == ABOUT


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("fuzz", {"versions": "torch 3"}, "fuzz.json: its versions are torch 3, before they are "),
        ("kills", {}, "fuzz.json: another file has the part kills, too"),
    ],
)
def test_results_that_do_not_belong_together_are_refused(
    name: str, change: dict[str, str], message: str, tmp_path: Path
) -> None:
    write_json(tmp_path / "kills.json", [Part("kills")], ABOUT)
    write_json(tmp_path / "fuzz.json", [Part(name)], {**ABOUT, **change})
    with pytest.raises(ValueError, match=message):
        combine([tmp_path / "kills.json", tmp_path / "fuzz.json"])


def test_parts_of_different_commits_name_them(tmp_path: Path) -> None:
    for name, commit in (("kills", "abc"), ("fuzz", "def")):
        write_json(tmp_path / f"{name}.json", [Part(name)], {**ABOUT, "commit": commit})
    parts, about = combine([tmp_path / "kills.json", tmp_path / "fuzz.json"])
    (tmp_path / "docs.md").write_text(f"{BEGIN}\n{END}\n")
    write_docs(tmp_path / "docs.md", parts, about, ["kills", "fuzz"])
    text = (tmp_path / "docs.md").read_text()
    assert "- kills (commit abc): " in text
    assert "- fuzz (commit def): " in text
    assert f"Last full run: {ABOUT['date']}; " in text
    write_json(tmp_path / "both.json", parts, about)
    write_json(tmp_path / "races.json", [Part("races")], {**ABOUT, "commit": "ghi"})
    again, _ = combine([tmp_path / "both.json", tmp_path / "races.json"])
    assert [part.commit for part in again] == ["abc", "def", "ghi"]


def test_the_script_explains_itself() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "torture.py"), "--help"]
    result = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT / "src")}
    )
    assert result.returncode == 0
    assert "--minutes" in result.stdout
    assert Path(TRAIN).exists()
