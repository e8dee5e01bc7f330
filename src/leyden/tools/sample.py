"""Draw new images from a trained generative model."""

from pathlib import Path

from leyden.errors import UserError


def sample(run: str | Path, out: str | Path, num: int = 64, seed: int = 0) -> None:
    """Write a PNG with a grid of `num` new images.

    Args:
        run: the run folder of a vae or a gan.
        out: the PNG file to write.
        num: the number of images, at least 1.
        seed: the same seed gives the same images.

    Raises:
        UserError: `run` is not a run folder, its model does not generate images, or `num` is below 1.
    """
    import leyden
    from leyden.modules.plots import grid
    from leyden.training.image_logger import write_png

    if num < 1:
        raise UserError(f"--num: got {num}, must be at least 1")
    write_png(Path(out), grid(leyden.load(run).sample(num, seed)))
