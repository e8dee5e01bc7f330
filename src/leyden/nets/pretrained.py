"""Transfer learning: any classification net of torchvision or timm with its published weights.

Features learned on ImageNet are useful for other images too (Yosinski et al., 2014). Images are resized to the size
that the weights were trained with, and grey images are expanded to three equal channels. Data sets give images with
mean 0 and standard deviation 1, as in the training on ImageNet, so no other preprocessing is needed.

The last layer, the head, is new. For the first `freeze_epochs` epochs only the head is trained, so that its large
first gradients do not destroy the pretrained features (Kumar et al., 2022). After that, all weights are trained.

All layers but the head are those of torchvision or timm. Frozen batch norms keep their published statistics.
"""

import difflib
import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torchvision import models

from leyden.nets.layers import check_shape

AUXILIARY = ("googlenet", "inception_v3")  # have auxiliary heads for training, which batch norm makes unnecessary
TIMM = "timm/"  # prefix of the names of its nets
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


class Pretrained(nn.Module):
    """Pretrained net of torchvision or timm: float (B, 1 or 3, H, W) → outputs (B, num_outputs).

    `leyden.training.transfer` loads the published weights.

    Args:
        in_shape: (C, H, W) of an image; C is 1 or 3.
        num_outputs: number of outputs.
        name: name of the net in torchvision, such as ``resnet18``, or ``timm/`` and its name in timm (an optional
            package), such as ``timm/vit_tiny_patch16_224``.
        weights: default for the published weights, none for random weights, or the path of a state dict of this net.
        size: side in pixels of the square that images are resized to; 224 for most weights.
        freeze_epochs: number of epochs in which only the head is trained.

    Raises:
        ValueError: there is no such net, the net cannot process such images, or there is nothing to freeze.
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        num_outputs: int,
        name: str,
        weights: str,
        size: int,
        freeze_epochs: int,
    ) -> None:
        super().__init__()
        check_shape(in_shape, num_outputs)
        if len(in_shape) != 3 or in_shape[0] not in (1, 3):
            raise ValueError(f"in_shape: got {list(in_shape)}, a pretrained net needs images [1 or 3, height, width]")
        if size < 1:
            raise ValueError(f"size: got {size}, must be at least 1")
        if freeze_epochs < 0:
            raise ValueError(f"freeze_epochs: got {freeze_epochs}, must be at least 0")
        if freeze_epochs and weights == "none":
            raise ValueError(
                f"freeze_epochs: got {freeze_epochs}, must be 0 with weights=none, which has no pretrained features"
            )
        self.name, self.weights, self.size, self.freeze_epochs = name, weights, size, freeze_epochs
        self.model = _timm_net(name, num_outputs) if name.startswith(TIMM) else _torchvision_net(name, num_outputs)
        self.frozen = False
        self._check_size()

    def _check_size(self) -> None:
        """Raise ValueError if the net cannot process an image of this size."""
        training = self.training
        try:
            with torch.no_grad():
                self.eval()(torch.zeros(1, 3, 1, 1))
        except (RuntimeError, AssertionError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"size: got {self.size}, which {self.name} cannot process ({reason})") from error
        self.train(training)

    def forward(self, x: Tensor) -> Tensor:
        x = x.expand(-1, 3, -1, -1)  # (B, 1 or 3, H, W) → (B, 3, H, W)
        size = (self.size, self.size)
        x = interpolate(x, size, mode="bilinear", antialias=True)  # (B, 3, size, size)
        outputs: Tensor = self.model(x)  # (B, num_outputs)
        return outputs

    def backbone(self) -> list[nn.Parameter]:
        """Return all weights but those of the head."""
        last = _timm_head(self.model) if self.name.startswith(TIMM) else head(self.model)
        kept = {id(weight) for weight in last.parameters()}
        return [weight for weight in self.model.parameters() if id(weight) not in kept]

    def freeze(self, frozen: bool) -> None:
        """Set whether batch norms keep their statistics. `leyden.training.transfer.Freeze` freezes the weights."""
        self.frozen = frozen
        self.train(self.training)

    def train(self, mode: bool = True) -> "Pretrained":
        """Set the training mode, as in any module; frozen batch norms stay in evaluation mode."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, BATCH_NORMS) and self.frozen:
                module.eval()
        return self


def _torchvision_net(name: str, num_outputs: int) -> nn.Module:
    known = models.list_models(module=models)
    if name not in known:
        raise ValueError(f"name: got {name!r}; torchvision has {', '.join(known)}")
    auxiliary: dict[str, Any] = {"aux_logits": False, "init_weights": True} if name in AUXILIARY else {}
    net: nn.Module = models.get_model(name, weights=None, num_classes=num_outputs, **auxiliary)
    return net


def _timm_net(name: str, num_outputs: int, pretrained: bool = False) -> nn.Module:
    """Return a net of timm. Only names of its own list are allowed: others, such as ``hf-hub:…``, are addresses."""
    try:
        import timm
    except ImportError as error:
        raise ValueError(f'name: got {name!r}, which needs timm: pip install -e ".[timm]"') from error
    short = name.removeprefix(TIMM)
    plain = re.fullmatch(r"[A-Za-z0-9_.-]+", short)
    if not plain or short not in timm.list_models() + timm.list_pretrained():
        close = difflib.get_close_matches(short, timm.list_models(), 3)
        hint = f", did you mean {' or '.join(TIMM + other for other in close)}?" if close else ""
        raise ValueError(f"name: got {name!r}; timm has no such net{hint}")
    arguments = {} if pretrained else {"num_classes": num_outputs}  # published weights have the classes of ImageNet
    net: nn.Module = timm.create_model(short, pretrained=pretrained, **arguments)
    return net


def _timm_head(model: Any) -> nn.Module:
    classifier: nn.Module = model.get_classifier()
    return classifier


def head(model: nn.Module) -> nn.Linear | nn.Conv2d:
    """Return the layer that computes the outputs: in each net of torchvision the last linear or convolutional one."""
    return [layer for layer in model.modules() if isinstance(layer, nn.Linear | nn.Conv2d)][-1]


def published(name: str) -> dict[str, Tensor]:
    """Return the published weights of the net `name`, from the cache of torch or timm, or downloaded into it.

    Raises:
        OSError: they cannot be downloaded.
    """
    if name.startswith(TIMM):
        return _timm_net(name, 0, pretrained=True).state_dict()
    best = models.get_model_weights(name).DEFAULT
    state: dict[str, Tensor] = best.get_state_dict(check_hash=True, weights_only=True)
    if name.startswith("densenet"):  # was published with dots in these names
        dotted = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")
        state = {dotted.sub(r"\1\2", key): value for key, value in state.items()}
    return state
