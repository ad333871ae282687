"""From texels to surface points: where on the surface the samples of a texture lie. A probe says what is baked there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from dreamfusion_mesh.asset.bake.gutter import gutter_texels
from dreamfusion_mesh.config import TextureSettings
from dreamfusion_mesh.contracts import Rasterizer
from dreamfusion_mesh.geometry.areas import cross_2d
from dreamfusion_mesh.kernels.trace import SurfaceTree
from dreamfusion_mesh.records import Fragments, Mesh

_SAMPLES = 1 << 22  # rasterized at once


@dataclass(frozen=True, eq=False)
class Band:
    """Some rows of a texture, with s x s samples a texel.

    top      first row of texels
    covered  [s * rows, s * size] bool, samples that lie on the mesh
    points   [N, 3] on the surface, of the covered samples row by row
    """

    top: int
    covered: Tensor
    points: Tensor


@dataclass(frozen=True, eq=False)
class Texels:
    """The surface points of a square texture, from which any number of maps can be baked; see `sample_texels`.

    size           texels a side
    supersample    samples a texel, each way
    covered        [S, S] bool, texels with a sample on the mesh
    gutter         [G, 2] int64, rows and columns of the texels round the charts
    gutter_points  [G, 3] float32, points on the surface for the gutter's texels
    bands          a new pass over all samples that are covered, from the top
    """

    size: int
    supersample: int
    covered: Tensor
    gutter: Tensor
    gutter_points: Tensor
    bands: Callable[[], Iterator[Band]]


@torch.no_grad()
def sample_texels(mesh: Mesh, rasterizer: Rasterizer, settings: TextureSettings, reference: Mesh | None) -> Texels:
    """Where the texels of a mesh with UVs lie in its space, on the mesh's device.

    reference  the surface before decimation, which the points are moved onto; None leaves covered ones on the mesh itself

    The gutter, texels at most `settings.padding` from a chart, extends the chart's surface: each takes the nearest point of the surface,
    so that both sides of a seam see the same.
    Raises ValueError where the mesh has no UVs or covers no texel.
    """
    if mesh.uvs is None or mesh.face_uvs is None:
        raise ValueError("bake: mesh has no uvs; unwrap it first")
    mesh = Mesh(mesh.vertices.detach().float(), mesh.faces, mesh.uvs.detach().float(), mesh.face_uvs)
    size, side = settings.size, settings.supersample
    face = torch.full((size, size), -1, dtype=torch.int64, device=mesh.vertices.device)
    for top, found, _, _ in _rasterized(mesh, rasterizer, size, side):
        rows = found.shape[0] // side
        face[top : top + rows] = found.view(rows, side, size, side).amax(dim=(1, 3))
    covered = face >= 0
    if not bool(covered.any()):
        raise ValueError(f"bake: the mesh covers no texel of {size} x {size}")
    surface = mesh if reference is None else reference
    tree = SurfaceTree(surface.vertices, surface.faces)
    gutter, nearest = gutter_texels(covered, max(1, settings.padding))
    gutter_points = tree.closest(_extrapolated(mesh, face, gutter, nearest))[0]

    def bands() -> Iterator[Band]:
        for top, found, fragments, faces in _rasterized(mesh, rasterizer, size, side):
            points = rasterizer.interpolate(mesh.vertices, fragments, faces)[0][found >= 0]
            if len(points):
                yield Band(top, found >= 0, points if reference is None else tree.closest(points)[0])

    return Texels(size, side, covered, gutter, gutter_points, bands)


def _rasterized(mesh: Mesh, rasterizer: Rasterizer, size: int, side: int) -> Iterator[tuple[int, Tensor, Fragments, Tensor]]:
    """First row of texels, the face of each sample [h, w] (-1 none), and fragments with the faces they index, in bands from the top."""
    assert mesh.uvs is not None
    assert mesh.face_uvs is not None
    height = 1 - mesh.uvs.double()[:, 1]  # from the top
    tall = height[mesh.face_uvs]
    lowest, highest = tall.amin(dim=1), tall.amax(dim=1)
    rows = min(size, max(1, _SAMPLES // (size * side * side)))
    for top in range(0, size, rows):
        count = min(rows, size - top)
        begin, end = top / size, (top + count) / size
        inside = ((highest >= begin) & (lowest <= end)).nonzero()[:, 0]
        if not len(inside):
            continue
        y = 1 - 2 * (height - begin) / (end - begin)
        clip = torch.stack([2 * mesh.uvs.double()[:, 0] - 1, y, torch.zeros_like(y), torch.ones_like(y)], dim=1).float()
        fragments = rasterizer.rasterize(clip[None], mesh.face_uvs[inside], (count * side, size * side))
        face = fragments.face[0]
        yield top, torch.where(face >= 0, inside[face.clamp_min(0)], face), fragments, mesh.faces[inside]


def _extrapolated(mesh: Mesh, face: Tensor, gutter: Tensor, nearest: Tensor) -> Tensor:
    """[N, 3] where the texels `gutter` [N, 2] lie if the face [S, S] at the `nearest` covered texel [N, 2] is extended as a plane."""
    assert mesh.uvs is not None
    assert mesh.face_uvs is not None
    rows = face[nearest[:, 0], nearest[:, 1]]
    corners, flat = mesh.vertices.double()[mesh.faces[rows]], mesh.uvs.double()[mesh.face_uvs[rows]]
    origin, run = flat[:, 0], flat[:, 1:] - flat[:, :1]
    edges = corners[:, 1:] - corners[:, :1]
    inside = _centres(nearest, len(face))
    step = _centres(gutter, len(face)) - inside
    ahead = _uv_to_space(step, run, edges)
    texel = edges.norm(dim=2).sum(dim=1) / run.norm(dim=2).sum(dim=1).clamp_min(1e-12)  # length in space for one in UV
    longest = 2 * texel * step.norm(dim=1)  # a sliver's plane may point anywhere
    ahead = ahead * (longest / ahead.norm(dim=1).clamp_min(1e-30)).clamp_max(1)[:, None]
    return (corners[:, 0] + _uv_to_space(inside - origin, run, edges) + ahead).float()


def _centres(texels: Tensor, size: int) -> Tensor:
    """[N, 2] float64 UVs of the centres of texels [N, 2], rows and columns."""
    row, column = texels.unbind(1)
    return torch.stack([(column + 0.5) / size, 1 - (row + 0.5) / size], dim=1).double()


def _uv_to_space(offset: Tensor, run: Tensor, edges: Tensor) -> Tensor:
    """[N, 3] the step in space that faces with UV edges `run` [N, 2, 2] and edges [N, 2, 3] make for a step `offset` [N, 2] in UV."""
    determinant = cross_2d(run[:, 0], run[:, 1])
    determinant = torch.where(determinant == 0, torch.ones_like(determinant), determinant)
    first = cross_2d(offset, run[:, 1]) / determinant
    second = cross_2d(run[:, 0], offset) / determinant
    return first[:, None] * edges[:, 0] + second[:, None] * edges[:, 1]
