"""Any classification net of torchvision, with the weights it was published with: transfer learning.

What was learnt on ImageNet serves other images too (Yosinski et al., 2014). Images are made as large as the weights
know them, a grey one into three equal channels. They come normalised to mean 0 and standard deviation 1 of their own
data set, which is how the weights saw ImageNet, so nothing is to be done about that.

The last layer is a new one of the right size: the head. For the first `freeze_epochs` epochs only the head learns,
so that its first, wild gradients do not spoil the rest (Kumar et al., 2022); then all does.

Ours differs from torchvision's nets in no layer but the head, and in batch norms that keep the published statistics
while they are frozen.
"""

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision import models

AUXILIARY = ("googlenet", "inception_v3")  # have further heads for training, which today's norms make needless


class Pretrained(nn.Module):
    """float (B, 1 or 3, H, W) → (B, num_outputs). `leyden.training.transfer` loads the published weights.

    Args:
        in_shape: (C, H, W) of an image, C 1 or 3.
        num_outputs: size of the output.
        name: of torchvision's builder, such as ``resnet18``.
        weights: default, the published ones; none, those drawn; or the path of a state dict of this net.
        size: side of the square that images are scaled to, in pixels; most weights know 224.
        freeze_epochs: for how many epochs only the head learns.

    Raises:
        ValueError: torchvision has no such net, it cannot take such images, or there is nothing to freeze.
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        num_outputs: int,
        name: str = "mobilenet_v3_small",
        weights: str = "default",
        size: int = 224,
        freeze_epochs: int = 0,
    ) -> None:
        super().__init__()
        if len(in_shape) != 3 or in_shape[0] not in (1, 3):
            raise ValueError(f"in_shape: got {list(in_shape)}, a pretrained net takes images [1 or 3, height, width]")
        known = models.list_models(module=models)
        if name not in known:
            raise ValueError(f"name: got {name!r}; torchvision has {', '.join(known)}")
        if freeze_epochs < 0:
            raise ValueError(f"freeze_epochs: got {freeze_epochs}, must be at least 0")
        if freeze_epochs and weights == "none":
            raise ValueError(f"freeze_epochs: got {freeze_epochs}, but with weights=none there is nothing to keep")
        self.name, self.weights, self.size, self.freeze_epochs = name, weights, size, freeze_epochs
        auxiliary: dict[str, Any] = {"aux_logits": False, "init_weights": True} if name in AUXILIARY else {}
        self.model = models.get_model(name, weights=None, num_classes=num_outputs, **auxiliary)
        self.frozen = False
        self._try()

    def _try(self) -> None:
        """One image, so that a net which cannot take the size says so now."""
        training = self.training
        try:
            with torch.no_grad():
                self.eval()(torch.zeros(1, 3, 1, 1))
        except (RuntimeError, AssertionError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"size: got {self.size}, which {self.name} cannot take ({reason})") from error
        self.train(training)

    def forward(self, x: Tensor) -> Tensor:
        x = x.expand(-1, 3, -1, -1)  # (B, 1 or 3, H, W) → (B, 3, H, W)
        size = (self.size, self.size)
        x = interpolate(x, size, mode="bilinear", antialias=True)  # (B, 3, size, size)
        outputs: Tensor = self.model(x)  # (B, num_outputs)
        return outputs

    def body(self) -> list[nn.Parameter]:
        """All weights but the head's."""
        kept = {id(weight) for weight in head(self.model).parameters()}
        return [weight for weight in self.model.parameters() if id(weight) not in kept]

    def freeze(self, frozen: bool) -> None:
        """Keep batch norms as they are, or let them train; see `leyden.training.transfer.Freeze` for the weights."""
        self.frozen = frozen
        self.train(self.training)

    def train(self, mode: bool = True) -> "Pretrained":
        """As of any module, but frozen batch norms stay in evaluation."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, _BatchNorm) and self.frozen:
                module.eval()
        return self


def head(model: nn.Module) -> nn.Linear | nn.Conv2d:
    """The layer that gives the outputs: in each of torchvision's nets the last that is linear or a convolution."""
    return [layer for layer in model.modules() if isinstance(layer, nn.Linear | nn.Conv2d)][-1]


def published(name: str) -> dict[str, Tensor]:
    """The best weights torchvision has for its net `name`: in torch's hub cache, or downloaded to there.

    Raises:
        OSError: they cannot be downloaded.
    """
    best = models.get_model_weights(name).DEFAULT
    state: dict[str, Tensor] = best.get_state_dict(check_hash=True, weights_only=True)
    if name.startswith("densenet"):  # published when names could still have dots in them
        dotted = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")
        state = {dotted.sub(r"\1\2", key): value for key, value in state.items()}
    return state
