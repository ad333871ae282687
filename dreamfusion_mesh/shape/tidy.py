"""From an optimised surface to a sound solid within a budget of triangles.

Inside, everything is float64 on the CPU. Soundness is judged on the result in its own precision, welded by position, because that is
what a reader of the written file sees.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dreamfusion_mesh.config import MeshSettings
from dreamfusion_mesh.errors import RunFailed
from dreamfusion_mesh.geometry.areas import shell_volumes, signed_volume
from dreamfusion_mesh.geometry.soundness import degenerate, soundness
from dreamfusion_mesh.geometry.topology import shells, weld
from dreamfusion_mesh.records import Mesh

_SLIVER = 1e-5  # of the diagonal: edges shorter than this are given up, and faces lower than this relaxed
_GAP = 1e-5  # of the diagonal: how far vertices at one place are moved apart at first
_CLOSE = 0.1  # change of the volume up to which the first sound reduction is taken
_CRUMB = 0.005  # of the faces: smaller shells that decimation has made are dropped
_AGGRESSIVENESS = (4.0, 5.0, 6.0, 7.0)  # of quadric collapse: the lower, the truer, but low ones stop before a small budget


def tidy(mesh: Mesh, settings: MeshSettings) -> Mesh:
    """A sound solid: floaters, cavities and slivers gone, after `settings.smooth` Taubin passes.

    Shells with under `settings.smallest_part` of the faces go, so do inverted ones (cavities) and those inside another one.
    The result is on the CPU, without uvs, closed, manifold, outwards; a surface that was cut open along seams is sewn.
    Raises RunFailed, saying why, where nothing remains or the surface cannot be made sound.
    """
    raw = _double(mesh)
    if not bool(raw.vertices.isfinite().all()):
        raise RunFailed("tidy: the surface has vertices that are not finite; lower fine.sdf_learning_rate or fine.deform_learning_rate")
    solid = _outer_shells(_from_manifold(_manifold(raw)), settings.smallest_part)
    solid = Mesh(_taubin(solid.vertices, solid.faces, settings.smooth), solid.faces)
    simple = _from_manifold(_manifold(solid).simplify(_SLIVER * _diagonal(solid.vertices)))
    result = _finished(_relaxed(_outer_shells(simple, settings.smallest_part)), mesh.vertices.dtype)
    found = soundness(weld(result))
    if not found.sound:
        raise RunFailed(f"tidy: the surface cannot be made sound ({found}); raise mesh.smooth or mesh.smallest_part")
    return result


def decimate(mesh: Mesh, triangles: int) -> Mesh:
    """At most `triangles` triangles, and still sound; the mesh itself where it is both already. On the CPU, without uvs.

    Quadric edge collapse (Garland & Heckbert 1997) first, repaired if need be; then collapses that cannot break a manifold
    (manifold3d), with the smallest tolerance that meets the budget. The first sound one that keeps the volume and the number of
    shells is taken, else the sound one that keeps them best.
    Raises RunFailed with numbers where none of them is sound.
    """
    raw, dtype, tried, best = _double(mesh), mesh.vertices.dtype, [], (torch.inf, mesh)
    before = soundness(weld(mesh.detach()))
    if len(raw.faces) <= triangles and before.sound:
        return Mesh(raw.vertices.to(dtype), raw.faces)
    volume = float(signed_volume(raw.vertices, raw.faces))
    for candidate in _reductions(raw, triangles):
        reduced = _finished(candidate, dtype)
        found = soundness(weld(reduced))
        if found.sound and len(reduced.faces) <= triangles:
            change = abs(float(signed_volume(reduced.vertices.double(), reduced.faces)) / volume - 1) + abs(found.shells - before.shells)
            best = min(best, (change, reduced), key=lambda pair: pair[0])
            if change <= _CLOSE:
                break
        tried.append(f"{len(reduced.faces)} triangles with {found}")
    if best[0] == torch.inf:
        outcome = "; ".join(tried) or "none with so few"
        raise RunFailed(f"decimate: {len(raw.faces)} triangles to at most {triangles}: no sound result ({outcome}); raise mesh.triangles")
    return best[1]


def _reductions(mesh: Mesh, triangles: int) -> Iterator[Mesh]:
    import fast_simplification

    parts = int(shells(mesh.faces).max()) + 1
    points, faces = mesh.vertices.numpy(), mesh.faces.numpy().astype(np.int32)
    for aggressiveness in _AGGRESSIVENESS:
        v, f = fast_simplification.simplify(points, faces, target_count=min(triangles, len(faces)), agg=aggressiveness)
        collapsed = _cleaned(Mesh(torch.from_numpy(v), torch.from_numpy(f).long()))
        if not 0 < len(collapsed.faces) <= triangles:
            continue
        yield collapsed
        solid = _solid(collapsed)
        if solid is not None:
            yield _without_crumbs(_from_manifold(solid), parts)
    solid, diagonal = _manifold(mesh), _diagonal(mesh.vertices)
    low, high, fits = 1e-7, 0.3, []
    for _ in range(16):
        tolerance = (low * high) ** 0.5
        simple = solid.simplify(tolerance * diagonal)
        if simple.num_tri() <= triangles:
            high = tolerance
            fits.append(simple)
        else:
            low = tolerance
    yield from (_without_crumbs(_from_manifold(simple), parts) for simple in reversed(fits) if simple.volume() > 0)


def _without_crumbs(mesh: Mesh, parts: int) -> Mesh:
    """Without what decimation has pinched off: where there are more shells than `parts`, tiny ones go."""
    crumbs = int(shells(mesh.faces).max()) + 1 > parts
    return _outer_shells(mesh, _CRUMB if crumbs else 0.0)


def _manifold(mesh: Mesh) -> Any:
    """The mesh as a manifold3d.Manifold, as it is indexed or else sewn by position. Raises RunFailed where it is not a closed surface."""
    if len(mesh.faces) == 0:
        raise RunFailed("tidy: the surface has no faces; lower fine.threshold or take more coarse.steps")
    solid = _solid(mesh) or _solid(_cleaned(weld(mesh)))
    if solid is None:
        raise RunFailed(f"tidy: the surface is not closed and manifold ({soundness(weld(mesh))}); raise fine.sdf_sign or fine.tet_size")
    return solid


def _solid(mesh: Mesh) -> Any | None:
    """The mesh as a manifold3d.Manifold, which parts non-manifold edges; None where its edges do not pair up."""
    import manifold3d

    arrays = manifold3d.Mesh64(mesh.vertices.numpy().copy(), mesh.faces.numpy().astype(np.uint64))
    solid = manifold3d.Manifold(arrays)
    return solid if solid.status() == manifold3d.Error.NoError and not solid.is_empty() else None


def _from_manifold(solid: Any) -> Mesh:
    arrays = solid.to_mesh64()
    vertices, faces = np.array(arrays.vert_properties[:, :3]), np.array(arrays.tri_verts).astype(np.int64)
    return Mesh(torch.from_numpy(vertices), torch.from_numpy(faces))


def _outer_shells(mesh: Mesh, smallest_part: float) -> Mesh:
    """Only shells that look outwards, have their share of the faces and are not inside another one."""
    shell = shells(mesh.faces)
    volumes, sizes = shell_volumes(mesh.vertices, mesh.faces, shell), shell.bincount()
    outward = volumes > 0
    if not bool(outward.any()):
        found = f"none of {len(sizes)} shells encloses a volume (largest {float(volumes.max()):.3g})"
        raise RunFailed(f"tidy: {found}: the surface is inside out; lower fine.threshold or fine.sdf_learning_rate")
    keep = outward & (sizes >= smallest_part * len(mesh.faces))
    keep[torch.where(outward, sizes, 0).argmax()] = True
    corners = mesh.vertices[mesh.faces]
    for number in keep.nonzero()[:, 0].tolist():
        others = corners[keep[shell] & (shell != number)]
        keep[number] = _winding(corners[shell == number][0, 0], others) < 0.5
    used, faces = mesh.faces[keep[shell]].unique(return_inverse=True)
    return Mesh(mesh.vertices[used], faces)


def _winding(point: Tensor, corners: Tensor) -> float:
    """How many times closed surfaces, given by their faces' corners [F, 3, 3], go round `point` [3] (Van Oosterom & Strackee 1983)."""
    a, b, c = (corners - point).unbind(1)
    la, lb, lc = a.norm(dim=1), b.norm(dim=1), c.norm(dim=1)
    top = (a * torch.linalg.cross(b, c, dim=1)).sum(dim=1)
    bottom = la * lb * lc + (a * b).sum(dim=1) * lc + (b * c).sum(dim=1) * la + (c * a).sum(dim=1) * lb
    return float(torch.atan2(top, bottom).sum() / (2 * torch.pi))


