"""Exports: files that other programs load, compared by value, and nothing left under the name if they differ."""

import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import leyden
from leyden.config.builders import build_module
from leyden.errors import UserError
from leyden.run import run
from leyden.tools import export as export_file
from leyden.tools.export import export, file_names, write_checked
from leyden.tools.export_check import find_samples
from leyden.tools.export_formats import FORMATS, read_torch
from leyden.tools.exported_program import module_outputs
from leyden.tools.trained_model import TrainedModel
from scripts.export import main
from tests.conftest import small

FAST = ("trainer=smoke", "trainer.max_epochs=1", "logger=none")
ONNX = pytest.mark.skipif(
    any(FORMATS["onnx"].missing()), reason=f"{', '.join(FORMATS['onnx'].missing())} is not installed"
)
SAFETENSORS = pytest.mark.skipif(bool(FORMATS["safetensors"].missing()), reason="safetensors is not installed")


def trained(logs: Path, *overrides: str) -> Path:
    run(leyden.compose(*overrides, *FAST, f"paths.logs={logs}"))
    return next(logs.glob("runs/*/*"))


@pytest.fixture(scope="module")
def cnn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("cnn"), "model=cnn", "model.channels=[4,8]")


@ONNX
def test_an_onnx_file_takes_uint8_images_and_gives_the_probabilities_of_the_run(cnn: Path, tmp_path: Path) -> None:
    import onnx
    import onnxruntime

    found = export(cnn, tmp_path / "digits.onnx")
    assert found.samples == "validation samples"
    assert list(found.differences) == ["probabilities"]
    assert found.largest_difference < 1e-6
    session = onnxruntime.InferenceSession(str(tmp_path / "digits.onnx"))
    (port,) = session.get_inputs()
    assert (port.name, port.type, port.shape) == ("images", "tensor(uint8)", ["batch", 1, 28, 28])
    (port,) = session.get_outputs()
    assert (port.name, port.shape) == ("probabilities", ["batch", 10])
    model = leyden.load(cnn)
    model.data.setup("test")
    assert model.data.test is not None
    images = model.data.test[0][:20]
    (probabilities,) = session.run(["probabilities"], {"images": images.numpy()})
    for row, prediction in zip(probabilities, model.predict(images), strict=True):
        assert [dict(prediction.top)[name] for name in "0123456789"] == pytest.approx(row.tolist(), abs=1e-6)
    about = json.loads(session.get_modelmeta().custom_metadata_map["leyden"])
    assert about["classes"] == list("0123456789")
    assert about["input"] == {"name": "images", "dtype": "uint8", "shape": ["N", 1, 28, 28]}
    onnx.checker.check_model(str(tmp_path / "digits.onnx"), full_check=True)
    content = (tmp_path / "digits.onnx").read_bytes()
    assert str(Path(leyden.__file__).parent).encode() not in content  # no folder of this machine
    assert [path.name for path in tmp_path.iterdir()] == ["digits.onnx"]


OUTPUTS = [  # of nets that tests/tools/test_every_task.py does not export
    # model, data, the names of the outputs with their shapes after the batch
    ("transformer", "digits", {"probabilities": [10]}),
    ("lstm", "series", {"steps": [12]}),
]
SIZES = {
    "lstm": ("model.num_layers=2", "model.dropout=0.1", "model.hidden=8"),
}


def untrained(*overrides: str) -> TrainedModel:
    cfg = leyden.compose(*overrides)
    return TrainedModel(Path("untrained"), cfg, build_module(cfg).eval())


