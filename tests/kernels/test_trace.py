"""The nearest point of a surface against closed forms, all faces tried by hand, and trimesh."""

from __future__ import annotations

import math

import numpy as np
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


def towards(points: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(points, dim=1)


def all_crossings(origins: np.ndarray, directions: np.ndarray, mesh: trimesh.Trimesh) -> np.ndarray:
    """[N, F] distance at which each ray meets each face, from any side, infinity where it does not; by Cramer's rule in float64."""
    a, b, c = mesh.triangles.transpose(1, 0, 2)
    edges = np.stack([b - a, c - a], axis=2)
    systems = np.concatenate([np.broadcast_to(edges, (len(origins), *edges.shape)), -directions[:, None, :, None] + 0 * edges[:, :, :1]], 3)
    found = np.linalg.solve(systems, (origins[:, None] - a)[..., None])[..., 0]
    inside = (found[..., 0] >= 0) & (found[..., 1] >= 0) & (found[..., :2].sum(axis=2) <= 1)
    return np.where(inside, found[..., 2], np.inf)


def test_projection_along_the_normal_finds_the_nearest_crossing_both_ways(device: torch.device) -> None:
    """Against all faces tried by hand: points off a ball, within the cage, along normals that are not the ball's."""
    vertices, faces = ball(device)
    points = (towards(draws(300, 3)) * (0.7 + 0.05 * draws(300, 4)[:, :1].tanh())).to(device)
    normals = towards(towards(points.cpu()) + 0.3 * draws(300, 5)).to(device)
    found = SurfaceTree(vertices, faces).project(points, normals, 0.2, 0.2)
    mesh = trimesh.Trimesh(vertices.cpu().numpy(), faces.cpu().numpy(), process=False)
    facing = torch.tensor(mesh.face_normals, dtype=torch.float32) @ normals.cpu().T > 0
    reach = np.abs(np.where(facing.T.numpy(), all_crossings(points.cpu().numpy(), normals.cpu().numpy(), mesh), np.inf))
    crossed = torch.tensor(reach.min(axis=1))
    positions = SurfaceTree(vertices, faces).positions(found)
    assert (crossed < 0.2).float().mean() > 0.9
    distance = (positions - points).norm(dim=1).cpu()
    assert torch.allclose(distance[crossed < 0.2].double(), crossed[crossed < 0.2], atol=1e-5)


def test_projection_without_a_cage_takes_the_nearest_face_of_the_askers_side(device: torch.device) -> None:
    """Against all faces tried by hand: between two walls that face one another, or away, the nearest is of no use."""
    vertices, faces = ball(device)
    points, normals = 0.9 * draws(300, 6).to(device).clamp(-1, 1), towards(draws(300, 7)).to(device)
    tree = SurfaceTree(vertices, faces)
    found = tree.project(points, normals, 0.0, 10.0)
    corners = vertices[faces].cpu().double()
    direction = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    for row in range(0, 300, 3):
        allowed = (direction @ normals[row].cpu().double() > 0).nonzero()[:, 0]
        asked = points[row].cpu().double().expand(len(allowed), 3).numpy()
        nearest = trimesh.triangles.closest_point(corners[allowed].numpy(), asked)
        best = np.linalg.norm(nearest - points[row].cpu().numpy(), axis=1).min()
        assert float((tree.positions(found)[row] - points[row]).norm()) == pytest.approx(best, abs=1e-5)


def test_projection_keeps_to_its_side_of_a_wall_and_says_where_there_is_none(device: torch.device) -> None:
    wall = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]], device=device)
    vertices = torch.cat([wall, wall - torch.tensor([0, 0, 0.02], device=device)])
    tree = SurfaceTree(vertices, torch.tensor([[0, 1, 2], [3, 5, 4]], device=device))
    points = torch.tensor([[0.2, 0.2, -0.05], [0.2, 0.2, 0.05], [0.2, 0.2, 0.0]], device=device)
    up = torch.tensor([[0.0, 0, 1]], device=device).expand(3, 3)
    assert tree.project(points, up, 0.1, 0.1).faces.tolist() == [0, 0, 0]
    assert tree.project(points, -up, 0.1, 0.1).faces.tolist() == [1, 1, 1]
    assert tree.project(points, up, 0.0, 0.1).faces.tolist() == [0, 0, 0]
    assert tree.project(points, up, 0.01, 0.01).faces.tolist() == [1, 0, 0]  # none of that side in reach: the nearest of all
    with pytest.raises(ValueError, match="no nearest point"):
        tree.project(points * torch.nan, up, 0.1, 0.1)
    with pytest.raises(ValueError, match=r"normals: shape \[2, 3\]"):
        tree.project(points, up[:2], 0.1, 0.1)


