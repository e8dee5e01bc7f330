"""The model card: facts of the run, code that runs, and no markup from a stranger."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

from leyden.errors import UserError
from leyden.tools.export import export, file_names
from leyden.tools.export_formats import FORMATS
from leyden.tools.markdown import code, escaped, fenced, listed
from leyden.tools.model_card import MARK, checked_card, model_card

FAST = ("trainer=smoke", "model=mlp", "model.hidden=[8]", "trainer.max_epochs=1")
HERE = [name for name in FORMATS if not FORMATS[name].missing()]


def python_blocks(card: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", card, re.DOTALL)


def test_the_code_in_the_card_runs_and_gives_the_probabilities(
    finished: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = finished(*FAST)
    files = file_names(folder, HERE, tmp_path / "digits")
    if len(HERE) == 1:
        files = {"torch": tmp_path / "digits.pt2"}
    for name, path in files.items():
        export(folder, path, name)
    pixels = np.random.default_rng(0).integers(0, 256, (50, 40), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    blocks = python_blocks(model_card(folder, files))
    assert len(blocks) == 1 + len(files)
    monkeypatch.chdir(tmp_path)
    found = []
    for block in blocks:
        space: dict[str, object] = {"RUN": folder}
        exec(block.replace("print(", "last = ("), space)
        if "found" in space:
            found.append(dict(space["found"].top))  # type: ignore[attr-defined]
        elif "outputs" in space:
            outputs = space["outputs"]
            values = outputs["probabilities"] if isinstance(outputs, dict) else outputs[0]  # type: ignore[index]
            found.append(dict(zip("0123456789", values[0].tolist(), strict=True)))
    assert len(found) >= 2
    for one in found[1:]:
        assert one == pytest.approx(found[0], abs=1e-6)


def test_it_states_the_facts_of_the_run(finished: Callable[..., Path]) -> None:
    folder = finished(*FAST, "trainer.limit_test_batches=1.0", "trainer.limit_val_batches=1.0")
    card, report = model_card(folder), json.loads((folder / "report.json").read_text())
    assert card.startswith(MARK)
    assert "| metric | validation (n = 144) | test (n = 359) |" in card
    assert f"| `acc` | {report['metrics']['val/acc']:.6g} | {report['metrics']['test/acc']:.6g} |" in card
    assert "epoch 1 of 1, which has the largest `val/acc`" in card
    assert f"| fingerprint | `{report['fingerprint']}` |" in card
    assert "there are no published checksums" in card
    assert report["versions"]["torch"] in card
    assert report["device"] in card
    assert "Other seeds give other values" in card
    assert "The training was deterministic" in card
    assert "## License\n\nNot stated." in card
    assert "model = leyden.load(RUN)" in card
    (folder / "report.json").unlink()
    assert "The run has not finished, so it has no report." in model_card(folder)


def test_texts_of_a_stranger_add_no_markup(finished: Callable[..., Path]) -> None:
    folder = finished(*FAST)
    evil = "a`b``<script>alert(1)</script>|[x](http://evil.example)\x1b[31m\n# head ![i](//e.example/p.png)\u202e"
    cfg = OmegaConf.load(folder / "config.yaml")
    cfg.name = "a`b``|[x](y)"  # a name may not contain all characters
    OmegaConf.save(cfg, folder / "config.yaml")
    report = json.loads((folder / "report.json").read_text())
    report |= {
        "device": evil,
        "fingerprint": evil,
        "processes": [evil],
        "absent_classes": [evil],
        "deterministic": evil,
    }
    report["data"]["sizes"] |= {evil: evil}
    report["metrics"][f"val/{evil}"] = 1.0
    report["objective"]["metric"] = evil
    (folder / "report.json").write_text(json.dumps(report))
    origin = json.loads((folder / "origin.json").read_text())
    origin |= {"command": f"{evil}\n```\n<b>", "versions": {evil: evil}, "git": {"commit": evil, "dirty": evil}}
    (folder / "origin.json").write_text(json.dumps(origin))
    card = model_card(folder)
    assert all(character.isprintable() or character == "\n" for character in card)
    # what remains after all code is removed is text without markup
    rest = re.sub(r"^(`{3,})\w*\n.*?^\1$", "", card, flags=re.DOTALL | re.MULTILINE)
    rest = re.sub(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", "", rest.replace(MARK, ""))
    assert "<" not in rest
    assert not re.search(r"(?<!\\)\]\(", rest)
    assert not re.search(r"(?<![\\])[:](?=//)", rest)
    assert "# head" not in [line[:6] for line in rest.splitlines()]


def test_escaping() -> None:
    assert escaped("a*b_c <b> & [x](y)") == r"a\*b\_c &lt;b&gt; &amp; \[x\]\(y\)"
    assert escaped("http://a.b @c, 1.5 ms.") == r"http\://a\.b \@c, 1\.5 ms."
    assert code("a`b") == "``a`b``"
    assert code("a|b\nc") == r"`a\|b c`"
    assert code("`") == "`` ` ``"
    assert fenced("```\nx", "sh") == "````sh\n```\nx\n````"
    assert len(escaped("x" * 5000)) == 2000
    assert listed(["a"] * 60).endswith("`a` and 10 more")


def test_a_readme_of_the_user_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    assert checked_card(tmp_path) == path
    path.write_text(f"{MARK}\n# digits")
    assert checked_card(tmp_path) == path
    path.write_text("# My project")
    with pytest.raises(UserError, match=r"README\.md: exists and is not a model card of Leyden"):
        checked_card(tmp_path)
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="exists and is not a model card"):
        checked_card(tmp_path)
