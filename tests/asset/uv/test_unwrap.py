"""What an unwrap promises: it ends, whatever xatlas does, and what it gives holds in the texture it was made for."""

from __future__ import annotations

import numpy as np
import psutil
import pytest
import torch
from surfaces import SURFACES, as_mesh, cube, sphere, torus

from dreamfusion_mesh import worker
from dreamfusion_mesh.asset.uv import unwrap as uv
from dreamfusion_mesh.asset.uv.unwrap import Unwrapped, unwrap
from dreamfusion_mesh.audit.atlas import coverage, uv_layout
from dreamfusion_mesh.audit.rows.gaps import chart_labels, measure_gaps
from dreamfusion_mesh.audit.rows.texel_density import density_ratio
from dreamfusion_mesh.config import TextureSettings
from dreamfusion_mesh.errors import RunFailed
from dreamfusion_mesh.records import Mesh

CRASH = "import os; os.abort()"
NONSENSE = "import sys; sys.stdin.buffer.read(); print('1 2 3')"


def corner_uvs(mesh: Mesh) -> np.ndarray:
    return mesh.uvs[mesh.face_uvs].double().numpy()


def assert_holds(found: Unwrapped, given: Mesh, size: int, padding: int) -> None:
    """Rows 4 to 6 of the audit, measured by the audit's own code, from the UVs alone."""
    uvs = corner_uvs(found.mesh)
    assert torch.equal(found.mesh.vertices, given.vertices)
    assert torch.equal(found.mesh.faces, given.faces)
    shape = uv_layout(uvs)
    assert (shape.outside, shape.flipped, shape.empty) == (0, 0, 0)
    covered, again = coverage(uvs, 4 * size)
    assert again == 0
    assert covered / (4 * size) ** 2 == pytest.approx(found.utilisation, abs=0.005)
    assert found.utilisation >= 0.5
    space = measure_gaps(uvs, chart_labels(found.mesh.face_uvs.numpy()), size, 8.0)
    assert space.charts == found.charts
    assert space.gap >= 2 * padding
    assert space.narrow <= 0.05 * space.charts
    assert density_ratio(given.vertices.double().numpy()[given.faces.numpy()], uvs) <= 2
    border = np.minimum(uvs, 1 - uvs).min() * size
    assert border >= padding


@pytest.mark.parametrize(("name", "size", "padding"), [("cube", 256, 2), ("sphere", 512, 4), ("torus", 256, 2), ("blob", 1024, 4)])
def test_xatlas_charts_are_valid(name: str, size: int, padding: int) -> None:
    given = SURFACES[name]()
    found = unwrap(given, TextureSettings(size=size, padding=padding))
    assert (found.method, found.reason, found.padding) == ("xatlas", "", padding)
    assert_holds(found, given, size, padding)


