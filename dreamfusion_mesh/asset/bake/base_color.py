"""The field's colour into the mesh's texture: every texel asks the field where it lies on the surface."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from dreamfusion_mesh.config import TextureSettings
from dreamfusion_mesh.errors import RunFailed
from dreamfusion_mesh.records import Fragments, Mesh, linear_to_srgb, srgb_to_linear

_POINTS = 1 << 20  # asked of the field at once
_SAMPLES = 1 << 22  # rasterized at once

Albedo = Callable[[Tensor], Tensor]
Project = Callable[[Tensor], Tensor]


class Rasterizer(Protocol):
    """The part of the rasterizer's contract that baking needs; clip space as in DESIGN.md, row 0 on top."""

    def rasterize(self, clip: Tensor, faces: Tensor, size: tuple[int, int]) -> Fragments:
        """clip [B, V, 4], faces [F, 3], (H, W)."""
        ...

    def interpolate(self, attributes: Tensor, fragments: Fragments, faces: Tensor) -> Tensor:
        """attributes [V, C] or [B, V, C] to [B, H, W, C]."""
        ...


@torch.no_grad()
def bake_base_color(mesh: Mesh, albedo: Albedo, rasterizer: Rasterizer, settings: TextureSettings, reference: Mesh | None) -> np.ndarray:
    """The base colour [S, S, 3] uint8 sRGB, row 0 on top, of a mesh with UVs in scene units.

    albedo     points [N, 3] in scene units to display-referred colours [N, 3]; asked without gradients
    reference  the surface before decimation, which the points are moved onto; None asks at the mesh itself

    `settings.supersample` squared samples a texel are averaged in linear light over those that the mesh covers. Texels around a chart go on
    along its surface: the field is asked at the nearest point of the surface, so that both sides of a seam see the same colours. Farther
    texels repeat the nearest. Raises ValueError where the mesh has no UVs or covers nothing, RunFailed where a colour is not finite.
    """
    if mesh.uvs is None or mesh.face_uvs is None:
        raise ValueError("bake: mesh has no uvs; unwrap it first")
    mesh = Mesh(mesh.vertices.detach().float(), mesh.faces, mesh.uvs.detach().float(), mesh.face_uvs)
    project = _onto(mesh if reference is None else reference)
    colors, faces = _covered(mesh, albedo, rasterizer, settings, None if reference is None else project)
    known = (faces >= 0).cpu().numpy()
    if not known.any():
        raise ValueError(f"bake: the mesh covers no texel of {settings.size} x {settings.size}")
    rows, columns, nearest = _around(known, max(1, settings.padding))
    if len(rows):
        points = project(_continued(mesh, faces, rows, columns, nearest, settings.size))
        colors[rows, columns] = srgb_to_linear(_ask(albedo, points))
        known[rows.cpu().numpy(), columns.cpu().numpy()] = True
    image = torch.round(linear_to_srgb(colors).clamp(0, 1) * 255).to(torch.uint8).cpu().numpy()
    return _fill(image, known)


def _onto(surface: Mesh) -> Project:
    from dreamfusion_mesh.kernels.trace import SurfaceTree

    tree = SurfaceTree(surface.vertices, surface.faces)
    return lambda points: tree.closest(points)[0]


def _ask(albedo: Albedo, points: Tensor) -> Tensor:
    """Display-referred colours [N, 3] in [0, 1], asked in chunks."""
    colors = torch.cat([albedo(part).float() for part in points.split(_POINTS)])
    if colors.shape != points.shape:
        raise ValueError(f"bake: albedo gave shape {list(colors.shape)} for {list(points.shape)} points, expected as many colours")
    bad = int((~torch.isfinite(colors)).any(dim=1).sum())
    if bad:
        raise RunFailed(f"bake: the field's colour is not finite at {bad} of {len(points)} points of the surface")
    return colors.clamp(0, 1)


