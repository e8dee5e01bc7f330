"""One fork server for all tests of this folder: it imports torch once and then forks a process per case."""

from collections.abc import Iterator

import pytest

from scripts.torture_lib import shim
from scripts.torture_lib.forks import Forks
from scripts.torture_lib.summary import Part


@pytest.fixture(scope="session")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    if reason := shim.missing():
        pytest.skip(reason)
    with Forks(tmp_path_factory.mktemp("forks")) as server:
        yield server


@pytest.fixture
def part() -> Part:
    return Part("test")
