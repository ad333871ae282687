"""The fine stage: cells that halve on the way, subdivided surfaces, any start, and what silhouettes alone bring about."""

from __future__ import annotations

import math

import pytest
import torch
from outcomes import poor_outcome
from torch import Tensor

from dreamfusion_mesh.config import FitSettings, RunConfig, load_config
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.geometry.soundness import soundness
from dreamfusion_mesh.records import Mesh, Shading
from dreamfusion_mesh.render.cameras import clip_from_world, orbit
from dreamfusion_mesh.render.raster.resolve import resolve_rasterizer
from dreamfusion_mesh.render.views import plain_views
from dreamfusion_mesh.shape.regularisers import laplacian_loss, normal_consistency_loss
from dreamfusion_mesh.shape.tets.grid import tet_lattice
from dreamfusion_mesh.shape.tets.surface import TetSurface
from dreamfusion_mesh.stages.coarse import Coarse, new_coarse
from dreamfusion_mesh.stages.fine import Surface, fit_surface, load_surface
from dreamfusion_mesh.stages.fit import Fit, Hooks, State, StepLoss, Stopwatch
from dreamfusion_mesh.stages.start import start_from_field
from tools.oracle.score import OracleScore, draw
from tools.oracle.shapes import Shape

CPU = torch.device("cpu")
BOTH = ["fine.volume_subdivisions=2", "fine.surface_subdivisions=1"]


def _ball(p: Tensor) -> Tensor:
    return p.norm(dim=-1) - 0.45


def _white(p: Tensor) -> Tensor:
    return torch.ones_like(p)


def _config(*changes: str) -> RunConfig:
    small = ["fine.steps=9", "fine.size=32", "fine.views=1", "fine.tet_size=16", "fine.threshold=1.5", "fine.sdf_learning_rate=0.003"]
    return load_config("smoke", [*small, *changes])


def _blob(config: RunConfig) -> Coarse:
    """The field before any step: a ball of density in the middle."""
    return new_coarse(config.coarse, torch.Generator().manual_seed(4), CPU)


def _start(coarse: Coarse, config: RunConfig) -> TetSurface:
    return start_from_field(coarse, config.coarse.samples, config.fine, config.views, config.mesh.smallest_part, torch.Generator())


def _refine(config: RunConfig, hooks: Hooks | None = None, start: TetSurface | None = None) -> tuple[Surface, State]:
    model, rasterizer = OracleScore(Shape("ball", _ball, _white), size=16), resolve_rasterizer("auto", CPU)
    coarse, draws = _blob(config), torch.Generator().manual_seed(9)
    start = _start(coarse, config) if start is None else start
    return fit_surface(start, coarse.field, model, rasterizer, config.fine, config.views, config.guidance, draws, hooks)


def test_cells_halve_at_even_shares_of_the_steps_and_the_surface_stays_sound() -> None:
    counts, states = [], []
    surface, _ = _refine(_config(*BOTH), Hooks(save=states.append, report=lambda *given: counts.append(given[3]["faces"])))
    sizes = [int(state["module.surface.counts"].max()) for state in states]
    assert sizes == [4, 4, 4, 8, 8, 8, 16, 16]
    assert counts[2] < counts[3] / 2 < counts[6] / 4
    found = soundness(surface.mesh)
    assert found.sound, str(found)
    assert found.shells == 1
    assert len(surface.mesh.faces) == pytest.approx(counts[-1], rel=0.05)  # the last step moves it once more
    assert len(surface.mesh.faces) % 4 == 0


def test_a_surface_that_vanishes_is_named() -> None:
    config = _config()
    start = _start(_blob(config), config)
    with torch.no_grad():
        start.sdf.fill_(1.0)
    with poor_outcome("empty", "fine: the surface vanished while it was refined"):
        _refine(config, start=start)


def test_a_fine_stage_stopped_anywhere_goes_on_to_the_same_bits() -> None:
    """At 3 and 6 the cells halve: a run that stops just before, just after and in between resumes as if it never had."""
    config, states = _config(*BOTH), dict[int, State]()
    whole, _ = _refine(config, Hooks(save=lambda state: states.update({int(state["fit.counts"][0]): state})))
    for stop in (2, 3, 4, 6, 8):
        resumed, _ = _refine(config, Hooks(resume=states[stop]))
        assert torch.equal(resumed.mesh.vertices, whole.mesh.vertices)
        assert torch.equal(resumed.mesh.faces, whole.mesh.faces)
        for mine, theirs in zip(resumed.field.parameters(), whole.field.parameters(), strict=True):
            assert torch.equal(mine, theirs)


def test_without_steps_the_cells_are_the_last_ones() -> None:
    config = _config(*BOTH, "fine.steps=0")
    assert max(_start(_blob(config), config).lattice.counts) == 16


def test_any_surface_may_be_the_start() -> None:
    """A cube without any density behind it, refined towards the ball that the score knows; its own lattice is kept."""
    lattice = tet_lattice(-torch.ones(3) * 0.8, torch.ones(3) * 0.8, 12)
    spots = torch.cat([lattice.positions(rows) for rows in lattice.in_chunks()])
    cube = TetSurface(lattice, spots.abs().amax(dim=1) - 0.42)
    corner = float(cube.mesh().vertices.detach().norm(dim=1).max())
    changes = ["fine.steps=12", "fine.views=2", "fine.sdf_learning_rate=0.01", "fine.normal_consistency=0", "fine.laplacian=0"]
    surface, _ = _refine(_config(*changes), start=cube)
    assert cube.lattice is lattice
    assert soundness(surface.mesh).shells == 1
    assert float(surface.mesh.vertices.norm(dim=1).max()) < corner - 0.03  # corners beyond the ball are being eaten away


