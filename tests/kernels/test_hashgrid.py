"""The hash encoding against a plain torch twin in float64, closed forms, and itself run twice."""

import itertools

import pytest
import torch
from torch import Tensor

from dreamfusion_mesh.kernels import launch as launching
from dreamfusion_mesh.kernels.hashgrid import HashGrid, encode, hash_grid, input_gradient

MIXED = hash_grid(levels=5, features=2, table_size_log2=9, coarsest=3, finest=31)  # two dense levels, three hashed


def twin(points: Tensor, table: Tensor, grid: HashGrid) -> Tensor:
    """The same encoding by torch operations, in the table's dtype."""
    columns = []
    for n, offset, size in zip(grid.resolutions, grid.offsets, grid.sizes, strict=True):
        scaled = points.clamp(0, 1) * n
        cell = scaled.detach().floor().long().clamp(0, n - 1)
        part = scaled - cell
        total = 0
        for corner in itertools.product((0, 1), repeat=3):
            at = cell + torch.tensor(corner)
            if (n + 1) ** 3 <= size:
                row = at[:, 0] + (n + 1) * (at[:, 1] + (n + 1) * at[:, 2])
            else:
                row = (at[:, 0] ^ (at[:, 1] * 2654435761 % 2**32) ^ (at[:, 2] * 805459861 % 2**32)) % size
            weight = torch.where(torch.tensor(corner) == 1, part, 1 - part).prod(dim=1, keepdim=True)
            total = total + weight * table[offset + row]
        columns.append(total)
    return torch.cat(columns, dim=1)


