"""How much each pixel of an image adds to a score. Computed by captum, an optional package.

    integrated gradients (Sundararajan et al., 2017)   how much each pixel adds to the score of the prediction
    Grad-CAM (Selvaraju et al., 2017)                  where the last convolution finds what speaks for the prediction
    occlusion (Zeiler and Fergus, 2014)                how much the score falls if a square is covered

In all functions, `score` is what `explained_score` returns, `inputs` is the normalised image (1, C, H, W), and
`baseline`, of the same shape, is the image that shows nothing. They return (H, W).
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from leyden.errors import UserError
from leyden.tools.explained_score import Score
from leyden.tools.trained_model import TrainedModel

STEPS = 50  # of the integral
WINDOWS = 8  # covered squares next to each other along the shorter side; they overlap by one half
CHUNK = 32  # covered images that are computed together


def require_captum() -> None:
    """Raise UserError unless captum is installed."""
    try:
        import captum.attr  # noqa: F401
    except ImportError as error:
        raise UserError('explain: needs captum: pip install -e ".[explain]"') from error


def integrated_gradients(score: Score, inputs: Tensor, baseline: Tensor) -> Tensor:
    """Return how much each pixel adds to the score. The sum is the difference from the score of `baseline`."""
    from captum.attr import IntegratedGradients

    found: Tensor = IntegratedGradients(score).attribute(inputs, baseline, n_steps=STEPS, internal_batch_size=STEPS)
    return found[0].sum(0)


def grad_cam(score: Score, inputs: Tensor, layer: nn.Module) -> Tensor:
    """Return where the convolution `layer` finds what speaks for the prediction, at least 0."""
    from captum.attr import LayerGradCam

    method = LayerGradCam(score, layer)
    found: Tensor = method.attribute(inputs.clone().requires_grad_(), relu_attributions=True)  # (1, 1, h, w)
    return interpolate(found, inputs.shape[2:], mode="bilinear")[0, 0]


def occlusion(score: Score, inputs: Tensor, baseline: Tensor) -> Tensor:
    """Return how much the score falls if squares around each pixel are replaced by those of `baseline`."""
    from captum.attr import Occlusion

    side = max(2, round(min(inputs.shape[2:]) / WINDOWS * 2))
    window, stride = (inputs.shape[1], side, side), (inputs.shape[1], max(1, side // 2), max(1, side // 2))
    with torch.no_grad():
        found: Tensor = Occlusion(score).attribute(
            inputs, window, strides=stride, baselines=baseline, perturbations_per_eval=CHUNK
        )
    mean: Tensor = found[0].mean(0)
    return mean


@torch.no_grad()
def last_convolution(model: TrainedModel) -> nn.Module | None:
    """Return the convolution that is computed last, of those whose output has more than one position."""
    found: list[nn.Module] = []

    def add(layer: nn.Module, _: Any, output: Tensor) -> None:
        if output.dim() == 4 and output.shape[2] * output.shape[3] > 1:
            found.append(layer)

    handles = [layer.register_forward_hook(add) for layer in model.net.modules() if isinstance(layer, nn.Conv2d)]
    model.module(model.batch([torch.zeros(tuple(model.data.shape), dtype=torch.uint8)]))
    for handle in handles:
        handle.remove()
    return found[-1] if found else None
