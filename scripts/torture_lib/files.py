"""Part 4: give damaged and hostile files to every reader. Each must end in time, with one line, and harm nothing."""

import hashlib
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from scripts.torture_lib import exhaustive
from scripts.torture_lib.corpus import SECRET, Case, Place
from scripts.torture_lib.corpus_checkpoints import checkpoint_cases
from scripts.torture_lib.corpus_configs import config_cases
from scripts.torture_lib.corpus_data import data_cases
from scripts.torture_lib.corpus_images import csv_cases, image_cases
from scripts.torture_lib.corpus_runs import run_cases
from scripts.torture_lib.corpus_sweeps import sweep_cases
from scripts.torture_lib.forks import ROOT, Ended, Forks
from scripts.torture_lib.same_bits import differences, end_state
from scripts.torture_lib.shim import Fault, missing, read_log
from scripts.torture_lib.summary import Part

SECONDS = 10
MEMORY = 1 << 30  # bytes in addition to what the imports take
CONTROL = [chr(code) for code in (0x1B, 0x07, 0x9B)]


class Files:
    """Gives damaged and hostile files to every reader.

    Args:
        forks: the fork server in which the commands run.
        folder: each case has new folders below it.
    """

    def __init__(self, forks: Forks, folder: Path) -> None:
        self.forks, self.folder = forks, folder
        self.hits: list[str] = []
        self.server = f"http://127.0.0.1:{serve(self.hits)}"
        self.expected: dict[str, Any] = {}

    def cases(self, part: Part, number: int | None) -> Iterator[None]:
        """Run all cases, or `number` of them, evenly spread."""
        makers = (run_cases, config_cases, checkpoint_cases, data_cases, image_cases, csv_cases, sweep_cases)
        found = [case for maker in makers for case in maker()]
        found = found[:: max(1, len(found) // number)][:number] if number else found
        part.planned = len(found)
        self._templates()
        for case in found:
            self._case(part, case)
            part.done += 1
            yield

    def _templates(self) -> None:
        """The runs that are copied: a finished one, and one that was killed shortly after a checkpoint."""
        at = 0
        for name, mode in (("finished", "count"), ("stopped", "kill")):
            logs, records = self.folder / f"make-{name}", self.folder / f"records-{name}"
            fault = None if missing() else Fault(logs, records, mode, at)
            ended = self.forks.train(*exhaustive.RUN, f"paths.logs={logs}", fault=fault)
            assert ended.code in (0, -9), ended.output
            shutil.copytree(exhaustive.only_run(logs), self.folder / name)
            saves = [
                one.number for one in read_log(records) if one.name == "rename" and one.target.endswith("last.ckpt")
            ]
            at = saves[-2] + 4 if saves else 0
        (self.folder / "empty").mkdir()
        self.expected = end_state(self.folder / "finished")

    def _case(self, part: Part, case: Case) -> None:
        top = self.folder / "case"
        shutil.rmtree(top, ignore_errors=True)
        place = Place(top / "run", top / "outside", top / "work", self.server)
        shutil.copytree(self.folder / case.template, place.run)
        for path in (place.outside, place.work):
            path.mkdir()
        place.victim.write_text("this must stay\n")
        case.prepare(place)
        before = snapshot(place)
        values = {"RUN": place.run, "OUTSIDE": place.outside, "WORK": place.work}
        argv = [ROOT / case.command[0] if case.command[0] != "-c" else "-c", *case.command[1:]]
        texts = [str(argument) for argument in argv]
        for name, value in values.items():
            texts[1:] = [text if text.startswith("import") else text.replace(name, str(value)) for text in texts[1:]]
        self.hits.clear()
        ended = self.forks.run(texts, SECONDS, cwd=place.work, memory=MEMORY, CANARY=SECRET)
        part.count(f"exit code {ended.code}")
        wrong = [*problems(case, ended), *harm(place, before, ended)]
        if self.hits:
            wrong.append(f"the server was asked for {self.hits[0]}")
        if ended.code == 0 and case.same and "resume=" in texts[1]:
            wrong += self._other_bits(place.run, lost_rows="metrics.csv: has the metrics of" in ended.output)
        if wrong:
            part.fail(f"{case.name}: {' '.join(case.command)}", "; ".join(wrong), ended.output)

    def _other_bits(self, run: Path, lost_rows: bool) -> list[str]:
        """What differs from the finished run. Rows of metrics.csv may be missing if the run has reported it."""
        try:
            state = end_state(run)
            if lost_rows:
                state["metrics.csv"] = self.expected["metrics.csv"]
            found = differences(state, self.expected)
        except (OSError, RuntimeError, ValueError) as error:
            return [f"exit code 0, but the run cannot be read: {error}"]
        return [f"exit code 0 and other bits: {found[0][:200]}"] if found else []


def problems(case: Case, ended: Ended) -> list[str]:
    """Return what is wrong with the way in which a command ended."""
    found = []
    if "Traceback (most recent" in ended.output:
        found.append(f"a traceback, exit code {ended.code}")
    elif ended.code is None:
        found.append(f"no end within {SECONDS} s")
    elif ended.code not in case.codes:
        found.append(f"exit code {ended.code}")
    errors = [line for line in ended.output.splitlines() if line.startswith("error:")]
    if case.lines and not found and ended.code and len(errors) != 1:
        found.append(f"{len(errors)} error lines")
    if any(character in ended.output for character in CONTROL):
        found.append("raw control characters in the output")
    return found


def harm(place: Place, before: dict[str, str], ended: Ended) -> list[str]:
    """Return what changed outside of the run folder, and whether the secret was read."""
    found = []
    after = snapshot(place)
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    if changed:
        found.append(f"it changed {changed[0]}")
    if SECRET in ended.output:
        found.append("it printed the secret")
    for path in place.run.rglob("*"):
        readable = path.is_file() and not path.is_symlink() and path.name != "config.yaml"
        if readable and SECRET.encode() in path.read_bytes():
            found.append(f"the secret is in {path.name}")
    return found


def snapshot(place: Place) -> dict[str, str]:
    """Return path → digest of everything outside of the run folder."""
    found = {}
    for path in sorted(place.run.parent.rglob("*")):
        if path == place.run or place.run in path.parents:
            continue
        regular = path.is_file() and not path.is_symlink()
        found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest() if regular else "folder or link"
    return found


def serve(hits: list[str]) -> int:
    """Start a web server on a free port of this machine that records the paths of all requests."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hits.append(self.path)
            self.send_error(404)

        def log_message(self, format: str, *args: Any) -> None:
            """Print nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port