def test_the_last_state_gives_the_surface_back() -> None:
    config = _config("fine.steps=1")
    surface, state = _refine(config)
    again = load_surface(state, config.coarse.field, CPU)
    assert torch.equal(again.mesh.vertices, surface.mesh.vertices)
    assert torch.equal(again.mesh.faces, surface.mesh.faces)
    assert all(torch.equal(a, b) for a, b in zip(again.field.parameters(), surface.field.parameters(), strict=True))


def test_cells_that_cannot_be_halved_are_refused() -> None:
    with pytest.raises(BadInput, match="tet_size is a multiple of 4, at least 16"):
        _config("fine.tet_size=18", "fine.volume_subdivisions=2")
    with pytest.raises(BadInput, match="at least 16"):
        _config("fine.tet_size=12", "fine.volume_subdivisions=2")


def _boxes(p: Tensor) -> Tensor:
    """An L of two boxes."""
    parts = []
    for center, half in (((-0.3, 0.0, 0.0), (0.22, 0.62, 0.25)), ((0.1, -0.4, 0.0), (0.5, 0.22, 0.25))):
        q = (p - p.new_tensor(center)).abs() - p.new_tensor(half)
        parts.append(q.clamp_min(0).norm(dim=-1) + q.amax(-1).clamp_max(0))
    return torch.minimum(*parts)


def _inside(mesh: Mesh, columns: Tensor, heights: Tensor) -> Tensor:
    """[C, K] bool whether the points over columns [C, 2] at heights [C, K] are inside: a ray up leaves once more than it enters."""
    a, b, c = mesh.vertices.detach().double()[mesh.faces].unbind(1)
    x, y = columns.double()[:, None].unbind(-1)

    def side(u: Tensor, v: Tensor) -> Tensor:
        return (v[:, 0] - u[:, 0]) * (y - u[:, 1]) - (v[:, 1] - u[:, 1]) * (x - u[:, 0])

    weights = torch.stack([side(b, c), side(c, a), side(a, b)])
    column, face = ((weights > 0).all(dim=0) | (weights < 0).all(dim=0)).nonzero().unbind(1)
    shares = weights[:, column, face]
    top = (shares * torch.stack([a[face, 2], b[face, 2], c[face, 2]])).sum(dim=0) / shares.sum(dim=0)
    above = (top[:, None] > heights.double()[column]) * shares.sum(dim=0).sign()[:, None]
    return torch.zeros(heights.shape, dtype=torch.float64).index_add_(0, column, above) > 0.5


def test_silhouettes_alone_turn_a_ball_into_the_shape() -> None:
    """Sixteen outlines by a ray tracer of its own, a squared error and gentle regularisers: no shading, no colour, no depth."""
    azimuth, elevation = torch.arange(16) * math.pi / 8, torch.tensor([-1.2, 0.0, 1.2, 0.0]).repeat(4)
    cameras = orbit(azimuth, elevation, torch.full((16,), 2.6), torch.full((16,), math.radians(40)), 40, 40)
    views = plain_views(cameras, Shading.ALBEDO, (0.0, 0.0, 0.0), 1.0, 0.0)
    cover, world_to_clip = draw(Shape("boxes", _boxes, _white), views, supersample=3)[1], clip_from_world(cameras, 0.1, 10.0)
    rasterizer, lattice = resolve_rasterizer("auto", CPU), tet_lattice(-torch.ones(3) * 0.9, torch.ones(3) * 0.9, 14)
    spots = torch.cat([lattice.positions(rows) for rows in lattice.in_chunks()])
    surface = TetSurface(lattice, (spots.norm(dim=1) - 0.55).clamp(-lattice.cell, lattice.cell))
    draws = torch.Generator().manual_seed(5)
    columns, heights = torch.rand(400, 2, generator=draws) * 1.8 - 0.9, torch.rand(400, 50, generator=draws) * 1.8 - 0.9
    points = torch.cat([columns[:, None].expand(-1, 50, -1), heights[..., None]], dim=-1)
    truth = _boxes(points) < 0

    def iou() -> float:
        ours = _inside(surface.mesh(), columns, heights)
        return float((ours & truth).sum() / (ours | truth).sum())

    def loss(step: int, progress: float, watch: Stopwatch) -> StepLoss:
        mesh, seen = surface.mesh(), slice(step % 4, 16, 4)
        clip = torch.cat((mesh.vertices, torch.ones_like(mesh.vertices[:, :1])), dim=1) @ world_to_clip[seen].transpose(1, 2)
        fragments = rasterizer.rasterize(clip, mesh.faces, (40, 40))
        alpha = rasterizer.antialias((fragments.face >= 0)[..., None].float(), fragments, clip, mesh.faces)
        total = (alpha - cover[seen]).square().mean() + 0.001 * surface.sign_loss()
        total = total + 0.003 * normal_consistency_loss(mesh.vertices, mesh.faces) + 0.0003 * laplacian_loss(mesh.vertices, mesh.faces)
        return StepLoss(total, True, {})

    in_ball = points.norm(dim=-1) < 0.55
    assert float((_inside(surface.mesh(), columns, heights) == in_ball).float().mean()) > 0.995
    assert iou() < 0.5
    optimizer = torch.optim.Adam(surface.parameters(), lr=0.02, betas=(0.9, 0.99), eps=1e-15)
    Fit("fine", FitSettings(steps=100), {"surface": surface}, {"shape": optimizer}, draws, CPU).run(loss, Hooks())
    assert iou() >= 0.9
    assert soundness(surface.mesh()).open_edges == 0
