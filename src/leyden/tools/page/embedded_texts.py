"""The texts that a language model wrote in its first and its last epoch."""

import re
from pathlib import Path

from leyden.tools.page.elements import Html, details, el, section
from leyden.tools.page.files import read_bytes, subfolders

FOLDER = "samples"
MAX_BYTES = 1 << 20


def texts_section(folder: Path) -> Html:
    """Return the texts in ``samples/epoch_0001.txt`` and of the last epoch; nothing if there are none."""
    kind = next((one for one in subfolders(folder) if one.name == FOLDER), None)
    names = sorted(path.name for path in kind.iterdir()) if kind else []
    epochs = [name for name in names if re.fullmatch(r"epoch_\d{4,9}\.txt", name)]
    if not kind or not epochs:
        return Html("")
    shown = [
        (f"epoch {int(name[6:-4])}", el("pre", text(kind / name)))
        for name in dict.fromkeys([epochs[-1], epochs[0]])  # the first one is closed until it is clicked
    ]
    (title, last), first = shown[0], [details(name, content) for name, content in shown[1:]]
    return section("Texts", el("p", f"What the model wrote after {title}.", class_="muted"), last, *first, id_="texts")


def text(path: Path) -> str:
    """Return the beginning of a text file."""
    return (read_bytes(path, MAX_BYTES) or b"").decode(errors="replace")
