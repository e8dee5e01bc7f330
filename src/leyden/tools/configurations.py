"""What runs trained: their configurations without seeds and places, and in which keys they differ."""

from collections.abc import Sequence

from leyden.tools.choices import choice_names, measured_keys
from leyden.tools.comparison_table import NONE
from leyden.tools.read_runs import REPLICATES, Run, printable

# Where files are and what is recorded: no part of the configuration.
NOT_CONFIGURATION = (
    "paths.", "name", "resume", "tensorboard", "logger.", "plugins", "checkpoint.",
    "data.root", "data.path", "data.cache", "data.verify", "data.download", "data.mirrors",
)  # fmt: skip
USER_FILES = ("data.path", "data.cache")  # a data set with one of these keys reads files of the user


def configuration(run: Run) -> dict[str, str]:
    """Return what the run trained: the config without seed, fold, locations and measured values.

    A choice such as ``model=gru`` replaces the name of its class. For files of the user, the fingerprint of
    the data is included: the same config may have been used with other files.
    """
    names = choice_names(run.config)
    ignored = {*REPLICATES, *measured_keys(run.config), *(f"{group}._target_" for group in names)}
    kept = {k: v for k, v in run.config.items() if k not in ignored and not k.startswith(NOT_CONFIGURATION)}
    if any(value(run.config, key) not in (NONE, "None") for key in USER_FILES):
        kept["data.fingerprint"] = printable(str(run.report.get("fingerprint", "")))[:8]
    return {**names, **kept}


def differing(groups: Sequence[Sequence[Run]]) -> list[str]:
    """Return the keys in which configurations differ, without the keys that follow from a choice.

    If a cnn is compared with an mlp, ``model`` differs; ``model.channels`` only follows from it.
    """
    configs = [configuration(group[0]) for group in groups]
    keys = [key for key in dict.fromkeys(k for c in configs for k in c) if len({value(c, key) for c in configs}) > 1]

    def follows(key: str) -> bool:
        choice = key.partition(".")[0]
        if key == choice or choice not in keys:
            return False
        pairs = {(value(config, choice), value(config, key)) for config in configs}
        return len(pairs) == len({value(config, choice) for config in configs})

    return [key for key in keys if not follows(key)]


def value(config: dict[str, str], key: str) -> str:
    """Return the value of `key`, or a dash if the config does not have it."""
    return config.get(key, NONE)


def setting(run: Run, own: dict[str, str], key: str) -> str:
    """Return the value of `key` in the configuration of `run`, `own`, or else in its config (for example ``seed``)."""
    return own[key] if key in own else value(run.config, key)
