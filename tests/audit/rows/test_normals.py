"""Row 9: normals that part at a seam, are not unit, or look the wrong way are found; those of the welded surface pass."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from assets import mapped
from framed import box_mesh, changed, framed

from dreamfusion_mesh.audit.rows.normals import measure_normals, normals_row
from dreamfusion_mesh.audit.seam_edges import seam_edges


@pytest.mark.parametrize("name", ["cube", "torus"])
def test_normals_of_the_welded_surface_pass(name: str) -> None:
    row = normals_row(framed(mapped(name)))
    assert row.status == "pass", row.detail


def test_a_box_shaded_flat_parts_its_normals_along_every_edge() -> None:
    """Ten edges along each of the box's twelve, each a seam, 90 degrees apart."""
    written = framed(box_mesh())
    corners = written.vertices[written.faces]
    flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    assert len(seam_edges(written)) == 120
    found = measure_normals(written, np.repeat(flat[:, None], 3, axis=1))
    assert (found.not_unit, found.parted, found.wrong_side) == (0, 120, 0)
    assert found.largest_angle == pytest.approx(90)


def test_both_sides_of_a_seam_edge_are_at_the_same_places() -> None:
    written = framed(mapped("torus"))
    edges, places = seam_edges(written), written.vertices[written.faces].reshape(-1, 3)
    assert len(edges) > 20
    assert np.array_equal(places[edges.one], places[edges.other])
    uvs = written.corner_uvs.reshape(-1, 2)
    assert (uvs[edges.one] != uvs[edges.other]).any(axis=(1, 2)).all()


def test_one_normal_that_differs_at_a_seam_is_found() -> None:
    written = framed(mapped("torus"))
    corner = seam_edges(written).one[0, 0]
    turned = written.corner_normals[corner // 3, corner % 3] + [0.01, 0.02, 0.0]
    row = normals_row(changed(written, "corner_normals", (corner // 3, corner % 3), turned / np.linalg.norm(turned)))
    assert row.status == "fail"
    assert "seam edges part the normals" in row.detail


@pytest.mark.parametrize(("factor", "words"), [(1.01, "not unit"), (0.0, "not unit"), (np.nan, "not unit"), (-1.0, "point into it")])
def test_a_normal_of_another_length_or_side_fails(factor: float, words: str) -> None:
    written = framed(mapped("torus"))
    inner = np.flatnonzero(~np.isin(np.arange(3 * len(written.faces)), seam_edges(written).one).reshape(-1, 3).any(axis=1))[0]
    row = normals_row(changed(written, "corner_normals", inner, written.corner_normals[inner] * factor))
    assert row.status == "fail"
    assert words in row.detail


def test_without_normals_a_gltf_is_drawn_flat_and_another_kind_is_not_measured() -> None:
    written = replace(framed(mapped("cube")), corner_normals=None)
    assert normals_row(written).status == "fail"
    assert normals_row(replace(written, kind="OBJ")).status == "not measured"
