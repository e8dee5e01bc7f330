"""GPUs and cores."""

import pytest

from leyden.errors import UserError
from leyden.sweep.resources import divide, gpus, job_environments


def test_gpus_and_cores_are_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("leyden.sweep.resources.cores", lambda: 8)
    assert divide([], 1, 0, 1) == {}, "one job has the same environment as the plain command"
    assert divide([], 1, 1, 3) == {"OMP_NUM_THREADS": "2"}
    assert divide([], 2, 0, 1) == {"OMP_NUM_THREADS": "4"}
    assert [divide(["0", "1", "2", "3"], 2, slot, 2)["CUDA_VISIBLE_DEVICES"] for slot in (0, 1)] == ["0,1", "2,3"]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with 8 cores, and no variables that limit its use."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("leyden.sweep.resources.cores", lambda: 8)


@pytest.mark.usefixtures("machine")
def test_cores_are_divided_on_a_machine_with_gpus_too() -> None:
    assert job_environments(None, 1, ["4", "5"]) == [
        {"CUDA_VISIBLE_DEVICES": "4", "OMP_NUM_THREADS": "4"},
        {"CUDA_VISIBLE_DEVICES": "5", "OMP_NUM_THREADS": "4"},
    ]


@pytest.mark.usefixtures("machine")
def test_a_list_of_devices_is_used_as_it_is() -> None:
    """Lightning reads the numbers as positions in CUDA_VISIBLE_DEVICES, so this variable must not change."""
    assert job_environments(None, [0, 1], ["4", "5", "6"]) == [{"OMP_NUM_THREADS": "4"}]
    assert job_environments(2, [2], ["4", "5", "6"]) == [{"OMP_NUM_THREADS": "4"}] * 2
    assert job_environments(None, "auto", ["4", "5"]) == [{"OMP_NUM_THREADS": "4"}]
    assert job_environments(None, "auto", []) == [{}]


@pytest.mark.parametrize("devices", [3, [0, 2]])
def test_a_device_that_does_not_exist_is_named(devices: int | list[int]) -> None:
    with pytest.raises(UserError, match=r"trainer.devices: got .*, but this machine has 2 GPUs"):
        job_environments(None, devices, ["0", "1"])


@pytest.mark.parametrize(
    ("variable", "found"),
    [("2, 3", ["2", "3"]), ("", []), ("-1", []), ("0,-1,1", ["0"]), ("GPU-a,MIG-b", ["GPU-a", "MIG-b"])],
)
def test_gpus_are_read_as_cuda_reads_them(monkeypatch: pytest.MonkeyPatch, variable: str, found: list[str]) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    assert gpus() == found
