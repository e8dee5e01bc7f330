"""Wrong files and wrong folders, given to each tool: one line that names the file, and nothing is overwritten."""

import io
import json
import re
import shutil
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import leyden
from leyden.errors import UserError
from leyden.tools.serve.answers import answer
from leyden.tools.serve.served_model import ServedModel
from leyden.tools.trained_model import TrainedModel
from tests.tools.conftest import Folders, Models, script

GREY = np.random.default_rng(0).integers(0, 256, (28, 28), np.uint8)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png(mode: str = "L") -> bytes:
    return saved(Image.fromarray(GREY).convert(mode), "PNG")


def huge() -> bytes:
    """A PNG whose header says 20,000 x 20,000 pixels."""
    whole = png()
    header = b"IHDR" + (20_000).to_bytes(4, "big") * 2 + whole[24:29]
    return whole[:12] + header + zlib.crc32(header).to_bytes(4, "big") + whole[33:]


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)
BROKEN = {
    "truncated.png": (png()[:300], "image file is truncated"),
    "huge.png": (huge(), "more than the 50,000,000 pixels that are read"),
    "photo.heic": (HEIC, 'HEIC, which needs pillow-heif: pip install -e ".[heic]"'),
    "floats.tiff": (saved(Image.fromarray(GREY / np.float32(255)), "TIFF"), "32-bit numbers without a known range"),
    "empty.png": (b"", "not an image of a known format"),
    "text.jpg": (b"text", "not an image of a known format"),
}
FRAMES = {"save_all": True, "append_images": [Image.fromarray(255 - GREY)]}
VALID = {  # a file → the pixels that the model must see
    "sixteen_bits.png": (saved(Image.fromarray(GREY.astype(np.uint16) * 256 + (255 - GREY)), "PNG"), GREY),
    "cmyk.tiff": (saved(Image.fromarray(np.stack([0 * GREY] * 3 + [GREY], 2), "CMYK"), "TIFF"), 255 - GREY),
    "animated.png": (saved(Image.fromarray(GREY), "PNG", **FRAMES), GREY),
    "animated.gif": (saved(Image.fromarray(GREY), "GIF", **FRAMES), GREY),
    "animated.webp": (saved(Image.fromarray(GREY).convert("RGB"), "WEBP", lossless=True, **FRAMES), GREY),
}


@pytest.fixture
def model(model_of: Models, monkeypatch: pytest.MonkeyPatch) -> TrainedModel:
    """A model that is explained without captum. There is no reader of HEIC files."""
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    return model_of("autoencoder")


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_image(name: str, model: TrainedModel, tmp_path: Path) -> None:
    content, reason = BROKEN[name]
    path = tmp_path / "data" / "3" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    table, overview = tmp_path / "table.csv", tmp_path / "out" / "overview.png"
    overview.parent.mkdir()
    for older in (table, overview):
        older.write_text("older")
    for done in (
        script("predict", model.folder, path, "--csv", table),
        script("predict", model.folder, path.parent, "--csv", table),
        script("explain", model.folder, path, "--out", overview.parent),
        script("evaluate", model.folder, "--data", tmp_path / "data", "--accelerator", "cpu"),
    ):
        assert done[:2] == (2, "")
        assert done[2].count("\n") == 1
        assert str(path) in done[2]
        assert reason in done[2]
    assert table.read_text() == overview.read_text() == "older"
    assert not list(tmp_path.rglob("*.partial"))
    assert sorted(one.name for one in overview.parent.iterdir()) == ["overview.png"]
    for request in ("/predict", "/explain"):
        with pytest.raises(UserError, match=r"^image: ") as error:
            answer(ServedModel(model), request, "", "image/png", content)
        assert reason in str(error.value)


@pytest.mark.parametrize("name", VALID)
def test_a_valid_image_of_another_kind(name: str, model: TrainedModel, tmp_path: Path) -> None:
    content, pixels = VALID[name]
    (tmp_path / name).write_bytes(content)
    (expected,) = model.predict(pixels)
    code, output, errors = script("predict", model.folder, tmp_path / name, "--json")
    assert (code, errors) == (0, "")
    assert json.loads(output)["prediction"] == pytest.approx(expected.prediction, rel=1e-6)
    assert answer(ServedModel(model), "/predict", "", "image/png", content)["prediction"] == expected.prediction
    code, _, errors = script("explain", model.folder, tmp_path / name, "--out", tmp_path / "out")
    assert (code, errors) == (0, "")


