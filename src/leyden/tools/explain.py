"""Explain predictions for images: which pixels does the model use?

The methods are in `leyden.tools.pixel_attribution` and `leyden.tools.attention_maps`. In grey images pixels are
compared with black, and in colour images with the mean colour of the training images.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from leyden.modules.autoencoder import Autoencoder
from leyden.modules.classifier import Classifier
from leyden.modules.clip import CLIP
from leyden.modules.multilabel import Multilabel
from leyden.modules.pixels import to_pixels
from leyden.modules.predictions import Prediction
from leyden.modules.regressor import Regressor
from leyden.modules.self_supervised import SelfSupervised
from leyden.modules.transcriber import Transcriber
from leyden.modules.translator import Translator
from leyden.nets.ensemble import Ensemble
from leyden.nets.seq2seq import Seq2Seq
from leyden.nets.transformer import Transformer
from leyden.tools.attention_maps import attention_maps
from leyden.tools.explained_score import explained_score
from leyden.tools.pixel_attribution import grad_cam, integrated_gradients, last_convolution, occlusion, require_captum
from leyden.tools.trained_model import TrainedModel

IN_PLACE = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.SiLU, nn.Hardswish, nn.ELU)


@dataclass(frozen=True, eq=False)
class Explanation:
    """The explanation of the prediction for one image.

    Args:
        prediction: what the model predicts.
        what: the score that is explained, for example "score of class 7".
        image: (C, H, W), 0 to 1, as the net sees it, without normalisation.
        maps: method → (H, W). Positive values speak for the prediction, negative ones against it. Grad-CAM, attention
            and reconstruction errors are never negative.
    """

    prediction: Prediction
    what: str
    image: Tensor
    maps: dict[str, Tensor]


class Explainer:
    """Explains the predictions of a trained model.

    Args:
        model: a loaded run, see `leyden.load`. Its module is converted to float32 if it has half precision.

    Raises:
        UserError: the method does not apply to the run, or captum is not installed.
    """

    def __init__(self, model: TrainedModel) -> None:
        check_explains(model)
        self.model, self.module, self.net = model, model.module, model.net
        if not isinstance(self.module, Classifier | Multilabel | Transcriber | CLIP | Regressor | Autoencoder):
            raise model.does_not_apply("explain", "because Leyden does not know which of its outputs is the prediction")
        if next(self.module.parameters()).dtype in (torch.bfloat16, torch.float16):
            self.module.float()
        for layer in self.net.modules():
            if isinstance(layer, IN_PLACE):
                layer.inplace = False  # it would change the output of the layer that Grad-CAM reads
        if not isinstance(self.module, Autoencoder):
            require_captum()
        self.attends = isinstance(self.net, Transformer | Seq2Seq)
        is_single = not self.attends and not isinstance(self.net, Ensemble)
        self.last_convolution = last_convolution(self.model) if is_single else None

    def notes(self) -> list[str]:
        """Return a line for each method that does not apply to the net, and why."""
        if isinstance(self.module, Autoencoder):
            return ["an autoencoder is explained by the error of each pixel of its reconstruction"]
        lines = []
        if self.attends:
            lines.append("Grad-CAM: does not apply, because the net has no convolution after its patches")
        elif isinstance(self.net, Ensemble):
            lines.append("Grad-CAM: does not apply to an ensemble, in which each net has its own convolutions")
        elif self.last_convolution is None:
            lines.append(f"Grad-CAM: does not apply, because the net ({type(self.net).__name__}) has no convolution")
        if not self.attends:
            lines.append(f"attention: does not apply, because the net ({type(self.net).__name__}) has none")
        return lines

    def explain(self, sample: Tensor) -> Explanation:
        """Explain the prediction for an image as `InMemoryData.encode` returns it, uint8 (C, H, W)."""
        inputs = self.model.batch([sample])  # (1, C, H, W)
        image = sample.float() / 255
        with torch.no_grad():
            (prediction,) = self.module.predictions(self.module.predict(inputs))
        if isinstance(self.module, Autoencoder):
            return Explanation(prediction, "anomaly score", image, {"squared error": self._errors(inputs)})
        score, what = explained_score(self.model, inputs)
        maps = {
            "integrated gradients": integrated_gradients(score, inputs, self._baseline(inputs)),
            **({"Grad-CAM": grad_cam(score, inputs, self.last_convolution)} if self.last_convolution else {}),
            "occlusion": occlusion(score, inputs, self._baseline(inputs)),
            **attention_maps(self.module, inputs),
        }
        found = {name: values.detach().float().cpu() for name, values in maps.items()}
        return Explanation(prediction, what, image, found)

    def _baseline(self, inputs: Tensor) -> Tensor:
        """Return the image that shows nothing, (1, C, H, W): black, or the mean colour for colour images."""
        if inputs.shape[1] != 1:
            return torch.zeros_like(inputs)
        black = torch.zeros(inputs.shape, dtype=torch.uint8, device=inputs.device)
        return self.model.data.transform(inputs.device)(black).to(inputs.dtype)

    def _errors(self, inputs: Tensor) -> Tensor:
        with torch.no_grad():
            errors: Tensor = (self.module(inputs) - to_pixels(self.module, inputs)).square()
        return errors[0].mean(0).float().cpu()


def check_explains(model: TrainedModel) -> None:
    """Raise UserError unless the model predicts something for an image, or translates texts."""
    if model.generates:
        raise model.does_not_apply("explain", "which predicts nothing for an image")
    if isinstance(model.module, SelfSupervised):
        reason = "which predicts nothing for an image. Fine-tune it first: python train.py init_from=RUN"
        raise model.does_not_apply("explain", reason)
    if model.data.input_kind != "image" and not isinstance(model.module, Translator):
        raise model.does_not_apply("explain", "because the inputs of this run are no images")


def explain(model: TrainedModel, inputs: Any) -> Iterator[Explanation]:
    """Yield the explanation of the prediction for each image.

    Args:
        model: a loaded run, see `leyden.load`.
        inputs: images as for `TrainedModel.predict`.

    Raises:
        UserError: the run has no images, predicts nothing, or an image cannot be read.
    """
    explainer = Explainer(model)
    return (explainer.explain(model.data.encode(item)) for item in model.items(inputs))