def _neighbour_offsets(vertices: Tensor, faces: Tensor) -> Tensor:
    """[V, 3] from each vertex to the mean of its neighbours, on a closed mesh."""
    start, end = faces.reshape(-1), faces.roll(-1, dims=1).reshape(-1)
    total = torch.zeros_like(vertices).index_add_(0, start, vertices[end] - vertices[start])
    return total / start.bincount(minlength=len(vertices)).clamp_min(1)[:, None]


def _taubin(vertices: Tensor, faces: Tensor, passes: int) -> Tensor:
    """Smoothing that keeps the volume: a step inwards, a step outwards (Taubin 1995, lambda 0.5, mu -0.53)."""
    for _ in range(passes):
        vertices = vertices + 0.5 * _neighbour_offsets(vertices, faces)
        vertices = vertices - 0.53 * _neighbour_offsets(vertices, faces)
    return vertices


def _relaxed(mesh: Mesh) -> Mesh:
    """Corners of faces lower than _SLIVER of the diagonal drawn half-way to their neighbours' mean, until there are none."""
    vertices = mesh.vertices
    for _ in range(10):
        low = degenerate(vertices, mesh.faces, _SLIVER)
        if not bool(low.any()):
            break
        corners = mesh.faces[low].unique()
        vertices = vertices.index_add(0, corners, 0.5 * _neighbour_offsets(vertices, mesh.faces)[corners])
    return Mesh(vertices, mesh.faces)