def problem(grid: HashGrid, count: int = 700, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Points, a table, what comes from above, and a direction; the same values on every device."""
    draws = torch.Generator().manual_seed(1)
    points = torch.rand(count, 3, generator=draws)
    table = torch.randn(grid.rows, grid.features, generator=draws)
    upstream, direction = torch.randn(count, grid.width, generator=draws), torch.randn(count, 3, generator=draws)
    return points.to(device), table.to(device), upstream.to(device), direction.to(device)


def assert_same(found: Tensor, wanted: Tensor) -> None:
    """To float32's accuracy, relative to the largest value."""
    assert found.shape == wanted.shape
    assert (found.double().cpu() - wanted).abs().max() <= 5e-6 * wanted.abs().max()


def leaves(*tensors: Tensor, double: bool, device: torch.device | str = "cpu") -> list[Tensor]:
    """In float64 on the CPU, for the twin, or as they are on `device`."""
    return [(tensor.double() if double else tensor.clone().to(device)).requires_grad_() for tensor in tensors]


def test_resolutions_grow_geometrically_and_small_levels_are_dense() -> None:
    grid = hash_grid(levels=4, features=2, table_size_log2=12, coarsest=8, finest=64)
    assert grid.resolutions == (8, 16, 32, 64)
    assert grid.sizes == (9**3, 4096, 4096, 4096)
    assert grid.hashed == (False, True, True, True)
    assert (grid.rows, grid.width, grid.offsets) == (729 + 3 * 4096, 8, (0, 729, 4825, 8921))
    assert hash_grid(1, 2, 12, 8, 64).resolutions == (8,)


def test_twin_is_differentiable_twice() -> None:
    grid = hash_grid(levels=2, features=2, table_size_log2=3, coarsest=1, finest=3)
    draws = torch.Generator().manual_seed(3)
    cells = torch.randint(0, 3, (5, 3), generator=draws)
    points = ((cells + 0.2 + 0.6 * torch.rand(5, 3, generator=draws, dtype=torch.float64)) / 3).requires_grad_()  # away from kinks
    table = torch.randn(grid.rows, 2, generator=draws, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda p, t: twin(p, t, grid), (points, table))
    assert torch.autograd.gradgradcheck(lambda p, t: twin(p, t, grid), (points, table))


@pytest.mark.parametrize("features", [1, 2, 4])
def test_values_and_first_derivatives_match_the_twin(features: int, device: torch.device) -> None:
    grid = hash_grid(levels=5, features=features, table_size_log2=9, coarsest=3, finest=31)
    points, table, upstream, _ = problem(grid)
    mine, theirs = leaves(points, table, double=False, device=device), leaves(points, table, double=True)
    found, wanted = encode(*mine, grid), twin(*theirs, grid)
    assert_same(found, wanted)
    found.backward(upstream.to(device))
    wanted.backward(upstream.double())
    for a, b in zip(mine, theirs, strict=True):
        assert_same(a.grad, b.grad)


def test_input_gradient_and_its_derivatives_match_the_twin(device: torch.device) -> None:
    points, table, upstream, direction = problem(MIXED)
    mine, theirs = leaves(points, table, upstream, double=False, device=device), leaves(points, table, upstream, double=True)
    found = input_gradient(*mine, MIXED)
    (wanted,) = torch.autograd.grad(twin(theirs[0], theirs[1], MIXED), theirs[0], theirs[2], create_graph=True)
    assert_same(found, wanted)
    found.backward(direction.to(device))
    wanted.backward(direction.double())
    for a, b in zip(mine, theirs, strict=True):
        assert_same(a.grad, b.grad)


def test_double_backward_through_encode_reaches_the_table(device: torch.device) -> None:
    points, table, upstream, direction = problem(MIXED)
    gradients = []
    for double, encoding in ((False, encode), (True, twin)):
        at, rows, up = leaves(points, table, upstream, double=double, device=device)
        (slope,) = torch.autograd.grad(encoding(at, rows, MIXED), at, up, create_graph=True)
        gradients.append(torch.autograd.grad((slope * direction.to(slope)).sum(), (rows, up)))
    for a, b in zip(*gradients, strict=True):
        assert_same(a, b)


def test_table_gradient_is_differentiable_in_the_upstream_gradient(device: torch.device) -> None:
    points, table, upstream, _ = problem(MIXED)
    gradients = []
    for double, encoding in ((False, encode), (True, twin)):
        at, rows, up = leaves(points, table, upstream, double=double, device=device)
        (scattered,) = torch.autograd.grad(encoding(at, rows, MIXED), rows, up, create_graph=True)
        gradients.append(torch.autograd.grad((scattered * scattered).sum(), up)[0])
    assert_same(*gradients)


def test_linear_function_is_reproduced_with_its_slope(device: torch.device) -> None:
    n = 5
    grid = hash_grid(1, 1, 8, n, n)
    axis = torch.arange(n + 1) / n
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")  # x runs fastest
    table = (3 * x - 2 * y + 0.5 * z + 1).reshape(-1, 1).to(device)
    points = problem(grid, device=device)[0]
    assert_same(encode(points, table, grid)[:, 0], (points.cpu().double() @ torch.tensor([3, -2, 0.5]).double() + 1))
    slope = input_gradient(points, table, torch.ones(len(points), 1, device=device), grid)
    torch.testing.assert_close(slope.cpu(), torch.tensor([3, -2, 0.5]).expand(len(points), 3), rtol=0, atol=2e-5)


def test_input_gradient_is_the_finite_difference_within_a_cell(device: torch.device) -> None:
    n = 4
    grid = hash_grid(1, 2, 8, n, n)
    table = problem(grid, device=device)[1]
    points = ((torch.randint(0, n, (50, 3), generator=torch.Generator().manual_seed(3)) + 0.5) / n).to(device)
    upstream = torch.ones(50, 2, device=device)
    slope = input_gradient(points, table, upstream, grid)
    for axis in range(3):
        away = torch.zeros(3, device=device)
        away[axis] = 0.25 / n  # exact in binary, and linear along an axis: the difference has no truncation error
        difference = (encode(points + away, table, grid) - encode(points - away, table, grid)).sum(dim=1) / (0.5 / n)
        torch.testing.assert_close(slope[:, axis], difference, rtol=0, atol=1e-5)


def test_weights_sum_to_one_so_the_table_receives_the_whole_upstream_gradient(device: torch.device) -> None:
    points, table, upstream, _ = problem(MIXED, device=device)
    table.requires_grad_()
    encode(points, table, MIXED).backward(upstream)
    for level, (offset, size) in enumerate(zip(MIXED.offsets, MIXED.sizes, strict=True)):
        received = table.grad[offset : offset + size].double().sum(dim=0)
        torch.testing.assert_close(received, upstream[:, 2 * level : 2 * level + 2].double().sum(dim=0), rtol=0, atol=1e-4)


def test_cpu_gradients_have_the_same_bits_on_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    points, table, upstream, direction = problem(MIXED, 5000)
    outcomes = []
    for threads in (2, 2, 1, 5):
        monkeypatch.setattr(launching, "threads", lambda threads=threads: threads)
        at, rows, up = leaves(points, table, upstream, double=False)
        encode(at, rows, MIXED).backward(upstream)
        input_gradient(points, rows, up, MIXED).backward(direction)
        outcomes.append((at.grad, rows.grad, up.grad))
    for other in outcomes[1:]:
        assert all(torch.equal(a, b) for a, b in zip(outcomes[0], other, strict=True))


def test_points_outside_the_cube_are_clamped_and_have_derivative_zero(device: torch.device) -> None:
    table = problem(MIXED, device=device)[1]
    outside = torch.tensor([[-0.5, 0.3, 0.6], [0.2, 7.0, 0.4], [1.0, 1.0, 1.0]], device=device)
    assert torch.equal(encode(outside, table, MIXED), encode(outside.clamp(0, 1), table, MIXED))
    slope = input_gradient(outside, table, torch.ones(3, MIXED.width, device=device), MIXED)
    assert slope[0, 0] == 0
    assert slope[1, 1] == 0
    assert (slope[0, 1:] != 0).all()
    assert (slope[2] != 0).all()


def test_no_points_give_no_features_and_zero_gradients(device: torch.device) -> None:
    table = problem(MIXED, device=device)[1].requires_grad_()
    nothing = torch.zeros(0, 3, requires_grad=True, device=device)
    features = encode(nothing, table, MIXED)
    assert features.shape == (0, MIXED.width)
    (features.sum() + input_gradient(nothing, table, features, MIXED).sum()).backward()
    assert nothing.grad.shape == (0, 3)
    assert not table.grad.any()


def test_strided_points_are_read_by_their_strides(device: torch.device) -> None:
    points, table, _, _ = problem(MIXED, device=device)
    strided = points.flip(1).flip(0).T.contiguous().T
    assert not strided.is_contiguous()
    assert torch.equal(encode(strided, table, MIXED), encode(strided.contiguous(), table, MIXED))


@pytest.mark.parametrize(
    ("points", "table", "words"),
    [
        (torch.zeros(4, 2), torch.zeros(MIXED.rows, 2), r"points: torch.float32 \[4, 2\]"),
        (torch.zeros(4, 3).double(), torch.zeros(MIXED.rows, 2), r"points: .*float64"),
        (torch.zeros(4, 3), torch.zeros(MIXED.rows, 3), rf"table: .*expected torch.float32 \[{MIXED.rows}, 2\]"),
    ],
)
def test_wrong_arguments_are_named(points: Tensor, table: Tensor, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        encode(points, table, MIXED)


def test_wrong_upstream_or_layout_is_named() -> None:
    points, table, upstream, _ = problem(MIXED)
    with pytest.raises(ValueError, match="upstream"):
        input_gradient(points, table, upstream[:, :-1], MIXED)
    with pytest.raises(ValueError, match="features 3"):
        hash_grid(4, 3, 10, 4, 8)
    with pytest.raises(ValueError, match="from 8 to 4"):
        hash_grid(4, 2, 10, 8, 4)
