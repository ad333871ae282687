"""Whatever triangles come in: a sound solid in bounded time, or one line that says why not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import trimesh
from outcomes import poor_outcome
from surfaces import as_mesh, sphere, torus

from dreamfusion_mesh.config import MeshSettings
from dreamfusion_mesh.errors import RunFailed
from dreamfusion_mesh.geometry.areas import signed_volume
from dreamfusion_mesh.geometry.soundness import soundness
from dreamfusion_mesh.geometry.topology import weld
from dreamfusion_mesh.records import Mesh
from dreamfusion_mesh.shape.simplify import Decimated, decimate
from dreamfusion_mesh.shape.tidy import Tidied, tidy

PLAIN = MeshSettings(smooth=0)
KEEP_ALL = MeshSettings(smooth=0, smallest_part=0)


def volume(mesh: Mesh) -> float:
    return float(signed_volume(mesh.vertices.double(), mesh.faces))


def delivered(mesh: Mesh, settings: MeshSettings = PLAIN, triangles: int = 1000) -> tuple[Tidied, Decimated]:
    """The mesh tidied and decimated, both sound."""
    tidied = tidy(mesh, settings)
    assert soundness(weld(tidied.mesh)).sound
    found = decimate(tidied.mesh, triangles, 0.02)
    assert soundness(weld(found.mesh)).sound
    assert len(found.mesh.faces) <= triangles
    return tidied, found


def drawn(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_small_openings_are_closed_without_a_warning_and_counted() -> None:
    ball = sphere(4)
    tidied, found = delivered(Mesh(ball.vertices, ball.faces[2:]))
    assert tidied.counts["openings_closed"] in (1, 2)
    assert tidied.counts["faces_added"] == 2
    assert tidied.warnings == ()
    assert volume(found.mesh) == pytest.approx(volume(ball), rel=0.01)


def test_a_tenth_of_the_faces_may_be_missing() -> None:
    ball = sphere(4)
    kept = torch.from_numpy(drawn().random(len(ball.faces)) > 0.1)
    tidied, found = delivered(Mesh(ball.vertices, ball.faces[kept]))
    assert tidied.counts["openings_closed"] > 300
    assert volume(found.mesh) == pytest.approx(volume(ball), rel=0.01)


def test_large_openings_are_closed_flat_with_a_warning() -> None:
    ball = sphere(4)
    half = ball.faces[(ball.vertices[ball.faces][:, :, 2] > -1e-6).all(dim=1)]
    tidied, found = delivered(Mesh(ball.vertices, half))
    assert tidied.counts["openings_closed"] == 1
    assert tidied.warnings == ("tidy: closed an opening, the largest 94% of the diagonal across; what closes it is a guess",)
    assert volume(found.mesh) == pytest.approx(volume(ball) / 2, rel=0.04)  # its rim is jagged


def test_an_open_surface_that_looks_inwards_is_turned() -> None:
    ball = sphere(3)
    tidied, _ = delivered(Mesh(ball.vertices, ball.faces[1:].flip(1)))
    assert tidied.counts["faces_turned"] == len(ball.faces)
    assert volume(tidied.mesh) == pytest.approx(volume(ball), rel=0.01)


def test_faces_that_look_either_way_are_turned_to_agree() -> None:
    ring = torus()
    wrong = torch.from_numpy(drawn().random(len(ring.faces)) < 0.3)
    tidied, _ = delivered(Mesh(ring.vertices, torch.where(wrong[:, None], ring.faces.flip(1), ring.faces)))
    assert tidied.counts == {"faces_turned": int(wrong.sum())}
    assert volume(tidied.mesh) == pytest.approx(volume(ring), rel=1e-3)


def test_sheets_that_hang_on_edges_are_taken_off() -> None:
    """Fins on twenty edges far apart, and a wall through the middle of a box of two chambers."""
    ball = sphere(4)
    base = ball.faces[::256]
    tips = 1.5 * ball.vertices[base[:, 0]]
    fins = torch.stack([base[:, 0], base[:, 1], len(ball.vertices) + torch.arange(len(base))], dim=1)
    tidied, _ = delivered(Mesh(torch.cat([ball.vertices, tips]), torch.cat([ball.faces, fins])))
    assert tidied.counts["nonmanifold_faces_dropped"] == len(base)
    assert volume(tidied.mesh) == pytest.approx(volume(ball), rel=0.01)
    box = trimesh.creation.box([2, 1, 1])
    for _ in range(2):
        box = box.subdivide()
    middle = np.flatnonzero(np.abs(box.vertices[:, 0]) < 1e-9)
    around = middle[np.argsort(np.arctan2(box.vertices[middle, 2], box.vertices[middle, 1]))]
    wall = np.stack([around, np.roll(around, -1), np.full(len(around), len(box.vertices))], axis=1)
    both = as_mesh(np.concatenate([box.vertices, [[0.0, 0, 0]]]), np.concatenate([box.faces, wall]))
    assert soundness(weld(both)).nonmanifold_edges == len(around)
    tidied, _ = delivered(both)
    assert tidied.counts["nonmanifold_faces_dropped"] == len(around)
    assert volume(tidied.mesh) == pytest.approx(2.0, rel=1e-3)


def test_vertices_that_nearly_coincide_are_joined() -> None:
    ball = sphere(3)
    apart = ball.vertices[ball.faces].reshape(-1, 3)
    apart = apart + 1e-7 * torch.from_numpy(drawn().normal(size=apart.shape)).float()
    tidied, _ = delivered(Mesh(apart, torch.arange(len(apart)).view(-1, 3)))
    assert tidied.counts == {"vertices_joined": len(apart) - len(ball.vertices)}
    assert volume(tidied.mesh) == pytest.approx(volume(ball), rel=1e-3)


def test_a_surface_given_twice_is_one() -> None:
    ball = sphere(3)
    tidied, _ = delivered(Mesh(ball.vertices, torch.cat([ball.faces, ball.faces])))
    assert tidied.counts == {"duplicate_faces_dropped": len(ball.faces)}
    assert len(tidied.mesh.faces) == len(ball.faces)


FLAT = {
    "one triangle": Mesh(torch.eye(3), torch.tensor([[0, 1, 2]])),
    "a line": Mesh(torch.tensor([[0.0, 0, 0], [1, 0, 0], [2, 0, 0]]), torch.tensor([[0, 1, 2]])),
    "a point": Mesh(torch.ones(3, 3), torch.tensor([[0, 1, 2]])),
    "a point thrice": Mesh(torch.eye(3), torch.tensor([[1, 1, 1]])),
    "a sheet": Mesh(torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 0, 1], [0, 0, 1]]), torch.tensor([[0, 2, 1], [0, 3, 2]])),
    "both sides": Mesh(sphere(2).vertices, torch.cat([sphere(2).faces, sphere(2).faces.flip(1)])),
    "triangles apart": Mesh(torch.from_numpy(drawn().random((300, 3))), torch.arange(300).view(-1, 3)),
    "no face": Mesh(torch.eye(3), torch.zeros(0, 3, dtype=torch.int64)),
}


@pytest.mark.parametrize("name", FLAT)
def test_what_encloses_nothing_is_refused(name: str) -> None:
    with poor_outcome("empty", "^(tidy|surface): .*(flat|no extent|no faces)"):
        tidy(FLAT[name], PLAIN)


@pytest.mark.parametrize("blades", [3, 4, 9])
def test_fans_of_faces_on_one_edge_end_in_a_solid_or_an_error(blades: int) -> None:
    angle = np.arange(blades) * 2 * np.pi / blades
    tips = np.stack([np.cos(angle), np.zeros(blades), np.sin(angle)], axis=1)
    fan = as_mesh(np.concatenate([[[0, 0, 0], [0, 1, 0]], tips]), np.array([[0, 1, 2 + blade] for blade in range(blades)]))
    try:
        delivered(fan)
    except RunFailed as error:
        assert str(error).startswith("tidy: ")  # noqa: PT017  either outcome is right


def test_a_strip_with_one_side_is_refused_with_its_faults() -> None:
    count = 40
    turn = np.arange(count) * 2 * np.pi / count
    rim = [(1 + w * np.cos(turn / 2), w * np.sin(turn / 2)) for w in (-0.3, 0.3)]
    sides = [np.stack([r * np.cos(turn), r * np.sin(turn), z], axis=1) for r, z in rim]
    a = np.arange(count)
    b = np.roll(a, -1)
    one, two = np.where(b > a, b, count), np.where(b > a, b + count, 0)
    strip = as_mesh(np.concatenate(sides), np.concatenate([np.stack([a, one, a + count], 1), np.stack([a + count, one, two], 1)]))
    with pytest.raises(RunFailed, match=r"not closed and manifold .*1 inconsistent"):
        tidy(strip, PLAIN)


def test_nan_and_faces_of_missing_vertices_are_refused() -> None:
    ball = sphere(2)
    for value in (float("nan"), float("inf")):
        vertices = ball.vertices.clone()
        vertices[int(ball.faces[5, 1]), 2] = value
        with poor_outcome("diverged", "not finite"):
            tidy(Mesh(vertices, ball.faces), PLAIN)
    for row in (-1, len(ball.vertices)):
        with pytest.raises(ValueError, match=f"expected 0 to {len(ball.vertices) - 1}"):
            tidy(Mesh(ball.vertices, torch.cat([ball.faces, torch.tensor([[0, 1, row]])])), PLAIN)


def test_a_vertex_that_no_face_uses_does_not_matter() -> None:
    ball = sphere(2)
    tidied = tidy(Mesh(torch.cat([ball.vertices, torch.full((1, 3), float("nan"))]), ball.faces), PLAIN)
    assert len(tidied.mesh.vertices) == len(ball.vertices)


SCALES = [(torch.float32, 1e-42), (torch.float32, 1e-30), (torch.float32, 1e30), (torch.float32, 4e38)]
SCALES += [(torch.float64, 1e-307), (torch.float64, 1e-100), (torch.float64, 1e100), (torch.float64, 1e307)]


@pytest.mark.parametrize(("dtype", "scale"), SCALES)
def test_size_changes_nothing(dtype: torch.dtype, scale: float) -> None:
    ball = torus(24, 12)
    scaled = Mesh((ball.vertices.double() * scale).to(dtype), ball.faces)
    tidied = tidy(scaled, PLAIN).mesh
    found = decimate(tidied, 300, 0.05)
    assert tidied.vertices.dtype == found.mesh.vertices.dtype == dtype
    assert found.deviation < 0.02
    back = Mesh(found.mesh.vertices.double() / scale, found.mesh.faces)
    assert soundness(weld(back)).sound
    assert volume(back) == pytest.approx(volume(ball), rel=0.05)


@pytest.mark.parametrize(("dtype", "away"), [(torch.float32, 1e3), (torch.float64, 1e9)])
def test_distance_from_the_origin_changes_little(dtype: torch.dtype, away: float) -> None:
    ball = sphere(3)
    _, found = delivered(Mesh(ball.vertices.to(dtype) + away, ball.faces), triangles=600)
    assert volume(Mesh(found.mesh.vertices.double() - away, found.mesh.faces)) == pytest.approx(volume(ball), rel=0.03)


def sheet(thickness: float) -> Mesh:
    box = trimesh.creation.box([1, thickness, 1])
    for _ in range(4):
        box = box.subdivide()
    return as_mesh(box.vertices, box.faces)


def needle(thickness: float) -> Mesh:
    return as_mesh(sphere(3).vertices.numpy() * [1, thickness, thickness], sphere(3).faces.numpy())


@pytest.mark.parametrize("shape", [sheet, needle])
def test_thin_shapes_stay_and_thinner_ones_are_refused(shape: Callable[[float], Mesh]) -> None:
    for thickness in (1e-2, 1e-3):
        mesh = shape(thickness)
        _, found = delivered(mesh, MeshSettings())
        assert volume(found.mesh) == pytest.approx(volume(mesh), rel=0.1)
    with poor_outcome("empty", "so thin"):
        tidy(shape(1e-7), PLAIN)


def cubes(spacing: float, spread: bool = False) -> Mesh:
    places = [(spacing * i, spacing * j, 0.0) for i in range(20) for j in range(20)]
    if spread:
        places = drawn().random((400, 3)) * 4
    box = trimesh.creation.box()
    parts = [box.vertices + np.array(place) for place in places]
    return as_mesh(np.concatenate(parts), np.concatenate([box.faces + 8 * index for index in range(400)]))


@pytest.mark.parametrize("mesh", [cubes(2.0), cubes(1.0), cubes(0, spread=True)], ids=["apart", "touching", "overlapping"])
def test_four_hundred_cubes_stay_where_parts_are_kept(mesh: Mesh) -> None:
    tidied, found = delivered(mesh, KEEP_ALL, triangles=4800)
    assert soundness(tidied.mesh).shells == 400
    assert volume(tidied.mesh) == pytest.approx(400, rel=1e-3)
    assert len(found.mesh.faces) == 4800


def test_of_four_hundred_cubes_one_stays_by_default() -> None:
    tidied, _ = delivered(cubes(2.0))
    assert tidied.counts == {"small_shells_dropped": 399}


def test_shells_in_shells_are_found_among_many() -> None:
    """A ball with two hundred small ones inside, half as many outside, and one of those in another small one."""
    small = trimesh.creation.icosphere(subdivisions=1, radius=0.02)
    inside = drawn(1).normal(size=(200, 3))
    inside *= 0.6 * drawn(2).random((200, 1)) / np.linalg.norm(inside, axis=1, keepdims=True)
    outside = np.column_stack([np.arange(100) * 0.1 + 2, np.zeros((100, 2))])
    parts = [sphere(3).vertices.numpy(), *(small.vertices + place for place in (*inside, *outside)), 0.3 * small.vertices + outside[0]]
    offsets = np.cumsum([0, *(len(part) for part in parts[:-1])])
    faces = [sphere(3).faces.numpy(), *[small.faces] * 301]
    mesh = as_mesh(np.concatenate(parts), np.concatenate([face + offset for face, offset in zip(faces, offsets, strict=True)]))
    assert tidy(mesh, KEEP_ALL).counts == {"inner_shells_dropped": 201}


def test_random_faces_end_in_a_solid_or_an_error() -> None:
    for seed in range(4):
        draws = drawn(seed)
        mesh = as_mesh(draws.random((100, 3)), draws.integers(0, 100, (300, 3)))
        try:
            delivered(mesh, triangles=2000)
        except RunFailed as error:
            assert str(error).startswith("tidy: ")  # noqa: PT017  either outcome is right


@pytest.mark.sweep
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("damage", ["none", "holes", "soup"])
def test_two_million_triangles_are_done_in_minutes(damage: str) -> None:
    ring = trimesh.creation.torus(0.6, 0.2, 1000, 1000)
    mesh = as_mesh(ring.vertices + 0.0005 * drawn().normal(size=ring.vertices.shape), ring.faces)
    if damage == "holes":
        mesh = Mesh(mesh.vertices, mesh.faces[torch.from_numpy(drawn().random(len(mesh.faces)) > 0.02)])
    if damage == "soup":
        mesh = Mesh(mesh.vertices[mesh.faces].reshape(-1, 3), torch.arange(3 * len(mesh.faces)).view(-1, 3))
    _, found = delivered(mesh, triangles=10_000)
    assert found.deviation < 0.005
    assert volume(found.mesh) == pytest.approx(2 * np.pi**2 * 0.6 * 0.2**2, rel=0.01)
