"""Write a run or a sweep as one HTML page that needs nothing else: no network, no other file, no JavaScript."""

import base64
import hashlib
import html
import re
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from string import Template

from leyden.errors import UserError
from leyden.records.run_folder import write_text
from leyden.tools.page.elements import Html, clean, el, join
from leyden.tools.page.run_sections import run_page
from leyden.tools.page.sweep_sections import SWEEP_FILES, sweep_page

HEADING = re.compile(r'<h2 id="([\w-]+)">([^<]*)</h2>')


def write_page(folder: str | Path, path: str | Path | None = None) -> Path:
    """Write the page of a run or a sweep, completely or not at all, and return its path.

    Args:
        folder: a run folder, or the folder of a sweep. It may come from somebody else.
        path: the file to write; by default ``report.html`` in the folder.

    Raises:
        UserError: `folder` is neither, a file in it is damaged, or `path` cannot be written.
    """
    out = Path(folder) / "report.html" if path is None else Path(path)
    text = page(Path(folder))
    write_text(out, text)
    return out


def page(folder: Path) -> str:
    """Return the page of a run or a sweep. Raises UserError as `write_page` does."""
    if any((folder / name).is_file() for name in SWEEP_FILES) and not (folder / "config.yaml").exists():
        title, sections = sweep_page(folder)
    elif (folder / "config.yaml").exists():
        title, sections = run_page(folder)
    else:
        there = "has neither config.yaml nor sweep.json" if folder.is_dir() else "is a file"
        reason = there if folder.exists() else "does not exist"
        raise UserError(f"{folder}: is neither a run folder nor the folder of a sweep (it {reason})")
    return assemble(title, sections)


def assemble(title: str, sections: list[Html]) -> str:
    """Return the whole document."""
    body = join(sections, "\n")
    template, style, script = (
        (files("leyden.tools.page") / "template" / f"page.{kind}").read_text(encoding="utf-8")
        for kind in ("html", "css", "js")
    )
    entries = [el("li", el("a", Html(name), href=f"#{anchor}")) for anchor, name in HEADING.findall(body)]
    return Template(template).substitute(
        title=html.escape(clean(title)),
        generator=f"Leyden {version('leyden')}",
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        style=style,
        script=script,
        links=el("ul", *entries),
        body=body,
        footer=f"Written by Leyden {version('leyden')}. This file needs no other file and no network.",
    )
