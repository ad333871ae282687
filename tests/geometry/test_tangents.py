"""Tangents against MikkTSpace's reference implementation, corner by corner, and against what a flat patch must have."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from surfaces import SURFACES, blob, torus

from dreamfusion_mesh.geometry.tangents import corner_frames, corner_tangents
from dreamfusion_mesh.records import Mesh

HOME = Path(__file__).parents[1] / "gltf"
DOUBLE = torch.float64
SQUARE = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]], dtype=DOUBLE)
FACES = torch.tensor([[0, 1, 2], [0, 2, 3]])
PANEL = torch.cat([SQUARE, torch.zeros(4, 1, dtype=DOUBLE)], dim=1)
Corners = tuple[np.ndarray, np.ndarray, np.ndarray]  # positions, normals [F, 3, 3], uvs [F, 3, 2]


def reference(positions: np.ndarray, normals: np.ndarray, uvs: np.ndarray) -> np.ndarray:
    """MikkTSpace's own tangents [F, 3, 4], with w turned to glTF's as its port says; skips where it is not installed.

    A face far away comes last, because the reference leaves the edges of the last vertex unsorted and may miss neighbours there.
    """
    if not (HOME / "node_modules" / "mikktspace").is_dir() or shutil.which("node") is None:
        pytest.skip("mikktspace or node is not installed; run: npm install --prefix tests/gltf")
    far = np.float32([[[9, 9, 9], [10, 9, 9], [9, 10, 9]]])
    up = np.broadcast_to(np.float32([0, 0, 1]), far.shape)
    top_left = np.stack([uvs[..., 0], 1 - uvs[..., 1]], axis=2)  # float32, as a file has them
    pairs = ((positions, far), (normals, up), (top_left, far[..., :2]))
    sent = b"".join(np.concatenate(pair).astype("<f4").tobytes() for pair in pairs)
    environment = {**os.environ, "NODE_PATH": str(HOME / "node_modules")}
    done = subprocess.run(["node", str(HOME / "tangents.cjs")], input=sent, capture_output=True, check=True, timeout=120, env=environment)
    found = np.frombuffer(done.stdout, "<f4").reshape(-1, 3, 4)[:-1].copy()
    found[..., 3] *= -1
    return found


def check(corners: Corners, least: float = 1.0) -> None:
    """Ours are the reference's wherever it gives a usable direction, which is at `least` that share of the corners; w is equal everywhere.

    Where it finds none it gives (1, 0, 0), zero, or noise that does not lie across the normal; ours is then any direction across it.
    """
    positions, normals, uvs = (values.astype(np.float32) for values in corners)
    expected, found = reference(positions, normals, uvs), corner_tangents(positions, normals, uvs)
    across = np.abs((expected[..., :3] * normals).sum(axis=2)) < 1e-4
    usable = across & (np.abs(np.linalg.norm(expected[..., :3], axis=2) - 1) < 1e-5)
    usable &= (expected[..., :3] != [1, 0, 0]).any(axis=2) | (found[..., :3] == [1, 0, 0]).all(axis=2)
    assert usable.mean() >= least
    assert np.abs(found - expected)[usable].max(initial=0) < 2e-6
    assert np.array_equal(found[..., 3], expected[..., 3])
    assert np.abs(np.linalg.norm(found[..., :3], axis=2) - 1).max() < 1e-6
    assert np.abs((found[..., :3] * normals).sum(axis=2)).max() < 0.1


def corners_of(mesh: Mesh) -> Corners:
    return mesh.vertices[mesh.faces].numpy(), corner_frames(mesh)[0].numpy(), mesh.uvs[mesh.face_uvs].numpy()


def seen_from_front(mesh: Mesh) -> Mesh:
    """UVs of one projection along Z: the far side is mirrored, and a rim of faces may have no area."""
    return Mesh(mesh.vertices, mesh.faces, (mesh.vertices[:, :2] + 1.2) / 2.4, mesh.faces)


def in_random_charts(mesh: Mesh, count: int, seed: int = 0) -> Mesh:
    """The faces nearest to each of `count` points are one chart, laid flat by a random linear map: turned, sheared, mirrored."""
    draws = np.random.default_rng(seed)
    corners = mesh.vertices[mesh.faces].numpy()
    chart = np.linalg.norm(corners.mean(axis=1)[:, None] - draws.normal(size=(count, 3)), axis=2).argmin(axis=1)
    uvs = np.einsum("fij,fkj->fki", draws.normal(size=(count, 2, 3))[chart], corners) * 0.2 + 0.5
    distinct, row = np.unique(uvs.reshape(-1, 2).astype(np.float32), axis=0, return_inverse=True)
    return Mesh(mesh.vertices, mesh.faces, torch.from_numpy(distinct), torch.from_numpy(row.reshape(-1, 3)))


@pytest.mark.parametrize("name", SURFACES)
def test_charts_with_seams_and_mirrored_ones_agree_with_the_reference(name: str) -> None:
    surface = SURFACES[name]()
    check(corners_of(in_random_charts(surface, 12)))
    check(corners_of(in_random_charts(surface, 200)))
    if name in ("torus", "blob"):
        check(corners_of(seen_from_front(surface)))


def test_a_decimated_surface_agrees_with_the_reference() -> None:
    import fast_simplification

    points, faces = fast_simplification.simplify(blob().vertices.numpy(), blob().faces.numpy(), 0.8)
    check(corners_of(in_random_charts(Mesh(torch.from_numpy(points), torch.from_numpy(faces).long()), 40)))


def test_normals_that_part_split_the_tangents_too() -> None:
    positions, normals, uvs = corners_of(in_random_charts(torus(), 12))
    flat = np.cross(positions[:, 1] - positions[:, 0], positions[:, 2] - positions[:, 0])
    flat = np.repeat((flat / np.linalg.norm(flat, axis=1, keepdims=True))[:, None], 3, axis=1)
    smooth = np.random.default_rng(0).random(len(positions)) < 0.7
    check((positions, np.where(smooth[:, None, None], normals, flat), uvs))


@pytest.mark.parametrize("name", ["sphere", "blob"])
def test_faces_without_area_in_uv_or_space_agree_with_the_reference(name: str) -> None:
    mesh = seen_from_front(SURFACES[name]())
    uvs = mesh.uvs.clone(memory_format=torch.contiguous_format)
    uvs[torch.from_numpy(np.random.default_rng(0).random(len(uvs)) < 0.3)] = 0.5
    check(corners_of(Mesh(mesh.vertices, mesh.faces, uvs, mesh.faces)), least=0.7)
    positions, normals, uvs = corners_of(mesh)
    check((positions.round(1), np.broadcast_to(np.float32([0, 0.6, 0.8]), normals.shape), uvs), least=0.5)


def test_soups_of_faces_agree_with_the_reference() -> None:
    """Hundreds of small ones at once, each on a grid or free, many times non-manifold, folded, mirrored, doubled or degenerate."""
    soups: list[Corners] = []
    for seed in range(400):
        draws = np.random.default_rng(seed)
        vertices, faces = draws.integers(4, 12), draws.integers(1, 30)
        positions = draws.integers(0, 3, (vertices, 3)) if seed % 2 else draws.normal(size=(vertices, 3))
        normals = np.eye(3)[draws.integers(0, 3, vertices)] if seed % 3 == 0 else draws.normal(size=(vertices, 3))
        uvs = draws.integers(0, 3, (vertices, 2)) / 2 if seed % 4 < 2 else draws.random((vertices, 2))
        rows = draws.integers(0, vertices, (faces, 3))
        unit = normals / np.linalg.norm(normals, axis=1, keepdims=True)
        soups.append((positions[rows] + [10.0 * seed, 0, 0], unit[rows], uvs[rows]))
    positions, normals, uvs = (np.concatenate(parts) for parts in zip(*soups, strict=True))
    check((positions, normals, uvs), least=0.6)


def test_a_folded_sheet_keeps_the_tangents_of_its_two_sides_apart() -> None:
    """Both sides share vertices, normals and UVs along the fold, and their tangents are exact opposites there."""
    positions = np.float32([[[0, 0, 0], [1, 0, 0], [1, 1, 0]], [[1, 1, 0], [1, 0, 0], [0, 0, 0]]])
    uvs = np.float32([[[0, 0], [1, 0], [1, 1]], [[1, 1], [1, 0], [2, 0]]])
    normals = np.broadcast_to(np.float32([0, 1, 0]), positions.shape)
    found = corner_tangents(positions, normals, uvs)
    assert found[0, 1:].tolist() == [[1, 0, 0, 1]] * 2
    assert found[1, :2].tolist() == [[-1, 0, 0, 1]] * 2
    check((positions, normals, uvs), least=0.6)  # the outer corners have no angle as seen along the normal


def half_cylinder(count: int) -> Mesh:
    """Round Y, radius 1, u along the circle; `count` squares each way."""
    ticks = torch.linspace(0, 1, count + 1, dtype=DOUBLE)
    u, v = (part.reshape(-1) for part in torch.meshgrid(ticks, ticks, indexing="ij"))
    vertices = torch.stack([(math.pi * u).sin(), v, (math.pi * u).cos()], dim=1)
    corner = (torch.arange(count)[:, None] * (count + 1) + torch.arange(count)).reshape(-1)
    step = count + 1
    faces = torch.cat([torch.stack([corner, corner + step, corner + step + 1], 1), torch.stack([corner, corner + step + 1, corner + 1], 1)])
    return Mesh(vertices, faces, torch.stack([u, v], dim=1), faces)


def test_tangents_follow_the_parametrisation() -> None:
    mesh = half_cylinder(24)
    found = corner_frames(mesh)[1].double()
    angle = math.pi * mesh.uvs[mesh.face_uvs][..., 0]
    along = torch.stack([angle.cos(), torch.zeros_like(angle), -angle.sin()], dim=2)
    inner = (angle > 0) & (angle < 3.14)
    assert float((found[..., :3] - along)[inner].abs().max()) < 1e-2
    assert float((found[..., :3] - along).abs().max()) < math.pi / 24  # at the rim, half a square of turn
    assert (found[..., 3] == 1).all()


@pytest.mark.parametrize(
    "to_uv",
    [[[1.0, 0], [0, 1]], [[0.0, 0.5], [-0.5, 0]], [[-1.0, 0], [0, 1]], [[2.0, 0], [0.7, 0.1]]],
    ids=["same", "turned", "mirrored", "sheared"],
)
def test_the_basis_of_a_flat_patch_is_that_of_its_uvs(to_uv: list[list[float]]) -> None:
    """Source of the signs: glTF 2.0, section 3.7.2.1, bitangent = cross(normal, tangent) * w."""
    linear = torch.tensor(to_uv, dtype=DOUBLE)
    normals, found = (part.double() for part in corner_frames(Mesh(PANEL, FACES, SQUARE @ linear.T, FACES)))
    assert (normals == torch.tensor([0.0, 0, 1])).all()
    along_u = torch.linalg.inv(linear)[:, 0]
    assert torch.allclose(found[..., :2], (along_u / along_u.norm()).expand(2, 3, 2), atol=1e-6)
    bitangent = torch.linalg.cross(normals, found[..., :3]) * found[..., 3:]
    assert bool((bitangent[..., :2] @ linear[1] > 0).all())  # v grows along it
    assert (found[..., 3] == math.copysign(1, torch.linalg.det(linear))).all()


def test_without_a_direction_of_u_any_tangent_across_the_normal_is_given() -> None:
    """Nor may a vertex be without a normal: these faces lie on a line."""
    line = torch.tensor([[0.0, 0, 0], [1, 0, 0], [2, 0, 0]])
    for mesh in (Mesh(PANEL, FACES, SQUARE * 0, FACES), Mesh(line, FACES[:1], SQUARE[:3], FACES[:1])):
        normals, found = corner_frames(mesh)
        assert torch.allclose(found[..., :3].norm(dim=2), torch.ones(len(mesh.faces), 3))
        assert torch.allclose((found[..., :3] * normals).sum(dim=2), torch.zeros(len(mesh.faces), 3))


def test_a_mesh_without_uvs_has_no_tangents() -> None:
    with pytest.raises(ValueError, match="no uvs"):
        corner_frames(Mesh(PANEL, FACES))
