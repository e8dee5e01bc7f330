"""The terms of the VAE's loss against values worked out by hand."""

import math
from functools import partial

import pytest
import torch

from leyden.modules.likelihoods import Bernoulli, DiscretisedLogistic
from leyden.modules.vae import VAE, bits_per_dimension, drop_frozen, kl_divergence, reparameterise
from leyden.nets.codec import GaussianAutoencoder
from leyden.optim import constant

FACTORIES = partial(torch.optim.Adam, lr=3e-3), partial(constant), {"metric": "val/loss", "mode": "min"}


def vae(shape: tuple[int, ...] = (1, 28, 28), beta: float = 1.0, likelihood: str = "auto") -> VAE:
    torch.manual_seed(0)
    net = GaussianAutoencoder(shape, 8, (4, 8), "batch")
    return VAE(net, *FACTORIES, num_classes=10, beta=beta, likelihood=likelihood, num_samples=100)


def test_divergence_of_known_distributions() -> None:
    mean, log_variance = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 1.0]]), torch.zeros(3, 2)
    log_variance[2, 0] = math.log(4)
    expected = [0.0, 9 / 2, (4 - 1 - math.log(4)) / 2 + 1 / 2]
    assert kl_divergence(mean, log_variance).tolist() == pytest.approx(expected)


def test_draws_have_the_given_mean_and_variance_and_pass_gradients_on() -> None:
    mean = torch.full((1, 100_000), 2.0, requires_grad=True)
    log_variance = torch.full((1, 100_000), math.log(9.0), requires_grad=True)
    draws = reparameterise(mean, log_variance, torch.Generator().manual_seed(0))
    assert draws.mean().item() == pytest.approx(2, abs=0.03)
    assert draws.std().item() == pytest.approx(3, abs=0.03)
    draws.sum().backward()
    assert (mean.grad == 1).all()
    assert torch.allclose(log_variance.grad, (draws - 2) / 2, atol=1e-5)  # d(σε)/d(log σ²) = σε/2


def test_bits_per_dimension_times_dimensions_are_the_nats() -> None:
    bits = bits_per_dimension(torch.tensor(100.0), (3, 32, 32))
    assert bits.item() * 3 * 32 * 32 * math.log(2) == pytest.approx(100)


def test_the_likelihood_follows_from_the_channels_unless_it_is_chosen() -> None:
    assert isinstance(vae().likelihood, Bernoulli)
    assert isinstance(vae((3, 32, 32)).likelihood, DiscretisedLogistic)
    assert isinstance(vae((3, 32, 32), likelihood="bernoulli").likelihood, Bernoulli)


def test_beta_weighs_the_divergence_in_training_only() -> None:
    module, images = vae(beta=3.0), torch.rand(4, 1, 28, 28)
    torch.manual_seed(5)
    loss = module.training_step((images, torch.zeros(4)), 0)
    torch.manual_seed(5)
    nll, kl = module.terms(images)
    assert loss.item() == pytest.approx((nll + 3 * kl).mean().item(), rel=1e-5)


def test_the_loss_falls_to_the_information_in_the_images() -> None:
    module = vae()
    images = (torch.rand(8, 1, 4, 4) < 0.5).float().repeat_interleave(7, 2).repeat_interleave(7, 3)
    optimizer = torch.optim.Adam(module.net.parameters(), lr=5e-3)
    for _ in range(300):
        nll, kl = module.terms(images)
        optimizer.zero_grad()
        (nll + kl).mean().backward()
        optimizer.step()
    assert math.log(8) < (nll + kl).mean() < 40, "the floor is log 8 nats; a constant 0.5 costs 543"


def test_samples_follow_from_the_generator_alone() -> None:
    module = vae().eval()
    one, same, other = (module.sample(3, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert one.shape == (3, 1, 28, 28)
    assert 0 <= one.min() < one.max() <= 1


def test_the_optimizer_has_no_frozen_weights_and_takes_the_state_that_still_has_them() -> None:
    module = vae((3, 32, 32))  # its likelihood has a weight after the frozen ones of the feature extractor
    everything, trainable = [*module.parameters()], [weight.requires_grad for weight in module.parameters()]
    assert 0 < sum(trainable) < len(trainable)
    assert trainable[-1]
    old, new = (torch.optim.Adam(weights, lr=0.1) for weights in (everything, filter(needs_gradient, everything)))
    for number, weight in enumerate(new.param_groups[0]["params"]):
        weight.grad = torch.full_like(weight, float(number))
    old.step()
    state = old.state_dict()
    drop_frozen(state, trainable)
    new.load_state_dict(state)
    for number, weight in enumerate(new.param_groups[0]["params"]):
        assert torch.allclose(new.state[weight]["exp_avg"], torch.tensor(0.1 * number))
    unchanged = new.state_dict()
    drop_frozen(unchanged, trainable)
    assert unchanged["param_groups"] == new.state_dict()["param_groups"]
    drop_frozen({"param_groups": [{"params": [0]}, {"params": [1]}]}, [True, False, True])  # muon has several groups


def needs_gradient(weight: torch.Tensor) -> bool:
    return weight.requires_grad
