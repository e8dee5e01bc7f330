"""The classifier's losses, penalty and mixing against values worked out by hand."""

import math
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from leyden.config.builders import build_module
from leyden.config.compose import compose
from leyden.errors import UserError
from leyden.modules.classifier import Classifier
from leyden.modules.losses import class_loss, class_shares, l1_norm
from leyden.modules.mixing import blend, cutmix, mix

LOGITS = torch.tensor([[math.log(0.7), math.log(0.2), math.log(0.1)], [0.0, 0.0, 0.0]])
LABELS = torch.tensor([0, 2])
VALUES = {  # of the two samples, whose classes have the probabilities 0.7, 0.2, 0.1 and a third each
    "cross_entropy": (-math.log(0.7), -math.log(1 / 3)),
    "focal": (-(0.3**2) * math.log(0.7), -((2 / 3) ** 2) * math.log(1 / 3)),
    "mse": (0.3**2 + 0.2**2 + 0.1**2, (2 / 3) ** 2 + 2 * (1 / 3) ** 2),
}


@pytest.mark.parametrize("loss", VALUES)
def test_value_of_labels_and_of_the_same_as_shares(loss: str) -> None:
    expected = pytest.approx(sum(VALUES[loss]) / 2)
    assert class_loss(LOGITS, LABELS, loss, 0.0, 2.0).item() == expected
    assert class_loss(LOGITS, class_shares(LABELS, 3), loss, 0.0, 2.0).item() == expected


def test_value_of_shares() -> None:
    shares = torch.tensor([[0.6, 0.4, 0.0]])
    focal = -(0.6 * 0.3**2 * math.log(0.7) + 0.4 * 0.8**2 * math.log(0.2))
    assert class_loss(LOGITS[:1], shares, "focal", 0.0, 2.0).item() == pytest.approx(focal)
    mse = (0.7 - 0.6) ** 2 + (0.2 - 0.4) ** 2 + 0.1**2
    assert class_loss(LOGITS[:1], shares, "mse", 0.0, 2.0).item() == pytest.approx(mse)


def test_focal_is_cross_entropy_where_gamma_is_0_also_when_smoothed() -> None:
    for smoothing in (0.0, 0.3):
        one = class_loss(LOGITS, LABELS, "focal", smoothing, 0.0)
        assert one.item() == pytest.approx(class_loss(LOGITS, LABELS, "cross_entropy", smoothing, 0.0).item())


def test_smoothed_mse() -> None:
    wanted = (0.7 - 0.8) ** 2 + (0.2 - 0.1) ** 2 + (0.1 - 0.1) ** 2  # 0.7 of the target, and 0.3 spread over three
    assert class_loss(LOGITS[:1], LABELS[:1], "mse", 0.3, 2.0).item() == pytest.approx(wanted)


def test_focal_has_a_gradient_where_a_class_is_certain() -> None:
    logits = torch.tensor([[200.0, 0.0]], requires_grad=True)
    class_loss(logits, torch.tensor([0]), "focal", 0.1, 0.5).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_l1_is_of_matrices_and_kernels_only() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(4, 5))
    for weight in net.parameters():
        nn.init.constant_(weight, -0.5)
    assert l1_norm(net).item() == 0.5 * (2 * 9 + 20)


def classifier(net: nn.Module, **kwargs: float) -> Classifier:
    objective = {"metric": "val/acc", "mode": "max"}
    return Classifier(
        net=net, optimizer=partial(torch.optim.SGD, lr=0.1), scheduler=partial(int), objective=objective, num_classes=3,
        **kwargs,
    )  # fmt: skip


def test_the_penalty_is_trained_with_and_not_logged() -> None:
    net, batch = nn.Linear(4, 3), (torch.randn(6, 4), torch.arange(6) % 3)
    plain, penalised = classifier(net), classifier(net, l1=0.01)
    difference = penalised.training_step(batch, 0) - plain.training_step(batch, 0)
    assert difference.item() == pytest.approx(0.01 * net.weight.abs().sum().item(), rel=1e-4)
    assert torch.equal(penalised.train_means.unread[0][0], plain.train_means.unread[0][0])
    assert torch.equal(penalised.step(batch)[0], plain.step(batch)[0])


