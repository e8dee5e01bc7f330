"""The sections of the page of a run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from leyden.errors import UserError
from leyden.records.run_folder import best_checkpoint, read_config
from leyden.tools.page.class_tables import classes_section, metrics_table
from leyden.tools.page.config_sections import config_section, data_text, environment_section, use_section
from leyden.tools.page.curves_section import curves_section
from leyden.tools.page.elements import Child, Html, clean, definitions, details, el, number, section, table
from leyden.tools.page.embedded_images import images_section
from leyden.tools.page.embedded_texts import texts_section
from leyden.tools.page.files import get, read_bytes, read_curves, read_object
from leyden.tools.read_runs import NEEDED, check_report, flat

GENERATIVE = ("leyden.modules.vae.", "leyden.modules.gan.", "leyden.modules.flow.")
WRITES = "leyden.modules.language_model."
OUTPUT_BYTES = 4_000  # of output.log
STATES = {
    "finished": "The training has finished, and the best checkpoint was tested.",
    "pruned": "A sweep stopped this run early, because other trials were better. It was not tested.",
    "unfinished": "This run has no report.json: it is still running, was stopped, or has failed.",
}
# Entries of report.json that have a place of their own on the page.
PLACED = {
    "name", "state", "objective", "metrics", "confusion", "absent_classes", "parameters", "epochs", "max_epochs",
    "steps", "ended_by", "early_stopping", "seconds", "images_per_second", "device", "processes", "precision",
    "deterministic", "loop", "seed", "data", "command", "versions", "git", "fingerprint", "last_command", "thresholds",
    "members", "per_class", "clients", "overrides",
}  # fmt: skip


def run_page(folder: Path) -> tuple[str, list[Html]]:
    """Return the title and the sections of the page of a run.

    Raises:
        UserError: `folder` is not a run folder, or a file in it is damaged.
    """
    config: Any = OmegaConf.to_container(read_config(folder), resolve=False)
    if missing := [key for key in NEEDED if key not in dict(flat(config))]:
        raise UserError(f"{folder / 'config.yaml'}: is damaged (it has no {missing[0]})")
    report, origin = read_object(folder / "report.json"), read_object(folder / "origin.json") or {}
    if report is not None:
        report = check_report({"state": "finished", **report}, folder / "report.json")
    curves = read_curves(folder)
    name, id_ = clean(str(config.get("name", "run"))), folder.resolve().name
    command = " ".join(filter(None, (get(origin, "command"), get(report, "last_command"))))
    classes, inputs = described_data(folder)
    task = str(get(config, "task", "_target_"))
    generates = "images" if task.startswith(GENERATIVE) else "texts" if task.startswith(WRITES) else None
    finished = best_checkpoint(folder).exists()
    sections = [
        overview(name, folder, report),
        results_section(config, report),
        curves_section(curves, report, get(config, "objective", "metric") or ""),
        classes_section(report, classes),
        texts_section(folder),
        images_section(folder),
        config_section(config, command),
        environment_section(report, origin, changed_code=(folder / "uncommitted.diff").exists()),
        use_section(id_, inputs, generates=generates, finished=finished),
    ]
    return f"{name} · {id_}", [one for one in sections if one]


def described_data(folder: Path) -> tuple[list[str] | None, str | None]:
    """Return the class names and the kind of the inputs, each None if it is not known. No data is read."""
    from leyden.config.builders import build_data
    from leyden.config.stored import loaded_config

    try:
        data = build_data(loaded_config(folder))
    except UserError:
        return None, None  # a data set of a plugin, or of another version
    names = data.class_names()
    return list(names) if names else None, data.input_kind


def overview(name: str, folder: Path, report: Mapping[str, Any] | None) -> Html:
    """Return the heading with the state, and the most important numbers."""
    state = report["state"] if report else "unfinished"
    badge = el("span", state, class_="badge", data_state=state)
    head = el("header", el("p", "Leyden run report", class_="kicker"), el("h1", name, " ", badge),
              el("p", el("code", folder.resolve().name), class_="muted"))  # fmt: skip
    text = el("p", STATES.get(state, ""))
    output = None if report else output_tail(folder)
    return el("div", head, text, cards(report) if report else None, output, class_="overview")


def cards(report: Mapping[str, Any]) -> Html:
    """Return the objective, the same metric of the test, size, time and device."""
    objective = report["objective"]
    metric, best, epoch = objective["metric"], get(report, "objective", "best", kind=(int, float)), None
    if (at := get(report, "objective", "epoch", kind=int)) is not None and at >= 0:
        epoch = f"best epoch: {at + 1}"
    on_test = metric.replace("val/", "test/")
    seconds = report["seconds"]["training"]
    speed = get(report, "images_per_second", kind=(int, float))
    entries = [
        (metric, best, epoch or ""),
        (on_test, report["metrics"].get(on_test) if on_test != metric else None, "the best epoch, tested once"),
        ("parameters", report["parameters"], ""),
        ("training", f"{seconds:,.1f} s", f"{speed:,.0f} samples/s" if speed else ""),
        ("epochs", report["epochs"], early(report)),
        ("seed", get(report, "seed", kind=int), ""),
    ]
    shown = [
        el("div", el("dt", label), el("dd", value if isinstance(value, str) else number(value),
           el("small", extra) if extra else None), class_="card")
        for label, value, extra in entries
        if value is not None
    ]  # fmt: skip
    return el("dl", *shown, class_="cards")


def early(report: Mapping[str, Any]) -> str:
    """Return how many epochs were allowed, if fewer were trained."""
    allowed = get(report, "max_epochs", kind=int)
    if allowed is None or allowed <= report["epochs"]:
        return ""
    ended = get(get(report, "ended_by", kind=dict) or {}, "key", kind=str)
    return f"of at most {allowed:,}" + (f"; ended by {ended}" if ended else "")


def output_tail(folder: Path) -> Html | None:
    """Return the last lines of output.log, which trials of a sweep write."""
    content = read_bytes(folder / "output.log", 1 << 30)
    if not content:
        return None
    lines = content[-OUTPUT_BYTES:].decode(errors="replace").splitlines()[-15:]
    return details("The last lines of its output", el("pre", el("code", "\n".join(lines)), tabindex="0"))


def results_section(config: Mapping[str, Any], report: Mapping[str, Any] | None) -> Html:
    """Return the metrics of validation and test with the number of samples."""
    if not report:
        return Html("")
    known = {split: samples(config, report, split) for split in ("val", "test")}
    sizes = {split: n for split, n in known.items() if n}
    others = [(key, short_value(value)) for key, value in report.items() if key not in PLACED]
    facts = definitions([("data", data_text(report)), *others])
    columns = el("div", el("div", metrics_table(report, sizes)), el("div", facts), class_="columns")
    return section("Results", columns, members_table(report), clients_table(report), id_="results")


def members_table(report: Mapping[str, Any]) -> Html:
    """Return the test metrics of each net of an ensemble; empty for a single net."""
    listed = get(report, "members", kind=list) or []
    metrics = [get(member, "metrics", kind=dict) or {} for member in listed]
    settings = [name for name in ("seed", "lr") if listed and get(listed[0], name, kind=(int, float)) is not None]
    names = [str(name) for name in metrics[0] if str(name).startswith("test/")] if metrics else []
    cells = [
        [get(source, name, kind=(int, float)) for source, keys in ((member, settings), (found, names)) for name in keys]
        for member, found in zip(listed, metrics, strict=True)
    ]
    return table("The nets of the ensemble", [*settings, *names], cells, sortable=True) if cells else Html("")


def clients_table(report: Mapping[str, Any]) -> Html:
    """Return the metrics of the tested weights on the training samples of each client; empty if there are none."""
    listed = get(report, "clients", kind=list) or []
    if not listed:
        return Html("")
    names = [str(name) for name in get(listed[0], "metrics", kind=dict) or {}]
    facts = ("client", "samples", "rounds", "last_loss")
    cells = [
        [
            *(get(client, name, kind=(int, float)) for name in facts),
            *(get(client, "metrics", name, kind=(int, float)) for name in names),
        ]
        for client in listed
    ]
    return table("The clients of the federated training", [*facts, *names], cells, sortable=True)


def samples(config: Mapping[str, Any], report: Mapping[str, Any], split: str) -> int | None:
    """Return the number of samples that the metrics of `split` are computed on; None if it is not known."""
    size = get(report, "data", "sizes", split, kind=int)
    limit = get(config, "trainer", f"limit_{split}_batches", kind=(int, float))
    batch = get(config, "data", "eval_batch_size", kind=int)
    if size and batch and isinstance(limit, int):
        return int(min(size, limit * batch * (get(report, "processes", kind=int) or 1)))
    return int(size) if size and limit == 1.0 else None


def short_value(value: Any) -> Child:
    """Return an additional entry of a report as text."""
    if isinstance(value, dict):
        return ", ".join(f"{key}: {item}" for key, item in value.items())
    return number(value) if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
