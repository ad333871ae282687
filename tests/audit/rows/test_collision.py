"""Row 12: hulls that are too many, too fine, not convex, or leave the surface are found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from complete_assets import complete, hulls_glb
from framed import box_mesh, framed
from written_files import Draft

from dreamfusion_mesh.audit.readers.written import Hull, Written
from dreamfusion_mesh.audit.row import Row
from dreamfusion_mesh.audit.rows.collision import collision_row, coverage, volume_ratio
from dreamfusion_mesh.audit.siblings import find_hulls
from dreamfusion_mesh.config import AuditSettings


def hull(low: Sequence[float] = (-0.5, 0, -0.5), high: Sequence[float] = (0.5, 1, 0.5), name: str = "hull") -> Hull:
    solid = trimesh.creation.box(bounds=[low, high])
    return Hull(name, np.asarray(solid.vertices, np.float64), np.asarray(solid.faces, np.int64))


def halves(gap: float = 0.0) -> list[Hull]:
    return [hull(high=(-gap / 2, 1, 0.5)), hull(low=(gap / 2, 0, -0.5))]


def ball(subdivisions: int) -> Hull:
    solid = trimesh.creation.icosphere(subdivisions=subdivisions, radius=0.4)
    return Hull("ball", np.asarray(solid.vertices) + np.array([0, 0.5, 0]), np.asarray(solid.faces))


SURFACE = framed(box_mesh())


def row_of(hulls: Sequence[Hull], written: Written = SURFACE, **changes: Any) -> Row:
    return collision_row(written, hulls, AuditSettings(**changes))


def check(row: Row, words: str) -> None:
    assert row.status == "fail", row.detail
    assert words in row.detail
    assert ";" not in row.detail, "one fault alone"


@pytest.mark.parametrize("hulls", [[hull()], halves(), halves(0.005), [hull(), ball(0)]], ids=["one", "two", "a slit", "one in the other"])
def test_hulls_that_fill_the_box_pass(hulls: list[Hull]) -> None:
    row = row_of(hulls)
    assert row.status == "pass", row.detail
    assert row.measured["hulls"] == len(hulls)
    assert row.measured["covered"] == 1
    assert row.measured["volume"] == pytest.approx(1, abs=0.006)


def test_no_hulls_are_not_measured() -> None:
    assert row_of([]).status == "not measured"


def test_each_fault_fails() -> None:
    check(row_of([hull()] * 17), "17 hulls, at most 16")
    check(row_of([hull(), ball(1)]), "a hull of 42 vertices, at most 32")
    check(row_of([hull(high=(0.5, 1.2, 0.5))]), "the hulls fill 1.2 times the surface's volume, at most 1.15")
    row = row_of([hull(high=(0.5, 0.9, 0.5))])
    check(row, "of the surface is in a hull or within 0.01 of the diagonal, at least 98.0%")
    # of 6 m2, the top and the sides' upper 8.27 cm, a hundredth of the diagonal nearer than a tenth, lie outside
    assert row.measured["covered"] == pytest.approx(1 - (1 + 4 * (0.1 - 0.01 * 3**0.5)) / 6, abs=0.01)


@pytest.mark.parametrize("fault", ["dented", "open", "inside out", "flat"])
def test_what_is_not_convex_is_named(fault: str) -> None:
    whole = ball(1)
    vertices, faces = whole.vertices.copy(), whole.faces
    if fault == "dented":
        vertices[0] = [0, 0.5, 0]
    elif fault == "open":
        faces = faces[1:]
    elif fault == "inside out":
        faces = faces[:, ::-1]
    else:
        vertices[:, 1] = 0
    row = row_of([hull(), Hull("bent", vertices, faces)], hull_vertices=64)
    assert row.status == "fail"
    assert row.detail.startswith("1 of the hulls are not closed and convex, such as 'bent'")


def test_thresholds_and_the_union_are_exact() -> None:
    """Two boxes that share half of their volume, and a quarter of the surface's area left out."""
    assert volume_ratio(SURFACE, [hull(high=(0.25, 1, 0.5)), hull(low=(-0.25, 0, -0.5))]) == pytest.approx(1, rel=1e-5)
    assert volume_ratio(SURFACE, [hull(high=(0.25, 1, 0.5))]) == pytest.approx(0.75, rel=1e-5)
    assert coverage(SURFACE, [hull(high=(0.0, 1, 0.5))], 0.0) == pytest.approx(0.5, abs=0.01)
    assert row_of([hull(high=(0.5, 0.9, 0.5))], hull_coverage=0.5).status == "pass"
    assert row_of([hull(high=(0.5, 1.2, 0.5))], hull_volume=1.3).status == "pass"


def test_an_open_surface_has_no_volume() -> None:
    row = row_of([hull()], replace(SURFACE, faces=SURFACE.faces[1:]))
    assert (row.status, row.measured["volume"]) == ("pass", "not measured")


@pytest.mark.parametrize("merged", [False, True], ids=["a primitive each", "one primitive"])
def test_hulls_are_read_from_the_file_beside(merged: bool, tmp_path: Path) -> None:
    path = complete(tmp_path)
    drafts = [Draft(part.vertices, part.vertices, part.vertices[:, :2], part.faces) for part in (*halves(0.01), ball(0))]
    (tmp_path / "asset_collision.glb").write_bytes(hulls_glb(*drafts, merged=merged))
    found = find_hulls(path, SURFACE, "generic")
    assert [len(part.vertices) for part in found] == [8, 8, 12]
    assert row_of(found).measured["hulls"] == 3
