"""Neighbours, shells and welding."""

from __future__ import annotations

import torch
from cubes import cube, joined

from dreamfusion_mesh.geometry.soundness import soundness
from dreamfusion_mesh.geometry.topology import edge_keys, face_adjacency, shells, weld
from dreamfusion_mesh.records import Mesh


def test_an_edge_has_one_key_and_two_directions() -> None:
    solid = cube()
    keys, forward = edge_keys(solid.faces, len(solid.vertices))
    edges, row, uses = keys.unique(return_inverse=True, return_counts=True)
    assert (len(edges), uses.unique().tolist()) == (18, [2])
    ahead = torch.zeros(18, dtype=torch.int64).index_add_(0, row.reshape(-1), forward.reshape(-1).long())
    assert ahead.unique().tolist() == [1]


def test_adjacent_faces_share_two_corners() -> None:
    faces = cube().faces
    pairs = face_adjacency(faces)
    assert len(pairs) == 18
    assert all(len(set(faces[a].tolist()) & set(faces[b].tolist())) == 2 for a, b in pairs.tolist())


def test_shells_are_connected_over_edges_and_not_over_corners() -> None:
    """Two tetrahedra at one corner are two shells, at one edge a single one, whatever the order of their faces."""
    tetrahedron = torch.tensor([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    at_corner = torch.cat([tetrahedron, torch.where(tetrahedron == 0, 0, tetrahedron + 3)])
    at_edge = torch.cat([tetrahedron, torch.where(tetrahedron < 2, tetrahedron, tetrahedron + 2)])
    for faces, count in ((at_corner, 2), (at_edge, 1)):
        order = torch.randperm(8, generator=torch.Generator().manual_seed(0))
        found = shells(faces[order])
        assert len(found.unique()) == count
        assert torch.equal(found[order < 4].unique(), found[order < 4][:1])


def test_welding_joins_equal_positions_and_drops_unused_vertices() -> None:
    solid = cube()
    unused = torch.full((3, 3), 9.0, dtype=torch.float64)
    soup = Mesh(torch.cat([solid.vertices[solid.faces].reshape(-1, 3), unused]), torch.arange(36).reshape(-1, 3))
    soup.vertices[soup.vertices == 0] *= -1.0  # the sign of zero parts nothing
    assert soundness(soup).open_edges == 36
    welded = weld(soup)
    assert soundness(welded).sound
    assert len(welded.vertices) == 8
    assert torch.equal(welded.vertices[welded.faces], solid.vertices[solid.faces])


def test_welding_leaves_near_positions_apart() -> None:
    near = joined(cube(), Mesh(cube().vertices + torch.tensor([1 + 1e-12, 0, 0], dtype=torch.float64), cube().faces))
    assert len(weld(near).vertices) == 16
