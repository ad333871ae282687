"""What is wrong with a mesh is counted, each fault by itself."""

from __future__ import annotations

import pytest
import torch
from cubes import cube, joined

from dreamfusion_mesh.geometry.areas import shell_volumes, signed_volume
from dreamfusion_mesh.geometry.soundness import soundness
from dreamfusion_mesh.geometry.topology import face_adjacency, shells, weld
from dreamfusion_mesh.records import Mesh


def test_a_cube_is_sound() -> None:
    solid = cube()
    found = soundness(solid)
    assert found.sound
    assert (found.shells, found.smallest_shell) == (1, 1.0)
    assert signed_volume(solid.vertices, solid.faces).item() == pytest.approx(1, rel=1e-12)
    assert face_adjacency(solid.faces).shape == (18, 2)


def test_a_mesh_without_faces_is_not_sound() -> None:
    assert not soundness(Mesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64))).sound


def test_each_fault_is_counted() -> None:
    solid = cube()
    missing = soundness(Mesh(solid.vertices, solid.faces[1:]))
    assert (missing.open_edges, missing.faults - missing.inverted_shells) == (3, 3)
    flipped = soundness(Mesh(solid.vertices, torch.cat([solid.faces[:1].flip(1), solid.faces[1:]])))
    assert (flipped.inconsistent_edges, flipped.open_edges) == (3, 0)
    twice = soundness(Mesh(solid.vertices, torch.cat([solid.faces, solid.faces[:1].roll(1, dims=1)])))
    assert (twice.duplicate_faces, twice.nonmanifold_edges) == (1, 3)
    inverted = soundness(Mesh(solid.vertices, solid.faces.flip(1)))
    assert (inverted.inverted_shells, inverted.faults) == (1, 1)


def test_flat_faces_are_degenerate() -> None:
    solid = cube()
    middle = len(solid.vertices)
    vertices = torch.cat([solid.vertices, torch.tensor([[0.0, 1e-7, 0.5]], dtype=torch.float64)])
    a, b = 0, 1  # the edge from (0, 0, 0) to (0, 0, 1), which the new vertex nearly lies on
    flat = torch.tensor([[a, middle, b]])
    assert soundness(Mesh(vertices, torch.cat([solid.faces, flat]))).degenerate_faces == 1
    assert soundness(Mesh(vertices, torch.cat([solid.faces, torch.tensor([[a, a, b]])]))).degenerate_faces == 1


def test_cubes_that_touch_along_an_edge_are_not_manifold_once_welded() -> None:
    pair = joined(cube(), Mesh(cube().vertices + torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64), cube().faces))
    assert soundness(pair).sound
    assert soundness(pair).shells == 2
    assert soundness(weld(pair)).nonmanifold_edges == 1


def test_a_cavity_is_an_inverted_shell() -> None:
    cavity = cube(0.25, 0.5)
    hollow = joined(cube(), Mesh(cavity.vertices, cavity.faces.flip(1)))
    number = shells(hollow.faces)
    assert number.tolist() == [0] * 12 + [1] * 12
    assert torch.allclose(shell_volumes(hollow.vertices, hollow.faces, number), torch.tensor([1, -0.125], dtype=torch.float64))
    found = soundness(hollow)
    assert (found.inverted_shells, found.smallest_shell) == (1, 0.5)
