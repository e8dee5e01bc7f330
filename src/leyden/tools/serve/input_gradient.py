"""Explain the prediction for an image by the gradient of its score with respect to the pixels.

The method is the saliency map of Simonyan, Vedaldi and Zisserman (2013). It needs no other package than torch.
"""

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from leyden.tools.explained_score import explained_score
from leyden.tools.trained_model import TrainedModel

MIN_SIDE = 224  # pixels; smaller images are enlarged
RED = (1.0, 0.25, 0.1)
CLIPPED = 0.99  # quantile of the gradients that is drawn at full strength


def saliency(model: TrainedModel, inputs: Tensor) -> Tensor:
    """Return how much each pixel influences the score of the prediction, (H, W), 0 to 1.

    Args:
        model: a loaded run.
        inputs: the normalised image, (1, C, H, W).
    """
    score, _ = explained_score(model, inputs)
    images = inputs.detach().clone().requires_grad_(True)
    # cuDNN has no backward pass for recurrent nets in eval mode.
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        (gradients,) = torch.autograd.grad(score(images).sum(), images)
    strengths = gradients[0].float().abs().amax(0)  # (H, W)
    largest = strengths.flatten().quantile(CLIPPED).clamp(min=1e-12)
    return (strengths / largest).clamp(max=1)


def overlay(image: Tensor, strengths: Tensor) -> Tensor:
    """Draw strengths (H, W), 0 to 1, in red over an image (C, H, W), 0 to 1 → (3, H', W'), enlarged if it is small."""
    grey = image.float().mean(0, keepdim=True) * 0.6 + 0.1  # (1, H, W), darker, so that red can be seen
    colour = torch.tensor(RED).view(3, 1, 1)
    return enlarged(grey * (1 - strengths) + colour * strengths)


def enlarged(image: Tensor) -> Tensor:
    """Repeat the pixels of an image (C, H, W) until its shorter side has at least `MIN_SIDE` pixels."""
    factor = -(-MIN_SIDE // min(image.shape[1:]))
    return interpolate(image[None], scale_factor=factor, mode="nearest")[0] if factor > 1 else image
