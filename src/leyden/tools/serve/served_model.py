"""What the server answers: facts about the run, predictions, explanations and samples, as plain values for JSON."""

import base64
import io
import json
import math
import threading
from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torchvision.transforms.functional import to_pil_image

import leyden
from leyden.data.series import Series
from leyden.data.tables import TableData
from leyden.errors import UserError
from leyden.modules.plots import grid
from leyden.modules.translator import Translator
from leyden.records.json_files import read_report
from leyden.records.report import finite
from leyden.tools.explain import check_explains
from leyden.tools.serve.drawn_digit import can_draw, pen, prepare_drawing
from leyden.tools.serve.input_gradient import enlarged, overlay, saliency
from leyden.tools.trained_model import TrainedModel

MAX_SAMPLES = 64  # images per request
MAX_TOP = 1000  # classes per answer


class ServedModel:
    """A loaded run, used by several threads. One of them computes at a time.

    Args:
        model: the loaded run.
    """

    def __init__(self, model: TrainedModel) -> None:
        self.model = model
        self.lock = threading.Lock()
        report = read_report(model.folder) or {}
        self.metrics: dict[str, Any] = report.get("metrics", {})

    def info(self) -> dict[str, Any]:
        """Return what a client needs to know: the task, the kind of input, class names, metrics."""
        model, data = self.model, self.model.data
        draws = not model.generates and data.input_kind == "image" and can_draw(data)
        return {
            "name": str(model.config.name),
            "task": str(model.config.task["_target_"]).rpartition(".")[2],
            "input": None if model.generates else data.input_kind,
            "generates": model.generates,
            "draws": draws,
            "pen": pen(data) if draws else None,
            "shape": list(data.shape),
            "classes": list(model.classes) if model.classes else None,
            "features": list(data.columns()) if isinstance(data, TableData) else None,
            "categories": data.category_names() if isinstance(data, TableData) else {},
            "optional": isinstance(data, TableData) and data.impute,
            "explains": isinstance(model.module, Translator) or (not model.generates and data.input_kind == "image"),
            "horizon": data.horizon if isinstance(data, Series) else None,
            "parameters": model.module.num_parameters,
            "metrics": self.metrics,
            "version": leyden.__version__,
        }

    def predict(self, item: Any, top: int) -> dict[str, Any]:
        """Return the object that ``scripts/predict.py --json`` prints for a raw input.

        Args:
            item: the bytes of an image file, pixels, a row, the steps of a series, or a text.
            top: number of classes to return.

        Raises:
            UserError: the input does not fit the data set, or the model predicts nothing.
        """
        if not 1 <= top <= MAX_TOP:
            raise UserError(f"top: got {top}, must be between 1 and {MAX_TOP}")
        self.model.check_predicts()
        sample = self.model.data.encode(item)
        with self.lock:
            (found,) = self.model.predict_samples([sample])
        return {"input": self.model.data.input_kind, **found.as_dict(top)}

    def drawing(self, payload: bytes) -> Any:
        """Return the pixels of a drawing, see `prepare_drawing`.

        Raises:
            UserError: drawings are not inputs of this run.
        """
        if not self.info()["draws"]:
            raise UserError("drawing: is possible only for models that were trained on images of digits")
        return prepare_drawing(payload, self.model.data)

    def explain(self, item: Any) -> dict[str, Any]:
        """Return images that explain the prediction for an image or a text: ``{"images": [{"title", "text", "png"}]}``.

        They show the image as the model receives it, and the influence of its pixels or its reconstruction; of a text
        to translate, the attention.

        Raises:
            UserError: the input is neither an image nor a text to translate, or does not fit the data set.
        """
        model = self.model
        check_explains(model)
        sample = model.data.encode(item)
        if isinstance(model.module, Translator):
            with self.lock:
                plot = model.module.attention_plot(model.batch([sample]))
            text = "From which tokens of the source (columns) the model wrote each token of the translation (rows)."
            return {"images": [described("Attention", text, plot)]}
        pixels = sample.float() / 255
        images = [described("Input", "The image as the model receives it.", enlarged(pixels))]
        with self.lock:
            (found,) = model.predict_samples([sample])
            if found.image is not None:
                text = "What the model makes of it. Large differences mean that the image is unusual."
                return {"images": [*images, described("Reconstruction", text, enlarged(found.image.cpu()))]}
            strengths = saliency(model, model.batch([sample])).cpu()
        text = "Red pixels have the largest influence on this prediction (gradient of its score)."
        return {"images": [*images, described("Influence", text, overlay(pixels, strengths))]}

    def sample(self, num: int, seed: int) -> dict[str, Any]:
        """Return a grid of `num` generated images, in the form of `explain`.

        Raises:
            UserError: `num` is out of its range, or the model does not generate images.
        """
        if not 1 <= num <= MAX_SAMPLES:
            raise UserError(f"num: got {num}, must be between 1 and {MAX_SAMPLES}")
        if not 0 <= seed < 2**63:
            raise UserError(f"seed: got {seed}, must be at least 0 and below 2**63")
        with self.lock:
            images = self.model.sample_images(num, seed).float().cpu()
        text = f"{num} generated image{'s' * (num > 1)}, seed {seed}."
        return {"images": [described("Samples", text, enlarged(grid(images, max(1, round(math.sqrt(num))))))]}


def described(title: str, text: str, image: Tensor) -> dict[str, str]:
    """Return an image (C, H, W), 0 to 1, as a PNG in base64 with its title and description."""
    buffer = io.BytesIO()
    to_pil_image(image.clamp(0, 1)).save(buffer, format="png")
    return {"title": title, "text": text, "png": base64.b64encode(buffer.getvalue()).decode()}


def as_json(values: Mapping[str, Any]) -> bytes:
    """Return values as one line of JSON. NaN and infinity, which JSON does not have, become null."""
    return (json.dumps(finite(values), allow_nan=False) + "\n").encode()
