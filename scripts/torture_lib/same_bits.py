"""Compare two run folders that should have ended in the same bits."""

from pathlib import Path
from typing import Any

import torch


def compare(one: Path, other: Path, curves_too: bool = True) -> list[str]:
    """Return what differs between two runs: weights, optimizer, metrics without their times, TensorBoard's curves."""
    return differences(end_state(one), end_state(other), curves_too)


def end_state(folder: Path) -> dict[str, Any]:
    """Return everything of a finished run that must not depend on kills."""
    names = ("last.ckpt", "best.ckpt")
    states = {name: torch.load(folder / "checkpoints" / name, weights_only=True) for name in names}
    return {**states, "metrics.csv": metrics(folder), "TensorBoard": curves(folder)}


def differences(one: dict[str, Any], other: dict[str, Any], curves_too: bool = True) -> list[str]:
    found = []
    for name in ("last.ckpt", "best.ckpt"):
        found += differing(one[name], other[name], at=name)
    for name in ("metrics.csv", "TensorBoard")[: 1 + curves_too]:
        if one[name] != other[name]:
            found.append(f"{name} differs:\n{one[name]}\n{other[name]}")
    return found


def differing(one: Any, other: Any, at: str) -> list[str]:
    """Return where two nested states differ in a key, a type, a value or a bit of a tensor."""
    if type(one) is not type(other):
        return [f"{at}: {type(one).__name__} and {type(other).__name__}"]
    if isinstance(one, dict) and list(one) == list(other):
        return [text for key in one for text in differing(one[key], other[key], f"{at}/{key}")]
    if isinstance(one, list | tuple) and len(one) == len(other):
        return [text for i, pair in enumerate(zip(one, other, strict=True)) for text in differing(*pair, f"{at}/{i}")]
    if isinstance(one, torch.Tensor):
        same = one.dtype == other.dtype and one.shape == other.shape
        return [] if same and as_bytes(one) == as_bytes(other) else [f"{at}: tensors"]
    return [] if one == other or (one != one and other != other) else [f"{at}: {one} and {other}"]


def as_bytes(tensor: torch.Tensor) -> bytes:
    """Return the bytes of a tensor of any type. The view as uint8 is needed for bfloat16, a type that numpy lacks."""
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def metrics(folder: Path) -> list[dict[str, str]]:
    """The rows of metrics.csv without the columns that hold times."""
    from leyden.records.loggers import read_metrics

    rows = read_metrics(folder / "metrics.csv")
    return [{name: value for name, value in row.items() if not name.startswith("time/")} for row in rows]


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Return tag → (step, value) of each point, as TensorBoard shows them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from leyden.records.loggers import TIMES

    events = EventAccumulator(str(folder))
    events.Reload()
    tags = [tag for tag in events.Tags()["scalars"] if tag not in TIMES.values()]
    return {tag: [(point.step, point.value) for point in events.Scalars(tag)] for tag in tags}