@pytest.mark.parametrize("name", SURFACES)
def test_box_projected_charts_are_valid(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_BOOTSTRAP", CRASH)
    given = SURFACES[name]()
    found = unwrap(given, TextureSettings(size=512, padding=4))
    assert found.method == "box"
    assert "xatlas ended with" in found.reason
    assert_holds(found, given, 512, 4)


def test_a_rough_surface_is_not_stretched() -> None:
    """Noise of a third of an edge's length: xatlas by itself leaves a density ratio above 2 here."""
    ball = sphere(4)
    draws = torch.Generator().manual_seed(0)
    given = Mesh(ball.vertices * (1 + 0.015 * torch.randn(len(ball.vertices), 1, generator=draws)), ball.faces)
    found = unwrap(given, TextureSettings(size=512, padding=2))
    assert found.method == "xatlas"
    assert_holds(found, given, 512, 2)


def test_the_same_mesh_gives_the_same_bits() -> None:
    first, second = (unwrap(torus(24, 12), TextureSettings(size=256, padding=2)) for _ in range(2))
    assert torch.equal(first.mesh.uvs, second.mesh.uvs)
    assert torch.equal(first.mesh.face_uvs, second.mesh.face_uvs)


def test_size_of_the_object_does_not_matter() -> None:
    """xatlas by itself drops faces below an absolute area."""
    given = torus()
    tiny = Mesh(given.vertices * 1e-4, given.faces)
    found = unwrap(tiny, TextureSettings(size=256, padding=2))
    assert found.method == "xatlas"
    assert_holds(found, tiny, 256, 2)


def test_duplicate_vertices_change_nothing() -> None:
    given = torus(16, 8)
    loose = Mesh(given.vertices[given.faces].reshape(-1, 3), torch.arange(given.faces.numel()).view(-1, 3))
    assert unwrap(loose, TextureSettings(size=256, padding=2)).charts == unwrap(given, TextureSettings(size=256, padding=2)).charts


def test_a_timeout_kills_xatlas_and_falls_back_to_box_projection() -> None:
    given = torus(160, 80)  # 26k triangles: many times the limit
    before = {child.pid for child in psutil.Process().children()}
    found = unwrap(given, TextureSettings(size=1024, unwrap_seconds=0.5))
    assert found.method == "box"
    assert "not done after 0.5 s" in found.reason
    assert {child.pid for child in psutil.Process().children()} <= before
    assert uv_layout(corner_uvs(found.mesh)).flipped == 0


def test_malformed_output_falls_back_to_box_projection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_BOOTSTRAP", NONSENSE)
    found = unwrap(cube(), TextureSettings(size=64, padding=1))
    assert (found.method, found.charts) == ("box", 6)
    assert "unknown format" in found.reason


def test_out_of_range_output_falls_back_to_box_projection(monkeypatch: pytest.MonkeyPatch) -> None:
    response = [np.zeros((4, 2)), np.full((12, 3), 9, dtype=np.int64), np.zeros(12, dtype=np.int64)]
    monkeypatch.setattr(uv, "run_worker", lambda work, arrays, seconds, name: response)
    found = unwrap(cube(), TextureSettings(size=64, padding=1))
    assert found.method == "box"
    assert "out of range" in found.reason


def test_too_many_charts_get_less_padding_and_a_reason() -> None:
    """200 loose triangles in 128 texels: the gaps asked for alone would fill the square."""
    draws = np.random.default_rng(1)
    corners = draws.normal(size=(200, 1, 3)) + 0.1 * draws.normal(size=(200, 3, 3))
    given = as_mesh(corners.reshape(-1, 3), np.arange(600).reshape(-1, 3))
    found = unwrap(given, TextureSettings(size=128, padding=4))
    assert found.charts == 200
    assert found.padding < 4
    assert "padding" in found.reason
    assert coverage(corner_uvs(found.mesh), 512)[1] == 0
    shrunk = np.concatenate([corners + 0.01 * copy for copy in range(6)]).reshape(-1, 3)
    with pytest.raises(RunFailed, match="larger texture"):
        unwrap(as_mesh(shrunk, np.arange(3600).reshape(-1, 3)), TextureSettings(size=64, padding=4))


def test_degenerate_faces_get_uv_area() -> None:
    given = cube()
    vertices = torch.cat([given.vertices, (given.vertices[:1] + given.vertices[1:2]) / 2])
    flat = torch.tensor([[0, 1, 8]])
    found = unwrap(Mesh(vertices, torch.cat([given.faces, flat])), TextureSettings(size=256, padding=2))
    shape = uv_layout(corner_uvs(found.mesh))
    assert (shape.outside, shape.flipped, shape.empty) == (0, 0, 0)


@pytest.mark.parametrize(
    ("mesh", "words"),
    [
        (Mesh(torch.zeros(3, 3), torch.zeros(0, 3, dtype=torch.int64)), "no faces"),
        (Mesh(torch.full((3, 3), torch.nan), torch.tensor([[0, 1, 2]])), "not finite"),
    ],
)
def test_meshes_that_cannot_be_unwrapped_are_refused(mesh: Mesh, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        unwrap(mesh, TextureSettings())
