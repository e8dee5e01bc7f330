"""Masked autoencoder (He et al., 2022): a transformer sees a quarter of the patches and reconstructs the others.

The encoder is the net without its last layer, and computes the visible patches only, so a step costs little. A small
decoder, which is dropped after the training, gives the pixels. The loss is the mean squared error of the masked
patches, whose pixels are standardised within each patch. Features are better with ``pool="mean"``: no loss trains the
class token to sum up the image. Differences to the paper: sizes for small images.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import fold, pad, unfold

from leyden.data.loaders import Batch, Flip
from leyden.data.views import Views
from leyden.errors import UserError
from leyden.modules import plots
from leyden.modules.patch_attention import patch_attention
from leyden.modules.pixels import to_pixels
from leyden.modules.self_supervised import SelfSupervised
from leyden.nets.patch_decoder import PatchDecoder
from leyden.nets.transformer import Tokens, Transformer
from leyden.optim import OptimizerFactory, SchedulerFactory
from leyden.seeding import generator


class MAE(SelfSupervised):
    """Trains a transformer to reconstruct masked patches of images.

    Args:
        net: a `leyden.nets.transformer.Transformer` of images, with ``stem="patch"``.
        optimizer, scheduler, objective, in_shape, num_classes, bank: see `SelfSupervised`.
        mask: fraction of the patches that are masked, above 0 and below 1. At least one is masked, and one visible.
        decoder_dim, decoder_layers: width of a token and number of blocks of the decoder.
        crop, flip, rotate, jitter, grey, blur: of the single view of each image, see `leyden.data.views.Views`.

    Raises:
        UserError, ValueError: see `SelfSupervised`; also if the net is another one, or an argument is out of its range.
    """

    net: Transformer

    def __init__(
        self,
        net: Transformer,
        optimizer: OptimizerFactory,
        scheduler: SchedulerFactory,
        objective: dict[str, str],
        in_shape: tuple[int, ...],
        num_classes: int,
        bank: int,
        mask: float,
        decoder_dim: int,
        decoder_layers: int,
        crop: float,
        flip: Flip,
        rotate: float,
        jitter: float,
        grey: float,
        blur: float,
    ) -> None:
        if not isinstance(net, Transformer) or not isinstance(net.tokens, Tokens):
            raise UserError(f"task: got mae, which masks patches of images; a {type(net).__name__} has none; use "
                            "model=transformer")  # fmt: skip
        views = Views(crop, flip, rotate, jitter, grey, blur)
        super().__init__(net, optimizer, scheduler, objective, ("loss",), in_shape, num_classes, bank, views)
        self.patch = side_of_patches(net.tokens)
        num_tokens = net.tokens.num_tokens
        if not 0 < mask < 1 or num_tokens < 2:
            raise ValueError(f"mask: got {mask}, must be above 0 and below 1, of at least 2 patches")
        if decoder_layers < 1 or decoder_dim < 4 or decoder_dim % 4:
            raise ValueError(
                f"decoder_dim: got decoder_dim={decoder_dim} decoder_layers={decoder_layers}, must be a multiple of 4 "
                "and at least 1"
            )
        self.num_visible = min(max(1, round((1 - mask) * num_tokens)), num_tokens - 1)
        size = in_shape[0] * self.patch**2
        self.decoder = PatchDecoder(self.num_features, num_tokens, size, decoder_dim, decoder_layers, 4)

    @property
    def tokens(self) -> Tokens:
        """The first layer of the net."""
        tokens = self.net.tokens
        assert isinstance(tokens, Tokens)
        return tokens

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images = self.view(batch[0])
        places = torch.rand((len(images), self.tokens.num_tokens), device=images.device).argsort(1)
        targets = standardised(self.patches(to_pixels(self, images)).float())
        errors = (self.reconstruct(images, places).float() - targets).square().mean(2)  # (B, T)
        loss = errors.gather(1, places[:, self.num_visible :]).mean()
        self.train_means.add(len(images), loss)
        return loss

    def reconstruct(self, images: Tensor, places: Tensor) -> Tensor:
        """Return the standardised pixels of all patches, (B, T, Q), from those that `places` has first.

        Args:
            images: normalised, (B, C, H, W).
            places: int64 (B, T), a permutation of the patches of each image.
        """
        tokens: Tensor = self.tokens(images)  # (B, T, D)
        shown = places[:, : self.num_visible, None].expand(-1, -1, tokens.shape[2])
        encoded = self.net.encode(tokens.gather(1, shown))
        if self.net.class_token is not None:
            encoded = encoded[:, 1:]
        pixels: Tensor = self.decoder(encoded, places)
        return pixels

    def patches(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) → their patches in the order of the tokens, (B, T, Q)."""
        padded = pad(images, self.tokens.padding)
        return unfold(padded, self.patch, stride=self.patch).transpose(1, 2)

    def images(self) -> dict[str, Tensor]:
        """Return the plots of `SelfSupervised`, the attention, and masked images above their reconstructions."""
        pixels = self.seen[0][0][: plots.NUM_IMAGES]
        rng = generator(0, "pictures")
        places = torch.rand((len(pixels), self.tokens.num_tokens), generator=rng).argsort(1).to(pixels.device)
        mean, std = self.get_buffer("pixel_mean"), self.get_buffer("pixel_std")
        patches = self.patches(pixels).float()
        with torch.no_grad():
            inputs = (pixels - mean) / std
            found = self.reconstruct(inputs, places).float()
        found = found * patches.std(2, keepdim=True, correction=0) + patches.mean(2, keepdim=True)
        is_masked = torch.ones_like(places, dtype=torch.bool).scatter(1, places[:, : self.num_visible], False)[
            ..., None
        ]
        masked = torch.where(is_masked, 0.5, patches)
        shown = [self._joined(part, pixels) for part in (masked, torch.where(is_masked, found, patches))]
        attention = patch_attention(self.net, inputs, pixels)
        return {"reconstructions": plots.pairs(*shown), "attention": attention, **super().images()}

    def _joined(self, patches: Tensor, like: Tensor) -> Tensor:
        """Return images with these patches, (B, T, Q), without the padding."""
        height, width = like.shape[2:]
        _, right, _, bottom = self.tokens.padding
        sides = (height + bottom, width + right)
        joined = fold(patches.transpose(1, 2), sides, self.patch, stride=self.patch)
        return joined[..., :height, :width].clamp(0, 1)


def side_of_patches(tokens: Tokens) -> int:
    """Return the side of the patches of images in pixels.

    Raises:
        ValueError: its tokens also depend on pixels of other patches.
    """
    embed = next(tokens.embed.children())
    if not isinstance(embed, nn.Conv2d):
        raise UserError(
            "model.stem: got conv, whose tokens see the patches beside them; task=mae needs model.stem=patch"
        )
    return int(embed.kernel_size[0])


def standardised(patches: Tensor) -> Tensor:
    """Return patches (B, T, Q), each with mean 0 and standard deviation 1."""
    return (patches - patches.mean(2, keepdim=True)) / (patches.var(2, keepdim=True, correction=0) + 1e-6).sqrt()