def test_a_blend_is_of_a_sample_and_the_one_before_it() -> None:
    values = torch.tensor([[1.0, 0.0], [0.0, 4.0], [2.0, 2.0]])
    assert blend(values, 0.75).allclose(torch.tensor([[1.25, 0.5], [0.25, 3.0], [1.5, 2.5]]))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99, 1.0])
def test_cutmix_keeps_the_share_it_says_and_takes_the_rest_in_one_rectangle(share: float) -> None:
    torch.manual_seed(0)
    images = torch.arange(3.0).view(3, 1, 1, 1).expand(3, 2, 10, 20)
    for _ in range(50):
        mixed, kept = cutmix(images, share)
        own = mixed == images
        assert own.float().mean((1, 2, 3)).tolist() == pytest.approx([kept] * 3)
        assert torch.equal(mixed[~own], images.roll(1, 0)[~own])
        rows, columns = (~own[0, 0]).any(1), (~own[0, 0]).any(0)
        assert torch.equal(~own[0, 0], rows[:, None] & columns)
        assert kept >= share - 0.1  # at the border the rectangle is cut off; a side is rounded to whole pixels


def test_a_batch_is_mixed_as_its_targets_say() -> None:
    images = torch.arange(3.0).view(3, 1, 1, 1).expand(3, 1, 32, 32)
    for alphas in ((1.0, 0.0), (0.0, 1.0)):
        torch.manual_seed(3)
        mixed, shares = mix((images, torch.arange(3)), 3, *alphas)
        assert shares.sum(1).allclose(torch.ones(3))
        assert mixed.mean((1, 2, 3)).allclose(shares @ torch.arange(3.0), atol=1e-5)
        assert (len(mixed[1].unique()) == 1) == (alphas[0] > 0)  # one colour for all pixels, or a rectangle of another


def test_both_ways_of_mixing_take_turns_at_random() -> None:
    images, colours = torch.arange(2.0).view(2, 1, 1, 1).expand(2, 1, 32, 32), []
    for seed in range(40):
        torch.manual_seed(seed)
        colours.append(len(mix((images, torch.arange(2)), 2, 1.0, 1.0)[0][1].unique()))
    # A rectangle leaves pixels of two colours, unless it has all or none of them; a blend is of one.
    assert 10 < colours.count(1) < 30 <= colours.count(1) + colours.count(2)


def test_the_amount_follows_alpha_and_the_seed() -> None:
    def spread(alpha: float) -> Tensor:
        torch.manual_seed(0)
        batches = [mix((torch.eye(2), torch.arange(2)), 2, alpha, 0.0)[1][0, 0] for _ in range(400)]
        return torch.stack(batches).var()

    for alpha in (0.2, 1.0, 5.0):
        assert spread(alpha).item() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.15)  # of a Beta(alpha, alpha)
    assert torch.equal(spread(1.0), spread(1.0))


def test_accuracy_of_a_mixed_batch_counts_the_larger_part() -> None:
    module = classifier(nn.Identity())
    outputs, shares = torch.eye(3), torch.tensor([[0.6, 0.4, 0.0], [0.6, 0.4, 0.0], [0.1, 0.0, 0.9]])
    assert module.figures(outputs, shares)[0].item() == pytest.approx(2 / 3)


def test_only_training_mixes() -> None:
    module, batch = classifier(nn.Linear(4, 3), mixup=1.0), (torch.randn(6, 4), torch.arange(6) % 3)
    assert torch.equal(module.step(batch)[0], module.step(batch)[0])
    assert not torch.equal(module.training_step(batch, 0), module.step(batch)[0])


@pytest.mark.parametrize("option", ["gamma=-1", "l1=-0.1", "mixup=-1", "cutmix=.inf", "label_smoothing=1.0"])
def test_out_of_range(option: str) -> None:
    with pytest.raises(UserError, match=rf"^task\.{option.split('=')[0]}: got"):
        build_module(compose(f"task.{option}"))


def test_features_cannot_be_cut() -> None:
    with pytest.raises(UserError, match=r"^task\.cutmix: takes images, and a sample here is \[10\]"):
        cutmix(torch.randn(4, 10), 0.5)