def test_the_other_images_are_processed(model: TrainedModel, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "3"
    folder.mkdir(parents=True)
    for name, (content, _) in {**BROKEN, **VALID}.items():
        (folder / name).write_bytes(content)
    code, output, errors = script("predict", model.folder, folder)
    assert (code, output.count("\n")) == (1, 5)
    assert [name for name in BROKEN if errors.count(f"/{name} (") != 1] == []
    assert errors.splitlines()[-1] == "6 of 11 inputs could not be predicted"
    code, _, errors = script("explain", model.folder, folder, "--out", tmp_path / "out")
    assert (code, errors.count("\n")) == (1, 6)
    assert len(list((tmp_path / "out").iterdir())) == 5 + 1
    code, _, errors = script("evaluate", model.folder, "--data", folder.parent, "--no-files", "--accelerator", "cpu")
    assert (code, errors.count("error: --data: ")) == (1, 6)


@pytest.mark.parametrize(
    ("task", "arguments", "message"),
    [
        ("autoencoder", "predict {run} {empty}", "{empty}: contains no files that end in .avif, "),
        ("autoencoder", "explain {run} {empty} --out {out}", "{empty}: contains no files that end in .avif, "),
        ("autoencoder", "evaluate {run} --data {empty}", "--data: {empty} has no class folders; the classes are 0, 1"),
        ("autoencoder", "predict {run} {empty}/*.png", "{empty}/*.png: matches no file"),
        ("autoencoder", "predict {run} -", "INPUT: the list of inputs is empty"),
        ("autoencoder", "predict {run} {out}", "{out}: does not exist"),
        ("regression", "predict {run} {empty}", "{empty}: contains no files that end in .csv"),
        ("regression", "evaluate {run} --data {empty}", "--data: {empty}: cannot be read (Is a directory)"),
        ("forecasting", "evaluate {run} --data {empty}", "--data: {empty} is not a regular file"),
        ("vae", "sample {run} --num 0 --out {out}", "--num: got 0, must be at least 1"),
    ],
)
def test_an_empty_folder_and_nothing(task: str, arguments: str, message: str, run_of: Folders, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    values = {"run": run_of(task), "empty": tmp_path / "empty", "out": tmp_path / "out"}
    code, output, errors = script(*(word.format(**values) for word in arguments.split()))
    assert (code, output, errors.count("\n")) == (2, "", 1)
    assert errors.startswith(f"error: {message.format(**values)}")
    assert not (tmp_path / "out").exists()


HEADER = "age,sex,bmi,bp,s1,s2,s3,s4,s5,s6"
TABLES = {
    "age,sex\n1,2\n1,2\n": ": has no column bmi; the features are age, sex",
    f"{HEADER}\n": ": has no rows",
    "": ": is empty",
    f"{HEADER}\n1,2,3\n": ":2: has 3 values, but the first line has 10",
    f"{HEADER}\n{'1,' * 12}\n": ":2: has 13 values, but the first line has 10",
    f"{HEADER},bmi\n": ": has two columns bmi",
    "\x00\udcff": ": has no column age",
}
SERIES = {
    "a,b\n1,2\n": " has several columns (a, b), but data.column is null",
    "value\n1\nhigh\n": " is not a number",
    "": " is empty",
}


@pytest.mark.parametrize(
    ("task", "content", "reason"),
    [("regression", *pair) for pair in TABLES.items()] + [("forecasting", *pair) for pair in SERIES.items()],
)
def test_a_wrong_csv_file(task: str, content: str, reason: str, model_of: Models, tmp_path: Path) -> None:
    model, path, out = model_of(task), tmp_path / "wrong.csv", tmp_path / "out.csv"
    path.write_bytes(content.encode(errors="surrogateescape"))
    out.write_text("older")
    for done in (
        script("predict", model.folder, path, "--csv", out),
        script("evaluate", model.folder, "--data", path, "--accelerator", "cpu"),
    ):
        assert done[:2] == (2, "")
        assert done[2].count("\n") == 1
        assert f"{path}" in done[2]
        assert reason in done[2]
    assert out.read_text() == "older"
    good = tmp_path / "good.csv"
    good.write_text(f"{HEADER}\n{','.join('1' * 10)}\n" if task == "regression" else "value\n" + "1\n" * 60)
    code, output, errors = script("predict", model.folder, path, good, "--json")
    assert code == 1
    assert [json.loads(line)["input"].startswith(str(path)) for line in output.splitlines()] == [True, False]
    assert errors.splitlines()[-1] == "1 of 2 inputs could not be predicted"


def edited(old: str, new: str) -> Callable[[Path], object]:
    """Replace a text in the config of a run, which another version then wrote."""

    def edit(run: Path) -> None:
        path, origin = run / "config.yaml", run / "origin.json"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new, 1))
        origin.write_text(origin.read_text().replace(f'"leyden": "{leyden.__version__}"', '"leyden": "9.0.0"'))

    return edit


