"""Values of data, model and task that must agree. They do, unless a user overrides one of them. Imports no torch."""

from typing import Any, TypeGuard

from omegaconf import DictConfig, ListConfig, OmegaConf

from leyden.errors import UserError

LARGEST_BF16 = 256  # up to here, bfloat16 represents every whole number

# (key, key that it follows from, difference): checked if the config has both
EQUAL = (
    ("model.in_shape", "data.shape", 0),
    ("model.category_sizes", "data.category_sizes", 0),
    ("task.in_shape", "data.shape", 0),
    ("model.vocab_size", "data.vocab_size", 0),
    ("task.num_classes", "data.num_classes", 0),
    ("model.num_classes", "data.num_classes", 0),
    ("task.num_outputs", "data.num_targets", 0),
    ("task.num_outputs", "data.horizon", 0),
    ("task.num_symbols", "data.num_classes", 1),  # the end symbol
    ("task.num_symbols", "data.vocab_size", 1),
    ("task.length", "data.max_digits", 1),
    ("task.min_digits", "data.min_digits", 0),
    ("task.max_digits", "data.max_digits", 0),
    ("task.length", "data.max_tokens", 1),
)


def check_agreement(cfg: DictConfig) -> None:
    """Raise UserError if a size of the model or the task is not the one that the data set has."""
    for key, source, difference in EQUAL:
        value, base = _value(cfg, key), _value(cfg, source)
        if value is None or base is None or (difference and not _is_size(base)):
            continue
        wanted = base + difference if difference else base
        if value != wanted:
            raise UserError(f"{key}: got {value}, must be {wanted}, since {source} is {base}; leave out {key}")
    check_categories(cfg)
    check_texts(cfg)
    if _value(cfg, "task.reflow") is True and cfg.init_from is None:
        raise UserError(
            "task.reflow: got true, but there is no run whose paths it can make straight; add init_from=RUN"
        )
    size = _value(cfg, "task.embedding")  # model.num_outputs follows from it, but the message must name it
    if _is_size(size) and size < 1:
        raise UserError(f"task.embedding: got {size}, must be at least 1")
    outputs, wanted = _value(cfg, "model.num_outputs"), num_outputs(cfg)
    if outputs is not None and wanted is not None and outputs != wanted:
        raise UserError(f"model.num_outputs: got {outputs}, must be {wanted} for this task; leave it out")


def check_categories(cfg: DictConfig) -> None:
    """Raise UserError if the data has codes of categories, and the model or the precision cannot represent them."""
    sizes = _value(cfg, "data.category_sizes")
    if not isinstance(sizes, list) or not all(map(_is_size, sizes)) or not any(sizes):
        return
    if "category_sizes" not in cfg.model:
        raise UserError(
            "data.categories: got embedded, but this model has no vectors for categories; use data.categories=onehot "
            "or model=mlp"
        )
    if cfg.trainer.precision == "bf16-true" and max(sizes) > LARGEST_BF16:
        raise UserError(
            f"trainer.precision: got bf16-true, whose whole numbers are exact only up to {LARGEST_BF16}, but a feature "
            f"has {max(sizes)} categories; use bf16-mixed or data.categories=onehot"
        )


def check_texts(cfg: DictConfig) -> None:
    """Raise UserError if the data has texts, and the model or the task cannot use token ids."""
    tokens = _value(cfg, "data.max_tokens")
    if tokens is None:
        return
    in_shape = _value(cfg, "model.in_shape")
    if "vocab_size" not in cfg.model and isinstance(in_shape, list) and len(in_shape) == 1:
        writes = _value(cfg, "task.num_symbols") is not None
        fitting = "seq2seq or seq2seq_rnn" if writes else "bag, textcnn, lstm or transformer"
        raise UserError(
            f"model.in_shape: got {in_shape}, the tokens of a text, which this model cannot read; use a model with "
            f"vectors of tokens, such as model={fitting}"
        )
    for key, without in {"task.mixup": 0, "task.cutmix": 0, "task.tta": "none"}.items():
        if _value(cfg, key) not in (None, without):
            raise UserError(f"{key}: got {_value(cfg, key)}, needs images, but the data set has texts; use {without}")


def num_outputs(cfg: DictConfig) -> int | None:
    """Return how many outputs the task needs, or None if the config does not define it as a whole number.

    Values of another type are reported when the task is built.
    """
    symbols, length = _value(cfg, "task.num_symbols"), _value(cfg, "task.length")
    if _is_size(symbols) and _is_size(length):
        return symbols * length
    for key in ("task.num_outputs", "task.num_classes", "task.embedding"):
        if _is_size(value := _value(cfg, key)):
            return value
    return None


def _is_size(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _value(cfg: DictConfig, key: str) -> Any:
    value = OmegaConf.select(cfg, key)
    return list(value) if isinstance(value, ListConfig) else value
