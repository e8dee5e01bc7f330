"""Statistics of features against ones worked out by hand, and that nothing but the training split is in them."""

import pytest
import torch

from leyden.data.scaling import LARGEST, Scaling
from leyden.errors import UserError

NAN = float("nan")


def test_missing_values_outliers_and_units() -> None:
    scaling = Scaling([2], 1)
    values = torch.tensor([[1.0, 5.0], [2.0, NAN], [3.0, 5.0], [4.0, 5.0], [100.0, 5.0]])
    scaling.fit_inputs(values, clip=0.25)
    assert scaling.fill.tolist() == [3, 5]
    assert (scaling.low.tolist(), scaling.high.tolist()) == ([2, 5], [4, 5])
    # clipped: 2, 2, 3, 4, 4 has mean 3 and variance 4/5; a constant feature is only centred
    assert scaling.mean.tolist() == [3, 5]
    assert scaling.std.tolist() == pytest.approx([0.8**0.5, 1])
    found = scaling.inputs(torch.tensor([[NAN, NAN], [1000.0, 6.0], [-9.0, 5.0]]))
    assert found.tolist() == [pytest.approx([z, 0], abs=1e-6) for z in (0, 1 / 0.8**0.5, -1 / 0.8**0.5)]


def test_without_clipping_nothing_is_moved() -> None:
    scaling = Scaling([1], 1)
    scaling.fit_inputs(torch.tensor([[0.0], [2.0]]))
    assert (scaling.low.item(), scaling.high.item()) == (-LARGEST, LARGEST)
    assert scaling.inputs(torch.tensor([[51.0]])).item() == 50


def test_outputs_are_in_the_units_of_the_targets() -> None:
    scaling = Scaling([1], 2)
    scaling.fit_targets(torch.tensor([[10.0, 0.0], [20.0, 2.0]]))
    assert scaling.outputs(torch.tensor([[1.0, -1.0]])).tolist() == [[20, 0]]


def test_a_feature_that_is_always_missing() -> None:
    with pytest.raises(UserError, match="data: feature 1 is missing in every training sample"):
        Scaling([2], 1).fit_inputs(torch.tensor([[1.0, NAN], [2.0, NAN]]))
