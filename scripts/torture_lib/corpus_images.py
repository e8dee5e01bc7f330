"""Damaged and hostile image files and CSV files."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

from PIL import Image

from scripts.torture_lib.corpus import DAMAGES, Case, Place
from scripts.torture_lib.corpus_data import SMOKE, SPOILT, write_content

FOLDER = ("train.py", "data=folder", "data.root=RUN/images", "data.cache=RUN/cache", "data.shape=[1,8,8]", *SMOKE)
SERIES = ("train.py", "data=series", "data.path=RUN/x.csv", "data.window=8", "data.horizon=2", *SMOKE)


def images(root: Path) -> Path:
    for label, name in enumerate(("cat", "dog")):
        (root / "images" / name).mkdir(parents=True)
        for number in range(20):
            Image.new("L", (8, 8), 100 * label + number).save(root / "images" / name / f"{number:02}.png")
    return root / "images" / "cat" / "00.png"


def png_bomb(path: Path) -> None:
    """A PNG whose header announces 50,000 x 50,000 pixels."""
    data = io.BytesIO()
    Image.new("1", (50_000, 50_000)).save(data, "PNG")
    path.write_bytes(data.getvalue())


def outside_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


def loop_of_folders(path: Path) -> None:
    (path.parent / "again").symlink_to(path.parent.parent)


def image_cases() -> Iterator[Case]:
    more = {
        "a bomb of 2.5 billion pixels": png_bomb,
        "a link to /etc/passwd": outside_link,
        "a loop of folders": loop_of_folders,
        "a text named .png": write_content(b"<svg/>"),
        "an EPS file": write_content(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n(x) run\n"),
        "a PNG without pixels": write_content(b"\x89PNG\r\n\x1a\n" + bytes(40)),
        "a huge GIF header": write_content(b"GIF89a\xff\xff\xff\xff\x00\x00\x00;"),
    }
    for what, damage in {**DAMAGES, **more}.items():
        for skip in ("false", "true"):

            def prepare(place: Place, damage: Callable[[Path], None] = damage) -> None:
                damage(images(place.run))

            yield Case(
                f"an image is {what}, data.skip_broken={skip}",
                prepare,
                (*FOLDER, f"data.skip_broken={skip}"),
                SPOILT,
                template="empty",
            )
    for name in ("'x\x1b[31m.png", "a\nb.png", "x" * 250 + ".png", "ü 'q\" $(id).png"):

        def prepare_name(place: Place, name: str = name) -> None:
            images(place.run).with_name(name).write_bytes(b"broken")

        yield Case(f"a broken image has the name {name[:20]!a}", prepare_name, FOLDER, template="empty")


def csv_cases() -> Iterator[Case]:
    good = "v\n" + "\n".join(str(number % 7) for number in range(200)) + "\n"
    contents = {
        "a BOM": b"\xef\xbb\xbf" + good.encode(),
        "UTF-16": good.encode("utf-16"),
        "Latin-1": ("größe\n" + good[2:]).encode("latin-1"),
        "a huge field": ("v\n" + "1" * 200_000 + "\n" + good[2:]).encode(),
        "no rows": b"v\n",
        "a text among numbers": good.replace("3\n", "three\n", 1).encode(),
        "NaN": good.replace("3\n", "nan\n", 1).encode(),
        "infinity": good.replace("3\n", "1e999\n", 1).encode(),
        "two columns": good.replace("\n", ",1\n").encode(),
        "quotes that do not end": ('v\n"' + good[2:]).encode(),
        "the same number always": b"v\n" + b"1\n" * 200,
        "numbers of 1e38": b"v\n" + b"1e38\n-1e38\n" * 100,
        "control characters": b"\x1b[31mv\n" + good[2:].encode(),
        "no line end": good.replace("\n", " ").encode(),
    }
    makers = {**DAMAGES, **{what: write_content(content) for what, content in contents.items()}}
    for what, damage in makers.items():

        def prepare(place: Place, damage: Callable[[Path], None] = damage) -> None:
            path = place.run / "x.csv"
            path.write_text(good)
            damage(path)

        yield Case(f"a CSV file: {what}", prepare, SERIES, (0, 2, 3), template="empty")
