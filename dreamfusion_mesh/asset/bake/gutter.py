"""Texels between the charts: the gutter round each chart, and the rest, which repeats its nearest texel."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def gutter_texels(known: Tensor, reach: int) -> tuple[Tensor, Tensor]:
    """Rows and columns [N, 2] of the texels that are not `known` [S, S] bool but at most `reach` texels from one, and the nearest such
    [N, 2].
    """
    from scipy.ndimage import distance_transform_edt

    unknown = ~known.cpu().numpy()
    distance, nearest = distance_transform_edt(unknown, return_indices=True)
    rows, columns = np.nonzero(unknown & (distance <= reach))
    found = np.stack([np.stack([rows, columns], axis=1), nearest[:, rows, columns].T])
    edge, origin = torch.from_numpy(found.astype(np.int64)).to(known.device).unbind(0)
    return edge, origin


def fill(image: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The image [S, S, C] with every texel that is not `known` [S, S] bool repeating the nearest one that is."""
    from scipy.ndimage import distance_transform_edt

    nearest = distance_transform_edt(~known, return_distances=False, return_indices=True)
    return image[nearest[0], nearest[1]]
