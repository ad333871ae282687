"""Whether two surfaces are the same, up to the order of their vertices."""

from __future__ import annotations

import torch
from scipy.spatial import cKDTree
from torch import Tensor


def match_vertices(ours: Tensor, theirs: Tensor, tolerance: float) -> Tensor:
    """[V] which of their vertices each of ours is; asserts that they are the same up to order and `tolerance`."""
    assert len(ours) == len(theirs)
    distance, place = cKDTree(theirs.detach().cpu().numpy()).query(ours.detach().cpu().numpy())
    assert distance.max() <= tolerance
    order = torch.from_numpy(place)
    assert len(order.unique()) == len(order)
    return order


def match(ours: tuple[Tensor, Tensor], theirs: tuple[Tensor, Tensor], tolerance: float) -> Tensor:
    """`match_vertices`; asserts the same faces too, wherever each begins."""

    def rolled(faces: Tensor) -> list[tuple[int, ...]]:
        first = faces.argmin(dim=1, keepdim=True)
        return sorted(map(tuple, faces.gather(1, (first + torch.arange(3)) % 3).tolist()))

    order = match_vertices(ours[0], theirs[0], tolerance)
    assert rolled(order[ours[1].cpu()]) == rolled(theirs[1].cpu())
    return order
