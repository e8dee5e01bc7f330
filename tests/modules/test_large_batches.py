"""Large batches: in chunks and on several processes, the gradient is that of one forward pass of one process."""

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from leyden.modules.large_batches import in_chunks, of_all_processes
from leyden.modules.simclr import nt_xent
from leyden.modules.vicreg import vicreg_terms

VIEWS = torch.randn(2, 8, 6, generator=torch.Generator().manual_seed(0))  # two views of eight samples


def build(norm: bool = False) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5) if norm else nn.Tanh(), nn.Linear(5, 4))


def simclr(first: Tensor, second: Tensor) -> Tensor:
    return nt_xent(first, second, 0.5)


def vicreg(first: Tensor, second: Tensor) -> Tensor:
    return torch.stack(vicreg_terms(first, second)).sum()


def gradient(net: nn.Module) -> Tensor:
    return torch.cat([weight.grad.flatten() for weight in net.parameters() if weight.grad is not None])


def whole(loss: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    net = build()
    loss(net(VIEWS[0]), net(VIEWS[1])).backward()
    return gradient(net)


@pytest.mark.parametrize("loss", [simclr, vicreg])
@pytest.mark.parametrize("chunk", [3, 8, 16])
def test_chunks_give_the_gradient_of_the_whole_batch(loss: Callable[[Tensor, Tensor], Tensor], chunk: int) -> None:
    net, sizes = build(), []
    net.register_forward_pre_hook(lambda _, arguments: sizes.append(len(arguments[0])))
    embeddings = in_chunks(net, net, VIEWS.flatten(0, 1), chunk)
    loss(*embeddings.chunk(2)).backward()
    assert torch.allclose(gradient(net), whole(loss), atol=1e-6)
    assert max(sizes) == chunk
    assert sum(sizes) == 16 * (2 if chunk < 16 else 1)  # each chunk is computed again


def test_a_batch_norm_counts_each_chunk_once() -> None:
    chunked, plain = build(norm=True), build(norm=True)
    in_chunks(chunked, chunked, VIEWS.flatten(0, 1), 8).sum().backward()
    for part in VIEWS:
        plain(part)
    assert all(one.equal(other) for one, other in zip(chunked.buffers(), plain.buffers(), strict=True))
    assert getattr(chunked[1], "momentum", None) == 0.1


def train_in_two_processes(rank: int, folder: Path, loss: Callable[[Tensor, Tensor], Tensor], found: Any) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    net = DistributedDataParallel(build())
    own = VIEWS[:, 4 * rank : 4 * rank + 4]
    first, second = (of_all_processes(part) for part in net(own.flatten(0, 1)).chunk(2))
    value = loss(first, second)
    value.backward()
    found.put((rank, float(value.detach()), gradient(net).tolist()))
    distributed.destroy_process_group()


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("loss", [simclr, vicreg])
def test_two_processes_give_the_gradient_of_one(tmp_path: Path, loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("the test forks this process, so that it does not import torch twice")
    context = multiprocessing.get_context("fork")
    found = context.Queue()
    processes = [context.Process(target=train_in_two_processes, args=(r, tmp_path, loss, found)) for r in range(2)]
    for process in processes:
        process.start()
    results = [found.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(60)
    net = build()
    expected = loss(net(VIEWS[0]), net(VIEWS[1]))
    for _, value, grads in results:
        assert value == pytest.approx(float(expected.detach()), abs=1e-6)
        assert torch.allclose(torch.tensor(grads), whole(loss), atol=1e-6)


def test_one_process_gathers_nothing() -> None:
    assert of_all_processes(VIEWS) is VIEWS
