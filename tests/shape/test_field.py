"""The field: closed forms at the start, gradients and heads, and what it refuses."""

import math

import pytest
import torch
from safetensors.torch import load, save
from small_fields import SMALL, fresh, head_weight, scattered
from torch import Tensor

from dreamfusion_mesh.kernels.hashgrid import encode
from dreamfusion_mesh.shape import field as fields
from dreamfusion_mesh.shape.field import HashField


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


def test_pieces_that_the_kernels_can_count_have_the_gradients_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    def gradients() -> list[Tensor]:
        field, points = fresh(rough=0.5), scattered(100)
        sample = field(points, True)
        (sample.density.sum() + sample.normals[:, 0].sum() + field.albedo(points).sum()).backward()
        return [value.grad for value in field.parameters()]

    whole = gradients()
    monkeypatch.setattr(fields, "_MOST_LOOKUPS", 4 * 33 + 3)
    for found, wanted in zip(gradients(), whole, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5 * float(wanted.abs().max()))


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
