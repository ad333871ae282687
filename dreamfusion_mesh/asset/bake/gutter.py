"""Texels between the charts: the gutter round each chart, then texels that repeat the nearest one, then the mean."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_REPEATED = 16  # texels round the gutters that repeat the nearest one; beyond, only far mips look


def gutter_texels(covered: Tensor, reach: int) -> tuple[Tensor, Tensor]:
    """The texels, as row * S + column [N], that are not `covered` [S, S] bool but at most `reach` from one that is, and that one [N]."""
    from scipy.ndimage import distance_transform_edt

    size = len(covered)
    outside = ~covered.cpu().numpy()
    distance, nearest = distance_transform_edt(outside, return_indices=True)
    rows = np.flatnonzero(outside & (distance <= reach))
    origins = nearest[0].reshape(-1)[rows].astype(np.int64) * size + nearest[1].reshape(-1)[rows]
    edge, origin = torch.from_numpy(np.stack([rows, origins])).to(covered.device).unbind(0)
    return edge, origin


def fill(images: list[np.ndarray], known: np.ndarray) -> list[np.ndarray]:
    """Images [S, S, C] uint8 in which the texels that are not `known` [S, S] bool repeat the nearest one that is, or, farther than 16
    texels from it, have the mean of all that are.
    """
    from scipy.ndimage import distance_transform_edt

    distance, nearest = distance_transform_edt(~known, return_indices=True)
    near, far = (distance > 0) & (distance <= _REPEATED), distance > _REPEATED
    row, column = nearest[0][near], nearest[1][near]
    filled = []
    for image in images:
        whole = image * known[..., None]
        mean = whole.sum(axis=(0, 1), dtype=np.int64) / max(int(known.sum()), 1)
        whole[near] = image[row, column]
        whole[far] = np.round(mean).astype(np.uint8)
        filled.append(whole)
    return filled
