"""Muon: each matrix moves along its momentum, made orthogonal (Jordan et al., 2024, kellerjordan.github.io/posts/muon).

All singular values of a step are about one. A Newton-Schulz iteration reaches this with matrix products only. A
convolution kernel is used as a matrix with one row per output channel. `groups` decides which weights of a net are
matrices. All others (biases, scales of norms, embeddings, the last layer) are trained by SGD or AdamW in the same
optimizer.

Differences from `torch.optim.Muon`: weights may have any number of axes, the weights that are not matrices are trained
too, and matrices of equal shape are computed in one batched product.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import Parameter
from torch.optim import Optimizer
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

Kind = Literal["matrices", "vectors", "head"]
Group = dict[str, Any]

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the iteration; it ends with singular values between 0.7 and 1.2
SMALLEST_NORM = 1e-12  # a gradient of zeros stays zero
SECOND_BETA = 0.95  # of AdamW
# From so many rows on, products in bfloat16 are faster on a CPU with instructions for it. One thread of an EPYC with
# avx512_bf16: 0.05 ms in float32 and 0.18 ms in bfloat16 for 32x144, 0.34 and 0.29 for 64x576, 77 and 14 for 256x2304.
BFLOAT16_ROWS = 64
NOT_MATRICES = (nn.Embedding, nn.LayerNorm, nn.GroupNorm)  # layers whose weights can have two axes


class Muon(Optimizer):
    """Muon for matrices; SGD with Nesterov momentum or AdamW for all other weights.

    Args:
        params: weights, or groups as `groups` makes them. Of plain weights, those with two or more axes are matrices.
        lr: learning rate of the matrices, at least 0. It is multiplied by √(rows / columns) for a matrix with more
            rows than columns.
        momentum: Nesterov momentum of the matrices, at least 0 and below 1.
        weight_decay: of the matrices, decoupled as in AdamW, at least 0.
        iterations: number of Newton-Schulz iterations, at least 1.
        fixed_norm: before each step, scale each matrix to the Frobenius norm √rows (airbench, arXiv 2404.00498).
        other: the optimizer of all other weights: sgd, with Nesterov momentum, or adamw.
        other_momentum: momentum of sgd, or first beta of adamw, at least 0 and below 1.
        vector_lr, vector_weight_decay: of biases, scales of norms, and all weights outside of torch's own layers.
        head_lr, head_weight_decay: of the last layer and of embeddings.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float,
        weight_decay: float,
        iterations: int,
        fixed_norm: bool,
        other: Literal["sgd", "adamw"],
        other_momentum: float,
        vector_lr: float,
        vector_weight_decay: float,
        head_lr: float,
        head_weight_decay: float,
    ) -> None:
        numbers = {
            "lr": lr, "weight_decay": weight_decay, "vector_lr": vector_lr, "vector_weight_decay": vector_weight_decay,
            "head_lr": head_lr, "head_weight_decay": head_weight_decay,
        }  # fmt: skip
        for name, value in numbers.items():
            if not 0 <= value < math.inf:
                raise ValueError(f"{name}: got {value}, must be at least 0")
        for name, value in {"momentum": momentum, "other_momentum": other_momentum}.items():
            if not 0 <= value < 1:
                raise ValueError(f"{name}: got {value}, must be at least 0 and below 1")
        if iterations < 1:
            raise ValueError(f"iterations: got {iterations}, must be at least 1")
        moving: Group = {"momentum": other_momentum}
        if other == "adamw":
            moving = {"betas": (other_momentum, SECOND_BETA)}
        settings: dict[Kind, Group] = {
            "matrices": {"lr": lr, "momentum": momentum, "weight_decay": weight_decay},
            "vectors": {"lr": vector_lr, "weight_decay": vector_weight_decay, **moving},
            "head": {"lr": head_lr, "weight_decay": head_weight_decay, **moving},
        }
        self.iterations, self.fixed_norm = iterations, fixed_norm
        super().__init__([{**settings[group["kind"]], **group} for group in as_groups(params)], {})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take a step with the gradients of the weights; those without a gradient are left out."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if not weights:
                continue
            if group["kind"] == "matrices":
                self._step_matrices(weights, group)
            elif "betas" in group:
                self._step_adamw(weights, group)
            else:
                self._step_sgd(weights, group)
        return loss

    def _step_matrices(self, weights: Sequence[Tensor], group: Group) -> None:
        momentum, rate = group["momentum"], group["lr"]
        directions: dict[tuple[torch.Size, torch.dtype], list[Tensor]] = defaultdict(list)
        owners: dict[tuple[torch.Size, torch.dtype], list[Tensor]] = defaultdict(list)
        for weight, gradient in zip(weights, gradients(weights), strict=True):
            buffer = self._buffer(weight).mul_(momentum).add_(gradient)
            direction = as_matrix(gradient.add(buffer, alpha=momentum), weight)
            directions[direction.shape, direction.dtype].append(direction)
            owners[direction.shape, direction.dtype].append(weight)
        for key, same in directions.items():
            rows, columns = key[0]
            updates = orthogonal(torch.stack(same), self.iterations)  # (number, rows, columns)
            for weight, update in zip(owners[key], updates, strict=True):
                if self.fixed_norm:
                    weight.mul_(math.sqrt(rows) / weight.norm().clamp_min(SMALLEST_NORM))
                if group["weight_decay"]:
                    weight.mul_(1 - rate * group["weight_decay"])
                weight.add_(as_kernel(update, weight), alpha=-rate * math.sqrt(max(1.0, rows / columns)))

    def _buffer(self, weight: Tensor, name: str = "momentum_buffer") -> Tensor:
        """Return a tensor of the state of `weight`, zeros at first."""
        state = self.state[weight]
        if name not in state:
            state[name] = torch.zeros_like(weight)
        buffer: Tensor = state[name]
        return buffer

    def _step_sgd(self, weights: list[Tensor], group: Group) -> None:
        momentum = group["momentum"]
        sgd(
            weights,
            gradients(weights),
            [self._buffer(weight) if momentum else None for weight in weights],
            fused=is_fused(weights),
            weight_decay=group["weight_decay"],
            momentum=momentum,
            lr=group["lr"],
            dampening=0.0,
            nesterov=momentum > 0,
            maximize=False,
        )

    def _step_adamw(self, weights: list[Tensor], group: Group) -> None:
        for weight in weights:
            if "step" not in self.state[weight]:
                self.state[weight]["step"] = torch.tensor(0.0)
        adamw(
            weights,
            gradients(weights),
            [self._buffer(weight, "exp_avg") for weight in weights],
            [self._buffer(weight, "exp_avg_sq") for weight in weights],
            [],
            [self.state[weight]["step"] for weight in weights],
            fused=is_fused(weights),
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=1e-8,
            maximize=False,
        )


