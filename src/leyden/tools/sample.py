"""Draw new images from a trained generative model, or let a language model write texts."""

from pathlib import Path

from leyden.errors import UserError

NUM_IMAGES, NUM_TEXTS = 64, 1


def sample(run: str | Path, out: str | Path, num: int = NUM_IMAGES, seed: int = 0) -> None:
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
    write_png(Path(out), grid(leyden.load(run).sample_images(num, seed)))


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
