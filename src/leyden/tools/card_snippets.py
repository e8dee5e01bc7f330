"""The code in a model card: how to load the run and its exported files with Leyden, onnxruntime and plain torch."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch

from leyden.data.table import Table
from leyden.data.texts import TextData
from leyden.data.tokenizers import WORD
from leyden.modules.forecaster import Forecaster
from leyden.modules.generative import GenerativeModule
from leyden.modules.language_model import LanguageModel
from leyden.modules.regressor import Regressor
from leyden.tools.exported_program import Port, input_port, output_ports
from leyden.tools.markdown import fenced
from leyden.tools.trained_model import TrainedModel

IMAGE = "image.png"  # the file that the code reads
TEXT = "This is a text."
TRUST = "`torch.export.load` can execute code that is hidden in a file. Load a .pt2 file only if you trust its source."
PIECES = {  # tokenizer → the code of the tokens of a text
    "words": f're.findall(r"{WORD.pattern}", text.lower().replace(\'\\u2019\', "\'"))',
    "characters": "text",
    "bytes": "",
}


def snippets(model: TrainedModel, files: Mapping[str, Path]) -> list[tuple[str, str]]:
    """Return (heading, Markdown) of each way to load a model.

    Args:
        model: the loaded run.
        files: format → exported file. Its name without the folder is used.
    """
    leyden_file = files["safetensors"].name if "safetensors" in files else None
    found = [("Leyden", leyden_snippet(model, leyden_file))]
    if "onnx" in files:
        found.append(("onnxruntime", onnx_snippet(model, files["onnx"].name)))
    if "torch" in files:
        found.append(("Plain torch", torch_snippet(model, files["torch"].name)))
    if "safetensors" in files:
        found.append(("Plain torch, the weights only", weights_snippet(files["safetensors"].name)))
    return found


def leyden_snippet(model: TrainedModel, file: str | None) -> str:
    """Return the code for Leyden. Without a file the user writes the run folder instead of RUN."""
    source = "RUN" if file is None else json.dumps(file)
    lines = [f"model = leyden.load({source})" + ("  # the run folder" if file is None else "")]
    if isinstance(model.module, GenerativeModule):
        lines += ["images = model.sample(4)  # float (4, C, H, W), 0 to 1", "print(images.shape)"]
    elif isinstance(model.module, LanguageModel):
        lines += [f"(found,) = model.predict([{example(model)}])", "print(found.as_dict())  # the next token"]
        lines += [f"print(model.generate({example(model)}, max_new_tokens=100, temperature=0.8))"]
    elif model.data.input_kind is not None:
        lines += [f"(found,) = model.predict([{example(model)}])", "print(found.as_dict())"]
    return script(["import leyden"], lines)


def example(model: TrainedModel) -> str:
    """Return the code of one input for `TrainedModel.predict`."""
    if model.data.input_kind == "image":
        return json.dumps(IMAGE)
    if model.data.input_kind == "series":
        return f"range({model.data.shape[0]})"
    if model.data.input_kind == "text":
        return json.dumps(TEXT)
    return str(table_row(model.data) if isinstance(model.data, Table) else row(model))


def table_row(data: Table) -> dict[str, float | str]:
    """Return a row of a table: of numbers the mean of the training split, of categories the first one."""
    assert data.statistics is not None
    means = dict(zip(data.input_names(), data.statistics["mean"], strict=True))
    return {name: found[0] if found else float(f"{means[name]:.4g}") for name, found in data.schema.items()}


def row(model: TrainedModel) -> list[float]:
    """Return the features of an average sample of the training split."""
    known = isinstance(model.module, Regressor | Forecaster)
    values = model.module.scaling.mean if known else torch.zeros(model.data.shape[-1])
    assert isinstance(values, torch.Tensor)
    return [float(f"{value:.4g}") for value in values.tolist()]


def onnx_snippet(model: TrainedModel, file: str) -> str:
    """Return the code for onnxruntime."""
    imports, lines = raw_input(model)
    about = 'about = json.loads(session.get_modelmeta().custom_metadata_map["leyden"])'
    load = [f"session = onnxruntime.InferenceSession({json.dumps(file)})"]
    lines = [*load, about, *lines] if "about" in "".join(lines) else [*lines, *load]
    lines += [
        f"outputs = session.run(None, {{{json.dumps(input_port(model).name)}: inputs}})",
        *(f"print(outputs[{number}])  # {port}" for number, port in enumerate(output_ports(model))),
        *([about] if about not in lines else []),
        'print(about["classes"])',
    ]
    return script(["import json", *standard(imports), "", *others(imports), "import onnxruntime"], lines)


def torch_snippet(model: TrainedModel, file: str) -> str:
    """Return the code for a .pt2 file. It needs no package of this project."""
    imports, lines = raw_input(model)
    needs_about = "about" in "".join(lines)
    load = [f"program = torch.export.load({json.dumps(file)}).module()"]
    if needs_about:
        imports = ["import json", *imports]
        load = [
            'extra = {"leyden": ""}',
            f"program = torch.export.load({json.dumps(file)}, extra_files=extra).module()",
            'about = json.loads(extra["leyden"])',
        ]
    lines = [*load, *lines] if needs_about else [*lines, *load]
    lines += [
        "with torch.no_grad():",
        "    outputs = program(torch.tensor(inputs))",
        *(f"print(outputs[{json.dumps(port.name)}])  # {port}" for port in output_ports(model)),
    ]
    separated = [*standard(imports), "", *others(imports)] if standard(imports) else imports
    return f"{TRUST}\n\n{script([*separated, 'import torch'], lines)}"


def standard(imports: list[str]) -> list[str]:
    """Return the imports of the standard library."""
    return [line for line in imports if line in ("import json", "import re")]


def others(imports: list[str]) -> list[str]:
    """Return the imports of packages."""
    return [line for line in imports if line not in standard(imports)]


def weights_snippet(file: str) -> str:
    """Return the code that reads the weights of a safetensors file without Leyden."""
    lines = [
        f"weights = load_file({json.dumps(file)})",
        "print({name: tuple(weight.shape) for name, weight in weights.items()})",
    ]
    return script(["from safetensors.torch import load_file"], lines)


def script(imports: list[str], lines: list[str]) -> str:
    """Return a block of Python code."""
    return fenced("\n".join([*imports, "", *lines]), "python")


def raw_input(model: TrainedModel) -> tuple[list[str], list[str]]:
    """Return the imports and the lines that define ``inputs``, a raw batch as a numpy array."""
    port = input_port(model)
    imports = ["import numpy as np"]
    if port.name == "images" and port.shape[0] in (1, 3):
        return [*imports, "from PIL import Image, ImageOps"], image_lines(port)
    if port.name == "latents":
        size = port.shape[0]
        return imports, [f"inputs = np.random.default_rng(0).standard_normal((4, {size})).astype(np.float32)"]
    if port.name == "rows":
        return imports, [f"inputs = np.array([{row(model)}], dtype=np.float32)  # the features in their order"]
    if isinstance(model.data, TextData) and model.data.tokenizer in PIECES:
        return ["import re", *imports] if model.data.tokenizer == "words" else imports, token_lines(model.data)
    if port.name == "ids":
        ids = model.data.encode(TEXT).tolist()
        return imports, [f"inputs = np.array([{ids}], dtype=np.int64)  # the tokens of {json.dumps(TEXT)}, then 0"]
    if port.name == "windows":
        steps, features = port.shape
        return imports, [f"inputs = np.arange({steps * features}, dtype=np.float32).reshape(1, {steps}, {features})"]
    return imports, [f"inputs = np.zeros({(1, *port.shape)}, dtype=np.{port.dtype})"]


def token_lines(data: TextData) -> list[str]:
    """Return the lines that convert a text to token ids as Leyden does it, with the tokenizer in ``about``."""
    size, kind = data.max_tokens, data.tokenizer
    first = f"text = {json.dumps(TEXT)}"
    last = f"inputs = np.array([ids + [0] * ({size} - len(ids))], dtype=np.int64)  # int64 (1, {size})"
    if kind == "bytes":
        return [first, f"ids = [2 + value for value in text.encode()][:{size}]  # {about_ids(kind)}", last]
    return [
        first,
        'tokens = json.loads(about["files"]["tokenizer.json"])["tokens"]',
        "numbers = {token: 2 + number for number, token in enumerate(tokens)}",
        f"ids = [numbers.get(token, 1) for token in {PIECES[kind]}][:{size}]  # {about_ids(kind)}",
        last,
    ]


def about_ids(kind: str) -> str:
    return "0 is padding" if kind == "bytes" else "0 is padding, 1 an unknown token"


def image_lines(port: Port) -> list[str]:
    """Return the lines that read an image as Leyden does it."""
    channels, height, width = port.shape
    mode, axes = ("L", "[None, None]") if channels == 1 else ("RGB", ".transpose(2, 0, 1)[None]")
    return [
        f"image = ImageOps.exif_transpose(Image.open({json.dumps(IMAGE)})).convert({json.dumps(mode)})",
        f"image = ImageOps.fit(image, ({width}, {height}), Image.Resampling.BILINEAR)",
        f"inputs = np.array(image){axes}  # uint8 (1, {channels}, {height}, {width})",
    ]