def very_old(run: Path) -> None:
    (run / "config.yaml").write_text("seed: 0\nname: old\nmodel: {hidden: [3]}\n")


VERSION = rf"\(the run was written by Leyden 9\.0\.0, this is {leyden.__version__}\)"
RUNS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no checkpoint": (
        lambda run: shutil.rmtree(run / "checkpoints"),
        r"RUN/checkpoints/best\.ckpt: does not exist\. The run was stopped before its first checkpoint",
    ),
    "a damaged checkpoint": (
        lambda run: (run / "checkpoints" / "best.ckpt").write_bytes(b"PK"),
        r"RUN/checkpoints/best\.ckpt: cannot be read, it is damaged \(.*\)",
    ),
    "a future key": (
        edited("seed:", "quantum: 1\nseed:"),
        rf"RUN/config\.yaml: quantum: there is no such key {VERSION}",
    ),
    "a future argument": (
        edited("  shift:", "  zoom: 1\n  shift:"),
        rf"RUN/config\.yaml: data\.zoom: there is no such key.* {VERSION}",
    ),
    "a future class": (
        edited("leyden.nets.codec.Autoencoder", "leyden.nets.codec.Hyper"),
        rf"RUN/config\.yaml: model\._target_: cannot find 'leyden\.nets\.codec\.Hyper' \(.*\) {VERSION}",
    ),
    "a very old version": (very_old, r"RUN/config\.yaml: data: is missing, must be a choice that --help lists"),
    "no config": (
        lambda run: (run / "config.yaml").unlink(),
        r"RUN: is (not a run folder|neither a run folder nor the folder of a sweep) \(it has .*config\.yaml.*\)",
    ),
    "nothing": (shutil.rmtree, r"RUN: is (not|neither) a run folder.* \(it does not exist\)|RUN: does not exist"),
}
WITHOUT_WEIGHTS = ("no checkpoint", "a damaged checkpoint", "a future key", "a future argument", "a future class")


@pytest.mark.parametrize("case", RUNS)
def test_a_wrong_run_folder(case: str, run_of: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damage, expected = RUNS[case]
    run, out = tmp_path / "RUN", tmp_path / "out"
    shutil.copytree(run_of("autoencoder"), run)
    damage(run)
    image = tmp_path / "image.png"
    image.write_bytes(png())
    monkeypatch.setattr("leyden.tools.serve.http_server.ModelServer", None)  # it is not reached
    commands = [
        ("predict", run, image, "--csv", out),
        ("evaluate", run),
        ("explain", run, image, "--out", tmp_path / "folder"),
        ("export", run, "--format", "torch", "--out", out, "--card"),
        ("serve", run, "--port", "0"),
        ("sample", run, "--out", out),
        ("report", run, "--out", out),
        ("compare", run, "--format", "csv", "--out", out),
    ]
    before = sorted(run.rglob("*"))
    for command in commands[: -2 if case in WITHOUT_WEIGHTS else None]:  # the last two need no weights
        out.write_text("older")
        code, output, errors = script(*command)
        assert (code, output) == (2, ""), command
        if command[0] in ("report", "compare") and case in ("a very old version", "no config"):
            assert errors.count("\n") == 1
            assert errors.startswith(f"error: {run}")
        else:
            assert_line(errors, expected, run)
        assert out.read_text() == "older"
    assert sorted(run.rglob("*")) == before
    assert sorted(path.name for path in tmp_path.iterdir() if path != run) == ["image.png", "out"]
    with pytest.raises(UserError) as error:
        leyden.load(run)
    assert_line(f"error: {error.value}\n", expected, run)


def assert_line(line: str, expected: str, run: Path) -> None:
    assert re.fullmatch(f"error: (?:{expected})\n", line.replace(str(run), "RUN")), line
