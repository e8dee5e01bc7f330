"""What the checkpoints of a run contain."""

from collections.abc import Callable
from pathlib import Path

from leyden.records.checkpoint_file import read_checkpoint
from leyden.records.run_folder import best_checkpoint, last_checkpoint
from leyden.tools.load import load


def test_the_best_checkpoint_has_no_optimizer(finished: Callable[..., Path]) -> None:
    folder = finished("model=mlp", "model.hidden=[8]", "trainer=smoke")
    best, last = read_checkpoint(best_checkpoint(folder)), read_checkpoint(last_checkpoint(folder))
    assert best["optimizer_states"] == best["lr_schedulers"] == []
    assert len(last["optimizer_states"]) == len(last["lr_schedulers"]) == 1
    assert best["state_dict"].keys() == last["state_dict"].keys()
    assert best_checkpoint(folder).stat().st_size < 0.5 * last_checkpoint(folder).stat().st_size
    assert load(folder).module.num_parameters == sum(weight.numel() for weight in best["state_dict"].values())
