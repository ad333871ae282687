"""From texels to surface points: where on the surface the texels of a texture lie. A probe says what is baked there."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dreamfusion_mesh.asset.bake.gutter import gutter_texels
from dreamfusion_mesh.config import TextureSettings
from dreamfusion_mesh.contracts import Rasterizer
from dreamfusion_mesh.geometry.areas import cross_2d
from dreamfusion_mesh.geometry.tangents import corner_frames
from dreamfusion_mesh.kernels.interpolate import Places, interpolate
from dreamfusion_mesh.kernels.trace import SurfaceTree
from dreamfusion_mesh.records import Mesh

_CAGE = 1.25  # how far rays reach, in units of the distance between both surfaces at their vertices
_LEAST_CAGE, _MOST_CAGE = 1e-3, 0.1  # of the surface's extent
_STEEPEST = 2.0  # longest step in space for one texel, in units of the face's mean one: a sliver's plane may point anywhere


@dataclass(frozen=True, eq=False)
class Texels:
    """The surface points of a square texture, from which any number of maps can be baked; see `sample_texels`.

    size       texels a side
    covered    [S, S] bool, texels that a chart covers
    rows       [K] int64, of the texels that lie on the surface, row by row (row * S + column): those covered and the gutter round them
    on_mesh    where each lies on the mesh; the gutter at the nearest point of the nearest covered texel's face
    across     [K, 2, 3], the step in space for one texel to the right, and for one down
    frames     of the mesh's corners, as its files hold them: normals [F, 3, 3] and tangents [F, 3, 4]
    normals    [K, 3], the mesh's smooth normals at the texels
    places     on the reference surface
    points     [K, 3], of the places
    reference  the surface that is baked from
    tree       of the reference
    """

    size: int
    covered: Tensor
    rows: Tensor
    on_mesh: Places
    across: Tensor
    frames: tuple[Tensor, Tensor]
    normals: Tensor
    places: Places
    points: Tensor
    reference: Mesh
    tree: SurfaceTree

    def image(self, values: Tensor) -> Tensor:
        """[S, S, C] of values [K, C]; zero between the charts."""
        flat = torch.zeros(self.size * self.size, values.shape[1], dtype=values.dtype, device=values.device)
        return flat.index_copy(0, self.rows, values).view(self.size, self.size, -1)

    def known(self) -> Tensor:
        """[S, S] bool, texels that lie on the surface."""
        return self.image(torch.ones_like(self.points[:, :1], dtype=torch.bool))[..., 0]


@torch.no_grad()
def sample_texels(mesh: Mesh, rasterizer: Rasterizer, settings: TextureSettings, reference: Mesh | None) -> Texels:
    """Where the centres of the texels of a mesh with UVs lie on the surface that it stands for, on the mesh's device.

    reference  the surface before decimation; None: the mesh itself

    A texel takes the point that the reference has along the mesh's smooth normal, or else its nearest point of the same side. The gutter,
    texels at most `settings.padding` from a chart, extends the chart's surface, so that both sides of a seam see the same.
    Raises ValueError where the mesh has no UVs or covers no texel.
    """
    if mesh.uvs is None or mesh.face_uvs is None:
        raise ValueError("bake: mesh has no uvs; unwrap it first")
    mesh = Mesh(mesh.vertices.detach().float(), mesh.faces, mesh.uvs.detach().float(), mesh.face_uvs)
    size = settings.size
    face, weights = _covering(mesh, rasterizer, size)
    covered = face >= 0
    if not bool(covered.any()):
        raise ValueError(f"bake: the mesh covers no texel of {size} x {size}")
    gutter, nearest = gutter_texels(covered, max(1, settings.padding))
    origin = torch.arange(size * size, device=face.device)
    origin[gutter] = nearest
    inside = covered.view(-1)
    rows = (inside.index_fill(0, gutter, True)).nonzero()[:, 0]
    faces, outside = face.view(-1)[origin[rows]], ~inside[rows]
    on_mesh, across = Places(faces, weights.view(-1, 3)[rows]), _steps(mesh, faces, size)
    points = interpolate(mesh.vertices, mesh.faces, on_mesh)
    edge = outside.nonzero()[:, 0]
    points[edge], on_mesh.weights[edge] = _extended(mesh, faces[edge], rows[edge], origin[rows[edge]], across[edge], weights)
    surface = mesh if reference is None else Mesh(reference.vertices.detach().float(), reference.faces)
    tree = SurfaceTree(surface.vertices, surface.faces)
    frames = corner_frames(mesh)
    normals = interpolate(frames[0].view(-1, 3), torch.arange(3 * len(mesh.faces), device=rows.device).view(-1, 3), on_mesh, unit=True)
    places = _placed(mesh, surface, tree, points, normals, on_mesh, edge)
    return Texels(size, covered, rows, on_mesh, across, frames, normals, places, tree.positions(places), surface, tree)


def _covering(mesh: Mesh, rasterizer: Rasterizer, size: int) -> tuple[Tensor, Tensor]:
    """The face [S, S] that covers each texel's centre, -1 where none does, and the weights [S, S, 3] of its corners there.

    A face that covers no centre has the texel of its middle, unless another has that.
    """
    assert mesh.uvs is not None
    assert mesh.face_uvs is not None
    uvs = mesh.uvs.double()
    clip = torch.cat([2 * uvs - 1, torch.zeros_like(uvs[:, :1]), torch.ones_like(uvs[:, :1])], dim=1).float()
    fragments = rasterizer.rasterize(clip[None], mesh.face_uvs, (size, size))
    face, weights = fragments.face[0].reshape(-1), fragments.bary[0].reshape(-1, 3).float()
    seen = torch.zeros(len(mesh.faces), dtype=torch.bool, device=face.device)
    seen[face[face >= 0]] = True
    small = (~seen).nonzero()[:, 0]
    middle = uvs[mesh.face_uvs[small]].mean(dim=1)
    within = ((middle >= 0) & (middle < 1)).all(dim=1)
    small, middle = small[within], middle[within]
    row = (size - 1 - (middle[:, 1] * size).long()) * size + (middle[:, 0] * size).long()
    free = face[row] < 0
    highest = torch.full_like(face, -1).scatter_reduce(0, row[free], small[free], "amax")
    face = torch.where(face < 0, highest, face)
    weights = torch.where((highest >= 0)[:, None], torch.full_like(weights, 1 / 3), weights)
    return face.view(size, size), weights.view(size, size, 3)


def _steps(mesh: Mesh, faces: Tensor, size: int) -> Tensor:
    """[N, 2, 3] the steps in space that `faces` [N] make for one texel to the right and one down; a sliver's are shortened."""
    assert mesh.uvs is not None
    assert mesh.face_uvs is not None
    corners, flat = mesh.vertices.double()[mesh.faces], mesh.uvs.double()[mesh.face_uvs]
    run, edges = flat[:, 1:] - flat[:, :1], corners[:, 1:] - corners[:, :1]
    determinant = cross_2d(run[:, 0], run[:, 1])
    determinant = torch.where(determinant == 0, torch.ones_like(determinant), determinant)[:, None]
    right = (edges[:, 0] * run[:, 1, 1:] - edges[:, 1] * run[:, 0, 1:]) / determinant
    up = (edges[:, 1] * run[:, 0, :1] - edges[:, 0] * run[:, 1, :1]) / determinant
    steps = torch.stack([right, -up], dim=1)
    longest = _STEEPEST * edges.norm(dim=2).sum(dim=1) / run.norm(dim=2).sum(dim=1).clamp_min(1e-12)
    shortened = steps * (longest[:, None, None] / steps.norm(dim=2, keepdim=True).clamp_min(1e-30)).clamp_max(1)
    return (shortened / size).float()[faces]


