"""The field: closed forms at the start, normals against finite differences and a second way through autograd, and what it refuses."""

import math

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from dreamfusion_mesh.config import FieldSettings
from dreamfusion_mesh.kernels.hashgrid import encode
from dreamfusion_mesh.shape import field as fields
from dreamfusion_mesh.shape.field import HashField

BLOB = {"density_bias": -1.0, "blob_density": 5.0, "blob_radius": 0.3}
SMALL = FieldSettings(levels=4, table_size_log2=10, coarsest=4, finest=20, hidden=16, **BLOB)


def fresh(seed: int = 0, half_extent: float = 1.0, rough: float = 0.0, **changes: float) -> HashField:
    """A field; `rough` spreads its table, so that the network matters."""
    field = HashField(SMALL.model_copy(update=changes), torch.Generator().manual_seed(seed), half_extent)
    with torch.no_grad():
        field.table.add_(rough * torch.randn(field.table.shape, generator=torch.Generator().manual_seed(seed + 1)))
        field.hidden_bias.copy_(0.3 * torch.randn(field.hidden_bias.shape, generator=torch.Generator().manual_seed(seed + 2)))
    return field


def head_weight(field: HashField, name: str = "density") -> Tensor:
    return field.heads.get_parameter(f"{name}.weight")


def scattered(count: int = 300, reach: float = 1.0) -> Tensor:
    return (2 * torch.rand(count, 3, generator=torch.Generator().manual_seed(7)) - 1) * reach


def test_the_first_density_is_the_blob() -> None:
    field = fresh()
    with torch.no_grad():
        head_weight(field).zero_()
    points = scattered()
    squared = points.double().square().sum(dim=1)
    wanted = torch.exp(-1 + 5 * torch.exp(-squared / (2 * 0.3**2)))
    torch.testing.assert_close(field.density(points).double(), wanted, rtol=3e-6, atol=0)


def test_an_untouched_field_is_nearly_the_blob_and_grey() -> None:
    field = HashField(SMALL, torch.Generator().manual_seed(3))
    points = scattered()
    sample = field(points, True)
    wanted = torch.exp(-1 + 5 * torch.exp(-points.square().sum(dim=1) / (2 * 0.3**2)))
    torch.testing.assert_close(sample.density, wanted, rtol=2e-3, atol=0)
    torch.testing.assert_close(sample.albedo, torch.full_like(sample.albedo, 0.5), rtol=0, atol=1e-3)
    near = points.norm(dim=1) < 0.6
    outward = torch.nn.functional.normalize(points[near], dim=1)
    assert ((sample.normals[near] * outward).sum(dim=1) > 0.99).all()


def test_outside_the_box_there_is_nothing() -> None:
    field = fresh(rough=0.5, half_extent=0.7)
    points = torch.tensor([[0.71, 0, 0], [0, -0.8, 0], [0.69, 0.69, -0.69], [5.0, 5, 5]])
    sample = field(points, True)
    assert (sample.density > 0).tolist() == [False, False, True, False]
    assert (sample.normals.norm(dim=1) > 0.5).tolist() == [False, False, True, False]
    assert sample.albedo.isfinite().all()


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


def by_autograd(field: HashField, points: Tensor) -> Tensor:
    """Normals by differentiating the density in its points, twice differentiable through the encoding's own double backward."""
    points = points.clone().requires_grad_()
    (slope,) = torch.autograd.grad(field.density(points).log().sum(), points, create_graph=True)
    return -slope / slope.norm(dim=1, keepdim=True)


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


def test_the_density_has_the_gradient_of_its_exponent_even_where_it_is_capped() -> None:
    field = fresh(density_bias=20.0)
    density = field.density(torch.tensor([[0.9, 0.9, 0.9]]))
    assert float(density.detach()) == pytest.approx(math.exp(12), rel=1e-5)
    density.sum().backward()
    hidden = torch.nn.functional.silu(field.hidden_bias[:16])  # the table is near zero
    torch.testing.assert_close(head_weight(field).grad[0], density.detach() * hidden.detach(), rtol=2e-3, atol=1.0)


def test_density_and_albedo_alone_are_those_of_the_whole() -> None:
    field = fresh(rough=0.5)
    points = scattered(reach=1.2)
    sample = field(points, False)
    assert sample.normals is None
    torch.testing.assert_close(field.density(points), sample.density, rtol=1e-6, atol=0)
    torch.testing.assert_close(field.head("albedo", points), sample.albedo, rtol=1e-6, atol=0)
    assert torch.equal(field.albedo(points), field.head("albedo", points))
    assert ((sample.albedo > 0) & (sample.albedo < 1)).all()


def test_the_points_gradient_is_that_of_finite_differences() -> None:
    field = fresh(rough=0.3, levels=1, finest=4)
    points = ((torch.randint(0, 4, (20, 3), generator=torch.Generator().manual_seed(4)) + 0.5) / 2 - 1).requires_grad_()
    (field.density(points).log().sum() + field.albedo(points).sum()).backward()
    for axis in range(3):
        shift = torch.zeros(3)
        shift[axis] = 0.01
        with torch.no_grad():
            ends = [field.density(points + s * shift).log() + field.albedo(points + s * shift).sum(dim=1) for s in (1, -1)]
        torch.testing.assert_close(points.grad[:, axis], (ends[0] - ends[1]) / 0.02, rtol=0, atol=2e-3 * float(points.grad.abs().max()))


