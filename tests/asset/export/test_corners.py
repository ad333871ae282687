"""Normals of the welded surface, tangents along u, corners split no more than UVs ask."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from assets import mapped
from surfaces import SURFACES, sphere

from dreamfusion_mesh.asset.export.corners import export_surface, split_corners
from dreamfusion_mesh.geometry.tangents import corner_frames
from dreamfusion_mesh.records import Mesh

FLAT = torch.tensor([[0, 1, 2], [0, 2, 3]])
SQUARE = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]])


def panel(uvs: torch.Tensor) -> Mesh:
    """A square metre facing +Z, right +X, up +Y."""
    return Mesh(torch.cat([SQUARE, torch.zeros(4, 1)], dim=1), FLAT, uvs, FLAT)


def test_a_vertex_without_a_direction_points_up() -> None:
    """A file must not hold a zero normal. The faces lie on a line, or back to back."""
    line = torch.tensor([[0.0, 0, 0], [1, 0, 0], [2, 0, 0]])
    uvs = torch.tensor([[0.0, 0], [1, 0], [0, 1]])
    assert export_surface(Mesh(line, FLAT[:1], uvs, FLAT[:1])).normals.tolist() == [[0, 1, 0]]
    triangle = torch.tensor([[0.3, 0.1, 0], [1.7, 0.2, 0.4], [0.9, 1.1, -0.2]])
    both = torch.tensor([[0, 1, 2], [1, 0, 2]])
    assert export_surface(Mesh(triangle, both, uvs, both)).normals.tolist() == [[0, 1, 0]]


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_normals_do_not_depend_on_the_size(scale: float) -> None:
    mesh = mapped("blob")
    large = export_surface(Mesh(mesh.vertices.double() * scale, mesh.faces, mesh.uvs, mesh.face_uvs))
    found = export_surface(mesh)
    assert large.normals[large.face_normals] == pytest.approx(found.normals[found.face_normals], abs=2e-4 if scale != 1 else 0)


@pytest.mark.parametrize("name", SURFACES)
def test_seams_split_corners_and_nothing_else_does(name: str) -> None:
    mesh = mapped(name)
    found = split_corners(export_surface(mesh), tangents=False)
    assert np.array_equal(found.positions[found.indices], mesh.vertices[mesh.faces].numpy())
    assert np.array_equal(found.uvs[found.indices], mesh.uvs[mesh.face_uvs].numpy())
    pairs = np.unique(torch.stack([mesh.faces, mesh.face_uvs], dim=2).view(-1, 2).numpy(), axis=0)
    assert len(found.positions) == len(pairs)
    assert np.array_equal(np.unique(found.indices), np.arange(len(pairs)))
    _, row = np.unique(found.positions, axis=0, return_inverse=True)
    first = np.zeros((row.max() + 1, 3), dtype=np.float32)
    first[row.reshape(-1)] = found.normals
    assert np.array_equal(first[row.reshape(-1)], found.normals)  # bit-equal on both sides of every seam


def test_duplicate_vertices_share_a_normal() -> None:
    mesh = mapped("sphere")
    loose = Mesh(mesh.vertices[mesh.faces].reshape(-1, 3), torch.arange(mesh.faces.numel()).view(-1, 3), mesh.uvs, mesh.face_uvs)
    one, other = split_corners(export_surface(mesh), False), split_corners(export_surface(loose), False)
    assert np.array_equal(one.positions, other.positions)
    assert one.normals == pytest.approx(other.normals, abs=1e-6)
    assert np.array_equal(one.indices, other.indices)


@pytest.mark.parametrize(
    ("uvs", "tangent", "side"),
    [
        (SQUARE, [1, 0, 0], 1),
        (SQUARE @ torch.tensor([[0.0, 1], [-1, 0]]) * 0.3 + 0.5, [0, -1, 0], 1),  # turned: u grows downwards
        (SQUARE * torch.tensor([-1.0, 1]) + 1, [-1, 0, 0], -1),  # mirrored
    ],
)
def test_tangents_follow_u_and_w_points_towards_v(uvs: torch.Tensor, tangent: list[float], side: int) -> None:
    found = split_corners(export_surface(panel(uvs)), tangents=True)
    assert found.tangents == pytest.approx(np.tile([*tangent, side], (4, 1)), abs=1e-6)
    towards_v = side * np.cross(found.normals[0], found.tangents[0, :3])
    corner = {tuple(p): uv for p, uv in zip(found.positions.tolist(), found.uvs, strict=True)}
    along = np.stack(
        [corner[(1.0, 0.0, 0.0)] - corner[(0.0, 0.0, 0.0)], corner[(0.0, 1.0, 0.0)] - corner[(0.0, 0.0, 0.0)]]
    )  # d uv / dx, dy
    assert towards_v[:2] @ along[:, 1] > 0


@pytest.mark.parametrize("name", SURFACES)
def test_what_is_written_is_the_basis_that_normal_maps_are_baked_in(name: str) -> None:
    found = split_corners(export_surface(mapped(name)), tangents=True)
    normals, tangents = corner_frames(mapped(name))
    assert np.array_equal(found.normals[found.indices], normals.numpy())
    assert np.array_equal(found.tangents[found.indices], tangents.numpy())


def test_corners_part_where_their_tangents_do() -> None:
    """Two squares meet in one vertex and share its UV there, but neither an edge nor a direction of u."""
    other = -SQUARE
    mesh = Mesh(
        torch.cat([panel(SQUARE).vertices, torch.cat([other, torch.zeros(4, 1)], dim=1)]),
        torch.cat([FLAT, FLAT + 4]),
        torch.cat([SQUARE, SQUARE @ torch.tensor([[0.0, 1], [-1, 0]])]),
        torch.cat([FLAT, FLAT + 4]),
    )
    with_tangents, without = (split_corners(export_surface(mesh), tangents) for tangents in (True, False))
    assert (len(with_tangents.positions), len(without.positions)) == (8, 7)
    shared = (with_tangents.positions == 0).all(axis=1)
    assert with_tangents.tangents[shared].round(6).tolist() == [[1, 0, 0, 1], [0, 1, 0, 1]]


@pytest.mark.parametrize("name", SURFACES)
def test_tangents_are_unit_and_lie_across_the_normals(name: str) -> None:
    found = split_corners(export_surface(mapped(name)), tangents=True)
    assert np.linalg.norm(found.tangents[:, :3], axis=1) == pytest.approx(1, abs=1e-6)
    assert (found.tangents[:, :3] * found.normals).sum(axis=1) == pytest.approx(0, abs=1e-6)
    assert (found.tangents[:, 3] == 1).all()  # no chart of ours is mirrored


def test_what_cannot_be_exported_is_refused() -> None:
    with pytest.raises(ValueError, match="unwrap"):
        export_surface(sphere(1))
    with pytest.raises(ValueError, match="no faces"):
        export_surface(Mesh(torch.zeros(3, 3), FLAT[:0], SQUARE, FLAT[:0]))
    with pytest.raises(ValueError, match="not finite"):
        export_surface(panel(SQUARE * torch.nan))
