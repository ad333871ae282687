"""Row 11: levels that hardly shrink, stray from the surface, or are painted otherwise are found."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from broken_files import tangents_of, with_all_maps
from complete_assets import complete
from framed import box_mesh, framed
from written_files import Draft, box, png

from dreamfusion_mesh.audit.readers.files import read_bytes
from dreamfusion_mesh.audit.readers.model import read_model
from dreamfusion_mesh.audit.row import Row
from dreamfusion_mesh.audit.rows.lods import levels_row, measure_level
from dreamfusion_mesh.audit.siblings import Level, find_levels
from dreamfusion_mesh.config import AuditSettings
from dreamfusion_mesh.errors import BadInput


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return complete(tmp_path_factory.mktemp("clean"))


def row_of(path: Path, **changes: Any) -> Row:
    written = read_model(read_bytes(path), path)
    return levels_row(written, find_levels(path, written, "generic"), AuditSettings(**changes))


def with_level(clean: Path, folder: Path, draft: Draft) -> Row:
    """The row once LOD1 is replaced."""
    for file in clean.parent.iterdir():
        shutil.copy(file, folder)
    (folder / "asset_LOD1.glb").write_bytes(draft.glb())
    (folder / "asset_LOD2.glb").unlink()
    return row_of(folder / "asset.glb")


def darker(draft: Draft) -> Draft:
    change = draft.change

    def both(document: dict[str, Any]) -> None:
        change(document)
        document["materials"][0]["pbrMetallicRoughness"]["baseColorFactor"] = [0.5, 0.5, 0.5, 1]

    return replace(draft, change=both)


def test_half_the_triangles_on_the_same_texture_pass(clean: Path) -> None:
    row = row_of(clean)
    assert row.status == "pass", row.detail
    assert row.measured["LOD1 triangles"] == 588
    assert row.measured["LOD2 ratio"] == pytest.approx(300 / 588)
    assert row.measured["LOD2 error px"] == pytest.approx(0, abs=1e-3)


def test_levels_that_are_not_there_are_not_measured(tmp_path: Path) -> None:
    assert row_of(box().write(tmp_path)).status == "not measured"


def test_the_error_is_in_pixels_of_the_size_at_which_a_level_is_shown() -> None:
    """A box whose top is 1 % lower, at level 2: shown 270 pixels high, 2.7 of them are missing."""
    mesh = box_mesh(4)
    lower = framed(replace(mesh, vertices=mesh.vertices * mesh.vertices.new_tensor([1, 0.99, 1])))
    assert measure_level(framed(mesh), lower, 2, 384).pixels == pytest.approx(2.7, rel=1e-3)


@pytest.mark.parametrize(
    ("draft", "words"),
    [
        (with_all_maps(box(9)), "0.81 of the triangles before it, expected 0.35 to 0.65"),
        (with_all_maps(box(5)), "0.25 of the triangles"),
        (replace(with_all_maps(box(7)), positions=box(7).positions * 0.99), "px from the asset where the asset is 540 px high"),
        (replace(with_all_maps(box(7)), image=png(256, options=0) + b"\0"), "its base color texture is not the asset's"),
        (replace(box(7), tangents=tangents_of(box(7))), "its metallic-roughness, normal, occlusion texture is not the asset's"),
        (replace(with_all_maps(box(7)), uvs=box(7).uvs + 0.5), "UVs leave the square"),
        (replace(with_all_maps(box(7)), faces=box(7).faces[:, ::-1]), "0.0% of it faces as the asset does, at least 90%"),
        (replace(with_all_maps(box(7)), normals=-box(7).normals), "0.0% of it has the asset's normals"),
        (replace(with_all_maps(box(7)), tangents=tangents_of(box(7)) * [1, 1, 1, -1]), "0.0% of it has the asset's tangents"),
        (replace(with_all_maps(box(7)), tangents=None), "there are no tangents"),
        (darker(with_all_maps(box(7))), "its baseColorFactor is not the asset's"),
        (replace(with_all_maps(box(7)), uvs=1 - box(7).uvs), "of it has the asset's UVs, at least 90%"),
    ],
    ids=[
        "too many",
        "too few",
        "strays",
        "another image",
        "maps missing",
        "outside",
        "inside out",
        "normals turned",
        "other hand",
        "no tangents",
        "darker",
        "other UVs",
    ],
)
def test_a_level_with_one_fault_fails(draft: Draft, words: str, clean: Path, tmp_path: Path) -> None:
    row = with_level(clean, tmp_path, draft)
    assert row.status == "fail"
    assert words in row.detail
    assert row.detail.count("asset_LOD1.glb") == 1, row.detail


def test_a_level_that_cannot_be_read_is_named(clean: Path, tmp_path: Path) -> None:
    shutil.copy(clean, tmp_path)
    (tmp_path / "asset_LOD1.glb").write_bytes(b"glTF, but cut")
    with pytest.raises(BadInput, match=r"asset_LOD1\.glb: "):
        row_of(tmp_path / "asset.glb")


def test_a_link_out_of_the_folder_is_not_followed(clean: Path, tmp_path: Path) -> None:
    shutil.copy(clean, tmp_path)
    (tmp_path / "asset_LOD1.glb").symlink_to(clean.with_name("asset_LOD1.glb"))
    with pytest.raises(BadInput, match="is not a file beside this one"):
        row_of(tmp_path / "asset.glb")


def test_levels_in_the_file_go_before_those_beside_it(clean: Path) -> None:
    written = framed(box_mesh(10))
    inside = replace(written, levels=(framed(box_mesh(7)), framed(box_mesh(5))))
    found = find_levels(clean, inside, "generic")
    assert [level.name for level in found] == ["level 1", "level 2"]
    assert levels_row(inside, found, AuditSettings()).status == "pass"


def test_a_surface_without_extent_fails_and_does_not_raise() -> None:
    flat = framed(box_mesh(1))
    point = replace(flat, vertices=np.zeros_like(flat.vertices))
    assert levels_row(point, [Level("x", flat)], AuditSettings()).status == "fail"
