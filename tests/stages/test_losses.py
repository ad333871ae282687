"""Each stage's loss: its terms in closed form, their weights, and where a step of each regulariser leads."""

from __future__ import annotations

import math

import pytest
import torch
from lattices import cube_lattice, every
from loss_steps import step_of
from stub_score import StubScore
from torch import Tensor

from dreamfusion_mesh.config import CoarseSettings, FieldSettings, FineSettings, GuidanceSettings, ViewSettings
from dreamfusion_mesh.guidance.losses.sds import Distilled, distill
from dreamfusion_mesh.records import Render, Shading
from dreamfusion_mesh.render.cameras import turntable
from dreamfusion_mesh.render.raster.resolve import resolve_rasterizer
from dreamfusion_mesh.render.shading.lambert import shader
from dreamfusion_mesh.render.views import plain_views
from dreamfusion_mesh.render.volume import render_volume
from dreamfusion_mesh.shape.field import HashField
from dreamfusion_mesh.shape.regularisers import laplacian_loss, normal_consistency_loss
from dreamfusion_mesh.shape.tets.grid import Lattice
from dreamfusion_mesh.shape.tets.surface import TetSurface
from dreamfusion_mesh.stages.coarse import Coarse, fit_field, new_coarse
from dreamfusion_mesh.stages.fine import fit_surface
from dreamfusion_mesh.stages.fit import Hooks
from dreamfusion_mesh.stages.losses import Terms, coarse_loss, fine_loss

CPU = torch.device("cpu")
FIELD = FieldSettings(levels=4, table_size_log2=10, finest=16, hidden=8)
COARSE = CoarseSettings(
    steps=3, size=16, views=2, samples=24, occupancy_size=12, field=FIELD, opacity=0.0, orientation=0.0, entropy=0.0, learning_rate=0.001
)
FINE = FineSettings(steps=3, size=24, views=1, sdf_sign=(0.0, 0.0), normal_consistency=0.0, laplacian=0.0)
LIT = ViewSettings(lambertian=1.0, textureless=0.0)
GUIDANCE = GuidanceSettings(weighting="uniform", t_min=(0.2, 0.6), t_max=(0.21, 0.61))


def distilled(loss: float = 0.25) -> Distilled:
    return Distilled(torch.tensor(loss), torch.tensor([500]), True, 1.0)


def flat_render(alpha: float, orientation: float) -> Render:
    def image(value: float, channels: int) -> Tensor:
        return torch.full((2, 4, 4, channels), value)

    return Render(image(0.5, 3), image(alpha, 1), image(0.5, 3), image(0.0, 3), image(1.0, 1), image(orientation, 1))


def bumpy_surface(device: torch.device = CPU) -> TetSurface:
    """A ball with noise, and one vertex far outside that is just inside: a floater."""
    lattice = cube_lattice(8, torch.float32)
    sdf = lattice.positions(every(lattice)).norm(dim=1) - 0.55
    sdf += 0.03 * torch.randn(sdf.shape, generator=torch.Generator().manual_seed(0))
    sdf[floater(lattice)] = -0.02
    return TetSurface(Lattice(lattice.origin.to(device), lattice.cell, lattice.counts), sdf.to(device))


def floater(lattice: Lattice) -> int:
    return int((lattice.positions(every(lattice)).cpu() - 0.75).norm(dim=1).argmin())


@pytest.mark.parametrize("alpha", [0.2, 0.9])
def test_the_coarse_terms_are_their_closed_forms(alpha: float) -> None:
    terms = coarse_loss(flat_render(alpha, 0.3), distilled(), COARSE, 0.5)
    entropy = -alpha * math.log(alpha) - (1 - alpha) * math.log(1 - alpha)
    wanted = {"sds": 0.25, "opacity": math.sqrt(alpha**2 + 0.01), "orientation": 0.3, "entropy": entropy}
    assert {name: float(value) for name, value in terms.values.items()} == pytest.approx(wanted, rel=1e-5)


def test_the_fine_terms_are_the_surfaces_regularisers() -> None:
    surface = bumpy_surface()
    mesh = surface.mesh()
    terms = fine_loss(surface, mesh, distilled(), FINE, 0.5)
    wanted = {
        "sds": 0.25,
        "sdf_sign": surface.sign_loss().item(),
        "normal_consistency": normal_consistency_loss(mesh.vertices, mesh.faces).item(),
        "laplacian": laplacian_loss(mesh.vertices, mesh.faces).item(),
    }
    assert {name: value.item() for name, value in terms.values.items()} == pytest.approx(wanted, rel=1e-6)


def coarse_terms(**weights: float) -> Terms:
    return coarse_loss(flat_render(0.4, 0.3), distilled(), COARSE.model_copy(update=weights), 0.5)


