"""Recognise the folders of a sweep: its own folder and those of its runs contain a file that says what they are for.

A sweep uses a report or a checkpoint only if this file agrees with the trial. So a folder of another sweep, or one from
before a change of ``conf/``, is never mistaken for the trial's own.
"""

import json
import os
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from leyden.errors import UserError
from leyden.records.run_folder import refuse_link, write_text

SWEEP_FILE = "identity.json"
TRIAL_FILE = "trial.json"
SWEEP_KEYS = ("content", "config", "choices", "token")
# Parts of the config that may differ between two starts of a sweep.
EXCLUDED = ("hydra", "sweep", "paths", "resume")
RESULTS = ("config.yaml", "report.json", "metrics.csv", "checkpoints")  # files that a run writes


def flat_config(cfg: DictConfig) -> dict[str, str]:
    """Return the values of a config as text, by their dotted keys.

    Interpolations are not resolved, so values that follow from ``paths.*`` do not depend on this machine.
    """
    found: dict[str, str] = {}

    def visit(key: str, value: Any) -> None:
        if isinstance(value, Mapping) and value:
            for name, item in value.items():
                visit(f"{key}.{name}" if key else str(name), item)
        else:
            found[key] = json.dumps(value, ensure_ascii=False, default=str)

    values = OmegaConf.to_container(cfg, resolve=False)
    assert isinstance(values, dict)
    visit("", {key: value for key, value in values.items() if key not in EXCLUDED})
    return found


def digest(config: Mapping[str, str]) -> str:
    """Return a short text that differs for different configs."""
    return blake2b(json.dumps(config, sort_keys=True).encode(), digest_size=8).hexdigest()


def difference(stored: Any, own: Any) -> str:
    """Return the first difference of two identities in words; empty if they are equal.

    Args:
        stored: identity from a file or the study.
        own: identity of this command. Its values are texts, lists or mappings.
    """
    if stored == own:
        return ""
    if isinstance(stored, Mapping) and isinstance(own, Mapping):
        for key in [*own, *stored]:
            if key not in stored:
                return f"{key} is {_short(own[key])} now and did not exist"
            if key not in own:
                return f"{key} was {_short(stored[key])} and does not exist now"
            if stored[key] != own[key]:
                nested = isinstance(own[key], Mapping) or _is_list(own[key])
                return difference(stored[key], own[key]) if nested else _changed(key, stored[key], own[key])
    if _is_list(stored) and _is_list(own):
        before, now = ([item for item in one if item not in two] for one, two in ((stored, own), (own, stored)))
        return f"{' '.join(map(str, before)) or 'nothing'} there, {' '.join(map(str, now)) or 'nothing'} here"
    return f"{_short(stored)} there, {_short(own)} here"


def _changed(key: str, stored: Any, own: Any) -> str:
    return f"{key} was {_short(stored)} and is {_short(own)} now"


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 100 else f"{text[:100]}…"


def read_identity(path: Path) -> dict[str, Any] | None:
    """Return the content of an identity file, None if there is none.

    Raises:
        UserError: the file is damaged.
    """
    check_regular(path)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: is damaged, so it is unknown to which sweep {path.parent} belongs") from error
    keys = SWEEP_KEYS if path.name == SWEEP_FILE else ("overrides", "config")
    if not isinstance(values, dict) or any(key not in values for key in keys):
        raise UserError(f"{path}: is damaged, so it is unknown to which sweep {path.parent} belongs")
    return values


def check_regular(path: Path) -> None:
    """Raise UserError if something other than a regular file has this name. Reading a pipe would take forever."""
    refuse_link(path)
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: is not a regular file")


def write_identity(path: Path, identity: Mapping[str, Any]) -> None:
    """Write an identity file."""
    write_text(path, json.dumps(identity, indent=1, ensure_ascii=False) + "\n")


def check_sweep(folder: Path, stored: Any, own: Mapping[str, Any]) -> None:
    """Compare the stored identity of a sweep with the one of this command, see `leyden.sweep.plan.Plan.identity`.

    Args:
        folder: folder of the sweep, for the message.
        stored: identity from the folder or the study.
        own: identity of this command.

    Raises:
        UserError: they differ.
    """
    if not isinstance(stored, Mapping) or not stored.keys() >= set(SWEEP_KEYS):
        raise UserError(f"sweep.name: {folder.name} exists and is another sweep ({folder}), or is damaged")
    if changed := difference(stored["content"], own["content"]):
        raise UserError(f"sweep.name: {folder.name} exists and is another sweep ({folder}); they differ: {changed}")
    changed = difference(stored["config"], own["config"])
    digests = own["choices"].items()
    # Other choices may have been added since: only what both have is compared.
    changed = changed or next((label for label, text in digests if stored["choices"].get(label, text) != text), "")
    if changed:
        raise UserError(
            f"sweep.name: conf/ has changed since {folder.name} began: {changed}. "
            "Restore it, or choose another sweep.name"
        )


def check_new_study(folder: Path) -> None:
    """Raise UserError if the folder already belongs to another study. Called if the study is new."""
    if read_identity(folder / SWEEP_FILE):
        raise another_study(folder)


def mark_sweep_folder(folder: Path, identity: Mapping[str, Any]) -> None:
    """Write the identity of a sweep and the token of its study into its folder. Each study has its own token.

    If the sweep was extended, ``earlier`` in the identity has the tokens of the studies before.

    Raises:
        UserError: the folder belongs to another study.
    """
    stored = read_identity(folder / SWEEP_FILE)
    if stored is None:
        write_identity(folder / SWEEP_FILE, identity)
    elif "earlier" in identity and stored["token"] in identity["earlier"]:
        write_identity(folder / SWEEP_FILE, identity)  # the sweep was extended
    elif stored["token"] != identity["token"]:
        raise another_study(folder)


def another_study(folder: Path) -> UserError:
    """Return the error for a folder whose trials are in another study."""
    return UserError(
        f"sweep.name: {folder} contains the trials of another study. Was its journal deleted or sweep.storage changed? "
        "Restore it, or choose another sweep.name"
    )


def check_run_folder(folder: Path, identity: Mapping[str, Any]) -> None:
    """Check that `folder` is new or belongs to the run with this identity. A new folder is marked.

    Raises:
        UserError: it belongs to something else. Nothing was written.
    """
    path = folder / TRIAL_FILE
    stored = read_identity(path)
    if stored is None:
        if any(os.path.lexists(folder / name) for name in RESULTS):
            raise UserError(
                f"{folder}: contains a run, but no {TRIAL_FILE}, so it does not belong to this sweep. "
                "Move the folder, or choose another sweep.name"
            )
        folder.mkdir(parents=True, exist_ok=True)
        write_identity(path, identity)
    elif changed := difference(stored, identity):
        raise UserError(
            f"{folder}: contains another run than this sweep's trial: {changed}. "
            "Move the folder, or choose another sweep.name"
        )
