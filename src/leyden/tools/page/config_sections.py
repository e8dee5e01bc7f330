"""What a run was trained with, on what, and how to use it."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from leyden.config.compose import default_values, groups
from leyden.config.quoting import PATH_KEYS
from leyden.errors import UserError
from leyden.tools.choices import GROUPS, choice_names
from leyden.tools.page.elements import Child, Html, clean, commands, definitions, details, el, section, table
from leyden.tools.page.files import get
from leyden.tools.read_runs import flat

# Where files are on the machine of the run: not a setting of the training, and nobody else's business.
LOCATIONS = ("paths.", "plugins", "resume", "logger", "callbacks", *PATH_KEYS)
ABSOLUTE = re.compile(r"(?:^|(?<=[\s'\"\[=,]))(?:/|~/|[A-Za-z]:[\\/])[^\s'\"\],]*[\\/]")
INPUTS = {"image": "image.png", "row": "rows.csv", "series": "series.csv", "text": "TEXT"}


def private(text: str, command: str) -> str:
    """Return `text` with ``…/`` for the folders of absolute paths, unless the command of the run contains them."""
    return ABSOLUTE.sub(lambda found: found[0] if found[0] in command else "…/", text)


def leaves(node: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value) of each value that is not a mapping."""
    for key, value in node.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def config_section(values: Mapping[str, Any], command: str) -> Html:
    """Return the choices, the keys that differ from their defaults, and all keys."""
    names = choice_names(dict(flat(values)))
    own = dict(leaves(values))
    chosen = definitions([(group, names[group]) for group in GROUPS if group in names])
    different = changed(own, names)
    rows: list[list[Child]] = [
        [key, el("code", private(str(own[key]), command)), el("code", private(default, command))]
        for key, default in different or ()
    ]
    if rows:
        summary = table("Keys with another value than the default", ["key", "value", "default"], rows)
    elif different is None:
        summary = el("p", "The defaults of this run are not known here: it uses a plugin or another version.")
    else:
        summary = el("p", "All keys have the default values of these choices.")
    every: list[list[Child]] = [[key, el("code", private(str(value), command))] for key, value in own.items()]
    all_keys = details(f"All {len(own)} keys", table("Every key of config.yaml", ["key", "value"], every))
    return section("Configuration", chosen, summary, all_keys, id_="config")


def changed(own: Mapping[str, Any], names: Mapping[str, str]) -> list[tuple[str, str]] | None:
    """Return (key, default) of each key whose value is not the default of the choices; None if that is not known.

    Args:
        own: dotted key → value of the run.
        names: group → choice, or the name of a class where the choice is not clear. Such a group is left out.
    """
    listed = groups()
    clear = [f"{group}={name}" for group, name in names.items() if name in listed[group]]
    if not all(f"{group}={names.get(group)}" in clear for group in ("data", "model")):
        return None
    try:
        default = default_values(*clear)
    except UserError:
        return None
    derived = ["name", *(["data.seed"] if own.get("data.seed") == own.get("seed") else [])]
    return [
        (key, str(default[key]) if key in default else "(not in this version)")
        for key, value in own.items()
        if not key.startswith(LOCATIONS) and key not in derived and (key not in default or default[key] != value)
    ]


def environment_section(report: Mapping[str, Any] | None, origin: Mapping[str, Any], *, changed_code: bool) -> Html:
    """Return command, versions, hardware, commit and data of a run."""
    commit, dirty = get(origin, "git", "commit"), get(origin, "git", "dirty", kind=bool)
    state = {True: "with changes that were not committed", False: "without changes", None: ""}[dirty]
    saved = " (in uncommitted.diff)" if dirty and changed_code else ""
    last, command = get(report, "last_command"), get(origin, "command")
    versions = get(origin, "versions", kind=dict) or {}
    packages: list[list[Child]] = [[name, clean(str(version))] for name, version in versions.items()]
    pairs = definitions([
        ("commit", el("span", el("code", commit), f" {state}{saved}") if commit else None),
        ("device", get(report, "device")),
        ("processes", get(report, "processes", kind=int)),
        ("precision", get(report, "precision")),
        ("loop", get(report, "loop")),
        ("deterministic kernels", {True: "yes", False: "no", None: None}[get(report, "deterministic", kind=bool)]),
        ("fingerprint of the data", get(origin, "fingerprint") or get(report, "fingerprint")),
    ])  # fmt: skip
    started = [el("h3", "Command"), commands([command])] if command else []
    resumed = [el("h3", "Command of the last start"), commands([last])] if last and last != command else []
    listed = details("Versions", table("Versions of the packages", ["package", "version"], packages))
    return section("Environment", *started, *resumed, pairs, listed if packages else None, id_="environment")


SAMPLES = {
    "images": ("python scripts/sample.py $RUN --num 64 --out samples.png", "images = model.sample(64)"),
    "texts": ("python scripts/sample.py $RUN --prompt TEXT --length 500", "text = model.generate(prompt)"),
}


def use_section(folder: str, kind: str | None, *, generates: str | None, finished: bool) -> Html:
    """Return the commands that use the run, with ``$RUN`` for its folder.

    Args:
        folder: name of the run folder.
        kind: kind of the input: image, row, series, text, or None if it is not known.
        generates: images or texts, if the model generates them.
        finished: whether there is a best checkpoint.
    """
    lines = [f"RUN=path/to/{folder}"]
    if finished and generates:
        lines.append(SAMPLES[generates][0])
    elif finished:
        lines.append(f"python scripts/predict.py $RUN {INPUTS.get(kind or '', 'INPUT')}")
    if finished:
        lines.append("python scripts/evaluate.py $RUN --split test")
    lines.append("python train.py resume=$RUN" + (" trainer.max_epochs=EPOCHS" if finished else ""))
    python = ["import leyden", "", f'model = leyden.load("path/to/{folder}")']
    python.append(SAMPLES[generates][1] if generates else "found = model.predict(inputs)")
    blocks = [el("h3", "In the shell"), commands(lines)]
    blocks += [el("h3", "In Python"), commands(python)] if finished else []
    return section("Use this run", *blocks, id_="use")


def data_text(report: Mapping[str, Any]) -> str:
    """Return the name of the data set and the number of samples of each split."""
    sizes = get(report, "data", "sizes", kind=dict) or {}
    listed = ", ".join(f"{size:,} {name}" for name, size in sizes.items() if isinstance(size, int))
    verified = get(report, "data", "verified", kind=bool)
    note = ". Its files did not have the published checksums" if verified is False else ""
    return f"{get(report, 'data', 'name') or 'unknown'}: {listed}{note}"
