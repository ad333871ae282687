"""Row 4, where overlaps cannot be counted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from broken_files import measure
from written_files import Draft, box, png

from dreamfusion_mesh.audit import atlas


def tiled(cells: int) -> Draft:
    """The box with half of the whole texture on every face."""
    draft = box(cells)
    corners, count = draft.faces.reshape(-1), len(draft.faces)
    uvs = np.tile([[0.0, 1], [1, 1], [1, 0]], (count, 1))
    faces = np.arange(3 * count).reshape(-1, 3)
    return replace(draft, positions=draft.positions[corners], normals=draft.normals[corners], uvs=uvs, faces=faces, image=png(64))


def test_a_tiled_texture_is_counted(tmp_path: Path) -> None:
    row = measure(tiled(2).write(tmp_path)).rows[3]
    assert row.status == "fail"
    assert row.measured["covered twice"] == 47 * 256 * 257 // 2  # 48 faces, each with the centres on its diagonal


def test_more_rows_than_are_counted_fail_by_their_area(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atlas, "_MOST_ROWS", 1000)
    rows = measure(tiled(2).write(tmp_path)).rows
    assert rows[3].status == "fail"
    assert "faces cover the square 24 times over; overlaps not measured: faces cross 12288 rows of sub-texels" in rows[3].detail
    assert [row.status for row in rows[4:6]] == ["not measured", "not measured"]
    assert all("rows of sub-texels, more than the 3880 that are counted" in row.detail for row in rows[4:6])