@pytest.mark.parametrize(("model", "data", "outputs"), OUTPUTS)
def test_a_torch_file_gives_what_the_module_gives(
    tmp_path: Path, model: str, data: str, outputs: dict[str, list[int]]
) -> None:
    run_model = untrained(*small(model), f"data={data}", *SIZES.get(model, ()))
    batch = find_samples(run_model).batch
    found, about = write_checked(run_model, FORMATS["torch"], tmp_path / "model.pt2", batch)
    assert max(found.values()) < 1e-5
    assert {port["name"]: port["shape"][1:] for port in about["outputs"]} == outputs
    expected = module_outputs(run_model, batch[:3])
    for name, value in read_torch(tmp_path / "model.pt2")(batch[:3]).items():
        assert torch.allclose(value.float(), expected[name].float(), rtol=1e-4, atol=1e-5)
        assert list(value.shape) == [3, *outputs[name]]


def test_a_gan_is_exported_as_its_generator_without_paths_of_this_machine(
    short_feature_net: None, tmp_path: Path
) -> None:
    folder = trained(tmp_path, *small("gan"))
    found = export(folder, tmp_path / "gan.pt2", "torch")
    assert found.ports == "latents float32 (N, 64) → images float32 (N, 1, 28, 28)"
    generator = sum(weight.numel() for weight in leyden.load(folder).module.average.parameters())  # type: ignore[union-attr]
    with zipfile.ZipFile(tmp_path / "gan.pt2") as archive:
        graph = archive.read(next(name for name in archive.namelist() if name.endswith("model.json"))).decode()
        about = json.loads(archive.read(next(name for name in archive.namelist() if name.endswith("leyden"))))
    assert "discriminator" not in graph
    assert str(Path(leyden.__file__).parent) not in graph
    assert about["input"]["name"] == "latents"
    assert 4 * generator < (tmp_path / "gan.pt2").stat().st_size < 4 * generator + 100_000


