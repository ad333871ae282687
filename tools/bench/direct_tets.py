"""Marching tetrahedra written directly, to judge and to time the package's: all tetrahedra classified, edges made unique, at every step.

Nothing is shared with the package. The table of triangles is found by looking at one tetrahedron.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

PAIRS = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))


def _triangles(inside: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """Triangles over the edges' middles of the corner tetrahedron, that part its `inside` corners from the others and face these."""
    corners = torch.cat([torch.zeros(1, 3), torch.eye(3)]).double()
    cut = [e for e, (a, b) in enumerate(PAIRS) if (a in inside) != (b in inside)]
    if not cut:
        return []
    middles = torch.stack([corners[list(pair)].mean(dim=0) for pair in PAIRS])
    outside = [c for c in range(4) if c not in inside]
    outwards = corners[outside].mean(dim=0) - corners[list(inside)].mean(dim=0)
    if len(cut) == 4:  # round the parallelogram: neighbours share a corner
        rings = itertools.permutations(cut)
        ring = next(r for r in rings if all(set(PAIRS[a]) & set(PAIRS[b]) for a, b in zip(r, r[1:] + r[:1], strict=True)))
        found = [ring[:3], (ring[0], ring[2], ring[3])]
    else:
        found = [tuple(cut)]
    turned = []
    for p, q, r in found:
        normal = torch.linalg.cross(middles[q] - middles[p], middles[r] - middles[p])
        turned.append((p, q, r) if normal @ outwards > 0 else (p, r, q))
    return turned


_TABLE = torch.full((16, 2, 3), -1)
for _case in range(16):
    for _row, _triangle in enumerate(_triangles(tuple(c for c in range(4) if _case >> c & 1))):
        _TABLE[_case, _row] = torch.tensor(_triangle)


def direct_marching_tets(vertices: Tensor, sdf: Tensor, tets: Tensor) -> tuple[Tensor, Tensor]:
    """Vertices [V, 3] and faces [F, 3] of the zero level on tets [T, 4], without any topology known before.

    Edges are identified by one number each, which is several times faster than `unique` over pairs.
    """
    inside = sdf < 0
    corners = inside[tets]
    count = corners.sum(dim=1)
    crossed = tets[(count > 0) & (count < 4)]
    edges = crossed[:, torch.tensor(PAIRS, device=tets.device)]  # [C, 6, 2]
    low, high = edges.amin(dim=2), edges.amax(dim=2)
    changes = inside[low] != inside[high]
    keys, place = (low * len(sdf) + high)[changes].unique(return_inverse=True)
    rows = torch.full(changes.shape, -1, device=tets.device)
    rows[changes] = place
    case = (inside[crossed] * torch.tensor([1, 2, 4, 8], device=tets.device)).sum(dim=1)
    picked = _TABLE.to(tets.device)[case].reshape(len(crossed), 6)
    faces = rows.gather(1, picked.clamp_min(0)).reshape(-1, 3)[picked.reshape(-1, 3)[:, 0] >= 0]
    a, b = keys // len(sdf), keys % len(sdf)
    weight = (sdf[a] / (sdf[a] - sdf[b]))[:, None]
    return vertices[a] * (1 - weight) + vertices[b] * weight, faces
