"""The losses and figures of autoencoder, vae and gan against ones worked out by hand."""

import math
from functools import partial

import pytest
import torch
from leyden.metrics.sample_quality import SampleQuality, coverage, even_shares, train_judge
from torch import Tensor, nn
from torch.nn.functional import one_hot
from torch.optim.swa_utils import AveragedModel

from leyden.data.loaders import Normalise, TrainLoader
from leyden.metrics.frechet import FeatureSums, frechet_distance
from leyden.modules.autoencoder import Autoencoder
from leyden.modules.gan import discriminator_loss, generator_loss, gradient_penalty, moving_average
from leyden.modules.likelihoods import Bernoulli, DiscretisedLogistic
from leyden.modules.plots import latent_map, pairs, principal_components
from leyden.modules.vae import VAE, bits_per_dimension, kl_divergence, reparameterise
from leyden.nets import codec
from leyden.nets.codec import GaussianAutoencoder
from leyden.optim import constant

FACTORIES = partial(torch.optim.Adam, lr=3e-3), partial(constant), {"metric": "val/loss", "mode": "min"}


def vae(shape: tuple[int, ...] = (1, 28, 28), **arguments: object) -> VAE:
    torch.manual_seed(0)
    return VAE(GaussianAutoencoder(shape, 8, (4, 8)), *FACTORIES, num_classes=10, **arguments)


