"""Build what a config names by `_target_`: only trusted classes, only with arguments that fit their annotations.

Hydra's `instantiate` calls whatever a config names. That is not safe for a config from a stranger's run folder, and
it reports a wrong value from deep inside the call. Here a target must be a class (or one of a few functions) that is
defined in a trusted package, and each argument must have the annotated type, before anything is called.
"""

import importlib
import inspect
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from leyden.config.suggest import nearest
from leyden.errors import UserError

TRUSTED = ("leyden.data", "leyden.modules", "leyden.nets", "leyden.optim", "torch.optim")
TRUSTED_FUNCTIONS = ("leyden.optim.constant", "leyden.optim.cosine", "leyden.optim.linear", "leyden.optim.step")
ANY_CLASS = ("",)  # for callbacks and loggers that the user names on the command line

Trusted = tuple[str, ...]
Kind = type | tuple[type, ...]

_plugin_packages: list[str] = []


def trust(package: str) -> None:
    """Allow `_target_` to name classes and functions of `package`, which is the user's own code (a plugin)."""
    if package not in _plugin_packages:
        _plugin_packages.append(package)


def instantiate(
    spec: Mapping[str, Any], key: str, kind: Kind = object, trusted: Trusted = TRUSTED, **extra: Any
) -> Any:
    """Call what ``spec["_target_"]`` names with the rest of `spec` and `extra`.

    Args:
        spec: plain values, one of them `_target_`.
        key: where `spec` stands in the config, for messages.
        kind: the class that the result must be an instance of, or several.
        trusted: packages that the target may come from.
        extra: arguments that a config cannot hold.

    Raises:
        UserError: the target is not trusted or not of this kind, or an argument is unknown, missing or of the wrong
            type.
    """
    factory = instantiate_partial(spec, key, kind, trusted)
    check_complete(factory, key, **extra)
    with config_errors(key, factory.func):
        try:
            built = factory(**extra)
        except ModuleNotFoundError as error:
            raise UserError(f"{key}: {factory.func.__name__} needs another package ({error})") from error
    check_kind(built, key, kind)
    return built


def instantiate_partial(
    spec: Mapping[str, Any], key: str, kind: Kind = object, trusted: Trusted = TRUSTED
) -> "partial[Any]":
    """Do the same as `instantiate`, but return a partial object: the first arguments of the target are given later."""
    path = spec.get("_target_")
    if not isinstance(path, str):
        raise UserError(f"{key}._target_: got {path!r}, must be the dotted path of a class")
    target = locate(path, key, trusted)
    if inspect.isclass(target) and not issubclass(target, kind):
        raise _wrong_kind(target, key, kind)
    arguments = {name: value for name, value in spec.items() if name != "_target_"}
    return partial(target, **check_arguments(target, arguments, key))


def check_kind(value: Any, key: str, kind: Kind) -> None:
    """Raise UserError if `value` is not a `kind`: the target is a function that returns something else."""
    if not isinstance(value, kind):
        raise _wrong_kind(type(value), key, kind)


def _wrong_kind(found: type, key: str, kind: Kind) -> UserError:
    wanted = " or ".join(map(_path, kind if isinstance(kind, tuple) else [kind]))
    return UserError(f"{key}._target_: {_path(found)} is not a subclass of {wanted}")


def _path(found: type) -> str:
    return f"{found.__module__}.{found.__qualname__}"


def check_complete(factory: "partial[Any]", key: str, *given: Any, **extra: Any) -> None:
    """Raise UserError if `factory` still lacks an argument when it is called with these."""
    try:
        inspect.signature(factory).bind(*given, **extra)
    except TypeError as error:
        raise UserError(f"{key}: {factory.func.__name__} is {error}") from error


@contextmanager
def config_errors(key: str, function: Callable[..., Any]) -> Iterator[None]:
    """Turn a `ValueError` that is raised inside into a `UserError` that names the config key.

    The text of such an error starts with the name of the argument: ``dropout: got 2, must be …``.
    """
    try:
        yield
    except UserError:
        raise
    except (ValueError, OverflowError) as error:
        argument = str(error).partition(":")[0]
        separator = "." if argument in argument_types(function) else ": "
        raise UserError(f"{key}{separator if key else ''}{error}") from error


