"""Edges of a mesh, and which of them are silhouettes."""

import torch

from dreamfusion_mesh.kernels.antialias import antialias, find_edges
from dreamfusion_mesh.kernels.raster import rasterize

TETRAHEDRON = torch.tensor([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])


def test_a_tetrahedron_has_six_edges_each_faced_by_its_two_other_corners() -> None:
    edges = find_edges(TETRAHEDRON, 4)
    assert edges.ends.tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]
    assert edges.starts.tolist() == [0, 2, 4, 6, 8, 10, 12]
    for k, ends in enumerate(edges.ends.tolist()):
        across = edges.opposite[edges.starts[k] : edges.starts[k + 1]].tolist()
        assert sorted(across + ends) == [0, 1, 2, 3]


def test_rims_and_fins_have_one_and_three_faces() -> None:
    edges = find_edges(torch.tensor([[0, 1, 2], [1, 0, 3], [0, 1, 4]]), 5)
    faced = dict(zip(map(tuple, edges.ends.tolist()), edges.starts.diff().tolist(), strict=True))
    assert faced == {(0, 1): 3, (0, 2): 1, (0, 3): 1, (0, 4): 1, (1, 2): 1, (1, 3): 1, (1, 4): 1}


def test_no_faces_have_no_edges() -> None:
    edges = find_edges(torch.zeros(0, 3, dtype=torch.int64), 0)
    assert edges.ends.shape == (0, 2)
    assert edges.starts.tolist() == [0]


def moves(faces: list[list[int]], corners: list[list[float]]) -> torch.Tensor:
    """Which vertices the sum of alpha depends on: [V] bool."""
    points = torch.tensor(corners, dtype=torch.float64)
    clip = torch.cat((points / 8 - 1, torch.zeros(len(points), 1), torch.ones(len(points), 1)), dim=1)[None].requires_grad_()
    triangles = torch.tensor(faces)
    face, _, _ = rasterize(clip, triangles, 16, 16)
    image = torch.where(face >= 0, face + 1.0, 0.0).double()[..., None].requires_grad_()
    smooth = antialias(image, face, clip, triangles, find_edges(triangles, len(points)))
    (gradient,) = torch.autograd.grad(smooth.square().sum(), clip)
    return gradient[0].abs().sum(dim=1) > 1e-9


def test_a_silhouette_is_a_rim_or_a_fold() -> None:
    ring = [[2.3, 2.2], [13.4, 2.1], [13.6, 13.7], [2.1, 13.3]]
    flat = moves([[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]], [*ring, [8.1, 7.2]])
    assert flat.tolist() == [True, True, True, True, False]  # the inner vertex lies on no silhouette
    folded = moves([[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]], [*ring, [8.1, 15.2]])
    assert folded.all()  # pulled over the rim, it is the outline
    fin = moves([[0, 1, 2], [0, 2, 3], [0, 2, 4]], [*ring, [2.9, 8.0]])
    assert fin[[0, 1, 2, 3]].all()