class TestVAE:
    def test_divergence_of_known_distributions(self) -> None:
        mean, log_variance = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 1.0]]), torch.zeros(3, 2)
        log_variance[2, 0] = math.log(4)
        expected = [0.0, 9 / 2, (4 - 1 - math.log(4)) / 2 + 1 / 2]
        assert kl_divergence(mean, log_variance).tolist() == pytest.approx(expected)

    def test_draws_have_the_mean_and_variance_they_were_given_and_pass_gradients_on(self) -> None:
        mean = torch.full((1, 100_000), 2.0, requires_grad=True)
        log_variance = torch.full((1, 100_000), math.log(9.0), requires_grad=True)
        draws = reparameterise(mean, log_variance, torch.Generator().manual_seed(0))
        assert draws.mean().item() == pytest.approx(2, abs=0.03)
        assert draws.std().item() == pytest.approx(3, abs=0.03)
        draws.sum().backward()
        assert (mean.grad == 1).all()
        assert torch.allclose(log_variance.grad, (draws - 2) / 2, atol=1e-5)  # d(σε)/d(log σ²) = σε/2

    def test_bits_per_dimension_times_dimensions_are_the_nats(self) -> None:
        bits = bits_per_dimension(torch.tensor(100.0), (3, 32, 32))
        assert bits.item() * 3 * 32 * 32 * math.log(2) == pytest.approx(100)

    def test_a_coin_costs_log_2_nats_a_pixel(self) -> None:
        pixels = (torch.rand(5, 1, 4, 4) < 0.5).float()
        assert Bernoulli().nll(torch.zeros_like(pixels), pixels).tolist() == pytest.approx([16 * math.log(2)] * 5)

    def test_binarised_pixels_are_1_as_often_as_they_are_light(self) -> None:
        pixels = torch.tensor([0.0, 0.25, 1.0]).view(1, 3, 1, 1).expand(20_000, -1, -1, -1)
        drawn = Bernoulli().targets(pixels, torch.Generator().manual_seed(0))
        assert drawn.unique().tolist() == [0, 1]
        assert drawn.mean((0, 2, 3)).tolist() == pytest.approx([0, 0.25, 1], abs=0.01)

    @pytest.mark.parametrize("logit", [-6.0, 0.3, 8.0])
    @pytest.mark.parametrize("log_scale", [-7.0, -1.0])
    def test_the_likelihoods_of_all_levels_sum_to_one(self, logit: float, log_scale: float) -> None:
        levels = torch.arange(256, dtype=torch.float64).view(-1, 1, 1, 1) / 255
        likelihood = DiscretisedLogistic(1).double()
        nn.init.constant_(likelihood.log_scale, log_scale)
        nll = likelihood.nll(torch.full_like(levels, logit), levels)
        assert (-nll).exp().sum().item() == pytest.approx(1, abs=1e-9)

    def test_the_likelihood_follows_from_the_channels_unless_it_is_chosen(self) -> None:
        assert isinstance(vae().likelihood, Bernoulli)
        assert isinstance(vae((3, 32, 32)).likelihood, DiscretisedLogistic)
        assert isinstance(vae((3, 32, 32), likelihood="bernoulli").likelihood, Bernoulli)

    def test_beta_weighs_the_divergence_in_training_only(self) -> None:
        module, images = vae(beta=3.0), torch.rand(4, 1, 28, 28)
        torch.manual_seed(5)
        loss = module.training_step((images, torch.zeros(4)), 0)
        torch.manual_seed(5)
        nll, kl = module.terms(images)
        assert loss.item() == pytest.approx((nll + 3 * kl).mean().item(), rel=1e-5)

    def test_it_learns_images_by_heart_at_the_price_of_telling_them_apart(self) -> None:
        module = vae()
        images = (torch.rand(8, 1, 4, 4) < 0.5).float().repeat_interleave(7, 2).repeat_interleave(7, 3)
        optimizer = torch.optim.Adam(module.net.parameters(), lr=5e-3)
        for _ in range(300):
            nll, kl = module.terms(images)
            optimizer.zero_grad()
            (nll + kl).mean().backward()
            optimizer.step()
        assert math.log(8) < (nll + kl).mean() < 40, "the floor is log 8 nats; knowing nothing costs 543"

    def test_samples_follow_from_the_generator_alone(self) -> None:
        module = vae().eval()
        one, same, other = (module.sample(3, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
        assert torch.equal(one, same)
        assert not torch.equal(one, other)
        assert one.shape == (3, 1, 28, 28)
        assert 0 <= one.min() < one.max() <= 1


class TestGAN:
    def test_losses_of_known_logits(self) -> None:
        real, fake = torch.tensor([0.0, 0.0]), torch.tensor([math.log(3), math.log(3)])  # 1/2 and 3/4 real
        assert discriminator_loss(real, fake).item() == pytest.approx(math.log(2) + math.log(4))
        assert generator_loss(fake).item() == pytest.approx(math.log(4 / 3))

    def test_penalty_of_a_linear_discriminator_is_its_squared_norm(self) -> None:
        discriminator = nn.Linear(3, 1)
        with torch.no_grad():
            discriminator.weight.copy_(torch.tensor([[1.0, -2.0, 3.0]]))
        penalty = gradient_penalty(lambda x: discriminator(x).squeeze(1), torch.randn(7, 3))
        assert penalty.item() == pytest.approx(14)
        (gradient,) = torch.autograd.grad(penalty, discriminator.weight)
        assert gradient[0].tolist() == pytest.approx([2, -4, 6])

    def test_moving_average_after_three_steps(self) -> None:
        net = nn.BatchNorm1d(1)
        average = AveragedModel(net, multi_avg_fn=moving_average(0.15), use_buffers=True)
        for value in (1.0, 2.0, 4.0):
            with torch.no_grad():
                net.weight.fill_(value)
                net.num_batches_tracked.fill_(int(value))
            average.update_parameters(net)
        # The first is copied; the second keeps 2/11, more than 0.15, so 0.15; likewise the third.
        assert average.module.weight.item() == pytest.approx(0.15 * (0.15 * 1 + 0.85 * 2) + 0.85 * 4)
        assert average.module.num_batches_tracked == 4

    def test_moving_average_forgets_its_beginning(self) -> None:
        one, other = torch.tensor([1.0]), torch.tensor([0.0])
        moving_average(0.999)([one], [other], torch.tensor(1))
        assert one.item() == pytest.approx(2 / 11)


class Shades(codec.Autoencoder):
    """An autoencoder that reconstructs a plain grey, logit 0."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.zeros_like(images)


def test_the_error_of_an_image_and_its_score() -> None:
    module = Autoencoder(Shades((1, 4, 4)), *FACTORIES)
    images = torch.tensor([[0.0, 1.0, 0.0, 1.0], [0.5, 0.5, 0.5, 0.9]]).view(2, 1, 2, 2)
    assert module.errors(images).tolist() == pytest.approx([0.25, 0.04])
    assert module.scores(images).tolist() == pytest.approx([0.25 / (1 / 3), 0.04 / 0.04])


class TestQuality:
    def test_frechet_distance_of_known_normal_distributions(self) -> None:
        one = torch.tensor([0.0, 0.0]).double(), torch.diag(torch.tensor([1.0, 4.0])).double()
        other = torch.tensor([3.0, 4.0]).double(), torch.diag(torch.tensor([9.0, 4.0])).double()
        assert frechet_distance(*one, *one).item() == pytest.approx(0, abs=1e-9)
        assert frechet_distance(*one, *other).item() == pytest.approx(25 + (3 - 1) ** 2)
        turned = torch.tensor([[2.0, 1.0], [1.0, 2.0]]).double()  # eigenvalues 1 and 3
        plain = torch.eye(2).double()
        expected = 2 + 4 - 2 * (1 + math.sqrt(3))
        assert frechet_distance(one[0], plain, one[0], turned).item() == pytest.approx(expected)

    def test_features_are_summed_up_to_their_mean_and_covariance(self) -> None:
        features = torch.randn(50, 64, generator=torch.Generator().manual_seed(0))
        sums = FeatureSums(64)
        for part in features.split(20):
            sums.add(part, torch.arange(len(part)) < 5)
        mean, covariance, share = sums.moments()
        assert torch.allclose(mean, features.double().mean(0))
        assert torch.allclose(covariance, features.double().T.cov())
        assert share == 15 / 50

    def test_a_class_counts_from_a_tenth_of_its_share(self) -> None:
        classes = torch.tensor([0] * 90 + [1] * 9 + [2] * 1)
        assert coverage(classes, 4).item() == pytest.approx(2 / 4), "a tenth of 25 is more than one"

    def test_images_are_of_one_class_or_of_several(self) -> None:
        assert even_shares(torch.tensor([[0, 0, 1], [1, 0, 1], [0, 0, 0]])).tolist() == [
            [0, 0, 1],
            [0.5, 0, 0.5],
            [0] * 3,
        ]

    def test_the_judge_is_the_same_whatever_the_runs_seed_and_learns(self) -> None:
        images = torch.zeros(64, 1, 28, 28, dtype=torch.uint8)
        labels = torch.arange(64) % 2
        images[labels == 1] = 200
        judges = []
        for seed in (1, 2):
            torch.manual_seed(seed)
            quality = SampleQuality((1, 28, 28), 2, 10)
            batches = TrainLoader(images, labels, 16, Normalise([0.0], [1.0], images.device))
            train_judge(quality.judge, batches, partial(one_hot, num_classes=2))
            judges.append(quality.eval())
        one, other = (quality.state_dict() for quality in judges)
        assert all(torch.equal(weight, other[name]) for name, weight in one.items())
        assert not any(weight.requires_grad for weight in judges[0].parameters())
        features, classes = judges[0].look(images / 255)
        assert features.shape == (64, 64)
        assert torch.equal(classes, labels)


class TestDrawing:
    def test_pairs_stand_one_above_the_other(self) -> None:
        white, black = torch.ones(19, 1, 2, 2), torch.zeros(19, 1, 2, 2)
        picture = pairs(white, black)  # 16 of each, in four rows of eight, each with a grey line round it
        assert picture.shape == (3, 4 * 3 + 1, 8 * 3 + 1)
        assert picture[0, 1::3, 1].tolist() == [1, 0, 1, 0]

    def test_principal_components_are_the_directions_of_the_largest_variance(self) -> None:
        points = torch.zeros(4, 3)
        points[:, 2], points[:, 0] = torch.tensor([-6.0, -2.0, 2.0, 6.0]), torch.tensor([1.0, -1.0, -1.0, 1.0])
        assert torch.allclose(principal_components(points), points[:, [2, 0]], atol=1e-5)

    def test_the_map_shows_each_class_in_a_colour_of_its_own(self) -> None:
        latents = torch.rand(50, 2, generator=torch.Generator().manual_seed(0))
        picture = latent_map(latents, torch.arange(50) % 2, torch.rand(50, 1, 28, 28))
        colours = picture[:, :, :512].flatten(1).unique(dim=1)
        assert colours.shape == (3, 3), "two classes on white"
        assert picture.shape[2] > 512
