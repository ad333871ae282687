"""The nearest point of a surface against closed forms, all faces tried by hand, and trimesh."""

from __future__ import annotations

import pytest
import torch
import trimesh

from dreamfusion_mesh.kernels.trace import SurfaceTree, closest_point


def ball(device: torch.device | str = "cpu") -> tuple[torch.Tensor, torch.Tensor]:
    found = trimesh.creation.icosphere(subdivisions=2, radius=0.7)
    return torch.tensor(found.vertices, dtype=torch.float32, device=device), torch.tensor(found.faces, device=device)


def draws(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 3, generator=torch.Generator().manual_seed(seed))


def test_nearest_points_of_one_triangle_in_every_region(device: torch.device) -> None:
    """Above the inside, beyond each corner, beside each edge."""
    corners = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]], device=device)
    asked = torch.tensor([[0.2, 0.3, 2], [-1, -1, 0], [3, -1, 1], [-1, 3, 0], [0.5, -2, 0], [-2, 0.25, 0], [1, 1, 0]], device=device)
    nearest = torch.tensor([[0.2, 0.3, 0], [0, 0, 0], [1, 0, 0], [0, 1, 0], [0.5, 0, 0], [0, 0.25, 0], [0.5, 0.5, 0]], device=device)
    points, faces, distances = closest_point(asked, corners, torch.tensor([[0, 1, 2]], device=device))
    assert torch.allclose(points, nearest, atol=1e-6)
    assert torch.allclose(distances, (asked - nearest).norm(dim=1), atol=1e-6)
    assert faces.dtype == torch.int64
    assert (faces == 0).all()


def test_nearest_points_match_trimesh_and_lie_on_the_returned_face(device: torch.device) -> None:
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


def test_points_on_the_surface_are_their_own_nearest_points(device: torch.device) -> None:
    vertices, faces = ball(device)
    share = torch.rand(len(faces), 3, generator=torch.Generator().manual_seed(1)).to(device)
    points = (vertices[faces] * (share / share.sum(dim=1, keepdim=True))[..., None]).sum(dim=1)
    found, _, distances = closest_point(points, vertices, faces)
    assert distances.max() < 1e-6
    assert torch.allclose(found, points, atol=1e-6)


def test_batch_size_changes_no_bit(device: torch.device) -> None:
    vertices, faces = ball(device)
    asked = draws(20_000, seed=2).to(device)
    tree = SurfaceTree(vertices, faces)
    whole = tree.closest(asked)
    parts = [tree.closest(part) for part in asked.split(1000)]
    for index in range(3):
        assert torch.equal(whole[index], torch.cat([part[index] for part in parts]))


def test_tree_keeps_the_vertices_it_was_built_from(device: torch.device) -> None:
    vertices, faces = ball(device)
    tree = SurfaceTree(vertices, faces)
    before = tree.closest(draws(100).to(device))[0]
    vertices += 5
    assert torch.equal(tree.closest(draws(100).to(device))[0], before)


def test_no_points_and_double_precision(device: torch.device) -> None:
    vertices, faces = ball(device)
    points, found, distances = closest_point(torch.zeros(0, 3, device=device), vertices, faces)
    assert (points.shape, found.shape, distances.shape) == ((0, 3), (0,), (0,))
    asked = draws(9).to(device)
    assert torch.equal(closest_point(asked.double(), vertices.double(), faces)[1], closest_point(asked, vertices, faces)[1])


def test_bad_surfaces_and_points_are_refused() -> None:
    vertices, faces = ball()
    with pytest.raises(ValueError, match="at least one face"):
        SurfaceTree(vertices, faces[:0])
    with pytest.raises(ValueError, match="not finite"):
        SurfaceTree(vertices * torch.nan, faces)
    with pytest.raises(ValueError, match=r"expected \[N, 3\]"):
        SurfaceTree(vertices, faces).closest(torch.zeros(4, 2))
    with pytest.raises(ValueError, match="1 of 3 have no nearest point"):
        SurfaceTree(vertices, faces).closest(torch.tensor([[0.0, 0, 0], [torch.nan, 0, 0], [1, 1, 1]]))


def test_rays_find_the_first_face_that_they_meet_within_reach(device: torch.device) -> None:
    """From outside, from inside, away from it, past it, and askew; distances from the ball's and its faces' closed forms."""
    vertices, faces = ball(device)
    origins = torch.tensor([[2.0, 0.01, 0.02], [0, 0, 0], [2, 0, 0], [2, 0.8, 0], [2, 0, 0]], device=device)
    directions = torch.tensor([[-1.0, 0, 0], [0.36, 0.48, 0.8], [1, 0, 0], [-1, 0, 0], [-0.6, 0.8, 0]], device=device)
    tree = SurfaceTree(vertices, faces)
    distances, found = tree.first_hit(origins, directions, 2.0)
    assert distances.isfinite().tolist() == (found >= 0).tolist() == [True, True, False, False, False]
    assert torch.allclose(distances[:2], torch.tensor([1.3, 0.7], device=device), atol=0.02)
    corners = vertices[faces[found[:2]]].double()
    normal = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    crossing = (origins + directions * distances[:, None])[:2].double()
    assert (((crossing - corners[:, 0]) * normal).sum(dim=1) / normal.norm(dim=1)).abs().max() < 1e-6
    assert ((normal * directions[:2]).sum(dim=1) > 0).tolist() == [False, True]
    assert tree.first_hit(origins, directions, 1.0)[1].lt(0).tolist() == [True, False, True, True, True]
    assert tree.first_hit(origins[:0], directions[:0], 1.0)[1].tolist() == []


def test_rays_that_do_not_fit_are_refused(device: torch.device) -> None:
    tree = SurfaceTree(*ball(device))
    with pytest.raises(ValueError, match=r"directions: shape \[2, 3\].*expected \[3, 3\]"):
        tree.first_hit(torch.zeros(3, 3, device=device), torch.zeros(2, 3, device=device), 1.0)
    with pytest.raises(ValueError, match=r"origins: shape \[3, 2\]"):
        tree.first_hit(torch.zeros(3, 2, device=device), torch.zeros(3, 3, device=device), 1.0)
