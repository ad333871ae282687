"""The field's normals: against finite differences, and against a second way through autograd."""

import pytest
import torch
from small_fields import SMALL, by_autograd, fresh, head_weight, scattered
from torch import Tensor

from dreamfusion_mesh.shape.field import HashField


@pytest.mark.parametrize("half_extent", [1.0, 0.6])
def test_normals_are_those_of_the_densitys_finite_differences(half_extent: float) -> None:
    field = fresh(rough=0.3, half_extent=half_extent, coarsest=4, levels=1, finest=4)
    cell = 2 * half_extent / 4
    points = (torch.randint(0, 4, (60, 3), generator=torch.Generator().manual_seed(1)) + 0.5) * cell - half_extent  # in mid cell
    away = 0.02 * cell
    slope = torch.empty(60, 3)
    for axis in range(3):
        shift = torch.zeros(3)
        shift[axis] = away
        with torch.no_grad():
            slope[:, axis] = (field.density(points + shift).log() - field.density(points - shift).log()) / (2 * away)
    sample = field(points, True)
    torch.testing.assert_close(sample.normals.norm(dim=1), torch.ones(60), rtol=0, atol=1e-6)
    torch.testing.assert_close(sample.normals.detach(), -torch.nn.functional.normalize(slope, dim=1), rtol=0, atol=2e-3)


def test_normals_and_their_gradients_equal_those_by_double_backward() -> None:
    field = fresh(rough=0.5)
    points = scattered(200)
    towards = torch.randn(200, 3, generator=torch.Generator().manual_seed(2))
    mine, theirs = field(points, True).normals, by_autograd(field, points)
    torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-5)
    parameters = [field.table, field.hidden_weight, field.hidden_bias, head_weight(field)]
    wanted = torch.autograd.grad((theirs * towards).sum(), parameters)
    for parameter, a, b in zip(parameters, torch.autograd.grad((mine * towards).sum(), parameters), wanted, strict=True):
        assert a.abs().max() > 0, parameter.shape
        assert (a - b).abs().max() <= 2e-5 * b.abs().max()


def inner(field: HashField, reach: float) -> Tensor:
    """Points that lie at least `reach` from the faces of every level's cells, where trilinear interpolation has kinks."""
    points = scattered(3000, 0.9)
    clear = torch.ones(len(points), dtype=torch.bool)
    for n in field.grid.resolutions:
        share = ((points / 2 + 0.5) * n) % 1
        clear &= (torch.minimum(share, 1 - share) * 2 / n > reach).all(dim=1)
    return points[clear]


def test_finite_difference_normals_and_their_gradients_match_the_analytic_ones_within_a_cell() -> None:
    exact = fresh(rough=0.3)
    differenced = fresh(rough=0.3, normals="finite_differences", normal_step=2e-3)
    points = inner(exact, 2.5e-3)
    assert len(points) > 300
    weights = torch.randn(len(points), 3, generator=torch.Generator().manual_seed(9))
    outcomes = []
    for field in (exact, differenced):
        normals = field(points, True).normals
        (normals * weights).sum().backward()
        outcomes.append((normals.detach(), field.table.grad, head_weight(field).grad))
    cosine = (outcomes[0][0] * outcomes[1][0]).sum(dim=1)
    assert cosine.min() > 0.999
    for wanted, found in zip(outcomes[0][1:], outcomes[1][1:], strict=True):
        assert (found - wanted).norm() < 0.01 * wanted.norm()


def test_finite_difference_normals_smooth_over_their_step() -> None:
    """Of the blob alone a central difference is off by the third derivative: a quarter of the error at half the step."""
    errors = []
    for step in (0.1, 0.05):
        field = fresh(normals="finite_differences", normal_step=step, blob_radius=0.5)
        with torch.no_grad():
            head_weight(field).zero_()
        points = torch.tensor([[0.3, 0.1, 0.2], [0.1, -0.5, 0.2]])
        errors.append((field(points, True).normals - torch.nn.functional.normalize(points, dim=1)).norm())
    assert errors[0] > 1e-3
    assert 3.5 < errors[0] / errors[1] < 4.5


def test_a_flat_field_has_no_normals_and_no_nan() -> None:
    field = fresh(blob_density=0.0)
    with torch.no_grad():
        field.table.zero_()
    sample = field(scattered(), True)
    assert not sample.normals.any()
    (sample.normals.sum() + sample.density.sum()).backward()
    assert all(part.grad is None or part.grad.isfinite().all() for part in field.parameters())


def test_normals_do_not_depend_on_where_the_heads_stand() -> None:
    field = HashField(SMALL, torch.Generator().manual_seed(0), heads={"orm": 2, "albedo": 3})
    with torch.no_grad():
        field.table.add_(0.5 * torch.randn(field.table.shape, generator=torch.Generator().manual_seed(1)))
    points = scattered(200)
    torch.testing.assert_close(field(points, True).normals, by_autograd(field, points), rtol=0, atol=1e-5)
