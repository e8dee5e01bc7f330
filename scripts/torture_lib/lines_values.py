"""The values from which `lines.py` makes command lines."""

import json
from typing import Any

from hypothesis import strategies as st

from scripts.torture_lib import words

# Data sets that need no file, as small as a smoke test wants them.
DATA = {
    "digits": "data=digits data.limit=0.3",
    "synthetic": "data=synthetic data.num_train=200 data.num_test=60",
    "diabetes": "data=diabetes",
    "series": "data=series data.num_steps=800",
    "digit_pairs": "data=digit_pairs data.num_train=200 data.num_eval=60",
    "digit_strings": "data=digit_strings data.num_train=200 data.num_eval=60",
}
MODELS = {
    "mlp": "",
    "cnn": "",
    "lstm": "",
    "gru": "",
    "rnn": "",
    "transformer": "model.dim=16",
    "resnet": "model.widths=[4,8] model.depths=[1,1]",
    "airbench": "model.widths=[4,8]",
    "wrn": "model.widths=[4,8] model.depths=[1,1]",
    "pretrained": "model.name=shufflenet_v2_x0_5 model.weights=none model.size=32",
    "vae": "model.channels=[4,8] task.num_samples=50",
    "gan": "model.channels=[4,8] task.num_samples=50",
    "autoencoder": "model.channels=[4,8]",
    "seq2seq": "model.dim=16 model.num_layers=1",
}
USUAL = {
    "diabetes": ("mlp",),
    "series": ("mlp", "lstm", "gru", "rnn", "transformer"),
    "digit_strings": ("seq2seq",),
}
TRAINER_KEYS = words(
    "max_steps max_time min_steps val_check_interval overfit_batches detect_anomaly benchmark fast_dev_run "
    "log_every_n_steps profiler logger callbacks plugins num_nodes inference_mode sync_batchnorm "
    "gradient_clip_algorithm reload_dataloaders_every_n_epochs default_root_dir barebones "
    "enable_checkpointing num_sanity_val_steps use_distributed_sampler limit_predict_batches model_registry "
    "enable_autolog_hparams"
)
NUMBERS = words("0 -1 1 2 3 7 0.5 -0.5 1.5 1e-3 1e-320 1e308 1e400 -1e308 nan inf -inf 2147483648 9223372036854775808")
NUMBERS += ["99999999999999999999", "100000", "1000000", "1e-9", "0.9999", "-0.0", "1_000", "0x10", "01"]
OTHERS = [
    "null",
    "true",
    "false",
    "[]",
    "{}",
    "[1,1]",
    "[0]",
    "[-1]",
    "[a]",
    "[null]",
    "[[1]]",
    "{a:1}",
    "{1:2}",
    "a",
    "''",
    "'0'",
    "'null'",
    "1e",
    "auto",
    "none",
    "None",
]
STRINGS = [
    "'a b'",
    "ü",
    "实验",
    '"a#b"',
    "'a=b'",
    "a,b",
    "'a,b'",
    "'(x)'",
    "a&b",
    "$HOME",
    "'${seed}'",
    "${nothing}",
    "'",
]
STRINGS += ["${oc.env:HOME}", "'%s %d'", "..", "../up", "a/../../b", "'a\\nb'", "\\", "a:b", "=", "~", "*", "a" * 300]
STRINGS += ["'\x1b[31mred'", "-1e", "1..2", "!!", "|", "`id`", "interval(0,1)", "choice(1,2)", "tag(log,interval(1,2))"]
TARGETS = [
    "x",
    "leyden.nothing",
    "leyden.nets.cnn.CNN",
    "torch.nn.Linear",
    "builtins.print",
    "torch.optim.SGD",
    "leyden.",
]
FOLDERS = ["logs", "'new folder'", "实验", "a/b", "''", "null", "3", "[a]", ".", "'a=b'", "no/such/run"]
PATHS = ("paths.", "data.root", "data.path", "data.cache", "init_from", "resume", "default_root_dir")


def value(key: str, default: Any) -> st.SearchStrategy[str]:
    """Values for a key: near its default, at a boundary, of another type, or strange."""
    if any(part in key for part in PATHS):
        return st.sampled_from(FOLDERS)
    if key == "trainer.max_epochs":
        return st.sampled_from(["0", "-1", "1", "3", "1.5", "null", "a", "[1]", "true"])
    near: list[Any] = [default]
    if isinstance(default, bool):
        near = [True, False]
    elif isinstance(default, int | float):
        near = [default, default * 2, default // 2, default + 1, default / 3, -default]
    elif isinstance(default, list) and default:
        near = [default, default[:1], default * 2, default[::-1]]
    usual = st.sampled_from([written(one) for one in near])
    return st.one_of(
        usual, usual, usual, usual, st.sampled_from(NUMBERS), st.sampled_from(OTHERS), st.sampled_from(STRINGS)
    )


def written(value: Any) -> str:
    """A value in Hydra's grammar."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{written(one)}" for key, one in value.items()) + "}"
    return value if isinstance(value, str) else json.dumps(value).replace(" ", "")
