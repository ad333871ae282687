"""Row 14: a program that reads something else than the audit did is found; trimesh reads ours as we do."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from broken_files import with_all_maps
from complete_assets import complete
from framed import box_mesh, framed
from written_files import box

from dreamfusion_mesh.audit.engines import round_trips
from dreamfusion_mesh.audit.engines.record import EngineFailed, Imported
from dreamfusion_mesh.audit.engines.round_trips import engine_round_trips
from dreamfusion_mesh.audit.read_back import ReadBack, RoundTrip, read_with_trimesh
from dreamfusion_mesh.audit.readers.files import read_bytes
from dreamfusion_mesh.audit.readers.model import read_model
from dreamfusion_mesh.audit.row import Row
from dreamfusion_mesh.audit.rows.round_trip import as_read, round_trip_row
from dreamfusion_mesh.errors import BadInput


def row_of(path: Path, **programs: RoundTrip) -> Row:
    return round_trip_row(read_model(read_bytes(path), path), path, programs)


def test_several_materials_are_row_sevens_matter(tmp_path: Path) -> None:
    def change(document: dict[str, Any]) -> None:
        (primitive,) = document["meshes"][0]["primitives"]
        document["materials"].append({**document["materials"][0], "name": "second"})
        document["meshes"][0]["primitives"].append({**primitive, "material": 1})

    assert row_of(replace(box(), change=change).write(tmp_path), trimesh=read_with_trimesh).status == "pass"


def gltf(folder: Path) -> Path:
    document, binary = with_all_maps().document_and_binary()
    document["buffers"][0]["uri"] = "data%20here.bin"
    (folder / "data here.bin").write_bytes(binary)
    (folder / "asset.gltf").write_text(json.dumps(document))
    return folder / "asset.gltf"


@pytest.mark.parametrize("make", [complete, gltf, lambda folder: box().write_obj(folder)], ids=["glb", "gltf", "obj"])
def test_trimesh_reads_the_same(make: Callable[[Path], Path], tmp_path: Path) -> None:
    path = make(tmp_path)
    row = row_of(path, trimesh=read_with_trimesh)
    assert (row.status, row.detail) == ("pass", "")
    assert row.measured == {"triangles": 1200, "trimesh": "the same"}
    found = read_with_trimesh(path)
    assert isinstance(found, ReadBack)
    assert (found.triangles, found.materials) == (1200, 1)
    assert found.textures in (((256, 256),), None)
    assert found.bounds == pytest.approx(np.array([[-0.5, 0, -0.5], [0.5, 1, 0.5]]))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"triangles": 1199}, "other: 1199 triangles, the file has 1200"),
        ({"materials": 2}, "other: 2 materials, the file has 1"),
        ({"textures": ((128, 128), (256, 256))}, "other: textures of 128 x 128, 256 x 256, the file has 256 x 256"),
        ({"textures": ()}, "other: textures of no size"),
        ({"bounds": np.array([[-0.5, 0, -0.5], [0.5, 1, 0.5002]])}, "other: other bounds"),
        ({"bounds": np.array([[-50, 0, -50], [50, 100, 50.0]])}, "other: other bounds"),
        ({"bounds": np.full((2, 3), np.nan)}, "other: other bounds"),
    ],
)
def test_what_another_program_reads_otherwise_is_named(change: dict[str, object], words: str, tmp_path: Path) -> None:
    path = complete(tmp_path)
    same = as_read(read_model(read_bytes(path), path))
    row = row_of(path, trimesh=read_with_trimesh, other=lambda path: replace(same, **change))
    assert row.status == "fail"
    assert row.detail.startswith(words)
    assert (row.measured["trimesh"], row.measured["other"]) == ("the same", "differs")
    untold = row_of(path, other=lambda path: replace(same, materials=None, textures=None))
    assert untold.status == "pass"


def test_a_program_that_is_not_there_is_named_and_one_that_fails_fails(tmp_path: Path) -> None:
    def fails(path: Path) -> ReadBack:
        raise BadInput("does not import it")

    path = complete(tmp_path)
    row = row_of(path, trimesh=read_with_trimesh, blender=lambda path: "it is not installed")
    assert (row.status, row.detail) == ("pass", "blender not asked: it is not installed")
    row = row_of(path, trimesh=read_with_trimesh, godot=fails)
    assert (row.status, row.detail, row.measured["godot"]) == ("fail", "godot: does not import it", "fails")
    assert row_of(path, blender=lambda path: "it is not installed").status == "not measured"


def test_a_kind_that_the_audit_reads_by_trimesh_has_no_second_reading(tmp_path: Path) -> None:
    import trimesh

    path = tmp_path / "box.ply"
    path.write_bytes(trimesh.creation.box().export(file_type="ply"))
    row = row_of(path, trimesh=read_with_trimesh)
    assert (row.status, row.detail) == ("not measured", "not measured: trimesh not asked: the audit itself reads PLY by it")


def test_a_name_that_leads_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    path = gltf(tmp_path / "below")
    (tmp_path / "outside.bin").write_bytes((tmp_path / "below" / "data here.bin").read_bytes())
    path.write_text(path.read_text().replace("data%20here.bin", "../outside.bin"))
    with pytest.raises(BadInput, match="not a file beside this one"):
        read_with_trimesh(path)


def test_engines_answer_in_their_own_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(path: Path) -> Imported:
        raise EngineFailed("Godot: no answer within 180 s")

    sizes = ((256, 256), (256, 256))
    same = Imported("Blender", "3.4", 1200, ("box",), sizes, (-0.5, 0.0, -0.5), (0.5, 1.0, 0.5), ("box",))
    monkeypatch.setattr(round_trips, "installed_engines", lambda: {"Blender": lambda path: same, "Godot": fails})
    row = row_of(complete(tmp_path), **engine_round_trips())
    assert (row.status, row.detail) == ("fail", "Godot: no answer within 180 s")
    assert row.measured == {"triangles": 1200, "Blender": "the same", "Godot": "fails"}
    row = row_of(box().write_obj(tmp_path), trimesh=read_with_trimesh, **engine_round_trips())
    assert row.status == "pass"
    assert row.detail.startswith("Blender not asked: it is asked for .glb files alone")


def test_programs_may_know_msft_lod_or_not(tmp_path: Path) -> None:
    def change(document: dict[str, Any]) -> None:
        document["nodes"][0]["extensions"] = {"MSFT_lod": {"ids": [1]}}
        document["nodes"].append({"mesh": 0, "scale": [2, 2, 2]})
        document["extensionsUsed"] = ["MSFT_lod"]

    path = replace(box(), change=change).write(tmp_path)
    everything = as_read(read_model(read_bytes(path), path))
    assert everything.triangles == 2400
    row = row_of(path, trimesh=read_with_trimesh, other=lambda path: everything)
    assert (row.status, row.measured["trimesh"], row.measured["other"]) == ("pass", "the same", "the same")
    row = row_of(path, other=lambda path: replace(everything, triangles=1200))
    assert row.detail == "other: 1200 triangles, the file has 2400"


def test_levels_and_hulls_in_the_file_count(tmp_path: Path) -> None:
    written = framed(box_mesh(2))
    assert as_read(replace(written, levels=(framed(box_mesh(1)),))).triangles == 48 + 12

    def with_hull(document: dict[str, Any]) -> None:
        draft.change(document)
        accessors = document["meshes"][0]["primitives"][0]
        document["meshes"].append({"primitives": [{"attributes": {"POSITION": 0}, "indices": accessors["indices"]}]})
        document["nodes"].append({"mesh": 1, "name": "UCX_box_01"})
        document["scenes"][0]["nodes"] = [0, 1]

    draft = with_all_maps()
    path = replace(draft, change=with_hull).write(tmp_path)
    row = round_trip_row(read_model(read_bytes(path), path, "unreal"), path, {"trimesh": read_with_trimesh})
    assert (row.status, row.measured["triangles"], row.detail) == ("pass", 2400, "")
