"""What a person rejects in a surface at a glance: loose parts, parts below its base, holes through the solid, pits.

None of it makes a surface unsound; some objects are meant to have it (a ring has a hole). So it is measured and told, not judged.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dreamfusion_mesh.geometry.areas import face_areas, shell_volumes
from dreamfusion_mesh.geometry.normals import face_normals
from dreamfusion_mesh.geometry.samples import spread_points
from dreamfusion_mesh.geometry.topology import components, edge_keys, shells, weld
from dreamfusion_mesh.kernels.trace import SurfaceTree
from dreamfusion_mesh.records import Mesh

TELLING_BELOW = 0.01  # of the height: what hangs less far below the base does not show
DEBRIS_AREA = 0.05  # of the area: more than that below the base is no debris, but the largest part floats
TELLING_PITS = 0.005  # of the area

PIT_WIDTH = 0.06  # of the diagonal: what is wider is no pit but a hollow
PIT_ANGLE = 30.0  # degrees above the surface at which rays are sent out all round
_DIRECTIONS = 12
_MOST_OPEN = 2  # of them; a corner between three walls leaves 3
_SAMPLES = 16_384  # points at which pits are looked for, spread evenly over the area
_LIFT = 1e-4  # of the diagonal: how far above the surface rays begin


@dataclass(frozen=True)
class Defects:
    """What was seen on a surface.

    parts         shells with a positive volume, or not closed
    cavities      closed shells whose faces look inwards
    genus         handles of each shell, largest shell first: holes through the solid; a boundary is no handle
    boundaries    open boundary loops
    below_height  how far the lowest other part hangs below the largest one's base, as a share of the whole height (+Y up)
    below_area    share of the area that lies below that base
    pits          share of the area that lies in narrow pits; see `pit_share`
    """

    parts: int
    cavities: int
    genus: tuple[int, ...]
    boundaries: int
    below_height: float
    below_area: float
    pits: float

    @property
    def holes(self) -> int:
        """Holes through the solid, of all shells together."""
        return sum(self.genus)

    def lines(self) -> list[str]:
        """What is telling, a sentence each for the user; empty where nothing is."""
        found = []
        if self.parts > 1:
            found.append(f"{self.parts} separate parts")
        if self.cavities:
            found.append(_counted(self.cavities, "closed cavity", "closed cavities") + " inside")
        if self.holes:
            found.append(_counted(self.holes, "hole", "holes") + " through the solid")
        if self.boundaries:
            found.append(_counted(self.boundaries, "opening", "openings") + " in the surface")
        if self.below_height >= TELLING_BELOW:
            below = f"{self.below_height:.1%} of the height"
            if self.below_area < DEBRIS_AREA:
                found.append(f"a small part hangs {below} below the largest")
            else:
                found.append(f"the largest part floats: {below} lies below its base")
        if self.pits >= TELLING_PITS:
            found.append(f"{self.pits:.1%} of the surface lies in narrow pits")
        return found


def defects(vertices: np.ndarray | Tensor, faces: np.ndarray | Tensor) -> Defects:
    """Look at a surface in numpy or torch on the CPU: vertices [V, 3] in any unit, +Y up, and faces [F, 3] that look outwards.

    Vertices at exactly the same position are one. Raises ValueError where there is no face, or a coordinate is not finite.
    """
    if not isinstance(vertices, Tensor):
        vertices = torch.from_numpy(np.array(vertices, dtype=np.float64))
    if not isinstance(faces, Tensor):
        faces = torch.from_numpy(np.array(faces, dtype=np.int64))
    mesh = weld(_normalised(vertices, faces))
    shell = shells(mesh.faces)
    areas = face_areas(mesh.vertices, mesh.faces)
    genus, boundaries = _handles(mesh.faces, shell)
    inward = (shell_volumes(mesh.vertices, mesh.faces, shell) < 0) & (boundaries == 0)
    order = _sums(areas, shell).argsort(descending=True, stable=True)
    below_height, below_area = _below_base(mesh, shell == order[0], areas)
    return Defects(
        parts=int((~inward).sum()),
        cavities=int(inward.sum()),
        genus=tuple(genus[order].tolist()),
        boundaries=int(boundaries.sum()),
        below_height=below_height,
        below_area=below_area,
        pits=pit_share(mesh),
    )


def pit_share(mesh: Mesh) -> float:
    """Share of the area of a surface [0, 1] that lies in narrow pits.

    A point lies in one where, of rays that leave it all round at PIT_ANGLE above its face, at least 10 in 12 meet the surface no farther
    off to the side than PIT_WIDTH of the diagonal: it is low in something that is narrow in every direction and deeper than about a
    quarter of its width. An edge, a wide groove or a corner between three walls leaves more directions open, and a cup is wider.
    """
    diagonal = float((mesh.vertices.amax(dim=0) - mesh.vertices.amin(dim=0)).norm())
    points, face = spread_points(mesh.vertices.double(), mesh.faces, _SAMPLES)
    if diagonal == 0.0 or len(points) == 0:
        return 0.0
    tree = SurfaceTree(mesh.vertices, mesh.faces)
    normals = face_normals(mesh.vertices.double(), mesh.faces)[face]
    axis = torch.eye(3, dtype=normals.dtype)[normals.abs().argmin(dim=1)]
    first = torch.nn.functional.normalize(torch.linalg.cross(normals, axis), dim=1)
    second = torch.linalg.cross(normals, first)
    elevation = torch.tensor(PIT_ANGLE).deg2rad()
    reach = PIT_WIDTH * diagonal / float(elevation.cos())  # across it
    opened = torch.zeros(len(points), dtype=torch.int64)
    deep = torch.arange(len(points))  # those that still may lie in a pit
    for turn in torch.arange(_DIRECTIONS) * (2 * torch.pi / _DIRECTIONS):
        flat = first[deep] * turn.cos() + second[deep] * turn.sin()
        directions = flat * elevation.cos() + normals[deep] * elevation.sin()
        opened[deep] += tree.first_hit(points[deep] + _LIFT * diagonal * normals[deep], directions, reach)[0].isinf()
        deep = deep[opened[deep] <= _MOST_OPEN]
    return len(deep) / len(points)


def _normalised(vertices: Tensor, faces: Tensor) -> Mesh:
    """In float64, in a box of size 1, so that squares neither overflow nor vanish."""
    if len(faces) == 0:
        raise ValueError(f"faces: shape {list(faces.shape)}, expected at least one face")
    vertices = vertices.detach().cpu().double()
    if not bool(vertices.isfinite().all()):
        raise ValueError(f"vertices: shape {list(vertices.shape)} holds values that are not finite")
    scale = vertices.abs().amax().clamp_min(torch.finfo(torch.float64).tiny)
    scaled = vertices / scale  # before the difference, which might overflow
    low, high = scaled.amin(dim=0), scaled.amax(dim=0)
    return Mesh((scaled - low) / (high - low).amax().clamp_min(torch.finfo(torch.float64).tiny), faces.cpu().long())


def _handles(faces: Tensor, shell: Tensor) -> tuple[Tensor, Tensor]:
    """[S] genus and [S] open boundary loops of each shell, from its Euler number 2 - 2 genus - boundaries.

    Shells are taken as two-dimensional manifolds: a side of an edge with other than two faces is a boundary, and where sheets touch in a
    vertex alone each has a vertex of its own.
    """
    sides = 3 * len(faces)  # side 3 f + c runs from corner c of face f to its next corner; corners are numbered alike
    key, order = edge_keys(faces, int(faces.max()) + 1)[0].reshape(-1).sort(stable=True)
    _, edge, uses = key.unique_consecutive(return_inverse=True, return_counts=True)
    side, other = order[(uses[edge] == 2).nonzero()[:, 0]].view(-1, 2).T
    begin, end = torch.arange(sides), torch.arange(sides).view(-1, 3).roll(-1, dims=1).reshape(-1)
    opposite = faces.reshape(-1)[begin[side]] != faces.reshape(-1)[begin[other]]
    meets = torch.where(opposite, end[other], begin[other]), torch.where(opposite, begin[other], end[other])
    vertex = components(torch.cat([begin[side], end[side]]), torch.cat(meets), sides)
    owner = shell.repeat_interleave(3)
    count = int(shell.max()) + 1
    vertex_owner = torch.zeros(int(vertex.max()) + 1, dtype=torch.int64).scatter_(0, vertex, owner)
    single = order[uses[edge] != 2]
    loop = components(vertex[begin[single]], vertex[end[single]], len(vertex_owner))
    loop_owner = torch.full((int(loop.max()) + 1,), -1).scatter_(0, loop[vertex[begin[single]]], owner[single])
    boundaries = loop_owner[loop_owner >= 0].bincount(minlength=count)
    edges = owner[side].bincount(minlength=count) + owner[single].bincount(minlength=count)
    euler = vertex_owner.bincount(minlength=count) - edges + shell.bincount(minlength=count)
    return (2 - boundaries - euler).clamp_min(0) // 2, boundaries


def _below_base(mesh: Mesh, main: Tensor, areas: Tensor) -> tuple[float, float]:
    """How far the mesh reaches below the lowest point of the faces `main` [F], over its height, and the share of its area there."""
    y = mesh.vertices[:, 1][mesh.faces]
    base, low, high = y[main].min(), y.min(), y.max()
    if not base > low:
        return 0.0, 0.0
    y0, y1, y2 = y.sort(dim=1).values.unbind(1)
    tiny = torch.finfo(y.dtype).tiny
    rising = (base - y0).square() / ((y1 - y0) * (y2 - y0)).clamp_min(tiny)
    falling = 1 - (y2 - base).square() / ((y2 - y0) * (y2 - y1)).clamp_min(tiny)
    share = torch.where(base <= y0, 0.0, torch.where(base >= y2, 1.0, torch.where(base <= y1, rising, falling)))
    return float((base - low) / (high - low)), float((share * areas).sum() / areas.sum())


def _sums(values: Tensor, group: Tensor) -> Tensor:
    return torch.zeros(int(group.max()) + 1, dtype=values.dtype).index_add_(0, group, values)


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
