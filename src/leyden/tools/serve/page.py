"""The page of the server: HTML, style and script from the package, and the headers that let nothing else in."""

import base64
import hashlib
from importlib.resources import files

PACKAGE = "leyden.tools.serve"


class Page:
    """One document without references to other files.

    Attributes:
        body: the document.
        policy: the value of the header Content-Security-Policy. It allows this style and this script by their hashes.
    """

    def __init__(self) -> None:
        html, style, script = (_text(name) for name in ("page.html", "page.css", "page.js"))
        self.body = html.replace("/*STYLE*/", style).replace("/*SCRIPT*/", script).encode()
        self.policy = "; ".join(
            [
                "default-src 'none'",
                f"script-src {_hash(script)}",
                f"style-src {_hash(style)}",
                "connect-src 'self'",
                "img-src data:",
                "base-uri 'none'",
                "form-action 'none'",
                "frame-ancestors 'none'",
            ]
        )


def _text(name: str) -> str:
    return (files(PACKAGE) / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
