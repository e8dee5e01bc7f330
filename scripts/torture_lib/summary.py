"""Counts and failures of the parts: on the screen, as JSON, and in docs/reliability.md."""

import json
import platform
import re
import subprocess
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- torture: begin -->", "<!-- torture: end -->"
KEPT_OUTPUT = 1500  # characters of a failed case's output


@dataclass
class Part:
    """What one part found.

    Args:
        name: name of the part.
        planned: number of its cases.
        counts: what was done, by kind.
        failures: each with ``command``, ``what`` and ``output``.
        skipped: why the part did not run, or an empty string.
        commit: the tested commit, if the parts of a result belong to different ones.
    """

    name: str
    planned: int = 0
    done: int = 0
    seconds: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    facts: dict[str, Any] = field(default_factory=dict)
    failures: list[dict[str, str]] = field(default_factory=list)
    skipped: str = ""
    commit: str = ""

    def count(self, kind: str) -> None:
        self.add(kind, 1)

    def add(self, kind: str, number: int) -> None:
        self.counts[kind] += number

    def fail(self, command: str, what: str, output: str) -> None:
        self.counts["failures"] += 1
        self.failures.append({"command": command, "what": what, "output": output[-KEPT_OUTPUT:]})

    def different(self, command: str, differences: list[str]) -> None:
        """Record a run whose bits differ from those of the undisturbed run."""
        self.counts["different"] += 1
        self.fail(command, f"{len(differences)} differences", "\n".join(text[:500] for text in differences[:3]))


def environment(root: Path) -> dict[str, str]:
    """Date, commit, versions and hardware."""

    def git(*arguments: str) -> str:
        result = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True)
        return result.stdout.strip()

    dirty = " with uncommitted changes" if git("status", "--porcelain") else ""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "commit": (git("rev-parse", "--short", "HEAD") or "unknown") + dirty,
        "versions": ", ".join(f"{name} {version(name)}" for name in ("torch", "lightning", "hydra-core", "optuna"))
        + f", Python {platform.python_version()}",
        "hardware": f"{processor()}, {platform.system()}",
    }


def processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} x {names[0]}" if names else platform.machine()


def write_json(path: Path, parts: list[Part], about: dict[str, str]) -> None:
    values = {part.name: vars(part) for part in parts}
    path.write_text(json.dumps({**about, "parts": values}, indent=2) + "\n")


def combine(paths: list[Path]) -> tuple[list[Part], dict[str, str]]:
    """Read the results of several calls, which may have run at the same time.

    Returns:
        all parts, and what `environment` returned in the last call. If the commits differ, each part has its own.

    Raises:
        ValueError: the results belong to different versions, or two files have the same part.
    """
    parts: dict[str, Part] = {}
    about: dict[str, str] = {}
    for path in paths:
        found = json.loads(path.read_text())
        for name, values in found.pop("parts").items():
            if name in parts:
                raise ValueError(f"{path}: another file has the part {name}, too")
            commit = values["commit"] or found["commit"]  # a combined result has one for each part
            parts[name] = Part(**{**values, "counts": Counter(values["counts"]), "commit": commit})
        if about and found["versions"] != about["versions"]:
            raise ValueError(f"{path}: its versions are {found['versions']}, before they are {about['versions']}")
        about = max(about, found, key=lambda one: one.get("date", ""))
    if len({part.commit for part in parts.values()}) == 1:
        for part in parts.values():
            part.commit = ""
    return list(parts.values()), about


def sentences(parts: list[Part]) -> list[str]:
    """One line per part."""
    lines = []
    for part in parts:
        if part.skipped:
            lines.append(f"- {part.name}: skipped, {part.skipped}")
            continue
        counts = ", ".join(f"{number:,} {kind}" for kind, number in {**part.facts, **part.counts}.items())
        commit = f" (commit {part.commit})" if part.commit else ""
        lines.append(
            f"- {part.name}{commit}: {part.done:,} of {part.planned:,} cases in {part.seconds / 60:.1f} min: {counts}"
        )
    return lines


def write_docs(path: Path, parts: list[Part], about: dict[str, str], expected: Iterable[str]) -> None:
    """Replace the text between the markers in `path`.

    Args:
        path: a Markdown file.
        parts: what was found.
        about: see `environment`.
        expected: names of the parts of a full run.
    """
    missing = [name for name in expected if name not in {part.name for part in parts}]
    commit = "" if any(part.commit for part in parts) else f", commit {about['commit']}"
    head = f"Last {'full ' * (not missing)}run: {about['date']}{commit}; {about['versions']}; {about['hardware']}."
    lines = [*sentences(parts), *(f"- {name}: not run" for name in missing)]
    text = path.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    path.write_text("\n".join([f"{before}{BEGIN}", head, "", *lines, f"{END}{after}"]))


def signatures(parts: list[Part], most: int = 40) -> list[str]:
    """Failures of one kind as one line: how many, what happened, the first command."""
    found: dict[str, list[dict[str, str]]] = {}
    for part in parts:
        for failure in part.failures:
            last = failure["output"].strip().rpartition("\n")[2]
            place = re.sub(r"/\S*/|\d[\d_.-]*", "…", f"{failure['what']}: {last[:160]}")
            found.setdefault(f"{part.name}: {place}", []).append(failure)
    ordered = sorted(found.items(), key=lambda item: -len(item[1]))
    return [f"  {len(group):4} x {name}\n         {group[0]['command'][:400]}" for name, group in ordered[:most]]
