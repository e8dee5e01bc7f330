"""Vectors of words from files in the text formats of GloVe and word2vec."""

from pathlib import Path

import pytest
import torch

from leyden.errors import UserError
from leyden.nets.ensemble import Ensemble
from leyden.nets.word_vectors import check_vectors, load_vectors
from tests.nets.defaults import net

TOKENS = ["<padding>", "<unknown>", "film", "good", "très"]
GLOVE = "the 0.1 0.2\ngood 1.5 -2\n. . 3 4\ntrès 5e-1 6\n"


def bag(path: Path, text: str | bytes) -> torch.nn.Module:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    built: torch.nn.Module = net("bag", (9,), 2, vocab_size=7, embedding=2, buckets=3, vectors=str(path))
    return built


@pytest.mark.parametrize("text", [GLOVE, f"4 2\n{GLOVE}", GLOVE.replace("\n", " \r\n")])
def test_words_with_a_vector_get_it(tmp_path: Path, text: str) -> None:
    built = bag(tmp_path / "v.txt", text)
    before = built.mean.weight.detach().clone()
    check_vectors(built)
    said = load_vectors(built, TOKENS)
    assert said == f"model.vectors: 2 of 3 tokens have a vector in {tmp_path / 'v.txt'}"
    assert built.mean.weight[[3, 4]].tolist() == [[1.5, -2.0], [0.5, 6.0]]
    others = [0, 1, 2, 5, 6, 7, 8, 9]
    assert torch.equal(built.mean.weight[others], before[others])


def test_all_members_of_an_ensemble_get_them(tmp_path: Path) -> None:
    ensemble = Ensemble([bag(tmp_path / "v.txt", GLOVE) for _ in range(2)])
    load_vectors(ensemble, TOKENS)
    assert ensemble.stacked.get_parameter("mean.weight")[:, 3].tolist() == [[1.5, -2.0]] * 2


def test_without_a_file_nothing_happens() -> None:
    assert load_vectors(net("bag", (9,), 2, vocab_size=7, embedding=2, buckets=3), TOKENS) == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("the 0.1 0.2 0.3\n", "line 1 of .* has 3 numbers, but 2 are needed, the size of a token's vector"),
        ("9 3\nthe 0.1 0.2 0.3\n", "line 2 of .* has 3 numbers, but 2"),
        ("the 1 2\nfilm 1\n", "line 2 of .* has 1 numbers, but 2"),
        ("the 1 2\nfilm 1 one\n", "line 2 of .* has a value that is not a finite number"),
        ("the 1 2\nfilm 1 nan\n", "line 2 of .* has a value that is not a finite number"),
        ("the 1 2\n", "has none of the 3 tokens, such as 'très'"),
        (b"\x1f\x8b\x08\x00\xff", "line 1 of .* has 0 numbers"),
        ("", "has none of the 3 tokens"),
    ],
)
def test_damaged_files(tmp_path: Path, text: str | bytes, said: str) -> None:
    with pytest.raises(UserError, match=f"^model.vectors: .*{said}") as caught:
        load_vectors(bag(tmp_path / "v.txt", text), TOKENS)
    assert "\n" not in str(caught.value)


def test_a_file_is_checked_before_the_training(tmp_path: Path) -> None:
    built = bag(tmp_path / "v.txt", "the 1 2 3\n")
    with pytest.raises(UserError, match=r"^model.vectors: line 1 .* has 3 numbers"):
        check_vectors(built)
    (tmp_path / "v.txt").unlink()
    with pytest.raises(UserError, match=r"^model.vectors: cannot read .*v.txt \(No such file or directory\)"):
        check_vectors(built)
