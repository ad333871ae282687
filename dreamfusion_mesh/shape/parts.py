"""Which of a surface's shells are kept: those that look outwards, are large enough, and are not inside another one."""

from __future__ import annotations

import torch
from torch import Tensor

from dreamfusion_mesh.errors import PoorOutcome
from dreamfusion_mesh.geometry.areas import shell_volumes
from dreamfusion_mesh.geometry.topology import shells
from dreamfusion_mesh.kernels.trace import SurfaceTree
from dreamfusion_mesh.records import Mesh

_MOST_CONTAINERS = 256  # the shells with the longest diagonals, in which others are looked for: it bounds the time
_DIRECTIONS = ((0.48, 0.62, 0.62), (-0.71, 0.53, 0.46), (0.31, -0.47, 0.83))  # of rays that tell inside from outside, by majority


def outer_shells(mesh: Mesh, smallest_part: float) -> tuple[Mesh, dict[str, int]]:
    """Only shells that look outwards, have their share of the faces and are not inside another one; and how many went for each reason.

    The largest outward one always stays. Vertices in float64 on the CPU, of about unit size.
    Raises PoorOutcome where there is no face, or no shell looks outwards.
    """
    if len(mesh.faces) == 0:
        raise PoorOutcome("empty", "tidy: the surface is so thin or small in all its parts that nothing remains; lower fine.threshold")
    shell = shells(mesh.faces)
    volumes, sizes = shell_volumes(mesh.vertices, mesh.faces, shell), shell.bincount()
    outward = volumes > 0
    if not bool(outward.any()):
        largest = float(volumes.max())
        found = f"none of {len(sizes)} shells encloses a volume (largest {largest:.3g})"
        state = "inside out" if largest < 0 else "flat"
        raise PoorOutcome("empty", f"tidy: {found}: the surface is {state}; lower fine.threshold or fine.sdf_learning_rate")
    keep = outward & (sizes >= smallest_part * len(mesh.faces))
    keep[torch.where(outward, sizes, 0).argmax()] = True
    small = int((outward & ~keep).sum())
    inner = _inside_another(mesh, shell, keep)
    kept = keep & ~inner
    used, faces = mesh.faces[kept[shell]].unique(return_inverse=True)
    counts = {"small_shells_dropped": small, "inward_shells_dropped": int((~outward).sum()), "inner_shells_dropped": int(inner.sum())}
    return Mesh(mesh.vertices[used], faces), counts


def _inside_another(mesh: Mesh, shell: Tensor, keep: Tensor) -> Tensor:
    """[S] bool: kept shells inside another kept one."""
    inner = torch.zeros_like(keep)
    if int(keep.sum()) < 2:
        return inner
    corners = mesh.vertices[mesh.faces]
    row = shell[:, None].expand(-1, 3)
    empty = torch.full((len(keep), 3), torch.inf, dtype=corners.dtype)
    low = empty.scatter_reduce(0, row, corners.amin(dim=1), "amin")
    high = (-empty).scatter_reduce(0, row, corners.amax(dim=1), "amax")
    order = shell.argsort(stable=True)
    first = order[shell.bincount().cumsum(0) - shell.bincount()]  # of each shell's faces
    diagonals = torch.where(keep, (high - low).norm(dim=1), -1.0)
    for container in diagonals.argsort(descending=True, stable=True)[:_MOST_CONTAINERS].tolist():
        if not keep[container]:
            break
        boxed = keep & (low >= low[container]).all(dim=1) & (high <= high[container]).all(dim=1)
        boxed[container] = False
        asked = boxed.nonzero()[:, 0]
        if len(asked):
            inner[asked] |= _inside(corners[first[asked], 0], corners[shell == container])
    return inner


def _inside(points: Tensor, corners: Tensor) -> Tensor:
    """[N] bool: points [N, 3] inside one closed shell that looks outwards, given by its faces' corners [F, 3, 3].

    The first face that a ray meets shows its back to a point inside.
    """
    tree = SurfaceTree(corners.reshape(-1, 3).float(), torch.arange(3 * len(corners)).view(-1, 3))
    normals = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0], dim=1)
    votes = torch.zeros(len(points), dtype=torch.int64)
    for direction in torch.tensor(_DIRECTIONS, dtype=corners.dtype):
        along = torch.nn.functional.normalize(direction, dim=0)
        found = tree.first_hit(points, along.expand(len(points), 3), 1e10)[1]
        votes += (found >= 0) & ((normals[found] @ along) > 0)
    return votes >= 2
