"""Charts of known size."""

from __future__ import annotations

import numpy as np


def rectangle(left: float, low: float, width: float, height: float, size: int) -> np.ndarray:
    """Two faces [2, 3, 2] of a rectangle given in texels."""
    corners = np.array([[left, low], [left + width, low], [left + width, low + height], [left, low + height]]) / size
    return corners[np.array([[0, 1, 2], [0, 2, 3]])]
