"""Damaged files of sweeps: the journal, and reports of trials."""

from collections.abc import Callable, Iterator
from pathlib import Path

from scripts.torture_lib.corpus import DAMAGES, Case, Place

# A finished sweep costs seconds to make, so the journal is damaged without one: the first line starts a study.
FIRST = (
    '{"op_code": 0, "worker_id": "w", "study_name": "x", "directions": [1]}\n'
    '{"op_code": 2, "worker_id": "w", "study_id": 0, "user_attr": {"identity": "other"}}\n'
)
SWEEP = (
    "train.py -m model=mlp model.hidden=[8] data=digits data.limit=0.1 trainer=smoke logger=none sweep.name=x "
    "paths.logs=RUN/logs optimizer.lr=choice(0.1)"
)


def sweep_cases() -> Iterator[Case]:
    contents = {
        "a line cut in its middle": FIRST[:-20],
        "a line of another kind": FIRST + "hello\n",
        "another operation": '{"op_code": 99}\n',
    }
    makers: dict[str, Callable[[Path], None]] = {**DAMAGES}
    for what, content in contents.items():
        makers[what] = lambda path, content=content: path.write_text(content)  # type: ignore[misc]
    for what, damage in makers.items():
        if what in ("missing", "empty", "a link to a missing file"):
            continue  # this is a new sweep

        def prepare(place: Place, damage: Callable[[Path], None] = damage) -> None:
            path = place.run / "logs" / "sweeps" / "x" / "journal.log"
            path.parent.mkdir(parents=True)
            path.write_text(FIRST)
            damage(path)

        yield Case(f"journal.log is {what}", prepare, tuple(SWEEP.split()), (0, 1, 2), template="empty", lines=False)