def _finished(mesh: Mesh, dtype: torch.dtype) -> Mesh:
    """In its own precision, where vertices that would fall on one place, and corners of flat faces, have moved a little towards
    their own neighbours: each time twice as far, until there are none."""
    vertices = mesh.vertices
    for attempt in range(6):
        rounded = vertices.float()
        _, place, uses = rounded.unique(dim=0, return_inverse=True, return_counts=True)
        moves = (uses > 1)[place]
        moves[mesh.faces[degenerate(rounded.double(), mesh.faces)]] = True
        if not bool(moves.any()):
            break
        offsets = torch.nn.functional.normalize(_neighbour_offsets(vertices, mesh.faces), dim=1)
        vertices = vertices + torch.where(moves[:, None], _GAP * 2**attempt * _diagonal(vertices) * offsets, 0.0)
    return Mesh(vertices.to(dtype), mesh.faces)


def _cleaned(mesh: Mesh) -> Mesh:
    """Without faces that have a corner twice or lie on another one: of two that look opposite ways neither stays, of equal ones one."""
    faces = mesh.faces[(mesh.faces != mesh.faces.roll(1, dims=1)).all(dim=1)]
    if len(faces) == 0:
        return Mesh(mesh.vertices[:0], faces)
    sets, place = faces.sort(dim=1).values.unique(dim=0, return_inverse=True)
    turn = -(faces.roll(-1, dims=1) - faces).sign().prod(dim=1)  # 1 where the corners run as in `sets`, -1 the other way
    balance = torch.zeros(len(sets), dtype=torch.int64).index_add_(0, place, turn).sign()
    rows = (turn == balance[place]).nonzero()[:, 0]
    first = torch.full((len(sets),), len(faces)).scatter_reduce_(0, place[rows], rows, "amin")
    used, faces = faces[first[first < len(faces)].sort().values].unique(return_inverse=True)
    return Mesh(mesh.vertices[used], faces)


def _double(mesh: Mesh) -> Mesh:
    return Mesh(mesh.vertices.detach().cpu().double(), mesh.faces.detach().cpu())


def _diagonal(vertices: Tensor) -> float:
    if len(vertices) == 0:
        return 0.0
    return float((vertices.amax(dim=0) - vertices.amin(dim=0)).norm())
