"""The OBJ, its library and its maps, as read by hand and by trimesh."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import trimesh
from assets import asset, mapped, picture
from PIL import Image
from surfaces import SURFACES

from dreamfusion_mesh.asset.export.obj import obj_files
from dreamfusion_mesh.config import AssetSettings


def read(text: bytes) -> dict[str, list[list[str]]]:
    lines: dict[str, list[list[str]]] = {}
    for line in text.decode("ascii").splitlines():
        keyword, *words = line.split()
        lines.setdefault(keyword, []).append(words)
    return lines


def numbers(rows: list[list[str]]) -> np.ndarray:
    return np.array(rows, dtype=np.float64).astype(np.float32)


@pytest.mark.parametrize("name", SURFACES)
def test_every_float_comes_back_and_seams_split_no_vertex(name: str) -> None:
    mesh = mapped(name)
    lines = read(obj_files(asset(name))["thing.obj"])
    positions, uvs, normals = (numbers(lines[key]) for key in ("v", "vt", "vn"))
    corners = np.array([[corner.split("/") for corner in face] for face in lines["f"]], dtype=int) - 1
    assert np.array_equal(positions[corners[:, :, 0]], mesh.vertices[mesh.faces].numpy())
    assert np.array_equal(uvs[corners[:, :, 1]], mesh.uvs[mesh.face_uvs].numpy())
    assert len(positions) == len(mesh.vertices)
    assert np.linalg.norm(normals, axis=1) == pytest.approx(1, abs=1e-6)
    normal_of = np.full(len(positions), -1)
    normal_of[corners[:, :, 0]] = corners[:, :, 2]
    assert np.array_equal(normal_of[corners[:, :, 0]], corners[:, :, 2])  # one normal a vertex, on both sides of a seam


@pytest.mark.parametrize("name", SURFACES)
def test_trimesh_reads_it_back(name: str, tmp_path: Path) -> None:
    mesh = mapped(name)
    for file, content in obj_files(asset(name)).items():
        (tmp_path / file).write_bytes(content)
    back = trimesh.load(tmp_path / "thing.obj", process=False)
    assert len(back.faces) == len(mesh.faces)
    assert np.array_equal(back.vertices[back.faces].astype(np.float32), mesh.vertices[mesh.faces].numpy())
    assert np.array_equal(back.visual.uv[back.faces].astype(np.float32), mesh.uvs[mesh.face_uvs].numpy())
    assert np.array_equal(np.asarray(back.visual.material.image.convert("RGB")), picture(0))


def test_the_library_states_every_factor_and_map() -> None:
    files = obj_files(asset("cube"))
    assert sorted(files) == ["thing.mtl", "thing.obj", "thing_basecolor.png"]
    library = read(files["thing.mtl"])
    assert library["newmtl"] == read(files["thing.obj"])["usemtl"] == [["thing"]]
    assert (library["Kd"], library["Pr"], library["Pm"], library["d"]) == ([["1", "1", "1"]], [["0.6"]], [["0.1"]], [["1"]])
    assert library["map_Kd"] == [["thing_basecolor.png"]]
    assert not library.keys() & {"map_Pr", "map_Pm", "norm"}


def test_maps_are_split_and_hold_their_factors() -> None:
    made = asset("cube", maps=True)
    files, maps = obj_files(made), made.material.maps
    library = read(files["thing.mtl"])
    assert (library["Pr"], library["Pm"]) == ([["1"]], [["1"]])
    for key, channel, factor in (("map_Pr", 1, 0.6), ("map_Pm", 2, 0.9)):
        ((file,),) = library[key]
        image = Image.open(io.BytesIO(files[file]))
        assert image.mode == "L"
        assert np.array_equal(np.asarray(image), np.round(picture(1)[:, :, channel] * factor))
    ((normal,),) = library["norm"]
    assert library["map_Bump"] == [["-bm", "1", normal]]  # after `norm`, for readers that know one of them alone
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(files[normal]))), maps["normal"].pixels)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(files["thing_orm.png"]))), maps["orm"].pixels)
    assert {file for file in files if file.endswith(".png")} == {
        f"thing_{kind}.png" for kind in ("basecolor", "orm", "roughness", "metallic", "normal")
    }


def test_trimesh_reads_the_maps_by_their_roles(tmp_path: Path) -> None:
    for file, content in obj_files(asset("cube", maps=True)).items():
        (tmp_path / file).write_bytes(content)
    found = trimesh.load(tmp_path / "thing.obj", process=False).visual.material
    assert found.name == "thing"
    assert np.array_equal(np.asarray(found.image.convert("RGB")), picture(0))
    assert {"map_pr", "map_pm", "norm", "map_bump"} <= {key.lower() for key in found.kwargs}


def test_beside_an_asset_for_unreal_the_green_of_a_normal_map_points_down() -> None:
    made = asset("cube", maps=True)
    files, plain = obj_files(made, AssetSettings(engine="unreal")), obj_files(made)
    pixels, flipped = (np.asarray(Image.open(io.BytesIO(found["thing_normal.png"]))) for found in (plain, files))
    assert np.array_equal(flipped[:, :, 1], 255 - pixels[:, :, 1])
    assert np.array_equal(flipped[:, :, [0, 2]], pixels[:, :, [0, 2]])
    lines = read(files["thing.obj"])
    assert (lines["o"], lines["usemtl"], read(files["thing.mtl"])["newmtl"]) == ([["SM_thing"]], [["M_thing"]], [["M_thing"]])
    assert {name for name in files if files[name] != plain[name]} == {"thing.obj", "thing.mtl", "thing_normal.png"}


def test_text_is_plain_and_the_same_every_time() -> None:
    files = obj_files(asset("torus", maps=True, title="a/b c"))
    assert files == obj_files(asset("torus", maps=True, title="a/b c"))
    assert sorted(files)[0] == "a_b_c.mtl"
    for name in ("a_b_c.obj", "a_b_c.mtl"):
        assert b"\r" not in files[name]
        assert files[name].endswith(b"\n")
        assert files[name].isascii()
    assert b"mtllib a_b_c.mtl\n" in files["a_b_c.obj"]
