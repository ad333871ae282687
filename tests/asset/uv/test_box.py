"""Box projection: six directions, charts that are connected, distortion within its bound."""

from __future__ import annotations

import numpy as np
import pytest
from surfaces import blob, cube, sphere, torus

from dreamfusion_mesh.asset.uv import box
from dreamfusion_mesh.asset.uv.box import box_charts
from dreamfusion_mesh.asset.uv.charts import surface_areas
from dreamfusion_mesh.geometry.areas import uv_areas
from dreamfusion_mesh.records import Mesh


def project(mesh: Mesh):
    vertices, faces = mesh.vertices.double().numpy(), mesh.faces.numpy()
    return box_charts(vertices, faces), vertices, faces


def test_a_cube_is_six_true_squares() -> None:
    charts, vertices, faces = project(cube())
    assert charts.count == 6
    assert uv_areas(charts.uvs[charts.face_uvs]) == pytest.approx(surface_areas(vertices, faces), rel=1e-12)


def test_a_sphere_is_six_caps() -> None:
    assert project(sphere())[0].count == 6


@pytest.mark.parametrize("mesh", [sphere, torus, blob])
def test_every_face_lies_upright_and_keeps_most_of_its_area(mesh) -> None:
    charts, vertices, faces = project(mesh())
    share = uv_areas(charts.uvs[charts.face_uvs]) / surface_areas(vertices, faces)
    assert share.min() >= 0.45 - 1e-9  # the least cosine to a side that a face is given to
    assert share.max() <= 1 + 1e-9
    assert np.array_equal(np.unique(charts.chart), np.arange(charts.count))


def test_noise_does_not_shatter_the_charts(monkeypatch: pytest.MonkeyPatch) -> None:
    mesh = sphere(4)
    draws = np.random.default_rng(0)
    rough = mesh.vertices.double().numpy() * (1 + 0.01 * draws.normal(size=(len(mesh.vertices), 1)))
    together = box_charts(rough, mesh.faces.numpy()).count
    monkeypatch.setattr(box, "_PASSES", 0)  # every face by itself
    alone = box_charts(rough, mesh.faces.numpy()).count
    assert together < 0.5 * alone
