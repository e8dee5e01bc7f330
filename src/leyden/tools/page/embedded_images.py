"""The images of a run folder, embedded into the page."""

import re
from collections.abc import Iterator
from pathlib import Path

from leyden.tools.page.elements import Html, el, section
from leyden.tools.page.files import Png, read_png, subfolders

MAX_IMAGES = 24
MAX_TOTAL = 12_000_000  # characters of all embedded images
SMALL = 256  # pixels; smaller images are enlarged, pixel by pixel
SKIPPED = ("checkpoints", "projector")  # the images of the projector are one for all samples, of no use here


def images_section(folder: Path) -> Html:
    """Return what the run has generated or drawn: the first and last epoch of each kind, and all of its evaluations."""
    shown: list[Html] = []
    left_out = total = 0
    for name, caption in found(folder):
        png = read_png(folder, name) if len(shown) < MAX_IMAGES else None
        if png is None or total + len(png.address) > MAX_TOTAL:
            left_out += 1
            continue
        total += len(png.address)
        shown.append(picture(png, caption))
    note = el("p", f"{left_out} further images are left out: too many, too large, or damaged.") if left_out else None
    return section("Images", note, el("div", *shown, class_="images"), id_="images") if shown else Html("")


def found(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield (path below the folder, caption) of each image to show."""
    for kind in subfolders(folder):
        if kind.name in SKIPPED or kind.name.startswith("."):
            continue
        epochs = [name for name in pngs(kind) if re.fullmatch(r"epoch_\d{4,9}\.png", name)]
        for name in dict.fromkeys([*epochs[:1], *epochs[-1:]]):
            yield f"{kind.name}/{name}", f"{kind.name.replace('_', ' ')}, epoch {int(name[6:-4])}"
        for inner in (kind, *subfolders(kind)):
            for name in pngs(inner):
                if name not in epochs or inner != kind:
                    where = inner.relative_to(folder).as_posix()
                    yield f"{where}/{name}", f"{where.replace('/', ', ')}: {name[:-4].replace('_', ' ')}"


def pngs(folder: Path) -> list[str]:
    """Return the names of the PNG files in a folder."""
    return sorted(path.name for path in folder.iterdir() if path.suffix == ".png")


def picture(png: Png, caption: str) -> Html:
    """Return a figure with an image. Small images are enlarged."""
    factor = max(1, SMALL // max(png.width, png.height))
    image = el("img", src=png.address, alt=caption, width=png.width * factor, height=png.height * factor,
               class_="pixels" if factor > 1 else None)  # fmt: skip
    return el("figure", image, el("figcaption", caption))