def _extended(mesh: Mesh, faces: Tensor, rows: Tensor, origins: Tensor, across: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Where the texels `rows` [N] lie if the faces [N] of the covered texels `origins` [N] are extended as planes: points [N, 3], and the
    weights [N, 3] of the faces' corners nearest to that.
    """
    size = len(weights)
    start = weights.view(-1, 3)[origins]
    right, down = (rows % size - origins % size)[:, None], (rows // size - origins // size)[:, None]
    corners = mesh.vertices[mesh.faces[faces]]
    points = (corners * start[..., None]).sum(dim=1) + right * across[:, 0] + down * across[:, 1]
    one, two, out = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0], points - corners[:, 0]
    normal = torch.linalg.cross(one, two)
    square = normal.square().sum(dim=1).clamp_min(1e-30)
    second = (torch.linalg.cross(out, two) * normal).sum(dim=1) / square
    third = (torch.linalg.cross(one, out) * normal).sum(dim=1) / square
    inside = torch.stack([1 - second - third, second, third], dim=1).clamp(0, 1)
    return points, inside / inside.sum(dim=1, keepdim=True).clamp_min(1e-12)


def _placed(mesh: Mesh, surface: Mesh, tree: SurfaceTree, points: Tensor, normals: Tensor, on_mesh: Places, edge: Tensor) -> Places:
    """Where the texels' points [K, 3] at places on the mesh belong on the surface; those of the rows `edge` lie outside of the charts."""
    extent, apart = tree.extent(), 0.0
    if surface is not mesh:
        back = SurfaceTree(mesh.vertices, mesh.faces)
        apart = max(float(one.closest(other.vertices)[2].max()) for one, other in ((tree, mesh), (back, surface)))
    cage = min(max(_CAGE * apart, _LEAST_CAGE * extent), _MOST_CAGE * extent)
    own = Places(on_mesh.faces.clone(), on_mesh.weights.clone())
    places = own if surface is mesh else tree.project(points, normals, cage, 2 * cage)
    if len(edge):
        places.faces[edge], places.weights[edge] = tree.project(points[edge], normals[edge], 0.0, 2 * cage)
    return places
