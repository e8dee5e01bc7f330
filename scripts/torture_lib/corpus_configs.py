"""Hostile configs in a run folder: interpolations, foreign classes, objects among the keys, aliases and tags."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import yaml

from scripts.torture_lib import words
from scripts.torture_lib.corpus import COMPARE, EVALUATE, LOAD, RESUME, TRACE, Case, Place


def edited(change: Callable[[dict[str, Any], Place], None]) -> Callable[[Place], None]:
    """Change the config of the run folder."""

    def prepare(place: Place) -> None:
        path = place.run / "config.yaml"
        config = yaml.safe_load(path.read_text())
        change(config, place)
        path.write_text(yaml.safe_dump(config))

    return prepare


def put(config: dict[str, Any], place: Place, key: str, value: Any) -> None:
    """Set a dotted key; OUTSIDE and SERVER in a text stand for the place."""
    *path, last = key.split(".")
    for name in path:
        config = config.setdefault(name, {})
    config[last] = placed(value, place)


def placed(value: Any, place: Place) -> Any:
    """Replace OUTSIDE and SERVER in the texts of a nested value."""
    if isinstance(value, dict):
        return {key: placed(one, place) for key, one in value.items()}
    if isinstance(value, list):
        return [placed(one, place) for one in value]
    if isinstance(value, str):
        return value.replace("OUTSIDE", str(place.outside)).replace("SERVER", place.server)
    return value


def setting(key: str, value: Any) -> Callable[[Place], None]:
    return edited(partial(put, key=key, value=value))


def config_cases() -> Iterator[Case]:
    yield from interpolations()
    yield from targets()
    yield from objects()
    yield from values_out_of_range()
    yield from folders_and_tags()


def interpolations() -> Iterator[Case]:
    keys_ = [
        "name",
        "objective.metric",
        "seed",
        "trainer.max_epochs",
        "data.root",
        "model.hidden",
        "optimizer.lr",
        "task.loss",
        "paths.logs",
        "extra",
    ]
    for key in keys_:
        for text in ("${oc.env:CANARY}", "${seed}"):
            yield Case(f"{key} is {text}", setting(key, text), RESUME)
        yield Case(f"{key} reads the environment, load", setting(key, "x ${oc.env:CANARY}"), LOAD, (0, 2))
    for text in ("${class_folders:/etc}", "${oc.decode:${oc.env:CANARY}}", "${count:[1]}", "${", "$${oc.env:CANARY}"):
        yield Case(f"name is {text}", setting("name", text), RESUME, (0, 2))


BOMBS = words(
    "os.system subprocess.Popen subprocess.call builtins.exec builtins.eval builtins.print shutil.rmtree "
    "pathlib.Path.unlink leyden.nets.pretrained.published leyden.data.image_files.listing.class_names "
    "leyden.cli.main leyden.run.resume leyden.load leyden.data.download.download torch.load torch.nn.Linear "
    "lightning.pytorch.Trainer leyden.nets.cnn.os leyden.nets..cnn leyden.optim.torch.load leyden leyden. x "
)


def targets() -> Iterator[Case]:
    for section in ("model", "data", "task", "optimizer", "scheduler"):
        for target in BOMBS:
            for command in (RESUME, LOAD) if section in ("model", "task") else (RESUME,):
                yield Case(
                    f"{section}._target_ is {target}, {command[0]}", setting(f"{section}._target_", target), command
                )
        wrong: list[Any] = [3, None, [], {}, "\x1b[31mleyden.nets.cnn.CNN"]
        for value in wrong:
            yield Case(f"{section}._target_ is {value!r}", setting(f"{section}._target_", value), RESUME)


def objects() -> Iterator[Case]:
    bomb = {"_target_": "os.system", "command": f"touch OUTSIDE/{TRACE}"}
    for key in [
        "logger",
        "callbacks",
        "plugins",
        "profiler",
        "strategy",
        "accelerator",
        "precision",
        "default_root_dir",
    ]:
        values: list[Any] = [bomb, [bomb], "x", ["x"]]
        for value in values:
            yield Case(f"trainer.{key} is {str(value)[:30]}", setting(f"trainer.{key}", value), RESUME)
    for key in ["logger", "callbacks"]:
        for value in (
            {"x": bomb},
            [bomb],
            {"x": {"_target_": "lightning.pytorch.callbacks.ModelCheckpoint", "dirpath": "OUTSIDE"}},
        ):
            yield Case(f"{key} is {str(value)[:60]}", setting(key, value), RESUME)
    yield Case("plugins lists a folder with code", plugin, RESUME, (0, 2))


def values_out_of_range() -> Iterator[Case]:
    for key in ("data.mirrors", "data.urls"):
        for command in (RESUME, EVALUATE):
            yield Case(f"{key} points to a server, {command[0]}", setting(key, ["SERVER/"]), command, (0, 2))
    for key, value in (
        ("trainer.devices", 1_000_000),
        ("trainer.num_nodes", 4),
        ("model.channels", [8] * 200_000),
        ("model.channels", [1_000_000_000, 16]),
        ("data.batch_size", 10**12),
        ("trainer.max_epochs", -1),
        ("data.num_classes", 10**9),
        ("task.num_classes", 10**9),
        ("seed", 10**40),
        ("data.shape", [1, 10**6, 10**6]),
        ("data.shape", None),
        ("model", None),
        ("trainer", []),
        ("objective", "x"),
        ("optimizer.lr", "x"),
        ("\x1b[31mkey", "\x1b[2Jvalue"),
        ("model.\x1b[31mkey", 1),
        ("init_from", "OUTSIDE"),
        ("resume", "OUTSIDE"),
    ):
        yield Case(f"{key!a} is {str(value)[:30]!a}", setting(key, value), RESUME, (0, 2))


def folders_and_tags() -> Iterator[Case]:
    for key, value in (
        ("paths.logs", "OUTSIDE"),
        ("paths.data", "OUTSIDE"),
        ("name", "../../outside/x"),
        ("data.root", "OUTSIDE/new"),
        ("data.cache", "OUTSIDE/new"),
    ):
        for command in (RESUME, EVALUATE, COMPARE):
            yield Case(f"{key} leads out of the run folder, {command[0]}", setting(key, value), command, (0, 2))
    yield Case("aliases that expand to gigabytes", aliases, RESUME)
    yield Case("aliases that expand to gigabytes, load", aliases, LOAD)
    yield Case("aliases that expand to gigabytes, compare", aliases, COMPARE, (0, 2), template="finished")
    for tag in (
        f"!!python/object/apply:os.system ['touch OUTSIDE/{TRACE}']",
        "!!python/name:os.system",
        "!!binary aGk=",
        "!x 3",
        "*y",
        "&a [*a]",
    ):
        yield Case(f"a YAML tag {tag[:30]}", partial(append, text=f"\nextra: {tag}\n"), RESUME)


def plugin(place: Place) -> None:
    """A folder of plugins whose Python file leaves a trace when it is imported."""
    (place.outside / "plugin").mkdir()
    (place.outside / "plugin" / "x.py").write_text(f"open({str(place.outside / TRACE)!r}, 'w')\n")
    setting("plugins", ["OUTSIDE/plugin"])(place)


def aliases(place: Place) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    append(place, "\n" + "\n".join(lines) + "\n")


def append(place: Place, text: str) -> None:
    path = place.run / "config.yaml"
    path.write_text(path.read_text() + text.replace("OUTSIDE", str(place.outside)))
