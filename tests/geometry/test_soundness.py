"""What is wrong with a mesh is counted, each fault by itself."""

from __future__ import annotations

import pytest
import torch

from dreamfusion_mesh.geometry.areas import shell_volumes, signed_volume
from dreamfusion_mesh.geometry.soundness import soundness
from dreamfusion_mesh.geometry.topology import face_adjacency, shells, weld
from dreamfusion_mesh.records import Mesh


def _cube(low: float = 0.0, side: float = 1.0) -> Mesh:
    x, y, z = torch.meshgrid(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * 3, indexing="ij")
    quads = torch.tensor([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])
    return Mesh(torch.stack([x, y, z], dim=-1).reshape(-1, 3) * side + low, torch.cat([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]))


def _both(first: Mesh, second: Mesh) -> Mesh:
    return Mesh(torch.cat([first.vertices, second.vertices]), torch.cat([first.faces, second.faces + len(first.vertices)]))


def test_a_cube_is_sound() -> None:
    cube = _cube()
    found = soundness(cube)
    assert found.sound
    assert (found.shells, found.smallest_shell) == (1, 1.0)
    assert signed_volume(cube.vertices, cube.faces).item() == pytest.approx(1, rel=1e-12)
    assert face_adjacency(cube.faces).shape == (18, 2)


def test_nothing_is_not_sound() -> None:
    assert not soundness(Mesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64))).sound


def test_each_fault_is_counted() -> None:
    cube = _cube()
    missing = soundness(Mesh(cube.vertices, cube.faces[1:]))
    assert (missing.open_edges, missing.faults - missing.inverted_shells) == (3, 3)
    turned = soundness(Mesh(cube.vertices, torch.cat([cube.faces[:1].flip(1), cube.faces[1:]])))
    assert (turned.inconsistent_edges, turned.open_edges) == (3, 0)
    twice = soundness(Mesh(cube.vertices, torch.cat([cube.faces, cube.faces[:1].roll(1, dims=1)])))
    assert (twice.duplicate_faces, twice.nonmanifold_edges) == (1, 3)
    inverted = soundness(Mesh(cube.vertices, cube.faces.flip(1)))
    assert (inverted.inverted_shells, inverted.faults) == (1, 1)


def test_flat_faces_are_degenerate() -> None:
    cube = _cube()
    middle = len(cube.vertices)
    vertices = torch.cat([cube.vertices, torch.tensor([[0.0, 1e-7, 0.5]], dtype=torch.float64)])
    a, b = 0, 1  # the edge from (0, 0, 0) to (0, 0, 1), which the new vertex nearly lies on
    flat = torch.tensor([[a, middle, b]])
    assert soundness(Mesh(vertices, torch.cat([cube.faces, flat]))).degenerate_faces == 1
    assert soundness(Mesh(vertices, torch.cat([cube.faces, torch.tensor([[a, a, b]])]))).degenerate_faces == 1


def test_two_cubes_that_share_an_edge_are_welded_into_a_fault() -> None:
    pair = _both(_cube(), Mesh(_cube().vertices + torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64), _cube().faces))
    assert soundness(pair).sound
    assert soundness(pair).shells == 2
    assert soundness(weld(pair)).nonmanifold_edges == 1


def test_shells_have_volumes_of_their_own() -> None:
    cavity = _cube(0.25, 0.5)
    hollow = _both(_cube(), Mesh(cavity.vertices, cavity.faces.flip(1)))
    number = shells(hollow.faces)
    assert number.tolist() == [0] * 12 + [1] * 12
    assert torch.allclose(shell_volumes(hollow.vertices, hollow.faces, number), torch.tensor([1, -0.125], dtype=torch.float64))
    found = soundness(hollow)
    assert (found.inverted_shells, found.smallest_shell) == (1, 0.5)


def test_weld_joins_equal_places_and_drops_unused_vertices() -> None:
    cube = _cube()
    unused = torch.full((3, 3), 9.0, dtype=torch.float64)
    soup = Mesh(torch.cat([cube.vertices[cube.faces].reshape(-1, 3), unused]), torch.arange(36).reshape(-1, 3))
    soup.vertices[soup.vertices == 0] *= -1.0  # the sign of zero parts nothing
    assert soundness(soup).open_edges == 36
    welded = weld(soup)
    assert soundness(welded).sound
    assert len(welded.vertices) == 8
    assert torch.equal(welded.vertices[welded.faces], cube.vertices[cube.faces])


def test_volume_moves_with_its_gradient() -> None:
    cube = _cube()
    vertices = cube.vertices.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda v: signed_volume(v, cube.faces), (vertices,))
