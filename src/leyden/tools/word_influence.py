"""Which words of a text speak for a prediction: how much the score falls if a word is not known.

Each token in turn is replaced by an unknown one, which keeps the places of the others (Li et al., 2016: Understanding
Neural Networks through Representation Erasure). It works for every net and needs no gradient.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from leyden.data.datamodule import printable
from leyden.data.texts import TextData
from leyden.data.tokens import PADDING, UNKNOWN
from leyden.modules.predictions import Prediction
from leyden.tools.explained_score import explained_score
from leyden.tools.explanation_plots import described
from leyden.tools.figures import figure, short
from leyden.tools.trained_model import TrainedModel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CHUNK = 64  # texts that are computed together
COLUMNS = 90  # characters of a line of the plot
WIDTH, HEIGHT = 0.0675, 0.25  # of a character in inches
HEADING = 0.75  # inches
DARKEST = 0.75  # colour of the strongest token; black letters on a darker ground are hard to read
MAX_LINES = 60


@dataclass(frozen=True, eq=False)
class WordInfluence:
    """The explanation of the prediction for one text.

    Args:
        prediction: what the model predicts.
        what: the score that is explained, for example "score of class pos".
        tokens: the tokens that the net reads.
        influence: how much the score falls without each of them, float (T,).
    """

    prediction: Prediction
    what: str
    tokens: tuple[str, ...]
    influence: Tensor


@torch.no_grad()
def word_influence(model: TrainedModel, item: Any) -> WordInfluence:
    """Explain the prediction for a text.

    Args:
        model: a loaded run on texts with labels.
        item: what `TextData.encode` takes.

    Raises:
        UserError: the text cannot be read, or is empty.
    """
    data = model.data
    assert isinstance(data, TextData)
    sample = data.encode(item)
    sample = sample[: int((sample != PADDING).sum())]  # (T,)
    inputs = model.batch([sample])  # (1, T)
    (prediction,) = model.module.predictions(model.module.predict(inputs))
    score, what = explained_score(model, inputs)
    without = inputs.repeat(len(sample), 1).fill_diagonal_(UNKNOWN)  # (T, T)
    scores = torch.cat([score(part) for part in torch.split(without, CHUNK)])
    tokens = data.tokens(item)[: len(sample)]
    return WordInfluence(prediction, what, tuple(tokens), (score(inputs) - scores).float().cpu())


def plot_words(path: Path, found: WordInfluence, name: str) -> None:
    """Write the tokens of a text as an image: red ones speak for the prediction, blue ones against it.

    Args:
        path: the PNG file to write.
        found: what is drawn. Only the first `MAX_LINES` lines are.
        name: the name of the text.
    """
    placed = list(lines(found))
    num = 1 + max(line for line, *_ in placed)
    height = num * HEIGHT + HEADING
    with figure(path, figsize=(COLUMNS * WIDTH + 0.4, height), layout="none") as drawn:
        axes = drawn.add_axes((0.0, 0.0, 1.0, num * HEIGHT / height))
        axes.set(xlim=(-2, COLUMNS + 3), ylim=(num - 0.5, -0.5))
        axes.set_axis_off()
        for line, column, token, strength in placed:
            draw_token(axes, line, column, token, strength)
        heading = f"{short(name, 60)}: {described(found.prediction)}\nexplained: {short(found.what, 60)}"
        drawn.suptitle(f"{heading}\nred: speaks for the prediction, blue: against it", x=0.02, ha="left", size="small")


def draw_token(axes: "Axes", line: int, column: int, token: str, strength: float) -> None:
    """Draw a token at its place on a coloured ground; `strength` is from -1 to 1."""
    from matplotlib import colormaps

    ground = colormaps["coolwarm"](0.5 + DARKEST * strength / 2)
    axes.text(column, line, token, family="monospace", size=8, va="center", bbox={"facecolor": ground, "pad": 1.2,
              "edgecolor": "none", "alpha": abs(strength)})  # fmt: skip


def lines(found: WordInfluence) -> Iterator[tuple[int, int, str, float]]:
    """Yield the line, the column, the text and the strength, -1 to 1, of each token that is drawn."""
    largest = float(found.influence.abs().max()) or 1.0
    line = column = 0
    for token, value in zip(found.tokens, found.influence.tolist(), strict=True):
        text = short(token, COLUMNS)
        if column and column + len(text) > COLUMNS:
            line, column = line + 1, 0
        if line == MAX_LINES:
            return
        yield line, column, printable(text), value / largest
        column += len(text) + 1
