"""UVs are counted face by face."""

from __future__ import annotations

import numpy as np
from uv_rectangles import rectangle

from dreamfusion_mesh.audit.atlas import uv_layout


def test_layout_counts_what_is_wrong() -> None:
    good = rectangle(10, 10, 20, 20, 64)
    assert uv_layout(good) == uv_layout(good[:, [1, 2, 0]])
    found = uv_layout(np.concatenate([good, good[:, ::-1], good[:, [0, 0, 1]], good + 0.6]))
    assert (found.outside, found.flipped, found.empty) == (4, 2, 2)