def test_pieces_make_the_same_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    field, points = fresh(rough=0.5), scattered(100)
    with torch.no_grad():
        whole = field(points, True)
        monkeypatch.setattr(fields, "_CHUNK", 33)
        parts, density, albedo = field(points, True), field.density(points), field.albedo(points)
    torch.testing.assert_close(parts.normals, whole.normals, rtol=1e-5, atol=1e-6)
    for found, wanted in ((parts.density, whole.density), (density, whole.density), (parts.albedo, whole.albedo), (albedo, whole.albedo)):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=0)


def test_no_points_are_no_error() -> None:
    field, nothing = fresh(), torch.zeros(0, 3)
    sample = field(nothing, True)
    assert (sample.density.shape, sample.albedo.shape, sample.normals.shape) == ((0,), (0, 3), (0, 3))
    (sample.density.sum() + sample.albedo.sum() + sample.normals.sum()).backward()
    assert not field.table.grad.any()


def test_the_same_draws_make_the_same_field_and_a_saved_one_comes_back() -> None:
    one, same, other = fresh(5), fresh(5), fresh(6)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert not torch.equal(one.table, other.table)
    other.load_state_dict(load(save(one.state_dict())))
    points = scattered()
    assert torch.equal(one.density(points), other.density(points))
    assert torch.equal(one.albedo(points), other.albedo(points))


def test_density_and_albedo_share_one_look_up_of_the_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(fields, "encode", lambda *given: calls.append(1) or encode(*given))
    fresh()(scattered(), True)
    assert calls == [1]


@pytest.mark.parametrize(
    ("points", "words"),
    [
        (torch.zeros(4, 2), r"points: .*\[4, 2\], expected .*\[N, 3\]"),
        (torch.zeros(4, 3).double(), r"points: .*float64"),
        (torch.tensor([[0.0, 0, 0], [math.nan, 0, 0], [0, math.inf, 0]]), "2 of 3 are not finite"),
    ],
)
def test_bad_points_are_named(points: Tensor, words: str) -> None:
    field = fresh()
    for evaluate in (lambda: field(points, True), lambda: field.density(points), lambda: field.head("albedo", points)):
        with pytest.raises(ValueError, match=words):
            evaluate()


def test_a_box_without_extent_is_refused() -> None:
    with pytest.raises(ValueError, match="half_extent 0"):
        HashField(SMALL, torch.Generator(), 0.0)


def test_a_further_head_needs_its_name_and_channels_alone() -> None:
    """It is drawn, trained and saved with the rest; density, albedo and normals come from their own rows as before."""
    field = HashField(SMALL, torch.Generator().manual_seed(0), heads={"albedo": 3, "orm": 2})
    points = scattered()
    material = field.head("orm", points)
    assert material.shape == (len(points), 2)
    assert ((material > 0) & (material < 1)).all()
    sample = field(points, True)
    torch.testing.assert_close(sample.density, field.density(points), rtol=1e-6, atol=0)
    torch.testing.assert_close(sample.albedo, field.head("albedo", points), rtol=1e-6, atol=0)
    material.sum().backward()
    hidden = SMALL.hidden
    assert field.hidden_weight.grad[2 * hidden :].any()
    assert not field.hidden_weight.grad[: 2 * hidden].any()
    assert head_weight(field, "orm").grad.any()
    assert head_weight(field, "albedo").grad is None
    again = HashField(SMALL, torch.Generator().manual_seed(1), heads={"albedo": 3, "orm": 2})
    again.load_state_dict(load(save(field.state_dict())))
    assert torch.equal(again.head("orm", points), field.head("orm", points))


def test_normals_do_not_depend_on_where_the_heads_stand() -> None:
    field = HashField(SMALL, torch.Generator().manual_seed(0), heads={"orm": 2, "albedo": 3})
    with torch.no_grad():
        field.table.add_(0.5 * torch.randn(field.table.shape, generator=torch.Generator().manual_seed(1)))
    points = scattered(200)
    torch.testing.assert_close(field(points, True).normals, by_autograd(field, points), rtol=0, atol=1e-5)


def test_heads_that_do_not_fit_are_named() -> None:
    for heads in ({"orm": 2}, {"albedo": 0}, {"albedo": 3, "density": 1}):
        with pytest.raises(ValueError, match="expected 'albedo' among them"):
            HashField(SMALL, torch.Generator(), heads=heads)
    for name in ("roughness", "density"):
        with pytest.raises(ValueError, match=f"head '{name}': expected one of albedo"):
            fresh().head(name, scattered(4))


def test_the_field_is_the_same_on_every_device(device: torch.device) -> None:
    """Parameters are drawn on the CPU, so that a seed means one field; values and gradients agree to float32's rounding."""
    for normals in ("analytic", "finite_differences"):
        here, there = fresh(rough=0.3, normals=normals, normal_step=0.02), fresh(rough=0.3, normals=normals, normal_step=0.02).to(device)
        points = scattered(200)
        ours, theirs = here(points, True), there(points.to(device), True)
        for one, other in zip((ours.density, ours.albedo, ours.normals), (theirs.density, theirs.albedo, theirs.normals), strict=True):
            torch.testing.assert_close(other.cpu(), one, rtol=1e-4, atol=1e-4)
        (ours.density.sum() + ours.normals[:, 0].sum()).backward()
        (theirs.density.sum() + theirs.normals[:, 0].sum()).backward()
        torch.testing.assert_close(there.table.grad.cpu(), here.table.grad, rtol=1e-3, atol=1e-3 * float(here.table.grad.abs().max()))
