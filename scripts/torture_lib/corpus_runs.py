"""Hostile run folders: damaged files, and links that lead out of the folder."""

from collections.abc import Callable, Iterator
from pathlib import Path

from scripts.torture_lib.corpus import COMPARE, DAMAGES, EVALUATE, LOAD, RESUME, Case, Place
from scripts.torture_lib.corpus_configs import setting

# File of a run folder → the commands that read it.
READERS = {
    "config.yaml": (RESUME, LOAD, COMPARE),
    "report.json": (RESUME, COMPARE),
    "origin.json": (RESUME,),
    "metrics.csv": (RESUME, COMPARE),
    "checkpoints/last.ckpt": (RESUME,),
    "checkpoints/best.ckpt": (RESUME, LOAD),
}
WRITTEN = ["config.yaml", "metrics.csv", "report.json", "origin.json", "checkpoints/last.ckpt", "checkpoints/best.ckpt"]
WRITTEN += ["checkpoints/previous.ckpt"]


def run_cases() -> Iterator[Case]:
    yield from intact()
    yield from damaged_files()
    yield from links()


def intact() -> Iterator[Case]:
    """Nothing is wrong: these commands must succeed, so the other cases fail for the right reason."""
    for command in (RESUME, LOAD, EVALUATE):
        template = "stopped" if command is RESUME else "finished"
        yield Case(f"an intact run, {command[0]}", lambda _: None, command, (0,), command is RESUME, template)
    yield Case("an intact config that was written again", setting("seed", 0), RESUME, (0,), True)


def damaged_files() -> Iterator[Case]:
    for name, commands in READERS.items():
        for damage, apply in DAMAGES.items():
            for command in commands:
                # A report or metrics that are missing or read as empty may be accepted if the result is right.
                template = "finished" if name == "report.json" or command is COMPARE else "stopped"

                def prepare(place: Place, name: str = name, apply: Callable[[Path], None] = apply) -> None:
                    apply(place.run / name)

                yield Case(
                    f"{name} is {damage}, {command[0]}",
                    prepare,
                    command,
                    (0, 2),
                    same=command is RESUME,
                    template=template,
                )


def links() -> Iterator[Case]:
    for name in WRITTEN:
        for suffix in (".partial", ""):

            def to_file(place: Place, path: str = name + suffix) -> None:
                (place.run / path).unlink(missing_ok=True)
                (place.run / path).symlink_to(place.victim)

            yield Case(f"{name}{suffix} is a link to another file", to_file, RESUME, (0, 2), same=True)
    for name in (
        "checkpoints",
        "samples",
        "images",
        ".running.lock",
        "output.log",
        "uncommitted.diff",
        "events.out.tfevents.1.x.1.0",
    ):

        def prepare(place: Place, name: str = name) -> None:
            path = place.run / name
            if path.is_dir():
                path.rename(place.work.parent / "moved")
                path.symlink_to(place.work.parent / "moved")
            else:
                path.unlink(missing_ok=True)
                path.symlink_to(place.victim if "." in name else place.outside)

        yield Case(f"{name} is a link out of the run folder", prepare, RESUME, (0, 2), same=True)
