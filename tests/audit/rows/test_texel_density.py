"""Texel density against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from dreamfusion_mesh.audit.rows.texel_density import density_ratio


def test_the_density_ratio_is_of_areas() -> None:
    """Half of the surface drawn twice as fine along each side: areas 4 to 1; a twentieth or less of it does not count."""
    flat = np.array([[[0, 0, 0], [1, 0, 0], [0, 1, 0]]], dtype=np.float64)
    uvs = flat[:, :, :2] / 4
    corners = np.repeat(flat, 100, axis=0)
    for share, ratio in ((50, 4.0), (4, 1.0), (6, 4.0)):
        scale = np.where(np.arange(100) < share, 2.0, 1.0)[:, None, None]
        assert density_ratio(corners, uvs * scale) == pytest.approx(ratio, rel=1e-12)
        assert density_ratio(corners * 3, uvs * scale) == pytest.approx(ratio, rel=1e-12)


def test_the_density_ratio_weighs_by_surface() -> None:
    """One large face and many tiny ones of another density: the tiny ones are under a twentieth of the surface."""
    flat = np.array([[[0, 0, 0], [1, 0, 0], [0, 1, 0]]], dtype=np.float64)
    corners = np.concatenate([flat, np.repeat(flat * 0.01, 100, axis=0)])
    assert density_ratio(corners, np.repeat(flat[:, :, :2], 101, axis=0)) == pytest.approx(1.0, rel=1e-12)
    assert density_ratio(flat, np.zeros((1, 3, 2))) == np.inf
