"""Narrow charts given to their neighbours."""

from __future__ import annotations

import numpy as np
import pytest
from surfaces import torus

from dreamfusion_mesh.asset.deadline import Deadline
from dreamfusion_mesh.asset.uv.absorb import absorb
from dreamfusion_mesh.asset.uv.box import box_charts
from dreamfusion_mesh.asset.uv.charts import (
    Charts,
    equalize_density,
    isolate_faces,
    overlapping,
    split_overlaps,
    surface_areas,
)
from dreamfusion_mesh.geometry.areas import uv_areas

NEVER = Deadline.after(100_000)


def sheet(cells: int) -> tuple[Charts, np.ndarray, np.ndarray]:
    """A flat square of one chart."""
    steps = np.arange(cells + 1) / cells
    u, v = (grid.ravel() for grid in np.meshgrid(steps, steps))
    row = (np.arange(cells)[:, None] * (cells + 1) + np.arange(cells)).ravel()
    quads = np.stack([row, row + 1, row + cells + 2, row + cells + 1], axis=1)
    faces = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    uvs = np.stack([u, v], axis=1)
    return Charts(uvs, faces, np.zeros(len(faces), dtype=int)), np.concatenate([uvs, np.zeros((len(uvs), 1))], axis=1), faces


def test_pieces_cut_from_a_flat_sheet_go_back_exactly_where_they_were() -> None:
    whole, vertices, faces = sheet(6)
    out = np.zeros(len(faces), dtype=bool)
    out[[3, 14, 15, 40, 70]] = True
    cut = isolate_faces(whole, out, vertices, faces)
    assert cut.count == 6
    narrow = np.bincount(cut.chart) < 5
    healed = absorb(cut, vertices, faces, narrow, NEVER)
    assert healed.count == 1
    assert healed.uvs[healed.face_uvs] == pytest.approx(whole.uvs[whole.face_uvs], abs=1e-12)


def test_a_rough_surface_stays_valid_with_fewer_charts() -> None:
    mesh = torus(30, 15)
    draws = np.random.default_rng(2)
    vertices, faces = mesh.vertices.double().numpy(), mesh.faces.numpy()
    vertices = vertices + 0.02 * draws.normal(size=vertices.shape)
    torn = isolate_faces(box_charts(vertices, faces), draws.random(len(faces)) < 0.05, vertices, faces)
    before = equalize_density(split_overlaps(torn, vertices, faces), vertices, faces)
    after = absorb(before, vertices, faces, np.bincount(before.chart) < 6, NEVER)
    assert (np.bincount(after.chart) < 6).sum() < 0.2 * (np.bincount(before.chart) < 6).sum()
    share = uv_areas(after.uvs[after.face_uvs]) / surface_areas(vertices, faces)
    assert share.min() > 0
    assert not overlapping(after).any()


def test_without_narrow_charts_nothing_moves() -> None:
    whole, vertices, faces = sheet(3)
    kept = absorb(whole, vertices, faces, np.zeros(1, dtype=bool), NEVER)
    assert np.array_equal(kept.uvs[kept.face_uvs], whole.uvs[whole.face_uvs])
