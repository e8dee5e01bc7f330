"""What is quoted for Hydra and for the shell comes back as it was."""

import random
import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from leyden.config.quoting import command, override, quote_paths, quoted

ODD = [
    "",
    "a b",
    "实验",
    "Photos (1)",
    "a,b",
    "a=b",
    "it's",
    '"x"',
    "a\\",
    "\\'",
    "[x",
    "{x",
    "#x",
    "a&b;c",
    "1e-3",
    "null",
    "true",
    "-",
    "~",
    "3",
    "a:b",
    "$x",
]


def read(argument: str) -> object:
    return OverridesParser.create().parse_overrides([argument])[0].value()


@pytest.mark.parametrize("value", ODD)
def test_hydra_reads_a_quoted_value_as_it_was(value: str) -> None:
    assert read(override("key", value)) == value


def test_random_texts_come_back_as_they_were() -> None:
    rng = random.Random(0)
    alphabet = "ab '\"\\=,#&()[]{}~;:实é@/.\t3e-+%|?*<>!"
    for _ in range(3000):
        value = "".join(rng.choices(alphabet, k=rng.randint(0, 8)))
        assert read(override("key", value)) == value


def test_plain_values_stay_readable() -> None:
    assert quoted("logs/runs/digits-cnn/2026-11-22_12-00-00-1a2b") == "logs/runs/digits-cnn/2026-11-22_12-00-00-1a2b"


@pytest.mark.parametrize("value", [value for value in ODD if value])
def test_a_printed_command_can_be_pasted_into_a_shell(value: str) -> None:
    words = shlex.split(command(override("resume", value)))
    assert words[:2] == ["python", "train.py"]
    assert read(words[2]) == value


def test_paths_on_the_command_line_need_no_quotes_for_hydra() -> None:
    given = [
        "data.root=/home/me/Photos (1)",
        "resume=/实验/a,b",
        "init_from=it's",
        "model.hidden=[1,2]",
        "data=mnist",
        "-m",
    ]
    quoted_now = quote_paths(given[:3])
    assert [read(argument) for argument in quoted_now] == ["/home/me/Photos (1)", "/实验/a,b", "it's"]
    assert quote_paths(given[3:]) == given[3:]


def test_what_is_written_for_hydra_stays_as_it_is() -> None:
    given = ["data.root='a (1)'", 'data.root="x y"', "paths.logs=${oc.env:HOME}/x", "resume=", "init_from=null"]
    assert quote_paths(given) == given
    several = ["-m", "data.root=a,b"]
    assert quote_paths(several) == several
