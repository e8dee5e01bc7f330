"""Schedules against values worked out by hand, and their wiring."""

import math
from functools import partial
from typing import Any

import pytest
import torch
from torch.optim import SGD, Adagrad, AdamW, Optimizer, RMSprop
from torch.optim.lr_scheduler import OneCycleLR

from leyden.optim import OneCycle, constant, cosine, counts_steps, fused, linear, step

ONE_CYCLE = partial(OneCycle, pct_start=0.3, div_factor=25.0, final_div_factor=1e4)
SCHEDULES = {
    "onecycle": ONE_CYCLE,
    "cosine": partial(cosine, warmup=0.05, min_factor=0.0),
    "linear": partial(linear, warmup=0.1, min_factor=0.0),
    "step": partial(step, milestones=[0.5, 0.75], gamma=0.1),
}


def optimizer(lr: float = 2.0, momentum: float = 0.9) -> Optimizer:
    return SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr, momentum=momentum)


def rates(opt: Optimizer, schedule: torch.optim.lr_scheduler.LRScheduler, num: int) -> list[float]:
    """The learning rate at each of `num` steps."""
    found = []
    for _ in range(num):
        found.append(opt.param_groups[0]["lr"])
        opt.step()
        schedule.step()
    return found


def test_constant() -> None:
    opt = optimizer()
    assert rates(opt, constant(opt, 3), 3) == [2.0, 2.0, 2.0]


def test_step_multiplies_at_each_milestone() -> None:
    opt = optimizer()
    assert rates(opt, step(opt, 8, milestones=[0.5, 0.75], gamma=0.5), 8) == [2, 2, 2, 2, 1, 1, 0.5, 0.5]


def test_cosine_warms_up_and_falls_to_its_minimum() -> None:
    opt = optimizer()
    found = rates(opt, cosine(opt, 8, warmup=0.5, min_factor=0.1), 9)
    # up in fifths: 1/5 ... 4/5, then 0.1 + 0.9 * (1 + cos(pi * k / 4)) / 2
    expected = [0.4, 0.8, 1.2, 1.6, 2.0, 1.7363961, 1.1, 0.4636039, 0.2]
    assert found == pytest.approx(expected, abs=1e-6)


def test_linear_falls_in_a_straight_line() -> None:
    opt = optimizer()
    assert rates(opt, linear(opt, 4, warmup=0.0, min_factor=0.0), 5) == [2.0, 1.5, 1.0, 0.5, 0.0]


def test_one_cycle_peaks_at_the_optimizers_rate_and_moves_momentum_the_other_way() -> None:
    opt = optimizer()
    schedule = ONE_CYCLE(opt, 10)
    assert opt.param_groups[0]["momentum"] == pytest.approx(0.95)
    found = rates(opt, schedule, 10)
    assert found[0] == pytest.approx(2 / 25)
    assert found[2] == max(found) == pytest.approx(2.0)
    assert found[9] == pytest.approx(2 / 25 / 1e4)


def test_one_cycle_gives_no_momentum_to_an_optimizer_that_has_none() -> None:
    opt = RMSprop([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    ONE_CYCLE(opt, 10)
    assert opt.param_groups[0]["momentum"] == 0


@pytest.mark.parametrize("kind", [partial(SGD, momentum=0.9), SGD, AdamW, partial(RMSprop, momentum=0.5), Adagrad])
@pytest.mark.parametrize(("total_steps", "pct_start"), [(1, 0.5), (3, 0.3), (10, 0.3), (333, 0.05)])
def test_one_cycle_has_the_values_of_torch(kind: Any, total_steps: int, pct_start: float) -> None:
    ours, theirs = (kind([torch.nn.Parameter(torch.zeros(1))], lr=0.03) for _ in range(2))
    shape = {"pct_start": pct_start, "div_factor": 25.0, "final_div_factor": 1e4}
    moves = bool("betas" in theirs.defaults or theirs.defaults.get("momentum"))
    least = math.ceil(2 / pct_start)
    reference = OneCycleLR(theirs, 0.03, max(total_steps, least), cycle_momentum=moves, **shape)
    schedule = OneCycle(ours, total_steps, **shape)
    for _ in range(total_steps):
        for key in {"lr", "momentum", "betas"} & ours.param_groups[0].keys():
            assert ours.param_groups[0][key] == theirs.param_groups[0][key]
        for opt, moved in ((ours, schedule), (theirs, reference)):
            opt.step()
            moved.step()


def test_one_cycle_restores_the_state_of_torchs_schedule() -> None:
    """Checkpoints of Leyden 0.1 have it."""
    opt, longer_opt = optimizer(), optimizer()
    saved = OneCycleLR(opt, 2.0, 10, pct_start=0.3)
    rates(opt, saved, 10)
    schedule = ONE_CYCLE(longer_opt, 20)
    schedule.load_state_dict(saved.state_dict())
    whole_opt = optimizer()
    whole = ONE_CYCLE(whole_opt, 20)
    rates(whole_opt, whole, 10)
    assert schedule.last_epoch == 10
    assert schedule.get_lr() == whole.get_lr()


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_is_stretched_when_a_run_is_resumed_with_more_epochs(name: str) -> None:
    schedule = SCHEDULES[name]
    opt = optimizer()
    short = schedule(opt, 10)
    rates(opt, short, 10)
    longer_opt, whole_opt = optimizer(), optimizer()
    longer = schedule(longer_opt, 20)
    longer.load_state_dict(short.state_dict())
    whole = schedule(whole_opt, 20)
    rates(whole_opt, whole, 10)
    longer_opt.step()
    longer.step()
    whole_opt.step()
    whole.step()
    assert longer_opt.param_groups[0]["lr"] == pytest.approx(whole_opt.param_groups[0]["lr"])


def test_a_plateau_schedule_does_not_count_steps() -> None:
    assert counts_steps(partial(cosine, warmup=0.1))
    assert not counts_steps(partial(torch.optim.lr_scheduler.ReduceLROnPlateau, factor=0.1))


class FakeTrainer:
    precision = "32-true"


def test_fused_where_there_is_a_fused_kernel() -> None:
    trainer = FakeTrainer()
    assert fused(partial(AdamW), "cpu", trainer) == {"fused": True}
    assert fused(partial(RMSprop), "cpu", trainer) == {}
    assert fused(partial(torch.optim.Adagrad), "cuda", trainer) == {}
    trainer.precision = "16-mixed"
    assert fused(partial(AdamW), "cuda", trainer) == {}


@pytest.mark.parametrize("choice", ["fused", "foreach", "differentiable"])
@pytest.mark.parametrize("value", [True, False])
def test_the_users_choice_of_an_implementation_is_respected(choice: str, value: bool) -> None:
    assert fused(partial(AdamW, **{choice: value}), "cpu", FakeTrainer()) == {}
