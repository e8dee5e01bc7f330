"""The files of TensorBoard's projector: what the last layer of a net receives for images of the validation set."""

import io
import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from leyden.data.datamodule import InMemoryData
from leyden.data.images import denormalise
from leyden.data.loaders import EvalLoader
from leyden.modules.base import BaseModule
from leyden.nets.backbone import last_layer
from leyden.records.run_folder import write_text, writing

FOLDER = "projector"
MAX_THUMBNAIL = 64  # side in pixels
CONFIG = """\
embeddings {{
  tensor_name: "last layer, validation set"
  tensor_path: "{folder}/tensors.tsv"
  metadata_path: "{folder}/metadata.tsv"
  sprite {{
    image_path: "{folder}/sprite.png"
    single_image_dim: {width}
    single_image_dim: {height}
  }}
}}
"""


def write_projector(folder: Path, module: BaseModule, data: InMemoryData, num: int, device: torch.device) -> bool:
    """Write the projector's files into a run folder.

    Args:
        folder: the run folder.
        module: the trained module. Its net must have a last linear layer, and its task must have labels.
        data: images, after ``setup("fit")``.
        num: largest number of images; they are evenly spaced in the validation set.
        device: where to compute.

    Returns:
        whether there is anything to write: the data are no images, or their task has no labels, otherwise.
    """
    facts = data.facts()
    if facts.mean is None or facts.std is None or data.val is None or last_layer(module.net) is None:
        return False
    inputs, targets = data.val
    chosen = torch.linspace(0, len(targets) - 1, min(num, len(targets))).round().long()
    targets = targets.cpu()[chosen]
    labels = module.labels_of(targets)
    if labels is None:
        return False
    inputs = inputs.cpu()[chosen].to(device)
    loader = EvalLoader(inputs, targets.to(device), data.eval_batch_size, data.transform(device))
    vectors, images = [], []
    home = module.device
    module.to(device).eval()
    for batch, _ in loader:
        vectors.append(features(module, batch).cpu())
        images.append(thumbnails(denormalise(batch, facts.mean, facts.std)).cpu())
    module.to(home)
    _write(folder, torch.cat(vectors), labels, torch.cat(images))
    return True


@torch.no_grad()
def features(module: BaseModule, inputs: Tensor) -> Tensor:
    """Return the features of a batch of inputs, float32 (B, D)."""
    return module.features(inputs.to(next(module.parameters()).dtype)).float()


def thumbnails(images: Tensor) -> Tensor:
    """Images (N, C, H, W), 0 to 1 → uint8 (N, C, h, w), at most `MAX_THUMBNAIL` pixels wide and high."""
    scale = MAX_THUMBNAIL / max(images.shape[2:])
    if scale < 1:
        size = [max(1, round(side * scale)) for side in images.shape[2:]]
        images = nn.functional.interpolate(images, size, mode="bilinear", antialias=True)
    return (images.clamp(0, 1) * 255).round().byte()


def _write(folder: Path, vectors: Tensor, labels: list[str], images: Tensor) -> None:
    """Write the files. The one that TensorBoard looks for comes last."""
    (folder / FOLDER).mkdir(exist_ok=True)
    text = io.StringIO()
    np.savetxt(text, vectors.numpy(), fmt="%.5g", delimiter="\t")
    write_text(folder / FOLDER / "tensors.tsv", text.getvalue())
    lines = [" ".join(label.split()) or "(none)" for label in labels]
    write_text(folder / FOLDER / "metadata.tsv", "".join(f"{line}\n" for line in lines))
    with writing(folder / FOLDER / "sprite.png") as file:
        sprite(images).save(file, format="png")
    height, width = images.shape[2:]
    write_text(folder / "projector_config.pbtxt", CONFIG.format(folder=FOLDER, width=width, height=height))


def sprite(images: Tensor) -> Image.Image:
    """Return a square image with all `images`, uint8 (N, C, H, W), row by row, without gaps."""
    num, _, height, width = images.shape
    side = math.ceil(math.sqrt(num))
    canvas = np.zeros((side * height, side * width, 3), np.uint8)
    for number, image in enumerate(images.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()):
        top, left = number // side * height, number % side * width
        canvas[top : top + height, left : left + width] = image
    return Image.fromarray(canvas)
