"""Explain predictions for images: which pixels does the model use?

    integrated gradients (Sundararajan et al., 2017)   how much each pixel adds to the score of the prediction
    Grad-CAM (Selvaraju et al., 2017)                  where the last convolution finds what speaks for the prediction
    occlusion (Zeiler and Fergus, 2014)                how much the score falls if a square is covered
    attention                                          which patches a transformer combines (rollout, Abnar and
                                                       Zuidema, 2020), or reads for each symbol of a text

The first three are computed by captum, an optional package. In grey images pixels are compared with
black, and in colour images with the mean colour of the training images.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from leyden.errors import UserError
from leyden.modules.autoencoder import Autoencoder
from leyden.modules.classifier import Classifier
from leyden.modules.multilabel import Multilabel
from leyden.modules.pixels import to_pixels
from leyden.modules.predictions import Prediction
from leyden.modules.regressor import Regressor
from leyden.modules.transcriber import Transcriber
from leyden.nets.seq2seq import Seq2Seq
from leyden.nets.transformer import Tokens, Transformer
from leyden.tools.explained_score import Score, explained_score
from leyden.tools.trained_model import TrainedModel

STEPS = 50  # of the integral
WINDOWS = 8  # covered squares next to each other along the shorter side; they overlap by one half
CHUNK = 32  # covered images that are computed together
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
        if not isinstance(self.module, Classifier | Multilabel | Transcriber | Regressor | Autoencoder):
            raise model.does_not_apply("explain", "because Leyden does not know which of its outputs is the prediction")
        if next(self.module.parameters()).dtype in (torch.bfloat16, torch.float16):
            self.module.float()
        for layer in self.net.modules():
            if isinstance(layer, IN_PLACE):
                layer.inplace = False  # it would change the output of the layer that Grad-CAM reads
        if not isinstance(self.module, Autoencoder):
            require_captum()
        self.attends = isinstance(self.net, Transformer | Seq2Seq)
        self.last_convolution = None if self.attends else self._last_convolution()

    def notes(self) -> list[str]:
        """Return a line for each method that does not apply to the net, and why."""
        if isinstance(self.module, Autoencoder):
            return ["an autoencoder is explained by the error of each pixel of its reconstruction"]
        lines = []
        if self.attends:
            lines.append("Grad-CAM: does not apply, because the net has no convolution after its patches")
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
            "integrated gradients": self._integrated_gradients(inputs, score),
            "Grad-CAM": self._grad_cam(inputs, score),
            "occlusion": self._occlusion(inputs, score),
            **self._attention(inputs),
        }
        found = {name: values.detach().float().cpu() for name, values in maps.items() if values is not None}
        return Explanation(prediction, what, image, found)

    def _baseline(self, inputs: Tensor) -> Tensor:
        """Return the image that shows nothing, (1, C, H, W): black, or the mean colour for colour images."""
        if inputs.shape[1] != 1:
            return torch.zeros_like(inputs)
        black = torch.zeros(inputs.shape, dtype=torch.uint8, device=inputs.device)
        return self.model.data.transform(inputs.device)(black).to(inputs.dtype)

    def _integrated_gradients(self, inputs: Tensor, score: Score) -> Tensor:
        from captum.attr import IntegratedGradients

        method = IntegratedGradients(score)
        found: Tensor = method.attribute(inputs, self._baseline(inputs), n_steps=STEPS, internal_batch_size=STEPS)
        return found[0].sum(0)

    def _grad_cam(self, inputs: Tensor, score: Score) -> Tensor | None:
        from captum.attr import LayerGradCam

        if self.last_convolution is None:
            return None
        method = LayerGradCam(score, self.last_convolution)
        found: Tensor = method.attribute(inputs.clone().requires_grad_(), relu_attributions=True)  # (1, 1, h, w)
        return interpolate(found, inputs.shape[2:], mode="bilinear")[0, 0]

    def _occlusion(self, inputs: Tensor, score: Score) -> Tensor:
        from captum.attr import Occlusion

        side = max(2, round(min(inputs.shape[2:]) / WINDOWS * 2))
        window, stride = (inputs.shape[1], side, side), (inputs.shape[1], max(1, side // 2), max(1, side // 2))
        with torch.no_grad():
            found: Tensor = Occlusion(score).attribute(
                inputs, window, strides=stride, baselines=self._baseline(inputs), perturbations_per_eval=CHUNK
            )
        mean: Tensor = found[0].mean(0)
        return mean

    def _attention(self, inputs: Tensor) -> dict[str, Tensor]:
        if isinstance(self.net, Transformer):
            weights = rollout(self.net.attention(inputs)[:, 0])
            row = weights.mean(0) if self.net.class_token is None else weights[0, 1:]
            return {"attention": patches_to_pixels(row, self.net.tokens, inputs)}
        if not isinstance(self.net, Seq2Seq) or not isinstance(self.module, Transcriber):
            return {}
        symbols = self.module.predict(inputs)["symbols"]
        weights = self.net.attention(inputs, symbols)[:, 0].mean((0, 1))  # (L, S)
        tokens = self.net.encoder[0]
        assert isinstance(tokens, Tokens)
        num = int((symbols[0] >= 0).sum())
        return {f"attention, symbol {n + 1}": patches_to_pixels(weights[n], tokens, inputs) for n in range(num)}

    def _errors(self, inputs: Tensor) -> Tensor:
        with torch.no_grad():
            errors: Tensor = (self.module(inputs) - to_pixels(self.module, inputs)).square()
        return errors[0].mean(0).float().cpu()

    @torch.no_grad()
    def _last_convolution(self) -> nn.Module | None:
        """Return the convolution that is computed last, of those whose output has more than one position."""
        found: list[nn.Module] = []

        def add(layer: nn.Module, _: Any, output: Tensor) -> None:
            if output.dim() == 4 and output.shape[2] * output.shape[3] > 1:
                found.append(layer)

        handles = [layer.register_forward_hook(add) for layer in self.net.modules() if isinstance(layer, nn.Conv2d)]
        self.module(self.model.batch([torch.zeros(tuple(self.model.data.shape), dtype=torch.uint8)]))
        for handle in handles:
            handle.remove()
        return found[-1] if found else None


def check_explains(model: TrainedModel) -> None:
    """Raise UserError unless the model predicts something for an image."""
    if model.generates:
        raise model.does_not_apply("explain", "which predicts nothing for an image")
    if model.data.input_kind != "image":
        raise model.does_not_apply("explain", "because its inputs are no images")


def require_captum() -> None:
    """Raise UserError unless captum is installed."""
    try:
        import captum.attr  # noqa: F401
    except ImportError as error:
        raise UserError('explain: needs captum: pip install -e ".[explain]"') from error


def rollout(weights: Tensor) -> Tensor:
    """Combine the attention of all layers, with the residuals (Abnar and Zuidema, 2020).

    Args:
        weights: (layers, H, T, T), rows sum to 1.

    Returns:
        (T, T), how much each token of the last layer contains of each token of the first; rows sum to 1.
    """
    identity = torch.eye(weights.shape[-1], device=weights.device, dtype=weights.dtype)
    combined = identity
    for layer in weights.mean(1):
        combined = (layer + identity) / 2 @ combined
    return combined


def patches_to_pixels(weights: Tensor, tokens: Tokens, inputs: Tensor) -> Tensor:
    """Return the weight of the patch of each pixel, (H, W): weights (patches,), inputs (1, C, H, W)."""
    height, width = inputs.shape[2:]
    rows, columns = tokens.grid
    side = (height + tokens.padding[3]) // rows
    grid = weights.view(rows, columns)
    return grid.repeat_interleave(side, 0).repeat_interleave(side, 1)[:height, :width]


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