def gradients(weights: Iterable[Tensor]) -> list[Tensor]:
    """Return the gradients of the weights that have one."""
    return [weight.grad for weight in weights if weight.grad is not None]


def is_fused(weights: Sequence[Tensor]) -> bool | None:
    """Return whether torch computes the step in one kernel; None: torch chooses. Its kernels for GPUs read no CPU."""
    return True if weights[0].device.type == "cpu" else None


def groups(net: nn.Module) -> list[Group]:
    """Divide the trainable weights of a net into groups for `Muon`.

    Matrices are the weights of torch's own layers with at least two rows and two columns, except embeddings, norms and
    the last layer. Those and all others get simple steps: their rows are not mixed by a product, or they are the last.
    """
    found: dict[Kind, list[Parameter]] = {"matrices": [], "vectors": [], "head": []}
    seen: set[int] = set()
    for layer in net.modules():
        for weight in layer.parameters(recurse=False):
            if weight.requires_grad and id(weight) not in seen:
                seen.add(id(weight))
                found[kind_of(weight, layer)].append(weight)
    if found["matrices"]:
        found["head"].append(found["matrices"].pop())
    return [{"kind": kind, "params": weights} for kind, weights in found.items() if weights]


def kind_of(weight: Tensor, layer: nn.Module) -> Kind:
    """Return the group of a weight that `layer` owns; the last of the matrices is moved to the head afterwards."""
    if isinstance(layer, nn.Embedding):
        return "head"
    own = type(layer).__module__.startswith("torch.nn.") and not isinstance(layer, NOT_MATRICES)
    return "matrices" if own and weight.dim() >= 2 and min(len(weight), weight[0].numel()) > 1 else "vectors"


def as_groups(params: Iterable[Any]) -> list[Group]:
    """Return groups as they are; plain weights are divided by their number of axes."""
    given = list(params)
    if given and isinstance(given[0], dict):
        return given
    matrices, vectors = [w for w in given if w.dim() >= 2], [w for w in given if w.dim() < 2]
    divided: list[Group] = [{"kind": "matrices", "params": matrices}, {"kind": "vectors", "params": vectors}]
    return [group for group in divided if group["params"]]


def is_channels_last(weight: Tensor) -> bool:
    """Return whether a kernel is stored with its input channels last."""
    return weight.dim() == 4 and not weight.is_contiguous() and weight.is_contiguous(memory_format=torch.channels_last)


def as_matrix(values: Tensor, weight: Tensor) -> Tensor:
    """Return `values`, in the shape of `weight`, as (rows, columns), without a copy where the memory allows it.

    The order of the columns does not change the orthogonal matrix.
    """
    ordered = values.permute(0, 2, 3, 1) if is_channels_last(weight) else values
    return ordered.reshape(len(weight), -1)


def as_kernel(matrix: Tensor, weight: Tensor) -> Tensor:
    """Undo `as_matrix`: (rows, columns) → the shape of `weight`."""
    if not is_channels_last(weight):
        return matrix.view(weight.shape)
    channels, *sides = weight.shape[1:]
    return matrix.view(len(weight), *sides, channels).permute(0, 3, 1, 2)


def orthogonal(matrices: Tensor, iterations: int) -> Tensor:
    """Return the nearest semi-orthogonal matrices, approximately: singular values are about one.

    Args:
        matrices: (number, rows, columns)
        iterations: number of Newton-Schulz iterations.

    Returns:
        (number, rows, columns), in the type of the input.
    """
    a, b, c = COEFFICIENTS
    is_tall = matrices.shape[1] > matrices.shape[2]
    wide = matrices.mT if is_tall else matrices
    x = (wide / wide.norm(dim=(1, 2), keepdim=True).clamp_min(SMALLEST_NORM)).to(product_type(wide))
    for _ in range(iterations):
        square = x @ x.mT  # (number, rows, rows)
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    found: Tensor = x.mT if is_tall else x
    return found.to(matrices.dtype)


def product_type(wide: Tensor) -> torch.dtype:
    """Return the type in which the products of (number, rows, columns) are fastest; float64 is kept."""
    if wide.dtype is not torch.float32:
        return wide.dtype
    if wide.device.type != "cpu":
        return torch.bfloat16
    has_bfloat16 = bool(torch.cpu.get_capabilities().get("avx512_bf16"))
    return torch.bfloat16 if has_bfloat16 and wide.shape[1] >= BFLOAT16_ROWS else torch.float32
