"""Diffusion transformer (DiT; Peebles and Xie, 2023): a transformer on the patches of a noisy image.

The time and the classes act on each block through its norms (adaLN-zero): they scale and shift what enters attention
and feed-forward net, and scale what these add. The last factor is 0 at first, so each block begins as the identity.

Differences to the paper: other sizes, and the patches are pixels, not the latents of an autoencoder. Attention,
feed-forward nets and patches are those of `leyden.nets.transformer`.

    B  batch      T  tokens (patches)      D  width of a token and of the embedding of time and classes
    C, P  channels of an image, side of a patch      H  heads
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from leyden.nets.conditional import Condition, ConditionalNet
from leyden.nets.transformer import Attention, FeedForward, Positions, Tokens, check_sizes


class DiT(ConditionalNet):
    """Diffusion transformer: noisy images (B, C, H, W), times (B,), classes (B, K) → (B, C, H, W).

    Args:
        in_shape: (C, H, W) of an image.
        num_classes: K.
        patch: side of a patch in pixels.
        dim: width of a token.
        num_layers: number of blocks.
        num_heads: number of attention heads of each block.
        mlp_ratio: hidden size of a feed-forward net divided by `dim`.
        positions: learned or sinusoidal.
        dropout: probability of zeroing an attention weight or a hidden value.

    Raises:
        ValueError: samples are not images, or a size is out of its range.
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        num_classes: int,
        patch: int,
        dim: int,
        num_layers: int,
        num_heads: int,
        mlp_ratio: float,
        positions: Positions,
        dropout: float,
    ) -> None:
        super().__init__(in_shape, num_classes)
        check_sizes(dim, num_layers, num_heads, mlp_ratio, dropout)
        self.patch = patch
        self.tokens = Tokens(in_shape, dim, patch, positions, "patch")
        self.condition = Condition(num_classes, dim)
        hidden = round(mlp_ratio * dim)
        self.blocks = nn.ModuleList(AdaptiveBlock(dim, num_heads, hidden, dropout) for _ in range(num_layers))
        self.norm = AdaptiveNorm(dim, 2)
        self.head = nn.Linear(dim, in_shape[0] * patch**2)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor, times: Tensor, classes: Tensor) -> Tensor:
        condition, tokens = silu(self.condition(times, classes)), self.tokens(x)  # (B, D) and (B, T, D)
        for block in self.blocks:
            tokens = block(tokens, condition)
        shift, scale = self.norm.factors(condition)
        return self.image(self.head(self.norm.apply_to(tokens, shift, scale)))

    def image(self, patches: Tensor) -> Tensor:
        """Put patches (B, T, C · P · P) together, and remove what `Tokens` has added at the edges: (B, C, H, W)."""
        rows, columns = self.tokens.grid
        split = patches.view(-1, rows, columns, self.in_shape[0], self.patch, self.patch)
        whole = split.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)  # (B, C, rows · P, columns · P)
        return whole[:, :, : self.in_shape[1], : self.in_shape[2]]

    @torch.no_grad()
    def attention(self, x: Tensor, times: Tensor, classes: Tensor) -> Tensor:
        """Return the attention weights of all blocks, for plots: (layers, B, H, T, T); rows sum to 1."""
        condition, tokens, weights = silu(self.condition(times, classes)), self.tokens(x), []
        for block in self.blocks:
            assert isinstance(block, AdaptiveBlock)
            weights.append(block.weights(tokens, condition))
            tokens = block(tokens, condition)
        return torch.stack(weights)


class AdaptiveNorm(nn.Module):
    """Layer norm whose scale and shift follow from a condition (B, D), with further factors; all are 0 at first.

    Args:
        dim: D.
        num: how many vectors (B, D) follow from the condition.
    """

    def __init__(self, dim: int, num: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, elementwise_affine=False)
        self.linear, self.num = nn.Linear(dim, num * dim), num
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def factors(self, condition: Tensor) -> tuple[Tensor, ...]:
        """Return the vectors, (B, 1, D) each."""
        vectors: Tensor = self.linear(condition)[:, None]
        return torch.chunk(vectors, self.num, dim=2)

    def apply_to(self, tokens: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
        """Normalise, scale and shift tokens, (B, T, D)."""
        normalised: Tensor = self.norm(tokens) * (1 + scale) + shift
        return normalised


class AdaptiveBlock(nn.Module):
    """Block with adaLN-zero: tokens (B, T, D) and a condition (B, D) → (B, T, D)."""

    def __init__(self, dim: int, num_heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.norm = AdaptiveNorm(dim, 6)
        self.attention = Attention(dim, num_heads, dropout)
        self.feed_forward = FeedForward(dim, hidden, dropout)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        shift, scale, gate, later_shift, later_scale, later_gate = self.norm.factors(condition)
        x = x + gate * self.attention(self.norm.apply_to(x, shift, scale))
        x = x + later_gate * self.feed_forward(self.norm.apply_to(x, later_shift, later_scale))
        return x

    def weights(self, x: Tensor, condition: Tensor) -> Tensor:
        """Return the attention weights, (B, H, T, T)."""
        shift, scale, *_ = self.norm.factors(condition)
        return self.attention.weights(self.norm.apply_to(x, shift, scale))
