"""What no view looks into becomes solid; what some view looks into stays as it is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from lattices import is_closed
from torch import Tensor

from dreamfusion_mesh.geometry.areas import signed_volume
from dreamfusion_mesh.shape.start.unseen import fill_unseen
from dreamfusion_mesh.shape.tets.grid import tet_lattice
from dreamfusion_mesh.shape.tets.surface import TetSurface

Solid = Callable[[Tensor], Tensor]


def _box(low: list[float], high: list[float]) -> Solid:
    def distance(points: Tensor) -> Tensor:
        return torch.maximum(points.new_tensor(low) - points, points - points.new_tensor(high)).amax(dim=1)

    return distance


def _without(solid: Solid, hole: Solid) -> Solid:
    return lambda points: torch.maximum(solid(points), -hole(points))


BLOCK = _box([-0.6, -0.5, -0.6], [0.6, 0.5, 0.6])
INNER = _box([-0.4, -0.3, -0.4], [0.4, 0.3, 0.4])
FROM_BELOW = _box([-0.4, -0.6, -0.4], [0.4, 0.3, 0.4])
FROM_ABOVE = _box([-0.4, -0.3, -0.4], [0.4, 0.6, 0.4])
THROUGH = _box([-0.4, -0.3, -0.7], [0.4, 0.3, 0.7])


def _surface(solid: Solid) -> TetSurface:
    lattice = tet_lattice(torch.full((3,), -0.85), torch.full((3,), 0.85), 34)
    return TetSurface(lattice, solid(lattice.positions(torch.arange(lattice.vertex_count))))


def _volume(surface: TetSurface) -> float:
    mesh = surface.mesh()
    assert is_closed(mesh)
    return float(signed_volume(mesh.vertices.detach(), mesh.faces))


@pytest.mark.parametrize("hole", [INNER, FROM_BELOW], ids=["a void inside", "a hollow underside"])
def test_what_is_not_seen_is_filled_to_its_rim(hole: Solid) -> None:
    filled, whole = fill_unseen(_surface(_without(BLOCK, hole)), 0.0), _surface(BLOCK)
    assert _volume(filled) == pytest.approx(_volume(whole), rel=0.01)
    assert float(filled.mesh().vertices[:, 1].min()) == pytest.approx(-0.5, abs=0.05)


@pytest.mark.parametrize("solid", [BLOCK, _without(BLOCK, FROM_ABOVE), _without(BLOCK, THROUGH)], ids=["block", "cavity", "tunnel"])
def test_what_is_seen_stays_as_it_is(solid: Solid) -> None:
    surface = _surface(solid)
    assert fill_unseen(surface, 0.0) is surface


def test_cameras_below_look_into_an_underside() -> None:
    surface = _surface(_without(BLOCK, FROM_BELOW))
    assert _volume(fill_unseen(surface, -80.0)) == _volume(surface)


def test_distances_change_in_sign_alone() -> None:
    surface = _surface(_without(BLOCK, INNER))
    filled = fill_unseen(surface, 0.0)
    torch.testing.assert_close(filled.sdf.abs(), surface.sdf.abs(), atol=0.01 * surface.lattice.cell, rtol=0)
    assert bool((filled.sdf <= surface.sdf).all())


def test_no_surface_is_no_fault() -> None:
    empty = _surface(lambda points: torch.ones(len(points)))
    assert fill_unseen(empty, 0.0) is empty