@SAFETENSORS
def test_a_safetensors_file_is_loaded_by_leyden_and_by_plain_torch(cnn: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    path = tmp_path / "digits.safetensors"
    assert export(cnn, path, "safetensors").largest_difference == 0
    model, loaded = leyden.load(cnn), leyden.load(path)
    state = {name: weight.clone() for name, weight in load_file(path).items()}
    assert state.keys() == loaded.module.state_dict().keys()
    for name, weight in model.module.state_dict().items():
        assert torch.equal(state[name], weight)
        assert torch.equal(loaded.module.state_dict()[name], weight)
    images = find_samples(model).batch
    one, other = model.predict(images), loaded.predict(images)
    assert [found.top for found in one] == [found.top for found in other]


@SAFETENSORS
def test_a_damaged_or_foreign_safetensors_file_is_named(cnn: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = tmp_path / "digits.safetensors"
    export(cnn, path, "safetensors")
    content = bytearray(path.read_bytes())
    content[-100] ^= 0x40
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"digits\.safetensors: is damaged \(the checksum of its weights"):
        leyden.load(path)
    state = {name: weight.clone() for name, weight in load_file(path).items()}
    path.write_bytes(content[:500])
    with pytest.raises(UserError, match=r"digits\.safetensors: cannot be read, it is damaged"):
        leyden.load(path)
    save_file(state, path)
    with pytest.raises(UserError, match=r"digits\.safetensors: was not written by scripts/export\.py"):
        leyden.load(path)
    with pytest.raises(UserError, match="there is no file"):
        leyden.load(tmp_path / "nothing.safetensors")


def test_a_file_that_differs_gets_no_name(cnn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.pt2"
    path.write_text("an older file")

    def off(path: Path) -> Callable[[Tensor], dict[str, Tensor]]:
        program = read_torch(path)
        return lambda batch: {name: value + 2e-4 for name, value in program(batch).items()}

    monkeypatch.setattr(export_file, "read_torch", off)
    with pytest.raises(UserError, match=r"is not written, because its probabilities differ from .* by 0\.0002"):
        export(cnn, path, "torch")
    for wrong in (torch.full((1, 10), np.nan), torch.zeros(1, 9), torch.zeros(1, 10, dtype=torch.float64)):
        monkeypatch.setattr(export_file, "read_torch", lambda _, wrong=wrong: lambda batch: {"probabilities": wrong})
        with pytest.raises(UserError, match=r"export: an output is|by inf"):
            export(cnn, path, "torch")
    assert path.read_text() == "an older file"
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.pt2"]


def test_a_moved_run_without_its_data(tmp_path: Path) -> None:
    steps = tmp_path / "steps.csv"
    steps.write_text("value\n" + "\n".join(f"{number % 7}" for number in range(300)))
    overrides = ("model=mlp", "model.hidden=[8]", "trainer.precision=bf16-mixed")
    folder = trained(tmp_path, "data=series", f"data.path={steps}", *overrides)
    folder = folder.rename(tmp_path / "moved")
    steps.unlink()
    found = export(folder, tmp_path / "model.pt2", "torch")
    assert found.samples == "random inputs, because the files of the data set are not here"
    assert found.largest_difference < 1e-5
    assert found.notes[0] == "the run was trained with trainer.precision=bf16-mixed; the file computes in float32"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_run_in_another_precision_is_exported_in_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    model = untrained("model=mlp", "model.hidden=[8]")
    model.module.to(dtype)
    found, _ = write_checked(model, FORMATS["torch"], tmp_path / "model.pt2", find_samples(model).batch)
    assert max(found.values()) < 1e-6
    state = torch.export.load(tmp_path / "model.pt2").state_dict
    assert {weight.dtype for weight in state.values()} == {torch.float32}


def test_mistakes_are_one_line(
    cnn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def error(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["export.py", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 2
        output = capsys.readouterr()
        assert output.out == ""
        return output.err

    out = ["--out", str(tmp_path / "model.pt2")]
    assert error(str(cnn), "--format", "tflite", *out) == (
        "error: --format: got tflite, must be one of onnx, torch, safetensors\n"
    )
    assert error(str(tmp_path), "--format", "torch", *out).endswith("is not a run folder (it has no config.yaml)\n")
    (tmp_path / "file").touch()
    below = tmp_path / "file" / "model.pt2"
    expected = f"error: --out: cannot create the folder {below.parent} (File exists)\n"
    assert error(str(cnn), "--format", "torch", "--out", str(below)) == expected
    (tmp_path / "file").unlink()
    (tmp_path / "README.md").write_text("# My project")
    assert "README.md: exists and is not a model card of Leyden" in error(str(cnn), "--format", "torch", *out, "--card")
    monkeypatch.setattr("leyden.tools.export_formats.find_spec", lambda name: None)
    assert error(str(cnn), *out) == (
        'error: --format onnx: needs onnx, onnxscript and onnxruntime, but onnx is missing: pip install -e ".[onnx]"\n'
    )
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]


def test_names_of_files(cnn: Path, tmp_path: Path) -> None:
    assert file_names(cnn, ["torch"], tmp_path / "a.b") == {"torch": tmp_path / "a.b"}
    assert file_names(cnn, ["torch"], None) == {"torch": Path("digits-cnn.pt2")}
    assert export_file.safe_name("../../etc/passwd") == "etc-passwd"
    assert export_file.safe_name("..") == "model"


def test_several_formats_share_a_name(cnn: Path, tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    several = file_names(cnn, ["torch", "safetensors"], tmp_path / "v1.0")
    assert several == {"torch": tmp_path / "v1.0.pt2", "safetensors": tmp_path / "v1.0.safetensors"}


def test_the_script_prints_json_without_the_output_of_torch(
    cnn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model"
    monkeypatch.setattr(sys, "argv", ["export.py", str(cnn), "--format", "torch", "--out", str(path), "--json"])
    main()
    output = capfd.readouterr()
    assert output.err.strip() == ""
    found: dict[str, Any] = json.loads(output.out)
    assert found["file"] == str(path)
    assert found["bytes"] == path.stat().st_size
    assert found["largest_difference"] <= 1e-4
