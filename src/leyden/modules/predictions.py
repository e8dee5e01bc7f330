"""What a model predicts for one input, in the words and units of its data set."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

Pairs = tuple[tuple[str, float], ...]


@dataclass(frozen=True, eq=False)
class Prediction:
    """The prediction for one input.

    Args:
        prediction: a class name, a list of labels, a text, a number, or a list of numbers.
        probability: the probability of the class or text, 0 to 1; None if the task has none.
        top: all classes or labels with their probabilities, the most probable first; empty if the task has none.
        image: for a reconstruction, float (C, H, W), 0 to 1.
    """

    prediction: str | float | list[str] | list[float]
    probability: float | None = None
    top: Pairs = ()
    image: Tensor | None = field(default=None, repr=False)

    def as_dict(self, k: int = 5) -> dict[str, Any]:
        """Return plain values for JSON, with the `k` most probable classes and without the image."""
        top = [[name, probability] for name, probability in self.top[:k]]
        return {"prediction": self.prediction, "probability": self.probability, "top": top}


def ranked(probabilities: Sequence[float], names: Sequence[str]) -> Pairs:
    """Return the names with their probabilities, the most probable first. Ties keep the order of the names."""
    order = sorted(range(len(names)), key=lambda number: -probabilities[number])
    return tuple((names[number], probabilities[number]) for number in order)
