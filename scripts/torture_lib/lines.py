"""Generate command lines over the whole config space, with hypothesis."""

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from scripts.torture_lib.lines_known import KNOWN
from scripts.torture_lib.lines_values import DATA, MODELS, TARGETS, TRAINER_KEYS, USUAL, value

Draw = Callable[[Any], Any]
GROUPS_NOT_USED = ("data", "model", "sweep", "experiment")  # they would replace the tiny run
KINDS = ["key"] * 20 + ["group"] * 3 + ["trainer"] * 2 + ["typo", "remove", "target"]


def lines(number: int, seed_: int) -> list[list[str]]:
    """Return `number` command lines: first those that once ended in a traceback, then generated ones."""
    found = [line.split() for line in KNOWN][:number]
    keys = {(data, model): keys_of(data, model) for data in DATA for model in models_of(data)}
    missing = number - len(found)
    options = settings(
        max_examples=max(1, missing),
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )

    @seed(seed_)
    @options
    @given(tiny_run(keys))
    def collect(line: list[str]) -> None:
        found.append(line)

    if missing:
        collect()
    return found[:number]


def models_of(data: str) -> tuple[str, ...]:
    """The models that fit a data set."""
    return USUAL[data] if data in USUAL else tuple(model for model in MODELS if model != "seq2seq")


def keys_of(data: str, model: str) -> dict[str, Any]:
    """Dotted key → default value of the config of these two; also the sections."""
    from omegaconf import OmegaConf

    from leyden.config.compose import compose

    found: dict[str, Any] = {}

    def walk(node: Any, prefix: str) -> None:
        for key, inner in node.items():
            if isinstance(inner, dict):
                walk(inner, f"{prefix}{key}.")
            found[f"{prefix}{key}"] = inner

    walk(OmegaConf.to_container(compose(f"data={data}", f"model={model}")), "")
    return found


def tiny_run(keys: dict[tuple[str, str], dict[str, Any]]) -> Any:
    """A strategy for a tiny run with up to three random overrides."""

    def make(draw: Draw) -> list[str]:
        data, model = draw(st.sampled_from(sorted(keys)))
        base = f"{DATA[data]} model={model} {MODELS[model]} trainer=smoke".split()
        number = draw(st.sampled_from([1, 1, 1, 2, 2, 3]))
        return [*base, *(override(draw, keys[data, model]) for _ in range(number))]

    return st.composite(make)()


def override(draw: Draw, defaults: dict[str, Any]) -> str:
    """One override: a key of the config, a group, a key of Lightning's Trainer, a typo, a removal or a class."""
    kind = draw(st.sampled_from(KINDS))
    if kind == "group":
        return group(draw)
    key = draw(st.sampled_from(sorted(defaults)))
    if kind == "trainer":
        key = f"++trainer.{draw(st.sampled_from(TRAINER_KEYS))}"
    elif kind == "typo":
        key = key[:-1] + draw(st.sampled_from(["", "x", ".x", " ", "é"]))
    elif kind == "remove":
        return f"~{key}"
    elif kind == "target" or key.endswith("_target_"):
        return f"{key.rpartition('.')[0] or 'model'}._target_={draw(st.sampled_from(TARGETS))}"
    prefix = draw(st.sampled_from(["", "", "", "", "++"])) if kind == "key" else ""
    return f"{prefix}{key}={draw(value(key, defaults.get(key, 1)))}"


def group(draw: Draw) -> str:
    """A choice of a config group, mostly one that exists."""
    from leyden.config.compose import groups

    listed = {name: choices for name, choices in groups().items() if name not in GROUPS_NOT_USED}
    name = draw(st.sampled_from(sorted(listed)))
    return f"{name}={draw(st.sampled_from([*listed[name], 'nothing', 'null', '[a,b]', '3']))}"
