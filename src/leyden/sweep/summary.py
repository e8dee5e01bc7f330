"""A sweep's end: the best trial and how to repeat it, what mattered; sweep.json and trials.csv."""

import csv
import io
import json
import shlex
from collections import Counter
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from leyden.records.run_folder import write_text
from leyden.sweep.display import best_trial, describe
from leyden.sweep.plan import Plan

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

MIN_TRIALS = 8  # below so many, importances would be noise
STATES = {"COMPLETE": "done", "PRUNED": "pruned", "FAIL": "failed"}


def summarise(plan: Plan, study: "optuna.Study", environment: str, already: bool) -> str:
    """Write and print it.

    Args:
        environment: that the jobs had, as a shell writes it before a command.
        already: nothing was left to do.

    Returns:
        What failed, in one line, or nothing.
    """
    trials = study.get_trials(deepcopy=False)
    finished = [trial for trial in trials if trial.state.is_finished()]
    winners = best_trials(study, plan)
    summary = {
        "name": plan.name,
        "objectives": plan.objectives,
        "n_trials": plan.n_trials,
        **{name: Counter(trial.state.name for trial in finished)[state] for state, name in STATES.items()},
        "sampler": plan.settings["sampler"] if plan.search else "brute_force",
        "pruner": plan.settings["pruner"],
        "seeds": plan.settings["seeds"],
        "base": list(plan.base),
        "best": [entry(trial, plan, environment) for trial in winners],
        "importances": importances(study, plan),
    }
    write_text(plan.folder / "sweep.json", json.dumps(summary, indent=2) + "\n")
    write_text(plan.folder / "trials.csv", trials_csv(finished, plan))
    if already:
        print(f"{plan.name} is finished: there was nothing to do. A larger sweep.n_trials takes it further.")
    show(summary, plan)
    failed = [trial for trial in finished if trial.state.name == "FAIL"]
    return failures(failed, plan) if failed else ""


def best_trials(study: "optuna.Study", plan: Plan) -> "list[FrozenTrial]":
    """The best; of several objectives, all that no other beats in each."""
    if len(plan.objectives) > 1:
        return study.best_trials
    best = best_trial(study.get_trials(deepcopy=False), plan)
    return [best] if best else []


def entry(trial: "FrozenTrial", plan: Plan, environment: str) -> dict[str, Any]:
    """What sweep.json says of a trial."""
    return {
        "trial": trial.number,
        "values": dict(zip(plan.objectives, trial.values, strict=True)),
        "overrides": trial.user_attrs["overrides"],
        "folder": str(plan.folder / str(trial.number)),
        "commands": commands(trial, plan, environment),
    }


def commands(trial: "FrozenTrial", plan: Plan, environment: str) -> list[str]:
    """What repeats a trial as single runs, one per seed; typed into a shell they give the same figures."""
    overrides = [*plan.base, *trial.user_attrs["overrides"]]
    seeds = plan.settings["seeds"]
    if seeds == 1:
        return [f"{environment}{shlex.join(['python', 'train.py', *overrides])}"]
    first, kept = plan.config.seed, [override for override in overrides if not override.startswith("seed=")]
    return [
        f"{environment}{shlex.join(['python', 'train.py', *kept, f'seed={seed}'])}"
        for seed in range(first, first + seeds)
    ]


def importances(study: "optuna.Study", plan: Plan) -> dict[str, float]:
    """Share of each parameter in what differs between the trials, by PED-ANOVA; empty where it cannot be told."""
    import optuna

    complete = [trial for trial in study.get_trials(deepcopy=False) if trial.state.name == "COMPLETE"]
    values = {trial.values[0] for trial in complete}
    if len(plan.objectives) > 1 or len(complete) < MIN_TRIALS or len(values) == 1:
        return {}
    found = optuna.importance.get_param_importances(study)
    return {name: round(value, 4) for name, value in found.items()}


def trials_csv(trials: "list[FrozenTrial]", plan: Plan) -> str:
    """A row per trial: its state, objectives, parameters, seconds and, if it failed, why."""
    columns = ["trial", "state", *plan.objectives, *(axis.name for axis in plan.space.axes), "seconds", "reason"]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for trial in trials:
        values = dict(zip(plan.objectives, trial.values, strict=True)) if trial.values else {}
        row = {"trial": trial.number, "state": STATES[trial.state.name], **values}
        writer.writerow({**trial.params, **trial.user_attrs, **row})
    return text.getvalue()


def show(summary: dict[str, Any], plan: Plan) -> None:
    """Print it."""
    console = Console(markup=False, highlight=False, soft_wrap=True)
    counts = ", ".join(f"{summary[name]} {name}" for name in STATES.values())
    console.print(f"{plan.name}: {counts} of {plan.n_trials}")
    if summary["importances"]:
        table = Table("parameter", "importance", title="What mattered", title_justify="left")
        for name, value in summary["importances"].items():
            table.add_row(name, f"{value:.2f}")
        console.print(table)
    for best in summary["best"]:
        values = ", ".join(f"{name} {value:.4f}" for name, value in best["values"].items())
        print(f"best: trial {best['trial']}, {values}; again with:")
        for command in best["commands"]:
            print(f"  {command}")
    print(str(plan.folder))


def failures(failed: "list[FrozenTrial]", plan: Plan) -> str:
    def line(trial: "FrozenTrial") -> str:
        log = f", see {trial.user_attrs['log']}" if "log" in trial.user_attrs else ""
        return f"{describe(trial, plan)}{log}"

    lines = map(line, failed)
    return f"{len(failed)} of {plan.n_trials} trials failed\n" + "\n".join(f"  {text}" for text in lines)
