"""Build what a config names by `_target_`: checked against an allow-list and the code's own annotations.

Hydra's `instantiate` calls whatever a config names, which is no good for a config that came with a
stranger's run folder, and reports a wrong value from deep inside the call. Here a target must be
a class or function that was written in one of `TRUSTED`, and every argument must have the type
that the target's signature says, before anything is called.
"""

import importlib
import inspect
import typing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal, get_args, get_origin

from typeguard import CollectionCheckStrategy, TypeCheckError, check_type

from leyden.config.suggest import nearest
from leyden.errors import UserError

TRUSTED = ("leyden.data", "leyden.modules", "leyden.nets", "leyden.optim", "torch.optim")


def build(spec: Mapping[str, Any], key: str, **extra: Any) -> Any:
    """Call what ``spec["_target_"]`` names with the rest of `spec` and `extra`.

    Args:
        spec: plain values, one of them `_target_`.
        key: where `spec` stands in the config, for messages.
        extra: arguments that no config can hold.

    Raises:
        UserError: an untrusted target, an unknown, missing or wrong argument.
    """
    factory = build_factory(spec, key)
    try:
        inspect.signature(factory).bind(**extra)
    except TypeError as error:
        raise UserError(f"{key}: {factory.func.__name__} is {error}") from error
    with naming(key, factory):
        return factory(**extra)


def build_factory(spec: Mapping[str, Any], key: str) -> "partial[Any]":
    """As `build`, with the target's first arguments still to come."""
    target = locate(spec["_target_"], key)
    arguments = {name: value for name, value in spec.items() if name != "_target_"}
    return partial(target, **check_arguments(target, arguments, key))


@contextmanager
def naming(key: str, factory: "partial[Any]") -> Iterator[None]:
    """Inside, a `ValueError` of `factory` becomes a `UserError` that names the config key.

    By convention the text of such an error starts with the argument it is about: ``dropout: got …``.
    """
    try:
        yield
    except UserError:
        raise
    except ValueError as error:
        argument = str(error).partition(":")[0]
        dot = "." if argument in _hints(factory.func) else ": "
        raise UserError(f"{key}{dot}{error}") from error


def locate(path: str, key: str) -> Callable[..., Any]:
    """The class or function at dotted `path`, if it was written in a trusted package.

    Raises:
        UserError: it is elsewhere, or there is no such thing.
    """
    module_path, _, name = path.rpartition(".")
    if not any(f"{module_path}.".startswith(f"{package}.") for package in TRUSTED):
        raise UserError(f"{key}._target_: {path} is not in a trusted package ({', '.join(TRUSTED)})")
    try:
        target = getattr(importlib.import_module(module_path), name)
    except (ModuleNotFoundError, AttributeError) as error:
        raise UserError(f"{key}._target_: there is no {path} ({error})") from error
    # A trusted module also holds what it imports (`os`, `subprocess`); only what was written there counts.
    home = f"{getattr(target, '__module__', '')}."
    if not callable(target) or not any(home.startswith(f"{package}.") for package in TRUSTED):
        raise UserError(f"{key}._target_: {path} is not a class or function of a trusted package")
    return typing.cast(Callable[..., Any], target)


def check_arguments(target: Callable[..., Any], arguments: Mapping[str, Any], key: str) -> dict[str, Any]:
    """`arguments` with lists made tuples where the signature of `target` wants those.

    Raises:
        UserError: `target` has no such argument, or its value is of the wrong type.
    """
    hints = _hints(target)
    checked = {}
    for name, value in arguments.items():
        if name not in hints:
            raise UserError(f"{key}.{name}: there is no such key{nearest(name, hints)}")
        checked[name] = _checked(value, hints[name], f"{key}.{name}")
    return checked


def _hints(target: Callable[..., Any]) -> dict[str, Any]:
    """Argument → type; a class that passes `**kwargs` on has its base's arguments too."""
    hints: dict[str, Any] = {}
    functions = (
        [vars(cls)["__init__"] for cls in target.__mro__ if "__init__" in vars(cls)]
        if inspect.isclass(target)
        else [target]
    )
    for function in functions:
        parameters = inspect.signature(function).parameters
        types = typing.get_type_hints(function)
        for name, parameter in parameters.items():
            if name != "self" and parameter.kind is not parameter.VAR_KEYWORD:
                hints.setdefault(name, types.get(name, Any))
        if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters.values()):
            break
    return hints


def _checked(value: Any, hint: Any, key: str) -> Any:
    for candidate in (value, tuple(value)) if isinstance(value, list) else (value,):
        if _fits(candidate, hint):
            return candidate
    if get_origin(hint) is Literal:
        words = [str(word) for word in get_args(hint)]
        raise UserError(f"{key}: got {value!r}{nearest(str(value), words)}; allowed are {', '.join(words)}")
    wanted = hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint).replace("typing.", "")
    raise UserError(f"{key}: got {value!r}, expected {wanted.replace('collections.abc.', '')}")


def _fits(value: Any, hint: Any) -> bool:
    """Whether `value` is what `hint` says; to Python a bool is an int, to a user it is not."""
    if isinstance(value, bool) and hint in (int, float):
        return False
    try:
        check_type(value, hint, collection_check_strategy=CollectionCheckStrategy.ALL_ITEMS)
    except TypeCheckError:
        return False
    return True