def fine_terms(**weights: object) -> Terms:
    surface = bumpy_surface()
    return fine_loss(surface, surface.mesh(), distilled(), FINE.model_copy(update=weights), 0.5)


@pytest.mark.parametrize(
    ("terms", "name", "once", "share"),
    [
        (coarse_terms, "opacity", 1.0, 1.0),
        (coarse_terms, "orientation", 1.0, 1.0),
        (coarse_terms, "entropy", 1.0, 0.5),  # half-way its weight has grown to a half
        (fine_terms, "sdf_sign", (1.0, 0.5), 0.75),
        (fine_terms, "normal_consistency", 1.0, 1.0),
        (fine_terms, "laplacian", 1.0, 1.0),
    ],
)
def test_the_totals_derivative_in_a_weight_is_its_term(terms, name: str, once: object, share: float) -> None:
    without, given = terms(), terms(**{name: once})
    assert float(without.total().detach()) == pytest.approx(0.25)
    assert float((given.total() - without.total()).detach()) == pytest.approx(share * given.values[name].item(), rel=1e-5)


def test_spans_of_weights_go_from_their_first_to_their_last_value() -> None:
    surface = bumpy_surface()
    fine = FINE.model_copy(update={"sdf_sign": (0.2, 0.4)})
    weights = [fine_loss(surface, surface.mesh(), distilled(), fine, progress).weights["sdf_sign"] for progress in (0.0, 0.5, 1.0)]
    assert weights == pytest.approx([0.2, 0.3, 0.4])
    coarse = COARSE.model_copy(update={"entropy": 2.0})
    weights = [coarse_loss(flat_render(0.4, 0.0), distilled(), coarse, progress).weights["entropy"] for progress in (0.0, 0.5, 1.0)]
    assert weights == pytest.approx([0.0, 1.0, 2.0])


def test_figures_are_the_terms_that_mean_something() -> None:
    assert coarse_terms().figures() == pytest.approx({"opacity": 0.4123106, "orientation": 0.3, "entropy": 0.6730117}, rel=1e-5)
    assert set(fine_terms().figures()) == {"sdf_sign", "normal_consistency", "laplacian"}