def plane(height: float, half: float, faces_down: bool, device: torch.device) -> SurfaceTree:
    corners = torch.tensor([[-half, height, -half], [half, height, -half], [half, height, half], [-half, height, half]], device=device)
    order = [[0, 1, 2], [0, 2, 3]] if faces_down else [[0, 2, 1], [0, 3, 2]]
    return SurfaceTree(corners, torch.tensor(order, device=device))


def test_open_share_below_a_square_is_its_form_factor(device: torch.device) -> None:
    """A square of half side a at height h over a patch: the four corners' form factor, from Howell's catalogue, B-4."""
    a, h = 1.0, 1.0
    side = a / math.hypot(a, h)
    covered = 4 * 2 * side * math.atan(a / math.hypot(a, h)) / (2 * math.pi)
    point, up = torch.zeros(1, 3, device=device), torch.tensor([[0.0, 1, 0]], device=device)
    tree, seed = plane(h, a, True, device), torch.zeros(1, dtype=torch.int64, device=device)
    assert float(tree.open_share(point, up, seed, 4096, 10.0)) == pytest.approx(1 - covered, abs=2e-3)
    assert float(tree.open_share(point, up, seed, 64, 10.0)) == pytest.approx(1 - covered, abs=0.05)
    assert float(tree.open_share(point, up, seed, 64, 0.5)) == 1  # too far to matter
    assert float(tree.open_share(point, -up, seed, 64, 10.0)) == 1


def test_open_share_at_a_wall_without_end_is_a_half(device: torch.device) -> None:
    wall = torch.tensor([[0.0, -1e3, -1e3], [0, 1e3, -1e3], [0, 1e3, 1e3], [0, -1e3, 1e3]], device=device)
    tree = SurfaceTree(wall, torch.tensor([[0, 1, 2], [0, 2, 3]], device=device))
    seeds = torch.arange(2000, device=device)
    points = torch.tensor([[0.01, 0, 0]], device=device).expand(2000, 3)
    shares = tree.open_share(points, torch.tensor([[0.0, 1, 0]], device=device).expand(2000, 3), seeds, 64, 1e4)
    assert float(shares.mean()) == pytest.approx(0.5, abs=2e-3)
    assert float(shares.std()) < 0.03  # 64 random rays would have 0.0625


def test_parts_of_the_rays_make_up_the_whole_and_seeds_repeat(device: torch.device) -> None:
    vertices, faces = ball(device)
    tree, points = SurfaceTree(vertices, faces), 2 * towards(draws(500, 8)).to(device)
    normals, seeds = towards(draws(500, 9)).to(device), torch.arange(500, device=device)
    whole = tree.open_share(points, normals, seeds, 64, 10.0)
    parts = [tree.open_share(points, normals, seeds, 64, 10.0, torch.full_like(seeds, part), 4) for part in range(4)]
    assert torch.allclose(torch.stack(parts).mean(dim=0), whole, atol=1e-6)
    assert torch.equal(tree.open_share(points[::7], normals[::7], seeds[::7], 64, 10.0), whole[::7])
    assert whole.min() < 0.9 < whole.max() == 1
    with pytest.raises(ValueError, match="rays 3 in 4 parts"):
        tree.open_share(points, normals, seeds, 3, 10.0, seeds, 4)