def locate(path: str, key: str, trusted: Trusted = TRUSTED) -> Callable[..., Any]:
    """Return the class or function at the dotted `path`.

    Raises:
        UserError: it is not in a trusted package, or does not exist.
    """
    module_path, _, name = path.rpartition(".")
    if not _is_trusted(module_path, trusted):
        raise UserError(
            f"{key}._target_: {path!r} is not in a trusted package ({', '.join(trusted)}). If it is your own code, "
            "name its folder: plugins=[FOLDER]"
        )
    try:
        target = getattr(importlib.import_module(module_path), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"{key}._target_: cannot find {path!r} ({error})") from error
    if trusted == ANY_CLASS:
        allowed = inspect.isclass(target)
    else:
        # A trusted module also contains what it imports (`os`, `shutil`), so where the target was defined counts.
        home = str(getattr(target, "__module__", ""))
        is_function = path in TRUSTED_FUNCTIONS or _is_plugin(home)
        allowed = _is_trusted(home, trusted) and (inspect.isclass(target) or (is_function and callable(target)))
    if not allowed:
        raise UserError(f"{key}._target_: {path!r} is not a class of a trusted package")
    return typing.cast(Callable[..., Any], target)


def _is_trusted(module: str, trusted: Trusted) -> bool:
    if trusted == ANY_CLASS:
        return bool(module)
    return _is_plugin(module) or any(f"{module}.".startswith(f"{package}.") for package in trusted)


def _is_plugin(module: str) -> bool:
    return any(f"{module}.".startswith(f"{package}.") for package in _plugin_packages)


def check_arguments(target: Callable[..., Any], arguments: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return `arguments`, with a tuple instead of a list where the signature of `target` requires one.

    Raises:
        UserError: `target` does not have such an argument, or the value has the wrong type.
    """
    hints = argument_types(target)
    checked = {}
    for name, value in arguments.items():
        full = f"{key}.{name}" if key else str(name)
        if name in hints:
            checked[name] = _checked(value, hints[name], full)
        elif takes(target, name):
            checked[name] = value  # a class of another package that passes its arguments on
        else:
            raise UserError(f"{full}: there is no such key{nearest(str(name), hints)}")
    return checked


def takes(target: Callable[..., Any], name: str) -> bool:
    """Return whether `target` has an argument `name`, or passes all arguments on (``**kwargs``)."""
    parameters = inspect.signature(target).parameters
    return name in parameters or any(one.kind is one.VAR_KEYWORD for one in parameters.values())


def argument_types(target: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotated type of each argument of the target."""
    function = target.__init__ if inspect.isclass(target) else target
    parameters = inspect.signature(function).parameters
    try:
        types = typing.get_type_hints(function)
    except (NameError, TypeError):  # annotations of another package that cannot be evaluated here
        types = {}
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return {
        name: types.get(name, Any)
        for name, parameter in parameters.items()
        if name != "self" and parameter.kind not in kinds
    }


def _checked(value: Any, hint: Any, key: str) -> Any:
    for candidate in (value, tuple(value)) if isinstance(value, list) else (value,):
        if _fits(candidate, hint):
            return candidate
    words = _words(hint)
    if words and get_origin(hint) is Literal:
        raise UserError(f"{key}: got {value!r}{nearest(str(value), words)}; allowed are {', '.join(words)}")
    raise UserError(f"{key}: got {value!r}, expected {describe(hint)}")


def _words(hint: Any) -> list[str]:
    return [str(word) for word in get_args(hint)] if get_origin(hint) is Literal else []


def _fits(value: Any, hint: Any) -> bool:
    """Return whether `value` has the type `hint`.

    Python treats a bool as an int, and a text as a sequence of texts. This function does not.
    """
    from typeguard import CollectionCheckStrategy, TypeCheckError, check_type

    options = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    if isinstance(value, str) and any(get_origin(option) is Sequence for option in options):
        return any(_fits(value, option) for option in options if get_origin(option) is not Sequence)
    if isinstance(value, bool) and hint is not Any:
        return any(
            option in (bool, Any, object) or (_words(option) and value in get_args(option)) for option in options
        )
    try:
        check_type(value, hint, collection_check_strategy=CollectionCheckStrategy.ALL_ITEMS)
    except TypeCheckError:
        return False
    return True


def describe(hint: Any) -> str:
    """Return `hint` in words: ``int | None`` is "a whole number or null"."""
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", NoneType: "null"}
    if hint in names:
        return names[hint]
    if get_origin(hint) in (Union, UnionType):
        options = list(dict.fromkeys(describe(option) for option in get_args(hint)))
        return " or ".join(option for option in options if option != "a whole number" or "a number" not in options)
    if get_origin(hint) is Literal:
        words = [str(word) for word in get_args(hint)]
        return words[0] if len(words) == 1 else f"one of {', '.join(words)}"
    origin = get_origin(hint)
    if inspect.isclass(origin) and issubclass(origin, Sequence):
        item = get_args(hint)[0]
        plural = {int: "whole numbers", float: "numbers", str: "texts"}
        return f"a list of {plural[item]}" if item in plural else "a list"
    if inspect.isclass(origin) and issubclass(origin, Mapping):
        return "a mapping"
    return str(getattr(hint, "__name__", hint))
