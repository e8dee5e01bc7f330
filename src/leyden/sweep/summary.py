"""The end of a sweep: its best trial, how to repeat it, the importance of each parameter; sweep.json, trials.csv."""

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from leyden.config.quoting import command
from leyden.records.run_folder import write_text
from leyden.sweep.display import describe, named_values
from leyden.sweep.importance import importances
from leyden.sweep.plan import Plan
from leyden.sweep.ranking import Configuration, best_configurations
from leyden.sweep.storage import folder_number
from leyden.sweep.study import current

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

STATES = {"COMPLETE": "done", "PRUNED": "pruned", "FAIL": "failed"}


def summarise(plan: Plan, study: "optuna.Study", environment: str, already: bool) -> str:
    """Write and print the summary of a sweep.

    Args:
        plan: the sweep.
        study: its trials.
        environment: prefix that gives a shell command the environment of a job.
        already: whether all trials had ended before this start.

    Returns:
        The failed trials, one per line; empty if there are none.
    """
    trials = current(study.get_trials(deepcopy=False))
    finished = [trial for trial in trials if trial.state.is_finished()]
    summary = {
        "name": plan.name,
        "objectives": plan.objectives,
        "n_trials": plan.n_trials,
        **{name: Counter(trial.state.name for trial in finished)[state] for state, name in STATES.items()},
        "sampler": plan.settings["sampler"] if plan.search else "brute_force",
        "pruner": plan.settings["pruner"],
        "seeds": plan.settings["seeds"],
        "base": list(plan.base),
        "best": [entry(one, plan, environment) for one in best_configurations(trials, plan)],
        "importances": importances(study, trials, plan),
    }
    write_text(plan.folder / "sweep.json", json.dumps(summary, indent=2) + "\n")
    write_text(plan.folder / "trials.csv", trials_csv(finished, plan))
    if already:
        print(f"{plan.name} is finished: nothing to do. A larger sweep.n_trials adds trials.")
    show(summary, plan)
    failed = [trial for trial in finished if trial.state.name == "FAIL"]
    return failures(failed, plan) if failed else ""


def entry(configuration: Configuration, plan: Plan, environment: str) -> dict[str, Any]:
    """Return the entry of a configuration in sweep.json."""
    numbers = [trial.number for trial in configuration.trials]
    folders = [str(plan.folder / str(folder_number(trial))) for trial in configuration.trials]
    names, deviations = list(plan.objectives), configuration.deviations
    return {
        "trial": numbers[0],
        "trials": numbers,
        "runs": len(configuration.runs),
        "values": dict(zip(names, configuration.means, strict=True)),
        "std": dict(zip(names, deviations, strict=True)) if deviations else None,
        "overrides": list(configuration.overrides),
        "folder": folders[0],
        "folders": folders,
        "commands": commands(configuration, plan, environment),
    }


def commands(configuration: Configuration, plan: Plan, environment: str) -> list[str]:
    """Return shell commands that repeat the runs of a configuration, each with bit-identical results."""
    overrides = [trial.user_attrs["overrides"] for trial in configuration.trials]
    runs = [plan.run_overrides(one, run) for one in overrides for run in range(len(plan.seeds))]
    return [f"{environment}{command(*run)}" for run in runs]


def trials_csv(trials: "list[FrozenTrial]", plan: Plan) -> str:
    """Return a row per trial: state, objectives, parameters, seconds and the reason of a failure."""
    columns = ["trial", "state", *plan.objectives, *(axis.name for axis in plan.space.axes), "seconds", "reason"]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for trial in trials:
        values = dict(zip(plan.objectives, trial.values, strict=True)) if trial.values else {}
        row = {"trial": trial.number, "state": STATES[trial.state.name], **values}
        writer.writerow({**trial.params, **trial.user_attrs, **row})
    return text.getvalue()


def show(summary: Mapping[str, Any], plan: Plan) -> None:
    """Print the summary."""
    console = Console(markup=False, highlight=False, soft_wrap=True)
    counts = ", ".join(f"{summary[name]} {name}" for name in STATES.values())
    console.print(f"{plan.name}: {counts} of {plan.n_trials}")
    if summary["importances"]:
        title = "Importance (PED-ANOVA)" if plan.search else "Importance (fraction of the variance)"
        table = Table("parameter", "importance", title=title, title_justify="left")
        for name, value in summary["importances"].items():
            table.add_row(name, f"{value:.2f}")
        console.print(table)
    for best in summary["best"]:
        std = list(best["std"].values()) if best["std"] else None
        values = named_values(best["values"], list(best["values"].values()), std)
        number = f" (n={best['runs']})" if best["runs"] > 1 else ""
        trials = ", ".join(map(str, best["trials"]))
        print(f"best: trial{'s' * (len(best['trials']) > 1)} {trials}, {values}{number}; repeat with:")
        for line in best["commands"]:
            print(f"  {line}")
    print(str(plan.folder))


def failures(failed: "list[FrozenTrial]", plan: Plan) -> str:
    """Return a line per failed trial, with the path of its output."""
    lines = [f"{len(failed)} of {plan.n_trials} trials failed"]
    for trial in failed:
        log = f", see {trial.user_attrs['log']}" if "log" in trial.user_attrs else ""
        lines.append(f"  {describe(trial, plan)}{log}")
    return "\n".join(lines)


def objective(report: Mapping[str, Any], name: str) -> float:
    """Return the value of an objective: the run's own objective, one of its metrics, or another number of its report.

        >>> objective({"objective": {"metric": "val/acc", "best": 0.9}, "metrics": {}}, "val/acc")
        0.9

    Args:
        report: report.json of the run.
        name: a metric such as ``val/acc``, or the path of a number in the report such as ``seconds.training``.

    Raises:
        KeyError: the report has no finite number with this name.
    """
    if name == report["objective"]["metric"]:
        value = report["objective"]["best"]
    elif name in report["metrics"]:
        value = report["metrics"][name]
    else:
        value = report
        for part in name.split("."):
            value = value[part] if isinstance(value, Mapping) and part in value else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise KeyError(f"the report has no number {name}; it has {', '.join(sorted(report['metrics']))}")
    if not math.isfinite(value):
        raise KeyError(f"{name} is {value}")
    return float(value)


def objectives(reports: Iterable[Mapping[str, Any]], names: Iterable[str]) -> list[float]:
    """Return the mean of each objective over the runs of a trial. Raises KeyError as `objective` does."""
    reports = list(reports)
    return [sum(objective(report, name) for report in reports) / len(reports) for name in names]