@pytest.mark.parametrize("size", [8, 32])
def test_distillation_is_a_mean_over_what_the_model_sees(size: int) -> None:
    """A residual of 3 in all values, which are 2 image - 1: the gradients of one image sum to 6, whatever the model's size."""
    images = torch.rand(2, 16, 16, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    views = plain_views(turntable(2, 0.3, 2.6, 0.7, 16, 16, CPU), Shading.ALBEDO, (1.0, 1.0, 1.0), 0.3, 0.7)
    draws = torch.Generator().manual_seed(1)
    found = distill(StubScore(size, residual=3.0), step_of(images, views, (0.1, 0.1), (0.9, 0.9), 0.0, draws), GUIDANCE)
    found.loss.backward()
    assert found.residual == pytest.approx(3.0, rel=1e-5)
    assert float(images.grad.sum()) == pytest.approx(6.0, rel=1e-5)


def fit_coarse(model: StubScore, hooks: Hooks | None = None, cameras: ViewSettings = LIT, **changes: object) -> tuple[Coarse, Coarse]:
    """The field before and after the stage, on the model's device."""
    settings, device = COARSE.model_copy(update=changes), model.schedule.signal.device
    before = new_coarse(settings, torch.Generator().manual_seed(4), device)
    after, _ = fit_field(model, settings, cameras, GUIDANCE, torch.Generator().manual_seed(4), device, hooks)
    return before, after


def fit_fine(model: StubScore, hooks: Hooks | None = None, cameras: ViewSettings = LIT, **changes: object) -> tuple[TetSurface, TetSurface]:
    """The surface before and after the stage, on the model's device."""
    device = model.schedule.signal.device
    before, after = bumpy_surface(device), bumpy_surface(device)
    field, rasterizer = HashField(FIELD, torch.Generator().manual_seed(4)).to(device), resolve_rasterizer("auto", device)
    settings = FINE.model_copy(update=changes)
    fit_surface(after, field, model, rasterizer, settings, cameras, GUIDANCE, torch.Generator().manual_seed(9), hooks)
    return before, after


def measured(coarse: Coarse) -> dict[str, float]:
    """The terms over eight views from all sides, without chance."""
    views = plain_views(turntable(8, 0.3, 2.6, 0.7, 24, 24, coarse.occupancy.values.device), Shading.LAMBERTIAN, (1.0, 1.0, 1.0), 0.3, 0.7)
    with torch.no_grad():
        render = render_volume(coarse.field, coarse.occupancy, views, shader(views), 48, torch.Generator(), True, jitter=False)
    return coarse_loss(render, distilled(), COARSE, 1.0).figures()


def test_without_residual_and_weights_nothing_moves(device: torch.device) -> None:
    for before, after in (fit_coarse(StubScore(device=device)), fit_fine(StubScore(device=device))):
        modules = (before.field, after.field) if isinstance(before, Coarse) else (before, after)
        for old, new in zip(*(module.parameters() for module in modules), strict=True):
            assert torch.equal(old, new)


def test_a_weight_that_grows_from_nothing_has_no_part_in_the_first_step() -> None:
    (before, after), (start, refined) = fit_coarse(StubScore(), steps=1, entropy=1.0), fit_fine(StubScore(), steps=1, sdf_sign=(0.0, 1.0))
    assert torch.equal(before.field.table, after.field.table)
    assert torch.equal(start.sdf, refined.sdf)
    before, after = fit_coarse(StubScore(), steps=2, entropy=1.0)
    assert not torch.equal(before.field.table, after.field.table)
    start, refined = fit_fine(StubScore(), steps=1, sdf_sign=(1.0, 0.0))
    assert not torch.equal(start.sdf, refined.sdf)


@pytest.mark.parametrize("name", ["opacity", "orientation", "entropy"])
def test_a_coarse_regulariser_lowers_what_it_measures(name: str, device: torch.device) -> None:
    before, after = (measured(coarse) for coarse in fit_coarse(StubScore(device=device), **{name: 1.0}))
    assert after[name] < before[name] * (1 - 1e-3)


@pytest.mark.parametrize(("name", "weight"), [("sdf_sign", (1.0, 1.0)), ("normal_consistency", 1.0), ("laplacian", 1.0)])
def test_a_fine_regulariser_lowers_what_it_measures(name: str, weight: object, device: torch.device) -> None:
    surfaces = fit_fine(StubScore(device=device), **{name: weight})
    with torch.no_grad():
        before, after = (fine_loss(surface, surface.mesh(), distilled(), FINE, 1.0).figures()[name] for surface in surfaces)
    assert after < before * (1 - 1e-3)


def test_the_sign_term_fills_the_floater_with_outside() -> None:
    before, after = fit_fine(StubScore(), sdf_sign=(1.0, 1.0), sdf_learning_rate=0.001, smoothing=0.0)
    moved = (after.sdf - before.sdf).detach()
    assert moved.argmax() == floater(before.lattice)  # nothing else has a sign of its own on all sides
    assert moved.max() > 0.00165  # three steps of the gradient's usual size, at a rate that falls from 0.001 to 0.0001


@pytest.mark.parametrize("residual", [2.0, -2.0])
def test_distillation_moves_the_image_against_the_residual(residual: float) -> None:
    """eps_hat above eps in all values: the image has too much of everything, and darkens."""
    coarse = fit_coarse(StubScore(residual=residual))
    points = torch.rand(200, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    before, after = (each.field.albedo(points).mean().item() for each in coarse)
    assert (after - before) * residual < 0


@pytest.mark.parametrize("fit", [fit_coarse, fit_fine])
def test_times_follow_the_stages_own_spans(fit) -> None:
    """The coarse stage takes guidance's spans, the fine stage its own; progress goes from 0 to 1."""
    model = StubScore()
    spans = {} if fit is fit_coarse else {"t_min": (0.7, 0.3), "t_max": (0.71, 0.31)}
    fit(model, steps=2, views=1, **spans)
    first, last = (200, 600) if fit is fit_coarse else (700, 300)
    assert first <= model.times[0] <= first + 10
    assert last <= model.times[1] <= last + 10


@pytest.mark.parametrize(("fit", "flat"), [(fit_coarse, 2), (fit_fine, 0)])
def test_the_coarse_stage_alone_begins_without_light(fit, flat: int) -> None:
    model, steps = StubScore(), 3
    fit(model, cameras=LIT.model_copy(update={"albedo_steps": 2}), steps=steps)
    each = len(model.shading) // steps  # of a step
    assert model.shading == [Shading.ALBEDO] * (each * flat) + [Shading.LAMBERTIAN] * (each * (steps - flat))


@pytest.mark.parametrize(
    ("fit", "names"),
    [(fit_coarse, {"alpha", "opacity", "orientation", "entropy"}), (fit_fine, {"faces", "sdf_sign", "normal_consistency", "laplacian"})],
)
def test_a_step_reports_the_residual_and_its_terms(fit, names: set[str]) -> None:
    lines: list[dict[str, float]] = []
    fit(StubScore(residual=0.5), Hooks(report=lambda stage, done, total, figures, scene: lines.append(dict(figures))))
    assert len(lines) == 3
    assert all(set(line) == {"residual", *names, "render_ms", "guidance_ms", "step_ms", "skipped"} for line in lines)
    assert all(line["residual"] == pytest.approx(0.5, rel=1e-5) for line in lines)
