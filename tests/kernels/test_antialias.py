"""Edges of a mesh, which of them are silhouettes, and the order in which blended pairs add up."""

import torch

from dreamfusion_mesh.kernels.antialias import antialias, blend_pairs, find_edges, find_pairs
from dreamfusion_mesh.kernels.raster import interpolate, rasterize

TETRAHEDRON = torch.tensor([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])


def test_tetrahedron_has_six_edges_each_opposite_two_corners(device: torch.device) -> None:
    edges = find_edges(TETRAHEDRON.to(device), 4)
    assert edges.ends.tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]
    assert edges.starts.tolist() == [0, 2, 4, 6, 8, 10, 12]
    for k, ends in enumerate(edges.ends.tolist()):
        across = edges.opposite[edges.starts[k] : edges.starts[k + 1]].tolist()
        assert sorted(across + ends) == [0, 1, 2, 3]


def test_boundary_and_fin_edges_have_one_and_three_faces(device: torch.device) -> None:
    edges = find_edges(torch.tensor([[0, 1, 2], [1, 0, 3], [0, 1, 4]], device=device), 5)
    faced = dict(zip(map(tuple, edges.ends.tolist()), edges.starts.diff().tolist(), strict=True))
    assert faced == {(0, 1): 3, (0, 2): 1, (0, 3): 1, (0, 4): 1, (1, 2): 1, (1, 3): 1, (1, 4): 1}


def test_no_faces_have_no_edges(device: torch.device) -> None:
    edges = find_edges(torch.zeros(0, 3, dtype=torch.int64, device=device), 0)
    assert edges.ends.shape == (0, 2)
    assert edges.starts.tolist() == [0]


def moves(faces: list[list[int]], corners: list[list[float]], device: torch.device) -> torch.Tensor:
    """Which vertices the sum of alpha depends on: [V] bool."""
    points = torch.tensor(corners, dtype=torch.float64)
    clip = torch.cat((points / 8 - 1, torch.zeros(len(points), 1), torch.ones(len(points), 1)), dim=1)[None].to(device).requires_grad_()
    triangles = torch.tensor(faces, device=device)
    face, _, _ = rasterize(clip, triangles, 16, 16)
    image = torch.where(face >= 0, face + 1.0, 0.0).double()[..., None].requires_grad_()
    smooth = antialias(image, face, clip, triangles, find_edges(triangles, len(points)))
    (gradient,) = torch.autograd.grad(smooth.square().sum(), clip)
    return gradient[0].abs().sum(dim=1) > 1e-9


def test_silhouettes_are_boundaries_and_folds(device: torch.device) -> None:
    ring = [[2.3, 2.2], [13.4, 2.1], [13.6, 13.7], [2.1, 13.3]]
    flat = moves([[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]], [*ring, [8.1, 7.2]], device)
    assert flat.tolist() == [True, True, True, True, False]  # the inner vertex lies on no silhouette
    folded = moves([[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]], [*ring, [8.1, 15.2]], device)
    assert folded.all()  # pulled over the rim, it is the outline
    fin = moves([[0, 1, 2], [0, 2, 3], [0, 2, 4]], [*ring, [2.9, 8.0]], device)
    assert fin[[0, 1, 2, 3]].all()


def test_cuda_blending_matches_cpu_in_any_order_of_pairs(device: torch.device) -> None:
    """On CUDA pairs are worked on in no known order; pixels that several neighbours give to still add up to the CPU's bits."""
    draws = torch.Generator().manual_seed(2)
    corners = torch.rand(1, 180, 4, generator=draws) * 2 - 1
    corners[..., 3] = 1 + 0.2 * corners[..., 3]
    corners[0, :, :2] = corners[0, :, :2].reshape(60, 3, 2).mean(dim=1).repeat_interleave(3, 0) + 0.1 * corners[0, :, :2]  # specks
    faces = torch.arange(180).reshape(60, 3)
    face, bary, _ = rasterize(corners, faces, 40, 44)
    image = interpolate(torch.rand(1, 180, 3, generator=draws), bary, face, faces)
    edges = find_edges(faces, 180)
    pairs, keys = find_pairs(face, corners, faces, edges)
    wanted, _, totals = blend_pairs(image, corners, edges, pairs, keys, side_by_side=False)
    edges = find_edges(faces.to(device), 180)
    differs = False
    for seed in range(4):
        order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(seed))
        given = [part.to(device) for part in (pairs[order], keys[order])]
        blended, _, sums = blend_pairs(image.to(device), corners.to(device), edges, *given, side_by_side=True)
        assert torch.equal(blended.cpu(), wanted)
        assert torch.equal(sums.cpu(), totals)
        differs |= not torch.equal(blend_pairs(image, corners, find_edges(faces, 180), pairs[order], keys[order], False)[0], wanted)
    assert differs  # without turns the order shows
