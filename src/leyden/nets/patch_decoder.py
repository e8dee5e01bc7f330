"""The decoder of a masked autoencoder (He et al., 2022): tokens of the visible patches → pixels of all patches.

B  batch      V  visible patches      T  all patches      D  width of a token      Q  numbers in a patch, C · P · P
"""

import torch
from torch import Tensor, nn

from leyden.nets.transformer import EncoderBlock


class PatchDecoder(nn.Module):
    """Small transformer that reconstructs the patches of an image.

    Args:
        in_dim: width of the tokens of the encoder.
        num_tokens: T.
        patch_size: Q.
        dim: width of a token here, even.
        num_layers: number of blocks.
        num_heads: number of attention heads; must divide `dim`.
    """

    def __init__(
        self, in_dim: int, num_tokens: int, patch_size: int, dim: int, num_layers: int, num_heads: int
    ) -> None:
        super().__init__()
        self.embed = nn.Linear(in_dim, dim)
        self.hidden = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, 1, dim), std=0.02))  # of a masked patch
        self.positions = nn.Parameter(nn.init.trunc_normal_(torch.empty(num_tokens, dim), std=0.02))
        self.blocks = nn.Sequential(*(EncoderBlock(dim, num_heads, 2 * dim, 0.0) for _ in range(num_layers)))
        self.out = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, patch_size))

    def forward(self, visible: Tensor, places: Tensor) -> Tensor:
        """Return the pixels of all patches, (B, T, Q).

        Args:
            visible: tokens of the visible patches, (B, V, in_dim).
            places: int64 (B, T), a permutation of the patches whose first V are the visible ones, in their order.
        """
        tokens: Tensor = self.embed(visible)  # (B, V, D)
        num_hidden = places.shape[1] - visible.shape[1]
        hidden = self.hidden.to(tokens.dtype).expand(len(tokens), num_hidden, -1)
        shuffled = torch.cat((tokens, hidden), 1)  # (B, T, D)
        back = places.argsort(1)[..., None].expand_as(shuffled)
        pixels: Tensor = self.out(self.blocks(shuffled.gather(1, back) + self.positions))
        return pixels
