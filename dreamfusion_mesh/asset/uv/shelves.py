"""Charts' boxes in rows: looser than `pack`, but fast whatever the charts look like."""

from __future__ import annotations

import numpy as np

from dreamfusion_mesh.asset.uv.bitmaps import SLACK, extents
from dreamfusion_mesh.asset.uv.charts import Charts

_ROUNDS = 12
_LEAST_TEXELS = 0.5  # of a chart's longer side, so that float32 holds its shape


class DoesNotFit(ValueError):
    """Too many charts, or too much padding, for the texture."""

    @staticmethod
    def of(count: int, size: int, padding: int) -> DoesNotFit:
        """Of `count` charts in a texture of `size` texels a side."""
        return DoesNotFit(f"{count} charts do not fit into {size} x {size} texels with gaps of {2 * padding}; use a larger texture")


def pack_on_shelves(charts: Charts, local: np.ndarray, size: int, padding: int) -> np.ndarray:
    """[U, 2] float64 UVs in [0, 1]^2 of charts whose lower left corners are at the origin of `local` [U, 2], at one scale,
    but for those smaller than half a texel.

    size      texels a side
    padding   texels; gaps between charts are at least twice this, those to the border at least this
    Raises DoesNotFit where the charts do not fit at a texel each.
    """
    sizes = extents(charts, local)
    longest = sizes.max(axis=1)
    order = np.lexsort((np.arange(charts.count), -sizes[:, 1]))
    low, high, best = 0.0, size / float(longest.max()), None
    for turn in range(_ROUNDS + 1):
        scale = high * 1e-9 if turn == 0 else (low + high) / 2  # first: do they fit at all?
        scales = np.maximum(scale, _LEAST_TEXELS / longest)
        corners = _rows(np.floor((sizes * scales[:, None])[order] + 2 * SLACK).astype(np.int64) + 1 + 2 * padding, size)
        if corners is not None:
            low, best = scale, (scales, corners)
        elif turn == 0:
            raise DoesNotFit.of(charts.count, size, padding)
        else:
            high = scale
    assert best is not None
    scales, placed = best
    corners = np.empty((charts.count, 2))
    corners[order] = placed + padding
    return (local * scales[charts.owner, None] + SLACK + corners[charts.owner]) / size


def _rows(boxes: np.ndarray, size: int) -> np.ndarray | None:
    """[N, 2] corners of boxes [N, 2] int64 laid side by side, those of a row as high as its first; None where they leave the square."""
    ends = np.cumsum(boxes[:, 0])
    if boxes[:, 0].max() > size:
        return None
    corners, first, bottom = np.zeros(boxes.shape), 0, 0
    while first < len(boxes):
        before = ends[first] - boxes[first, 0]
        following = int(np.searchsorted(ends, before + size, side="right"))
        height = int(boxes[first:following, 1].max())
        if bottom + height > size:
            return None
        corners[first:following, 0] = ends[first:following] - boxes[first:following, 0] - before
        corners[first:following, 1] = bottom
        first, bottom = following, bottom + height
    return corners
