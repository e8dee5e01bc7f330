"""A trained model as one .safetensors file: the weights of a run, and in its metadata the config and a checksum.

One file, not a folder with a config.json: it cannot lose its config, and it replaces an older one completely or not
at all. The metadata entry ``leyden`` is a JSON object with the description that all exports have, ``config`` (the text
of config.yaml), ``files`` (name → text of the other files of the run folder that the model needs) and ``checksum`` (of
names, types, shapes and values, because the format has none).
"""

import json
from collections.abc import Mapping
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from leyden.config.builders import trained_module
from leyden.config.stored import without_observers
from leyden.data.file_access import check_regular
from leyden.errors import UserError
from leyden.records.run_folder import one_line, parse_config, refuse_link
from leyden.tools.trained_model import TrainedModel

KEY = "leyden"  # of the metadata
MAX_BYTES = 1 << 40
NEEDED = ("config", "checksum")


def safetensors_bytes(state: Mapping[str, Tensor], about: Mapping[str, Any]) -> bytes:
    """Return weights and their description, which must contain the ``config``, as the content of a file."""
    from safetensors.torch import save

    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    text = json.dumps({**about, "checksum": checksum(tensors)})
    content: bytes = save(tensors, {"format": "pt", KEY: text})
    return content


def load_safetensors(path: Path) -> TrainedModel:
    """Load the model in a file that `scripts/export.py` wrote; see `leyden.load`.

    Raises:
        UserError: the file is missing or damaged, was not written by Leyden, or safetensors is not installed.
    """
    state, about = read_safetensors(path)
    cfg = without_observers(parse_config(str(about["config"]), path), path)
    return TrainedModel(path, cfg, trained_module(cfg, {"state_dict": state}, path), partial(read_file, about, path))


def read_file(about: Mapping[str, Any], path: Path, name: str) -> str:
    """Return the text of a file of the run folder, which the description of the file at `path` contains.

    Raises:
        UserError: it does not contain it.
    """
    files = about.get("files")
    text = files.get(name) if isinstance(files, dict) else None
    if not isinstance(text, str):
        raise UserError(f"{path}: is damaged (its metadata has no {name}, which the model needs)")
    return text


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the weights in a file, and its description.

    Raises:
        UserError: see `load_safetensors`.
    """
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise UserError(f'{path}: reading it needs safetensors: pip install -e ".[safetensors]"') from error
    refuse_link(path)
    check_regular(path, "model", MAX_BYTES)
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (it is no mapping)
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read, it is damaged ({one_line(error)})") from error
    about = description_in(metadata, path)
    if checksum(state) != about["checksum"]:
        raise UserError(f"{path}: is damaged (the checksum of its weights does not match)")
    for name, weight in state.items():
        if weight.is_floating_point() and not weight.isfinite().all():
            raise UserError(f"{path}: the weight {one_line(ValueError(name))} is not finite (NaN or infinity)")
    return state, about


def description_in(metadata: Mapping[str, str], path: Path) -> dict[str, Any]:
    """Return the description that Leyden writes into the metadata of a file."""
    try:
        about = json.loads(metadata.get(KEY, "null"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read, its metadata is damaged ({one_line(error)})") from error
    if not isinstance(about, dict) or not all(isinstance(about.get(name), str) for name in NEEDED):
        raise UserError(f"{path}: was not written by scripts/export.py (its metadata has no config)")
    return about


def checksum(state: Mapping[str, Tensor]) -> str:
    """Return a hash of names, types, shapes and values."""
    digest = blake2b(digest_size=16)
    for name, tensor in sorted(state.items()):
        digest.update(repr((name, str(tensor.dtype), tuple(tensor.shape))).encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
