"""GPUs and cores."""

import pytest

from leyden.sweep.resources import divide


def test_gpus_and_cores_are_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("leyden.sweep.resources.cores", lambda: 8)
    assert divide([], 1, 0, 1) == {}, "one job has the same environment as the plain command"
    assert divide([], 1, 1, 3) == {"OMP_NUM_THREADS": "2"}
    assert divide([], 2, 0, 1) == {"OMP_NUM_THREADS": "4"}
    assert [divide(["0", "1", "2", "3"], 2, slot, 2)["CUDA_VISIBLE_DEVICES"] for slot in (0, 1)] == ["0,1", "2,3"]
