"""Extend a sweep: a command with more values, more seeds or more enqueued points adds trials to an existing sweep.

Optuna cannot change the values of a parameter in a study. So the trials are copied to a new study in the same storage.
The new study counts as soon as it has an identity; before that, a crash leaves the old study as it was.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from leyden.errors import UserError
from leyden.sweep.axes import Axis, Number, parse, parse_value
from leyden.sweep.identity import SWEEP_FILE, another_study, check_sweep, read_identity
from leyden.sweep.plan import Plan
from leyden.sweep.space import Point, read_axis

if TYPE_CHECKING:
    import optuna
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

NUMBERS = re.compile(r"(range|interval)\((\S+) to ([^,)\s]+)(?:, step ([^,)]+))?(, log)?\)")
SEEDS, ENQUEUE = 0, 5  # their places in `Plan.content`
RESULTS = ("runs", "val_loss", "seconds", "same_as", "reason", "log", "starts", "progress", "overrides")


def extends(plan: Plan, stored: Any) -> bool:
    """Return whether the command of `plan` contains all trials of the stored sweep, and more.

    Args:
        plan: the plan of this command.
        stored: identity of the sweep in its folder or study, see `Plan.identity`.
    """
    before = stored["content"] if isinstance(stored, Mapping) and "content" in stored else None
    now, axes = plan.content, plan.space.axes
    if not isinstance(before, list) or before == now or len(before) != len(now):
        return False
    if not all(isinstance(line, str) for line in before):
        return False
    first = len(now) - len(axes)
    fixed = [index for index in range(first) if index not in (SEEDS, ENQUEUE)]
    if any(before[index] != now[index] for index in fixed):
        return False
    enqueue = plan.settings["enqueue"]
    starts_with = any(before[ENQUEUE] == f"enqueue: {enqueue[:count]}" for count in range(len(enqueue) + 1))
    lines = zip(axes, before[first:], strict=True)
    return starts_with and more_seeds(plan, before[SEEDS]) and all(contains(axis, line) for axis, line in lines)


def check_sweep_folder(plan: Plan, journal: str | None) -> None:
    """Check that a sweep's folder is new or belongs to this sweep, before its study is opened.

    Args:
        plan: the sweep.
        journal: name of the journal in the folder; None if the study is stored elsewhere.

    Raises:
        UserError: it belongs to another sweep, or its journal was deleted.
    """
    stored = read_identity(plan.folder / SWEEP_FILE)
    if not stored:
        return
    if not extends(plan, stored):
        check_sweep(plan.folder, stored, plan.identity)
    if journal and not (plan.folder / journal).exists():
        raise another_study(plan.folder)


def more_seeds(plan: Plan, line: str) -> bool:
    """Return whether `plan` has at least as many seeds as ``seeds: 2``. The folders of a single seed are different."""
    before, now = line.removeprefix("seeds: "), len(plan.seeds)
    return before == f"{now}" or (before.isdecimal() and now > int(before) > 1)


def contains(axis: Axis, line: str) -> bool:
    """Return whether an axis contains all values of an earlier one, for example ``seed=0,1``."""
    if not line.startswith(f"{axis.name}="):
        return False
    before = read_text(axis, line.removeprefix(f"{axis.name}="))
    if not isinstance(before, Number) or (before.step and not before.log):
        return all(axis.match(parse_value(str(value))) is not None for value in before.values())
    if not isinstance(axis, Number) or (axis.step, axis.integer, axis.log) != (before.step, before.integer, before.log):
        return False
    return axis.low <= before.low and before.high <= axis.high


def read_text(axis: Axis, text: str) -> Axis:
    """Return the axis whose `Axis.text` is `text`, with the key of `axis`."""
    found = NUMBERS.fullmatch(text)
    if not found:
        return read_axis(parse([f"{axis.key.lstrip('+')}={text}"])[0], axis.conditions)
    low, high = (parse_value(number) for number in found.group(2, 3))
    integer = isinstance(low, int) and isinstance(high, int)
    step = parse_value(found[4]) if found[4] else int(found[1] == "range" or integer)
    return Number(axis.key, axis.conditions, low, high, step, integer, bool(found[5]))


def current_study(storage: "BaseStorage", name: str) -> str:
    """Return the name of the study that holds the trials of the sweep `name` now."""
    import optuna

    found = [study for study in optuna.get_all_study_names(storage) if generation(study, name)]
    for study in sorted(found, key=lambda one: generation(one, name), reverse=True):
        if "identity" in optuna.load_study(study_name=study, storage=storage).user_attrs:
            return study
    return name


def generation(study: str, name: str) -> int:
    """Return 1 for the first study of the sweep `name`, 2 for ``name (2)``; 0 for a study of another sweep."""
    number = re.fullmatch(r" \((\d+)\)", study.removeprefix(name))
    return 1 if study == name else int(number[1]) if number and study.startswith(name) else 0


def extended_study(old: "optuna.Study", storage: "BaseStorage", plan: Plan) -> "optuna.Study":
    """Return a new study with the trials of `old` in the space of `plan`. It has no identity yet.

    If `plan` has more seeds, the complete trials are waiting again; the reports of their runs are used.
    """
    import optuna

    name = f"{plan.name} ({generation(old.study_name, plan.name) + 1})"
    if name in optuna.get_all_study_names(storage):
        optuna.delete_study(study_name=name, storage=storage)  # of an extension that was killed
    new = optuna.create_study(
        storage=storage, study_name=name, directions=old.directions, sampler=old.sampler, pruner=old.pruner
    )
    new.set_metric_names([*plan.objectives])
    reopen = old.user_attrs["identity"]["content"][SEEDS] != plan.content[SEEDS]
    for trial in old.get_trials(deepcopy=False):
        new.add_trial(converted(trial, plan, reopen))
    return new


def converted(trial: "FrozenTrial", plan: Plan, reopen: bool) -> "FrozenTrial":
    """Return a trial with the values and distributions that it has in the space of `plan`.

    Args:
        trial: a trial of the earlier study.
        plan: the plan of this command.
        reopen: whether complete trials are waiting again.
    """
    from optuna.trial import FixedTrial, TrialState, create_trial

    known = {**trial.system_attrs.get("fixed_params", {}), **trial.params}  # those that wait have enqueued values only
    values = {axis: axis.match(parse_value(str(known[axis.name]))) for axis in plan.space.axes if axis.name in known}
    point: Point = {axis.name: value for axis, value in values.items() if value is not None}
    attributes = requeued(dict(trial.user_attrs), point, plan)
    if trial.state in (TrialState.WAITING, TrialState.RUNNING) or (reopen and trial.state == TrialState.COMPLETE):
        kept = {name: value for name, value in attributes.items() if name not in RESULTS}
        return create_trial(state=TrialState.WAITING, system_attrs={"fixed_params": point}, user_attrs=kept)
    fixed = FixedTrial(point)
    for axis in values:
        axis.suggest(fixed)  # type: ignore[arg-type]  # a FixedTrial has the methods of a Trial
    return create_trial(
        state=trial.state,
        values=trial.values,
        params=point,
        distributions=fixed.distributions,
        user_attrs=attributes,
        intermediate_values=trial.intermediate_values,
    )


def requeued(attributes: dict[str, Any], point: Point, plan: Plan) -> dict[str, Any]:
    """Return the attributes of a trial with its new place in the queue of a grid. A search appends to its queue."""
    if "queued" in attributes and not plan.search:
        points = [queued for queued, _ in plan.queue]
        if point not in points:
            raise UserError(f"sweep.n_trials: this command does not contain {point}, which the sweep contains already")
        attributes["queued"] = points.index(point)
    return attributes
