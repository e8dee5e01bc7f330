"""Settings of federated training: simulated clients, each with its own samples and optimizer."""

import math
from typing import Literal

ClientSplit = Literal["iid", "by_class", "dirichlet"]


class NoFederation:
    """The data is in one place."""


class FedAvg:
    """Federated averaging (McMahan et al., 2017).

    In each round, some clients train from the weights of the server on their own samples. Then the server takes the
    mean of their weights, weighted by their numbers of samples.

    Args:
        num_clients: the training set is divided between so many clients, at least 1.
        rounds: number of rounds, at least 1.
        fraction: of the clients that train in a round, above 0 and at most 1; at least one client is chosen.
        local_epochs: passes of a client over its samples in a round, at least 1.
        split: how the training set is divided, see `leyden.data.clients.split_clients`.
        shards: of by_class, number of parts of the sorted training set that each client gets, at least 1.
        alpha: of dirichlet, concentration of the mixtures of classes, above 0.

    Raises:
        ValueError: a number is out of its range.
    """

    mu = 0.0
    poisson = False  # whether each client is chosen independently of the others; a private training sets it

    def __init__(
        self,
        num_clients: int,
        rounds: int,
        fraction: float,
        local_epochs: int,
        split: ClientSplit,
        shards: int,
        alpha: float,
    ) -> None:
        whole = {"num_clients": num_clients, "rounds": rounds, "local_epochs": local_epochs, "shards": shards}
        for name, value in whole.items():
            if value < 1:
                raise ValueError(f"{name}: got {value}, must be at least 1")
        if not 0 < fraction <= 1:
            raise ValueError(f"fraction: got {fraction}, must be above 0 and at most 1")
        if not 0 < alpha < math.inf:
            raise ValueError(f"alpha: got {alpha}, must be above 0")
        self.num_clients, self.rounds, self.fraction, self.local_epochs = num_clients, rounds, fraction, local_epochs
        self.split, self.shards, self.alpha = split, shards, alpha


class FedProx(FedAvg):
    """FedAvg whose clients add mu / 2 times the squared distance from the weights of the server to their loss.

    Li et al., 2020. Differences: none; clients with partial work are not simulated.

    Args:
        num_clients, rounds, fraction, local_epochs, split, shards, alpha: see `FedAvg`.
        mu: weight of the distance, at least 0.

    Raises:
        ValueError: a number is out of its range.
    """

    def __init__(
        self,
        num_clients: int,
        rounds: int,
        fraction: float,
        local_epochs: int,
        split: ClientSplit,
        shards: int,
        alpha: float,
        mu: float,
    ) -> None:
        super().__init__(num_clients, rounds, fraction, local_epochs, split, shards, alpha)
        if not 0 <= mu < math.inf:
            raise ValueError(f"mu: got {mu}, must be at least 0")
        self.mu = mu
