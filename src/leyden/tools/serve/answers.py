"""The answers to POST requests: from the query and the body of a request to the model and back."""

import json
import re
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

from leyden.records.run_folder import one_line
from leyden.tools.serve.served_model import ServedModel

POSTS = ("/predict", "/explain", "/sample")
TOP = 5  # classes in an answer, unless the query asks for another number


class RequestError(Exception):
    """A request that is rejected.

    Args:
        status: the status of the answer.
        message: what is wrong, in one line.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def answer(served: ServedModel, path: str, query: str, kind: str, body: bytes) -> dict[str, Any]:
    """Return the answer to a POST.

    Args:
        served: the model.
        path: one of `POSTS`.
        query: ``top=K``, the number of classes to return; ``drawing=1`` if the image is a drawing, white on black.
        kind: the content type.
        body: an image file, or JSON: {"row": {…}}, {"series": […]}, {"text": "…"} or, for samples,
            {"num": 16, "seed": 0}.

    Raises:
        RequestError: the body does not fit its content type or the model.
        UserError: the input does not fit the model.
    """
    if path == "/sample":
        values = _json(body) if kind == "application/json" else {}
        return served.sample(_whole(values, "num", 16), _whole(values, "seed", 0))
    options = _query(query)
    item = _item(served, options, kind, body)
    return served.explain(item) if path == "/explain" else served.predict(item, _number(options, "top", TOP))


def _query(text: str) -> dict[str, str]:
    """Return the last value of each name in a query.

    Raises:
        RequestError: it has too many values.
    """
    try:
        found = parse_qs(text, keep_blank_values=True, max_num_fields=10)
    except ValueError as error:
        raise RequestError(HTTPStatus.BAD_REQUEST, "query: has too many values") from error
    return {name: values[-1] for name, values in found.items()}


def _number(query: dict[str, str], name: str, default: int) -> int:
    text = query[name] if name in query else str(default)
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise RequestError(HTTPStatus.BAD_REQUEST, f"{name}: must be a whole number")
    return int(text)


def _item(served: ServedModel, options: dict[str, str], kind: str, body: bytes) -> Any:
    """Return the raw input in a body."""
    wanted = served.model.data.input_kind
    if wanted == "image":
        if kind == "application/json":
            message = "Content-Type: this model takes images, so it must be image/… or application/octet-stream"
            raise RequestError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, message)
        return served.drawing(body) if options.get("drawing") == "1" else body
    if kind != "application/json":
        message = f'Content-Type: this model takes JSON, {{"{wanted}": …}}, so it must be application/json'
        raise RequestError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, message)
    values = _json(body)
    if wanted not in values:
        raise RequestError(HTTPStatus.BAD_REQUEST, f'body: must be a JSON object with the key "{wanted}"')
    return values[wanted]


def _json(body: bytes) -> dict[str, Any]:
    def reject(text: str) -> None:
        raise ValueError(f"{text} is not a number of JSON")

    try:
        values = json.loads(body, parse_constant=reject)
    except (ValueError, RecursionError) as error:
        raise RequestError(HTTPStatus.BAD_REQUEST, f"body: is not JSON ({one_line(error)})") from error
    if not isinstance(values, dict):
        raise RequestError(HTTPStatus.BAD_REQUEST, "body: must be a JSON object")
    return values


def _whole(values: dict[str, Any], name: str, default: int) -> int:
    value = values.get(name, default)
    if type(value) is not int:
        raise RequestError(HTTPStatus.BAD_REQUEST, f"{name}: must be a whole number")
    return value
