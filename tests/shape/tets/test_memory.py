"""What an optimised surface takes: bytes a vertex, so that 256 cells a side fit in 6 GB, and no more after many steps than after few."""

from __future__ import annotations

import gc
import math

import pytest
import torch
from tensor_ledger import Ledger
from torch import Tensor

from dreamfusion_mesh.shape.regularisers import laplacian_loss, normal_consistency_loss
from dreamfusion_mesh.shape.start.from_density import Box, sdf_from_density
from dreamfusion_mesh.shape.tets.grid import Lattice, tet_lattice
from dreamfusion_mesh.shape.tets.surface import TetSurface

LIMIT = 6e9  # bytes


def _lattice(size: int, device: str = "cpu") -> Lattice:
    return tet_lattice(-torch.ones(3, device=device), torch.ones(3, device=device), size)


def _everywhere(points: Tensor) -> Tensor:
    return torch.ones(len(points), dtype=torch.bool, device=points.device)


def _density(points: Tensor) -> Tensor:
    """A ball that fills the box but for a tenth of its width, at a threshold of 1."""
    return torch.exp(10 * (0.8 - points.norm(dim=1)))


def _fit(size: int, device: str, steps: int) -> TetSurface:
    """From a density to `steps` whole steps of the fine stage's optimisation of the shape."""
    lattice = _lattice(size, device)
    sdf = sdf_from_density(_density, 1.0, Box(lattice.origin, -lattice.origin, _everywhere), lattice)
    surface = TetSurface(lattice, sdf)
    del sdf
    optimizer = torch.optim.Adam(surface.parameters(), lr=1e-3, betas=(0.9, 0.99), eps=1e-15, foreach=True)
    for _ in range(steps):
        _step(surface, optimizer)
    return surface


def _step(surface: TetSurface, optimizer: torch.optim.Optimizer) -> None:
    mesh = surface.mesh()
    loss = mesh.vertices.square().sum() + surface.sign_loss()
    loss = loss + normal_consistency_loss(mesh.vertices, mesh.faces) + laplacian_loss(mesh.vertices, mesh.faces)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(list(surface.parameters()), 1.0)
    optimizer.step()


def test_the_ledger_counts_what_lives_and_nothing_else() -> None:
    with Ledger() as ledger:
        x = torch.ones(1000, requires_grad=True)
        row = torch.zeros(10, 1000)[3]  # keeps the ten
        assert ledger.live == 44_000
        y = x.exp().sum()  # the graph keeps exp(x), which has no name
        assert 48_000 <= ledger.live <= 48_100
        del row
        assert 8_000 <= ledger.live <= 8_100
        y.backward()
        assert ledger.peak >= 48_000
        del y
        assert ledger.live == 8_000  # x and its gradient
        del x
        assert ledger.live == 0


def test_bytes_a_vertex_hold_256_cells_a_side_under_6_gb() -> None:
    """Density to SDF, two whole steps with Adam, and a refinement.

    What is held for every vertex grows with n^3, what is held near the surface with n^2: so the bytes a vertex fall with n, and
    those at 96 cells a side bound those at 256.
    """
    each = {}
    for size in (48, 96):
        with Ledger() as ledger:
            vertices = _fit(size, "cpu", steps=2).lattice.vertex_count
        each[size] = ledger.peak / vertices
    assert each[96] < each[48]
    assert each[96] > 68  # sdf, deform, both gradients, Adam's four moments and one more sdf are 17 floats: the ledger works
    assert each[96] * (257**3 + 256**3) < LIMIT
    with Ledger() as ledger:
        vertices = _fit(48, "cpu", steps=1).refined().lattice.vertex_count
    assert ledger.peak / vertices * (257**3 + 256**3) < LIMIT


def test_no_table_of_the_whole_lattice_is_ever_made() -> None:
    """On a ball of a fixed radius in cells the look-up's bytes a vertex go to those of the marks and numbers."""
    surface = TetSurface(_lattice(64), torch.ones(65**3 + 64**3))
    with torch.no_grad():
        rows = torch.arange(len(surface.sdf))
        surface.sdf.copy_(surface.lattice.positions(rows).norm(dim=1) - 6.2 * surface.lattice.cell)
    with Ledger() as ledger:
        mesh = surface.mesh()
    assert len(mesh.faces) > 1000
    assert ledger.peak / len(surface.sdf) < 20  # all tetrahedra in a table are 192 a vertex, all edges 112


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_256_cells_a_side_take_under_6_gb_on_a_gpu() -> None:
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    surface = _fit(256, "cuda", steps=3)
    assert surface.lattice.vertex_count == 257**3 + 256**3
    assert len(surface.mesh().faces) > 100_000
    assert torch.cuda.max_memory_allocated() - before < LIMIT
    del surface
    torch.cuda.reset_peak_memory_stats()
    assert _fit(128, "cuda", steps=1).refined().lattice.counts == (256, 256, 256)
    assert torch.cuda.max_memory_allocated() - before < LIMIT


def test_memory_does_not_grow_over_a_thousand_steps() -> None:
    """The number of live objects, a tensor kept at each step being one more: on a ball whose radius swings, so that the narrow band is
    found again and again, at the same phase of the swing."""
    lattice = _lattice(8)
    surface = TetSurface(lattice, lattice.positions(torch.arange(lattice.vertex_count)).norm(dim=1) - 0.6)
    optimizer, objects = torch.optim.Adam(surface.parameters(), lr=0.005), []
    band, lookups = None, 0
    for step in range(1, 1001):
        mesh = surface.mesh()
        lookups, band = lookups + (surface._band is not band), surface._band
        radius = 0.6 + 0.15 * math.sin(step * math.pi / 150)
        loss = (mesh.vertices.norm(dim=1) - radius).square().mean() + 0.01 * surface.sign_loss()
        loss = loss + 0.01 * normal_consistency_loss(mesh.vertices, mesh.faces)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step in (100, 1000):
            gc.collect()
            objects.append(len(gc.get_objects()))
    assert lookups > 40
    assert objects[1] - objects[0] < 100
