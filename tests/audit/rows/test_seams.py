"""Row 10: a seam that shows is found, close by or in the mip levels where the gutter comes in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from framed import box_mesh, filled, framed

from dreamfusion_mesh.audit.atlas import measure_atlas
from dreamfusion_mesh.audit.row import Row
from dreamfusion_mesh.audit.rows.seams import seams_row
from dreamfusion_mesh.config import AuditSettings


def row_of(pixels: np.ndarray, mip: int = 3) -> Row:
    written = framed(box_mesh(), base_color=pixels)
    return seams_row(written, measure_atlas(written), AuditSettings(mip=mip))


def differences(row: Row) -> list[float]:
    return [float(row.measured[f"dE p95 at mip {mip}"]) for mip in range(4)]


def test_one_colour_has_no_seams() -> None:
    row = row_of(filled((200, 30, 40)))
    assert row.status == "pass"
    assert row.measured["seam edges"] == 120
    assert differences(row) == [0, 0, 0, 0]


def test_a_colour_that_follows_the_surface_passes() -> None:
    """Each chart painted by its place in space, gutter and all: both sides of an edge are at one place."""
    pixels = filled((0, 0, 0))
    texel = (np.arange(256) + 0.5)[None, :].repeat(256, axis=0), (np.arange(256) + 0.5)[:, None].repeat(256, axis=1)
    for side in range(6):
        column, line = side % 3, side // 3
        s, t = (texel[0] - 8 - 85 * column) / 77, 1 - (texel[1] - 8 - 85 * line) / 77
        chart = (np.abs(s - 0.5) < 0.55) & (np.abs(t - 0.5) < 0.55)
        along, across, out = ((0, 1, 2), (1, 2, 0), (2, 0, 1))[side % 3]
        place = np.zeros((256, 256, 3))
        place[..., along], place[..., across], place[..., out] = (s if side < 3 else 1 - s), t, float(side < 3)
        pixels[chart] = np.clip(40 + 150 * place[chart], 0, 255).round()
    row = row_of(pixels, mip=1)
    assert max(differences(row)[:2]) < 0.2
    assert row.status == "pass", row.detail


def test_a_chart_of_another_colour_fails_at_every_mip() -> None:
    pixels = filled((120, 120, 120))
    pixels[4:89, 4:89] = (120, 120, 150)
    row = row_of(pixels)
    assert row.status == "fail"
    assert min(differences(row)) > 2
    assert row.detail.count("colours differ across seams") == 4


def test_the_base_colour_factor_is_applied() -> None:
    """A yellow chart among white ones differs by its blue alone, which a factor takes away."""
    pixels = filled((255, 255, 255))
    pixels[4:89, 4:89] = (255, 255, 0)
    found = []
    for factor in (1.0, 0.0):
        painted = framed(box_mesh(), base_color=pixels)
        assert painted.materials is not None
        painted = replace(painted, materials=replace(painted.materials, factors={"baseColorFactor": (1.0, 1.0, factor, 1.0)}))
        found.append(seams_row(painted, measure_atlas(painted), AuditSettings()))
    assert differences(found[0])[0] > 20
    assert differences(found[1]) == [0, 0, 0, 0]


def test_a_gutter_of_another_colour_fails_where_mips_reach_it() -> None:
    """The gap is 8 texels; with two of them painted beyond each chart, mip 0 sees nothing and mip 3 sees the gap of one side."""
    pixels = filled((0, 0, 255))
    for side in range(6):
        left, top = 8 + 85 * (side % 3), 8 + 85 * (side // 3)
        pixels[top - 2 : top + 79, left - 2 : left + 79] = (128, 128, 128)
    pixels[6:87, 6:87] = (128, 128, 128)
    clean = row_of(filled((128, 128, 128)))
    row = row_of(pixels)
    assert differences(row)[0] == pytest.approx(differences(clean)[0], abs=1e-6)
    assert differences(row)[3] > 2
    assert row.status == "fail"
    assert "at mip 0" not in row.detail
    told = row_of(pixels, mip=0)
    assert (told.status, differences(told)) == ("pass", differences(row))
    assert "judged to mip 0, as the gaps are" in told.detail
