"""The mode that pretends a second device: it finds what would fail or crawl on a card, and lets clean code through."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from one_device import PRETENDED, OneDevice, WrongDevice, assert_on
from torch import Tensor

from dreamfusion_mesh.geometry import soundness as soundness_module
from dreamfusion_mesh.geometry.soundness import soundness
from dreamfusion_mesh.kernels.hashgrid import encode, hash_grid
from dreamfusion_mesh.kernels.trace import SurfaceTree
from dreamfusion_mesh.records import Mesh

FACES = torch.tensor([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])
CORNERS = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])


def there(*shape: int) -> Tensor:
    return torch.arange(float(np.prod(shape))).reshape(shape).to(PRETENDED)


def index_on_the_cpu(x: Tensor) -> object:
    return x[torch.tensor([0, 1])]


def store_by_an_index_on_the_cpu(x: Tensor) -> object:
    x[torch.tensor([0, 1])] = 0.0
    return x


FAULTS: dict[str, Callable[[Tensor], object]] = {
    "made without a device": lambda x: torch.arange(4),
    "made without a device, then added": lambda x: x + torch.arange(4.0),
    "a constant added": lambda x: x + torch.tensor([1.0, 2, 3, 4]),
    "an index on the CPU": index_on_the_cpu,
    "a store by an index on the CPU": store_by_an_index_on_the_cpu,
    "from numpy, then added": lambda x: torch.from_numpy(np.ones(4, np.float32)) + x,
    "numpy without cpu": lambda x: x.numpy(),
    "numpy's own conversion": lambda x: np.asarray(x),
    "a copy to the CPU": lambda x: x.cpu(),
    "a copy into a CPU tensor": lambda x: torch.from_numpy(np.ones(4, np.float32)).copy_(x),
    "a scalar on the CPU joined": lambda x: torch.stack([x[0], torch.tensor(1.0)]),
    "a generator on the CPU": lambda x: torch.rand(4, generator=torch.Generator(), device=x.device),
    "a generator on the CPU, in place": lambda x: x.uniform_(generator=torch.Generator()),
    "new on the CPU": lambda x: x.new_zeros(3, device="cpu"),
    "a kernel handed a CPU tensor": lambda x: SurfaceTree(CORNERS, FACES),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_tensor_on_another_device_is_found(fault: Callable[[Tensor], object]) -> None:
    with OneDevice(edges=[there]):
        x = there(4)
        with pytest.raises(WrongDevice):
            fault(x)


CLEAN: dict[str, Callable[[Tensor], Tensor]] = {
    "made on the device": lambda x: x + torch.arange(4, device=x.device),
    "a constant on the device": lambda x: x + torch.tensor([1.0, 2, 3, 4], device=x.device),
    "made like another": lambda x: torch.zeros_like(x) + x.new_ones(4) + torch.full_like(x, 2),
    "from numpy and copied": lambda x: x + torch.from_numpy(np.ones(4, np.float32)).to(x.device),
    "a copy into the device's tensor": lambda x: x.clone().copy_(torch.from_numpy(np.ones(4, np.float32))),
    "scalars": lambda x: x * torch.tensor(2.0) + float(x.sum()) + x.max(),
    "a mask": lambda x: x[x > 1],
    "a store by a mask": lambda x: torch.where(x > 1, x, 0).masked_fill(x > 2, 7.0),
    "rows and columns": lambda x: x.reshape(2, 2)[torch.arange(2, device=x.device), torch.arange(2, device=x.device)],
    "numbers read": lambda x: x * len(x.tolist()) * x[1].item(),
    "unique rows": lambda x: x.reshape(2, 2).unique(dim=0),
}


@pytest.mark.parametrize("code", CLEAN.values(), ids=CLEAN)
def test_clean_code_passes_with_the_same_values(code: Callable[[Tensor], Tensor]) -> None:
    expected = code(torch.arange(4.0))
    with OneDevice(edges=[there]):
        found = code(there(4))
    assert_on(PRETENDED, found)
    assert torch.equal(found.cpu(), expected)


def test_views_and_writes_in_place_act_on_one_memory() -> None:
    with OneDevice(edges=[there]):
        x = there(2, 3)
        column = x[:, 1]
        column += 10
        x[0, 0] = 7.0
        x.reshape(-1)[x.reshape(-1) > 10] = -1.0
        assert x.add_(1) is x
    assert x.cpu().tolist() == [[8, 0, 3], [4, 0, 6]]


def test_gradients_are_those_of_the_cpu_and_lie_on_the_device() -> None:
    def loss(w: Tensor, x: Tensor) -> Tensor:
        y = x.clone()
        y[:, 0] = (w * x).sum(dim=1)
        return (y.exp() @ w).square().mean()

    plain = torch.tensor([0.1, 0.2, 0.3], requires_grad=True)
    x = torch.linspace(0, 1, 6).reshape(2, 3)
    (expected,) = torch.autograd.grad(loss(plain, x), plain)
    with OneDevice() as one:
        w = plain.detach().to(one.device).requires_grad_()
        loss(w, x.to(one.device)).backward()
    assert w.grad is not None
    assert_on(PRETENDED, w.grad)
    assert torch.equal(w.grad.cpu(), expected)


def test_modules_and_optimisers_move_there() -> None:
    def trained(device: torch.device) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        weight = torch.rand(1, 3, generator=generator)
        layer = torch.nn.Linear(3, 1, bias=False)
        layer.load_state_dict({"weight": weight})
        layer = layer.to(device)
        optimiser = torch.optim.Adam(layer.parameters(), lr=0.1)
        for _ in range(3):
            optimiser.zero_grad()
            layer(torch.ones(2, 3, device=device)).square().mean().backward()
            optimiser.step()
        return layer.weight.detach()

    expected = trained(torch.device("cpu"))
    with OneDevice(edges=[test_modules_and_optimisers_move_there]) as one:
        found = trained(one.device)
    assert_on(PRETENDED, found)
    assert torch.equal(found.cpu(), expected)


def test_kernels_run_and_answer_on_the_device() -> None:
    points = torch.tensor([[2.0, 0, 0], [0, 0, -1]])
    with OneDevice() as one:
        places, faces, distances = SurfaceTree(CORNERS.to(one.device), FACES.to(one.device)).closest(points.to(one.device))
    assert_on(PRETENDED, places, faces, distances)
    assert torch.equal(places.cpu(), SurfaceTree(CORNERS, FACES).closest(points)[0])


def test_kernels_give_gradients_on_the_device() -> None:
    grid, draws = hash_grid(2, 2, 6, 4, 8), torch.Generator().manual_seed(1)
    plain = torch.rand(grid.rows, 2, generator=draws).requires_grad_()
    points = torch.rand(5, 3, generator=draws)
    (expected,) = torch.autograd.grad(encode(points, plain, grid).square().sum(), plain)
    with OneDevice() as one:
        table = plain.to(one.device).detach().requires_grad_()
        encode(points.to(one.device), table, grid).square().sum().backward()
    assert_on(PRETENDED, table.grad)
    assert torch.equal(table.grad.cpu(), expected)


@pytest.mark.parametrize("edges", [[soundness], [soundness_module]], ids=["a function", "a module"])
def test_a_named_edge_and_what_it_calls_may_compute_on_the_cpu(edges: list) -> None:
    with OneDevice(edges) as one:
        mesh = Mesh(CORNERS, FACES).to(one.device)
        assert soundness(mesh).sound
        with pytest.raises(WrongDevice):
            mesh.vertices.cpu()


def test_kernels_run_on_the_cpu_in_an_edge_alone() -> None:
    def distances(points: Tensor) -> Tensor:
        return SurfaceTree(CORNERS, FACES).closest(points.cpu())[2]

    with OneDevice(edges=[distances]) as one:
        points = CORNERS.to(one.device)
        assert distances(points).tolist() == [0.0] * len(CORNERS)
        with pytest.raises(WrongDevice):
            SurfaceTree(CORNERS, FACES)


def test_nothing_but_the_edge_may_compute_on_the_cpu() -> None:
    with OneDevice() as one, pytest.raises(WrongDevice, match=r"soundness\.py:\d+ in soundness"):
        soundness(Mesh(CORNERS, FACES).to(one.device))


def test_an_operation_on_two_devices_is_refused_even_in_an_edge() -> None:
    def added(x: Tensor) -> Tensor:
        return x + torch.ones(4)

    with OneDevice(edges=[added, there]), pytest.raises(WrongDevice, match="meets"):
        added(there(4))


def test_the_fault_names_its_line() -> None:
    with OneDevice(), pytest.raises(WrongDevice, match=r"test_one_device\.py:\d+ in test_the_fault_names_its_line"):
        torch.zeros(3)


def test_nothing_is_left_of_the_mode_behind_it() -> None:
    with OneDevice():
        pass
    assert torch.zeros(3).device.type == "cpu"
    assert SurfaceTree(CORNERS, FACES).closest(CORNERS)[2].max() == 0
