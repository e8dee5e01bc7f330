"""ImageLogger of what a generative module does, as float images (C, H, W) from 0 to 1."""

import colorsys
from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.utils import make_grid

NUM_COLUMNS = 8
NUM_PICTURES = 32  # images that are shown beside what a net makes of them
MAP_SIDE = 512  # pixels of a map of latents
MAP_SHARE = 0.01  # of the latents at each edge that may lie outside


def grid(images: Tensor, columns: int = NUM_COLUMNS) -> Tensor:
    """(N, C, H, W), 0 to 1 → one picture of them, with a grey line round each."""
    picture: Tensor = make_grid(images.cpu(), nrow=columns, padding=1, pad_value=0.5)
    return picture


def pairs(images: Tensor, others: Tensor) -> Tensor:
    """Twice (N, C, H, W), 0 to 1 → a row of the first above a row of the second, and so on."""
    columns = min(NUM_COLUMNS, len(images))
    num = len(images) // columns * columns  # no row is left half empty
    rows = [part[:num].view(-1, columns, *part.shape[1:]) for part in (images, others)]  # (rows, columns, C, H, W)
    return grid(torch.stack(rows, 1).flatten(0, 2), columns)


def interpolations(decode: Callable[[Tensor], Tensor], latents: Tensor) -> Tensor:
    """In each row the way from one latent to the next, eight even steps.

    Args:
        decode: (N, latent_size) → images (N, C, H, W), 0 to 1.
        latents: (2 R, latent_size), for R rows; of an odd number the last goes back to the first.
    """
    begin, end = latents[0::2, None], latents.roll(-1, 0)[0::2, None]  # (R, 1, latent_size)
    way = torch.linspace(0, 1, NUM_COLUMNS, device=latents.device).view(1, -1, 1)
    return grid(decode(torch.lerp(begin, end, way).flatten(0, 1)))


def latent_map(latents: Tensor, labels: Tensor, images: Tensor) -> Tensor:
    """Latents as dots in the colours of their classes; at the right, an image of each class in its colour.

    More than two dimensions are projected on the two along which the latents vary most (PCA).

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
    """White is added below."""
    return torch.nn.functional.pad(image, (0, 0, 0, height - image.shape[1]), value=1.0)


def principal_components(points: Tensor) -> Tensor:
    """(N, D) → (N, 2): the two directions of the largest variance; two dimensions stay as they are."""
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
    """(N, 2) → 0 to 1; the few farthest out are moved to the edge."""
    low, high = points.quantile(MAP_SHARE, 0), points.quantile(1 - MAP_SHARE, 0)
    inside: Tensor = (points - low) / (high - low).clamp(min=1e-6)
    return inside.clamp(0, 1)
