"""Draw new images from a trained generative model, or let a language model write texts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from leyden.errors import UserError

NUM_IMAGES, NUM_TEXTS = 64, 1
NUM_ROWS, NUM_FILLED = 8, 14


def sample(
    run: str | Path,
    out: str | Path,
    num: int = NUM_IMAGES,
    seed: int = 0,
    *,
    classes: Sequence[str] = (),
    guidance: float | None = None,
    num_steps: int | None = None,
    sampler: str | None = None,
) -> None:
    """Write a PNG with a grid of `num` new images.

    Args:
        run: the run folder of a vae, a gan or a flow.
        out: the PNG file to write.
        num: the number of images, at least 1.
        seed: the same seed gives the same images.
        classes: of a flow: names of classes, one for each image in turn.
        guidance, num_steps, sampler: of a flow, see `leyden.modules.image_sampling.ImageSampling`.

    Raises:
        UserError: `run` is not a run folder, its model does not generate images, or a value is out of its range.
    """
    import leyden
    from leyden.modules.plots import grid
    from leyden.tools.image_generation import Wanted, drawn
    from leyden.training.image_logger import write_png

    _check_num(num)
    model, wanted = leyden.load(run), Wanted(tuple(classes), sampler, num_steps, guidance)
    write_png(Path(out), grid(drawn(model, num, seed, wanted) if wanted else model.sample_images(num, seed)))


def interpolate(run: str | Path, out: str | Path, num: int = NUM_ROWS, seed: int = 0, **options: Any) -> None:
    """Write a PNG with `num` rows of images of a flow. Each row goes from one noise to another.

    Args:
        run, out, seed: see `sample`.
        num: the number of rows, at least 1.
        options: ``classes`` (one for each row in turn), ``guidance``, ``num_steps`` and ``sampler`` of `sample`.

    Raises:
        UserError: see `sample`.
    """
    import leyden
    from leyden.tools.image_generation import Wanted, interpolated
    from leyden.training.image_logger import write_png

    _check_num(num)
    write_png(Path(out), interpolated(leyden.load(run), num, seed, Wanted(**options)))


def fill_in(
    run: str | Path,
    out: str | Path,
    image: str | Path,
    box: Sequence[int] | None = None,
    num: int = NUM_FILLED,
    seed: int = 0,
    **options: Any,
) -> None:
    """Write a PNG: an image, the image without a box, and `num` ways in which a flow fills the box.

    Args:
        run, out, seed: see `sample`.
        image: the image file.
        box: top, left, height and width in pixels; None: the lower half.
        num: the number of results, at least 1.
        options: ``classes``, ``guidance`` and ``num_steps`` of `sample`.

    Raises:
        UserError: see `sample`; or the image cannot be read.
    """
    import leyden
    from leyden.tools.image_generation import Wanted, inpainted
    from leyden.training.image_logger import write_png

    _check_num(num)
    write_png(Path(out), inpainted(leyden.load(run), image, box, num, seed, Wanted(**options)))


def _check_num(num: int) -> None:
    if num < 1:
        raise UserError(f"--num: got {num}, must be at least 1")


def sample_texts(
    run: str | Path,
    out: str | Path | None = None,
    num: int = NUM_TEXTS,
    seed: int = 0,
    *,
    prompt: str = "",
    length: int = 500,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
) -> str:
    """Return `num` texts of a language model as one text, and write it into a file.

    Args:
        run: the run folder of a language model.
        out: the file to write. None: no file.
        num: the number of texts, at least 1.
        seed: the same seed gives the same texts.
        prompt, temperature, top_k, top_p: see `TrainedModel.generate`.
        length: number of tokens after the prompt.

    Raises:
        UserError: `run` is not a run folder, its model writes no texts, or a value is out of its range.
    """
    import leyden
    from leyden.records.run_folder import write_text
    from leyden.training.text_logger import joined

    try:
        found = leyden.load(run).write(
            prompt, num, length, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed
        )
    except UserError as error:
        raise UserError(_as_option(str(error))) from error
    if out is not None:
        write_text(Path(out), joined(found))
    return joined(found)


def writes_texts(run: str | Path) -> bool:
    """Return whether a run trained a language model."""
    from leyden.config.stored import loaded_config

    return str(loaded_config(Path(run).expanduser()).task["_target_"]).startswith("leyden.modules.language_model.")


def _as_option(message: str) -> str:
    """Return a message about an argument with the name of the option of the command line."""
    name, separator, rest = message.partition(":")
    options = {"num": "--num", "max_new_tokens": "--length", "temperature": "--temperature"}
    options |= {"top_k": "--top-k", "top_p": "--top-p"}
    return f"{options[name]}{separator}{rest}" if name in options else message
