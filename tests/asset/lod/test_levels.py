"""What levels of detail promise: half the triangles, the same atlas without a fault, near the asset; or a word on why not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from assets import mapped, material
from gridded_box import exact_uvs, gridded_box
from surfaces import as_mesh, cube

from dreamfusion_mesh.asset.lod.levels import Levels, make_lods
from dreamfusion_mesh.audit.atlas import coverage, uv_layout
from dreamfusion_mesh.audit.readers.written import Written, from_corners
from dreamfusion_mesh.audit.rows.lods import measure_level
from dreamfusion_mesh.errors import RunFailed
from dreamfusion_mesh.geometry.areas import signed_volume
from dreamfusion_mesh.geometry.soundness import soundness
from dreamfusion_mesh.geometry.topology import weld
from dreamfusion_mesh.records import Lod, Mesh

MATERIAL = material()


def never(mesh: Mesh, triangles: int) -> Lod:
    raise AssertionError(f"a level of {triangles} triangles was to be remade")


def failing(mesh: Mesh, triangles: int) -> Lod:
    raise RunFailed(f"no {triangles} triangles")


def corner_uvs(mesh: Mesh) -> np.ndarray:
    return mesh.uvs[mesh.face_uvs].double().numpy()


def written(mesh: Mesh) -> Written:
    return from_corners("mesh", mesh.vertices[mesh.faces].double().numpy(), corner_uvs(mesh), None)


def assert_holds(given: Mesh, made: Levels, count: int) -> None:
    """Rows 2, 4 and 11 of the audit, by its own code."""
    assert len(made.lods) == len(made.notes) == count
    before = len(given.faces)
    for number, (lod, note) in enumerate(zip(made.lods, made.notes, strict=True), start=1):
        assert lod.material is MATERIAL
        assert soundness(weld(lod.mesh)).sound
        layout = uv_layout(corner_uvs(lod.mesh))
        assert (layout.outside, layout.flipped, layout.empty) == (0, 0, 0)
        assert coverage(corner_uvs(lod.mesh), 1024)[1] == 0
        found = measure_level(written(given), written(lod.mesh), number, before)
        assert found.problems == ()
        assert 0.35 <= found.ratio <= 0.65
        assert (note.triangles, note.ratio, note.atlas) == (found.triangles, found.ratio, "shared")
        assert note.pixels == pytest.approx(found.pixels, rel=0.2, abs=0.05)
        assert note.density == pytest.approx(1, abs=0.02)
        before = found.triangles


def test_flat_faces_lose_triangles_and_nothing_else() -> None:
    """Every point keeps its place and its UV, up to float32, on both sides of all seams."""
    given = gridded_box(8)
    made = make_lods(given, MATERIAL, 3, never)
    assert [note.triangles for note in made.notes] == [384, 192, 96]
    assert made.warnings == ()
    assert_holds(given, made, 3)
    for lod in made.lods:
        assert float(signed_volume(lod.mesh.vertices.double(), lod.mesh.faces)) == pytest.approx(1, abs=1e-6)
        assert np.abs(corner_uvs(lod.mesh) - exact_uvs(lod.mesh)).max() < 1e-6


@pytest.mark.parametrize("name", ["sphere", "torus"])
def test_levels_of_curved_surfaces_pass_the_audit(name: str) -> None:
    given = mapped(name)
    made = make_lods(given, MATERIAL, 2, never, pixels=4.0)
    assert [note.triangles for note in made.notes] == [len(given.faces) // 2, len(given.faces) // 4]
    assert max(note.pixels for note in made.notes) <= 4.0
    assert made.warnings == ()
    assert_holds(given, made, 2)


def test_what_cannot_be_as_near_as_wanted_keeps_more_triangles_and_says_how_far_off_it_is() -> None:
    given = mapped("sphere")
    made = make_lods(given, MATERIAL, 1, never, pixels=0.1)
    assert made.notes[0].pixels > 0.1
    assert made.notes[0].ratio == pytest.approx(0.64, abs=0.01)
    assert made.warnings == (
        f"lods: level 1 (818 triangles) is {made.notes[0].pixels:.2g} pixels off where its longest side has 540, at most 0.1 wanted; "
        "lower asset.lods, or raise mesh.triangles or audit.lod_pixels",
    )
    assert_holds(given, made, 1)


@pytest.mark.parametrize("pixels", [0.0, 1e-300])
def test_where_no_error_is_allowed_a_level_is_as_near_as_its_triangles_allow(pixels: float) -> None:
    given = mapped("sphere")
    made = make_lods(given, MATERIAL, 1, never, pixels=pixels)
    assert made.notes[0].ratio == pytest.approx(0.64, abs=0.01)
    assert 0 < made.notes[0].pixels < 5
    assert len(made.warnings) == 1


def test_the_same_mesh_gives_the_same_bits() -> None:
    first, second = (make_lods(gridded_box(6), MATERIAL, 1, never).lods[0].mesh for _ in range(2))
    for one, other in ((first.vertices, second.vertices), (first.faces, second.faces), (first.uvs, second.uvs)):
        assert torch.equal(one, other)


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_size_and_place_do_not_matter(scale: float) -> None:
    given = gridded_box(6)
    plain = make_lods(given, MATERIAL, 1, never).lods[0].mesh
    scaled = Mesh(given.vertices * scale, given.faces, given.uvs, given.face_uvs)
    found = make_lods(scaled, MATERIAL, 1, never)
    assert len(found.lods[0].mesh.faces) == len(plain.faces)
    assert found.notes[0].deviation < 1e-6


def test_a_mesh_whose_vertices_all_lie_at_corners_of_seams_is_remade_with_an_atlas_of_its_own() -> None:
    given, own, asked = mapped("cube"), gridded_box(4), []

    def remake(mesh: Mesh, triangles: int) -> Lod:
        asked.append((mesh, triangles))
        return Lod(own, other)

    other = material()
    made = make_lods(given, MATERIAL, 2, remake, pixels=1000.0)
    assert asked == [(given, 6)]
    assert [lod.material for lod in made.lods] == [other, other]
    assert [(note.triangles, note.atlas) for note in made.notes] == [(192, "own"), (96, "own")]
    assert made.warnings == ("lods: level 1 has an atlas of its own: 12 of 12 triangles cannot be spared on the asset's atlas",)


def test_where_remaking_fails_there_are_fewer_levels_and_a_warning() -> None:
    made = make_lods(mapped("cube"), MATERIAL, 2, failing)
    assert made.lods == made.notes == ()
    told = "lods: 0 instead of 2: level 1: 12 of 12 triangles cannot be spared on the asset's atlas; no 6 triangles"
    assert made.warnings == (told,)


def test_no_levels_are_made_where_none_are_asked_for() -> None:
    assert make_lods(mapped("cube"), MATERIAL, 0, never).lods == ()


def test_an_open_border_stays_as_it_is() -> None:
    whole = gridded_box(8)
    kept = torch.arange(len(whole.faces)) >= 2 * 64  # the first side is missing
    given = Mesh(whole.vertices, whole.faces[kept], whole.uvs, whole.face_uvs[kept])
    made = make_lods(given, MATERIAL, 1, never)
    assert made.notes[0].triangles == 320
    assert soundness(weld(made.lods[0].mesh)).open_edges == soundness(weld(given)).open_edges == 32
    assert made.notes[0].deviation < 1e-6


def test_what_has_no_area_or_no_uvs_is_refused() -> None:
    with pytest.raises(ValueError, match="has no uvs"):
        make_lods(cube(), MATERIAL, 1, never)
    given = gridded_box(2)
    flat = Mesh(given.vertices, given.faces, torch.zeros_like(given.uvs), given.face_uvs)
    broken = Mesh(given.vertices * torch.nan, given.faces, given.uvs, given.face_uvs)
    for mesh, message in ((flat, "uv area 0"), (broken, "diagonal of nan|diagonal nan")):
        with pytest.raises(ValueError, match=message):
            make_lods(mesh, MATERIAL, 1, never)


def test_mirrored_uvs_are_not_made_worse() -> None:
    """A level of a fully mirrored atlas would have faces that get no texels: none is collapsed, and it is remade."""
    given = gridded_box(4)
    mirrored = Mesh(given.vertices, given.faces, given.uvs * torch.tensor([-1.0, 1.0]), given.face_uvs)
    assert make_lods(mirrored, MATERIAL, 1, failing).lods == ()


def test_loose_triangles_have_no_levels() -> None:
    draws = np.random.default_rng(1)
    soup = as_mesh(draws.normal(size=(60, 3)), np.arange(60).reshape(-1, 3))
    uvs = torch.tensor(draws.uniform(size=(60, 2))).float()
    assert make_lods(Mesh(soup.vertices, soup.faces, uvs, soup.faces), MATERIAL, 2, failing).lods == ()
