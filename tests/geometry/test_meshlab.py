"""MeshLab's filters behind the one adapter: asked for, told of, and never in the way."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

import numpy as np
import pytest
import torch
from surfaces import sphere
from textured_decimation import decimated_with_uvs

from dreamfusion_mesh.config import MeshSettings
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.geometry import meshlab
from dreamfusion_mesh.geometry.areas import face_areas, signed_volume, uv_areas
from dreamfusion_mesh.geometry.deviation import deviation_from
from dreamfusion_mesh.geometry.soundness import soundness
from dreamfusion_mesh.geometry.topology import weld
from dreamfusion_mesh.records import Mesh
from dreamfusion_mesh.shape import simplify, tidy

REPAIR, REMESH = MeshSettings(repair="meshlab"), MeshSettings(remesh="isotropic")
installed = pytest.mark.skipif(
    importlib.util.find_spec("pymeshlab") is None, reason='no pymeshlab: pip install "dreamfusion-mesh[meshlab]"'
)


def ball() -> Mesh:
    found = sphere(4)
    return Mesh(found.vertices.double(), found.faces)


def edge_lengths(mesh: Mesh) -> torch.Tensor:
    corners = mesh.vertices[mesh.faces]
    return (corners - corners.roll(1, dims=1)).norm(dim=2).reshape(-1)


@pytest.mark.parametrize(("settings", "named"), [(REPAIR, "mesh.repair 'meshlab'"), (REMESH, "mesh.remesh 'isotropic'")])
def test_a_missing_package_is_found_out_at_once_with_the_remedy(
    settings: MeshSettings, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BadInput) as caught:
        meshlab.check_meshlab(settings)
    assert str(caught.value).startswith(f"{named}: needs the package pymeshlab, which is not installed; ")
    assert 'pip install "dreamfusion-mesh[meshlab]"' in str(caught.value)
    meshlab.check_meshlab(MeshSettings())


@installed
def test_provenance_names_it_where_it_is_asked_for() -> None:
    meshlab.check_meshlab(REPAIR)
    assert meshlab.meshlab_notes(MeshSettings()) is None
    notes = meshlab.meshlab_notes(REMESH)
    assert notes is not None
    assert (notes["name"], notes["licence"]) == ("pymeshlab", "GPL-3.0")
    assert notes["version"][0].isdigit()


def test_it_is_not_imported_where_it_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pymeshlab", None)  # which importing it then refuses
    meshlab.check_meshlab(MeshSettings())
    found = simplify.decimate(tidy.tidy(ball(), MeshSettings()).mesh, 1000, 0.01)
    assert soundness(weld(found.mesh)).sound


@installed
def test_remeshing_cuts_a_surface_into_even_triangles_on_the_same_surface() -> None:
    box = Mesh(*stretched_box())
    even = meshlab.remeshed(box, 3000)
    assert 2400 < len(even.faces) < 3600
    assert soundness(even).sound
    assert edge_lengths(even).std() < 0.25 * edge_lengths(even).mean()
    assert edge_lengths(box).std() > 0.4 * edge_lengths(box).mean()
    assert float(signed_volume(even.vertices, even.faces)) == pytest.approx(4.0, rel=5e-3)
    assert deviation_from(box)(even) < 0.005


def stretched_box() -> tuple[torch.Tensor, torch.Tensor]:
    import trimesh

    box = trimesh.creation.box([4, 1, 1])
    for _ in range(3):
        box = box.subdivide()
    return torch.tensor(box.vertices), torch.tensor(box.faces)


@installed
def test_decimation_takes_the_even_triangles_where_they_lie_close() -> None:
    found = simplify.decimate(ball(), 2000, 0.005, "isotropic")
    assert soundness(weld(found.mesh)).sound
    assert 1400 < len(found.mesh.faces) <= 2000
    assert 0 < found.deviation < 0.005
    assert edge_lengths(found.mesh).std() < 0.25 * edge_lengths(found.mesh).mean()
    assert found.warnings == ()


@installed
def test_its_repair_takes_faces_that_hang_on_edges() -> None:
    whole = ball()
    fin = torch.tensor([[int(whole.faces[0, 0]), int(whole.faces[0, 1]), len(whole.vertices)]])
    broken = Mesh(torch.cat([whole.vertices, torch.full((1, 3), 2.0, dtype=torch.float64)]), torch.cat([whole.faces, whole.faces[:9], fin]))
    assert soundness(broken).nonmanifold_edges > 0
    found = soundness(meshlab.repaired(broken))
    assert (found.nonmanifold_edges, found.duplicate_faces) == (0, 0)
    mended = tidy.tidy(broken, REPAIR).mesh
    assert soundness(weld(mended)).sound
    assert float(signed_volume(mended.vertices, mended.faces)) == pytest.approx(float(signed_volume(whole.vertices, whole.faces)), rel=0.01)


@installed
def test_what_takes_too_long_is_ended_and_left_out_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(meshlab.MeshlabFailed, match=r"MeshLab was not done after 0.01 s"):
        meshlab.repaired(ball(), 0.01)

    def late(*_: Any) -> Mesh:
        raise meshlab.MeshlabFailed("MeshLab was not done after 120 s")

    monkeypatch.setattr(tidy, "repaired", late)
    monkeypatch.setattr(simplify, "remeshed", late)
    tidied = tidy.tidy(ball(), REPAIR)
    assert tidied.warnings == ("tidy: mesh.repair=meshlab was left out: MeshLab was not done after 120 s",)
    found = simplify.decimate(tidied.mesh, 1000, 0.01, "isotropic")
    assert found.warnings == ("decimate: mesh.remesh=isotropic was left out: MeshLab was not done after 120 s",)
    assert soundness(weld(found.mesh)).sound


@installed
def test_a_filter_that_leaves_nothing_is_told() -> None:
    flat = Mesh(torch.zeros(3, 3, dtype=torch.float64), torch.tensor([[0, 1, 2]]))
    with pytest.raises(meshlab.MeshlabFailed, match="left 0 faces"):
        meshlab.repaired(flat)


def test_the_textured_oracle_keeps_uvs_on_the_surface() -> None:
    """A plane whose UVs are its own x and y keeps that where it is decimated."""
    side = np.linspace(0, 1, 21)
    grid = np.stack(np.meshgrid(side, side, indexing="ij"), axis=-1).reshape(-1, 2)
    vertices = np.column_stack([grid, 0.1 * np.sin(3 * grid[:, 0])])
    rows = np.arange(441).reshape(21, 21)
    a, b, c, d = rows[:-1, :-1].ravel(), rows[1:, :-1].ravel(), rows[1:, 1:].ravel(), rows[:-1, 1:].ravel()
    faces = np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])
    found, left, uvs = decimated_with_uvs(vertices, faces, grid[faces], 200)
    assert 150 < len(left) <= 200
    assert np.abs(found[left][:, :, :2] - uvs).max() < 0.01
    assert uv_areas(uvs).sum() == pytest.approx(1, abs=0.01)
    assert float(face_areas(torch.from_numpy(found), torch.from_numpy(left)).sum()) > 1