def _covered(
    mesh: Mesh, albedo: Albedo, rasterizer: Rasterizer, settings: TextureSettings, project: Project | None
) -> tuple[Tensor, Tensor]:
    """Linear colours [S, S, 3] and a face of each texel [S, S], -1 where no sample of it is covered."""
    size, side = settings.size, settings.supersample
    device = mesh.vertices.device
    colors = torch.zeros(size, size, 3, device=device)
    faces = torch.full((size, size), -1, dtype=torch.int64, device=device)
    for top, face, points in _bands(mesh, rasterizer, size, side):
        seen = face >= 0
        surface = points[seen]
        if not len(surface):
            continue
        samples = torch.zeros_like(points)
        samples[seen] = srgb_to_linear(_ask(albedo, surface if project is None else project(surface)))
        rows = face.shape[0] // side
        count = seen.view(rows, side, size, side).sum(dim=(1, 3))
        total = samples.view(rows, side, size, side, 3).sum(dim=(1, 3))
        colors[top : top + rows] = total / count.clamp_min(1)[..., None]
        faces[top : top + rows] = face.view(rows, side, size, side).amax(dim=(1, 3))
    return colors, faces


def _bands(mesh: Mesh, rasterizer: Rasterizer, size: int, side: int) -> Iterator[tuple[int, Tensor, Tensor]]:
    """First row of texels, then of each sample its face [h, w] (-1 none) and its point on the surface [h, w, 3], in bands from the top."""
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
        points = rasterizer.interpolate(mesh.vertices, fragments, mesh.faces[inside])[0]
        face = fragments.face[0]
        yield top, torch.where(face >= 0, inside[face.clamp_min(0)], face), points


def _around(known: np.ndarray, reach: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rows and columns [N] of texels that are not `known` [S, S] but at most `reach` texels from one, and the nearest such [N, 2]."""
    from scipy.ndimage import distance_transform_edt

    distance, nearest = distance_transform_edt(~known, return_indices=True)
    rows, columns = np.nonzero(~known & (distance <= reach))
    return torch.from_numpy(rows), torch.from_numpy(columns), torch.from_numpy(nearest[:, rows, columns].T.astype(np.int64))


def _continued(mesh: Mesh, faces: Tensor, rows: Tensor, columns: Tensor, nearest: Tensor, size: int) -> Tensor:
    """Where texels outside lie in space if the face at the `nearest` covered texel goes on as a plane; [N, 3]."""
    assert mesh.uvs is not None
    assert mesh.face_uvs is not None
    device = mesh.vertices.device
    nearest = nearest.to(device)
    face = faces[nearest[:, 0], nearest[:, 1]]
    corners, flat = mesh.vertices.double()[mesh.faces[face]], mesh.uvs.double()[mesh.face_uvs[face]]
    origin, run = flat[:, 0], flat[:, 1:] - flat[:, :1]
    edges = corners[:, 1:] - corners[:, :1]
    determinant = run[:, 0, 0] * run[:, 1, 1] - run[:, 0, 1] * run[:, 1, 0]
    determinant = torch.where(determinant == 0, torch.ones_like(determinant), determinant)

    def moved(offset: Tensor) -> Tensor:
        """The step in space that the face makes for a step `offset` [N, 2] in UV."""
        first = (offset[:, 0] * run[:, 1, 1] - offset[:, 1] * run[:, 1, 0]) / determinant
        second = (offset[:, 1] * run[:, 0, 0] - offset[:, 0] * run[:, 0, 1]) / determinant
        return first[:, None] * edges[:, 0] + second[:, None] * edges[:, 1]

    def centre(row: Tensor, column: Tensor) -> Tensor:
        return torch.stack([(column + 0.5) / size, 1 - (row + 0.5) / size], dim=1).double()

    inside = centre(nearest[:, 0], nearest[:, 1])
    step = centre(rows.to(device), columns.to(device)) - inside
    ahead = moved(step)
    texel = edges.norm(dim=2).sum(dim=1) / run.norm(dim=2).sum(dim=1).clamp_min(1e-12)  # length in space for one in UV
    longest = 2 * texel * step.norm(dim=1)  # a sliver's plane may point anywhere
    ahead = ahead * (longest / ahead.norm(dim=1).clamp_min(1e-30)).clamp_max(1)[:, None]
    return (corners[:, 0] + moved(inside - origin) + ahead).float()


def _fill(image: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The image with every texel that is not known repeating the nearest one that is."""
    from scipy.ndimage import distance_transform_edt

    nearest = distance_transform_edt(~known, return_distances=False, return_indices=True)
    return image[nearest[0], nearest[1]]
