"""The nearest point of a surface against closed forms, all faces tried by hand, and trimesh."""

from __future__ import annotations

import pytest
import torch
import trimesh

from dreamfusion_mesh.kernels.trace import SurfaceTree, closest_point

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"))]


def ball(device: str = "cpu") -> tuple[torch.Tensor, torch.Tensor]:
    found = trimesh.creation.icosphere(subdivisions=2, radius=0.7)
    return torch.tensor(found.vertices, dtype=torch.float32, device=device), torch.tensor(found.faces, device=device)


def draws(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 3, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("device", DEVICES)
def test_one_triangle_by_its_regions(device: str) -> None:
    """Above the inside, beyond each corner, beside each edge."""
    corners = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]], device=device)
    asked = torch.tensor([[0.2, 0.3, 2], [-1, -1, 0], [3, -1, 1], [-1, 3, 0], [0.5, -2, 0], [-2, 0.25, 0], [1, 1, 0]], device=device)
    nearest = torch.tensor([[0.2, 0.3, 0], [0, 0, 0], [1, 0, 0], [0, 1, 0], [0.5, 0, 0], [0, 0.25, 0], [0.5, 0.5, 0]], device=device)
    points, faces, distances = closest_point(asked, corners, torch.tensor([[0, 1, 2]], device=device))
    assert torch.allclose(points, nearest, atol=1e-6)
    assert torch.allclose(distances, (asked - nearest).norm(dim=1), atol=1e-6)
    assert faces.dtype == torch.int64
    assert (faces == 0).all()


@pytest.mark.parametrize("device", DEVICES)
def test_against_trimesh_and_against_the_face_that_is_named(device: str) -> None:
    vertices, faces = ball(device)
    asked = draws(3000).to(device)
    points, found, distances = closest_point(asked, vertices, faces)
    reference, expected, _ = trimesh.proximity.closest_point_naive(
        trimesh.Trimesh(vertices.cpu().numpy(), faces.cpu().numpy(), process=False), asked[:100].cpu().numpy()
    )
    assert torch.allclose(points[:100].cpu(), torch.tensor(reference, dtype=torch.float32), atol=1e-5)
    assert torch.allclose(distances[:100].cpu(), torch.tensor(expected, dtype=torch.float32), atol=1e-5)
    corners = vertices[faces[found]].double()
    normal = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    height = ((points.double() - corners[:, 0]) * normal).sum(dim=1) / normal.norm(dim=1)
    assert height.abs().max() < 1e-6


def test_points_of_the_surface_stay_where_they_are() -> None:
    vertices, faces = ball()
    share = torch.rand(len(faces), 3, generator=torch.Generator().manual_seed(1))
    points = (vertices[faces] * (share / share.sum(dim=1, keepdim=True))[..., None]).sum(dim=1)
    found, _, distances = closest_point(points, vertices, faces)
    assert distances.max() < 1e-6
    assert torch.allclose(found, points, atol=1e-6)


def test_slices_over_the_cores_change_nothing() -> None:
    vertices, faces = ball()
    asked = draws(20_000, seed=2)
    tree = SurfaceTree(vertices, faces)
    whole = tree.closest(asked)
    parts = [tree.closest(part) for part in asked.split(1000)]
    for index in range(3):
        assert torch.equal(whole[index], torch.cat([part[index] for part in parts]))


def test_the_tree_keeps_what_it_was_given() -> None:
    vertices, faces = ball()
    tree = SurfaceTree(vertices, faces)
    before = tree.closest(draws(100))[0]
    vertices += 5
    assert torch.equal(tree.closest(draws(100))[0], before)


def test_no_points_and_double_precision() -> None:
    vertices, faces = ball()
    points, found, distances = closest_point(torch.zeros(0, 3), vertices, faces)
    assert (points.shape, found.shape, distances.shape) == ((0, 3), (0,), (0,))
    assert torch.equal(closest_point(draws(9).double(), vertices.double(), faces)[1], closest_point(draws(9), vertices, faces)[1])


def test_what_cannot_be_asked_is_refused() -> None:
    vertices, faces = ball()
    with pytest.raises(ValueError, match="at least one face"):
        SurfaceTree(vertices, faces[:0])
    with pytest.raises(ValueError, match="not finite"):
        SurfaceTree(vertices * torch.nan, faces)
    with pytest.raises(ValueError, match=r"expected \[N, 3\]"):
        SurfaceTree(vertices, faces).closest(torch.zeros(4, 2))
    with pytest.raises(ValueError, match="1 of 3 have no nearest point"):
        SurfaceTree(vertices, faces).closest(torch.tensor([[0.0, 0, 0], [torch.nan, 0, 0], [1, 1, 1]]))
