"""Plots of what a generative module does, as float images (C, H, W) from 0 to 1."""

import colorsys
from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.utils import make_grid

NUM_COLUMNS = 8
NUM_IMAGES = 32  # that are shown together with their reconstructions
MAP_IMAGES = 2000  # at most about as many latents are in a map
MAP_SIDE = 512  # side of a map of latents in pixels
MAP_FRACTION = 0.01  # of the latents that may lie outside at each edge


def grid(images: Tensor, columns: int = NUM_COLUMNS) -> Tensor:
    """Images (N, C, H, W), 0 to 1 → one image with all of them in a grid, separated by grey lines."""
    image: Tensor = make_grid(images.float().cpu(), nrow=columns, padding=1, pad_value=0.5)
    return image


def pairs(images: Tensor, others: Tensor) -> Tensor:
    """Return a grid of two batches of images, (N, C, H, W), 0 to 1 each. Rows of both batches alternate."""
    columns = min(NUM_COLUMNS, len(images))
    num = len(images) // columns * columns  # only full rows
    rows = [x[:num].view(-1, columns, *x.shape[1:]) for x in (images, others)]  # (rows, columns, C, H, W)
    return grid(torch.stack(rows, 1).flatten(0, 2), columns)


def neighbours(images: Tensor, features: Tensor) -> Tensor:
    """Return a grid whose rows start with an image, which its nearest others follow, by the cosine of their features.

    Args:
        images: (N, C, H, W), 0 to 1.
        features: (N, F)
    """
    columns = min(NUM_COLUMNS, len(images))
    directions = torch.nn.functional.normalize(features, dim=1)
    similarity = directions[:columns] @ directions.T  # (rows, N)
    similarity.fill_diagonal_(2.0)  # an image is its own nearest neighbour, also beside an equal one
    return grid(images[similarity.topk(columns).indices.flatten()], columns)


def interpolations(decode: Callable[[Tensor], Tensor], latents: Tensor) -> Tensor:
    """Return a grid whose rows go from one latent to another in eight even steps.

    Args:
        decode: (N, latent_size) → images (N, C, H, W), 0 to 1.
        latents: (2 R, latent_size) for R rows; with an odd number the last row ends at the first latent.
    """
    start, end = latents[0::2, None], latents.roll(-1, 0)[0::2, None]  # (R, 1, latent_size)
    steps = torch.linspace(0, 1, NUM_COLUMNS, device=latents.device, dtype=latents.dtype).view(1, -1, 1)
    return grid(decode(torch.lerp(start, end, steps).flatten(0, 1)))


def latent_map(latents: Tensor, labels: Tensor, images: Tensor) -> Tensor:
    """Draw latents as dots in the colours of their classes; the legend on the right has an image of each class.

    Latents with more than two dimensions are projected on their first two principal components (PCA).

    Args:
        latents: (N, latent_size)
        labels: int64 (N,)
        images: (N, C, H, W), 0 to 1.
    """
    classes, index = torch.unique(labels.cpu(), return_inverse=True)
    colours = torch.tensor([colorsys.hsv_to_rgb(hue / len(classes), 0.85, 0.9) for hue in range(len(classes))])
    canvas = torch.ones(3, MAP_SIDE, MAP_SIDE)
    x, y = unit_square(principal_components(latents.float().cpu())).unbind(1)
    for dx in range(3):
        for dy in range(3):
            columns, rows = ((p * (MAP_SIDE - 3)).long() + d for p, d in ((x, dx), (y, dy)))
            canvas[:, rows, columns] = colours[index].T
    first = torch.stack([images[labels == label][0].cpu() for label in classes]).amax(1, keepdim=True)
    legend = make_grid(1 - first * (1 - colours[:, :, None, None]), nrow=1, padding=2, pad_value=1.0)
    height = max(MAP_SIDE, legend.shape[1])
    return torch.cat([_taller(canvas, height), _taller(legend, height)], 2)


def _taller(image: Tensor, height: int) -> Tensor:
    """Pad with white at the bottom."""
    return torch.nn.functional.pad(image, (0, 0, 0, height - image.shape[1]), value=1.0)


def principal_components(points: Tensor) -> Tensor:
    """Points (N, D) → their first two principal components, (N, 2); points with two dimensions stay unchanged."""
    if points.shape[1] == 1:
        return points.expand(-1, 2)
    if points.shape[1] == 2:
        return points
    centred = points - points.mean(0)
    directions = torch.linalg.eigh(centred.T @ centred).eigenvectors[:, -2:].flip(1)  # (D, 2)
    # The sign of an eigenvector is arbitrary; its largest entry is made positive.
    signs = directions.gather(0, directions.abs().argmax(0, keepdim=True)).sign()
    projected: Tensor = centred @ (directions * signs)
    return projected


def unit_square(points: Tensor) -> Tensor:
    """Scale points (N, 2) to 0 to 1; the few outermost points are moved to the edge."""
    low, high = points.quantile(MAP_FRACTION, 0), points.quantile(1 - MAP_FRACTION, 0)
    inside: Tensor = (points - low) / (high - low).clamp(min=1e-6)
    return inside.clamp(0, 1)
