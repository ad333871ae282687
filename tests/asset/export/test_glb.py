"""The GLB as others read it: the Khronos validator, trimesh, and the bytes themselves."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from assets import asset, mapped, material, picture
from PIL import Image
from surfaces import SURFACES, torus

from dreamfusion_mesh import __version__
from dreamfusion_mesh.asset.export.glb import glb_bytes
from dreamfusion_mesh.records import Asset, Mesh

COMPONENTS = {5126: "<f4", 5123: "<u2", 5125: "<u4"}


def parse(data: bytes) -> tuple[dict, bytes]:
    magic, version, length = struct.unpack_from("<4sII", data)
    assert (magic, version, length) == (b"glTF", 2, len(data))
    size, kind = struct.unpack_from("<I4s", data, 12)
    assert (kind, size % 4) == (b"JSON", 0)
    rest, binary_kind = struct.unpack_from("<I4s", data, 20 + size)
    assert (binary_kind, rest % 4, 28 + size + rest) == (b"BIN\0", 0, len(data))
    return json.loads(data[20 : 20 + size]), data[28 + size :]


def array(document: dict, binary: bytes, index: int) -> np.ndarray:
    entry = document["accessors"][index]
    view = document["bufferViews"][entry["bufferView"]]
    content = binary[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]
    return np.frombuffer(content, COMPONENTS[entry["componentType"]]).reshape(entry["count"], -1)


def images(document: dict, binary: bytes) -> list[np.ndarray]:
    found = []
    for entry in document["images"]:
        view = document["bufferViews"][entry["bufferView"]]
        picture = Image.open(io.BytesIO(binary[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]))
        assert (picture.format, picture.mode) == ("PNG", "RGB")
        assert not picture.info.keys() & {"icc_profile", "gamma", "srgb"}
        found.append(np.asarray(picture))
    return found


@pytest.mark.parametrize("name", SURFACES)
@pytest.mark.parametrize("maps", [False, True])
def test_the_khronos_validator_finds_nothing(name: str, maps: bool, khronos, tmp_path: Path) -> None:
    (tmp_path / "thing.glb").write_bytes(glb_bytes(asset(name, maps)))
    report = khronos(tmp_path / "thing.glb")
    print(report["issues"])
    assert report["issues"]["messages"] == []
    assert report["info"]["totalTriangleCount"] == len(mapped(name).faces)


@pytest.mark.parametrize("name", SURFACES)
def test_trimesh_reads_the_same_surface_and_picture(name: str) -> None:
    mesh = mapped(name)
    scene = trimesh.load(io.BytesIO(glb_bytes(asset(name))), file_type="glb", process=False)
    assert list(scene.graph.nodes_geometry) == ["thing"]
    assert np.array_equal(scene.graph.get("thing")[0], np.eye(4))
    (read,) = scene.geometry.values()
    assert np.array_equal(read.vertices[read.faces], mesh.vertices[mesh.faces].numpy())
    assert np.abs(read.visual.uv[read.faces] - mesh.uvs[mesh.face_uvs].numpy()).max() <= 2**-23  # v was flipped and flipped back
    assert np.array_equal(np.asarray(read.visual.material.baseColorTexture.convert("RGB")), picture(0))


@pytest.mark.parametrize("maps", [False, True])
def test_every_factor_is_written_out(maps: bool) -> None:
    document, binary = parse(glb_bytes(asset("torus", maps)))
    (material,) = document["materials"]
    surface = material["pbrMetallicRoughness"]
    assert surface["baseColorFactor"] == [1, 1, 1, 1]
    assert (surface["metallicFactor"], surface["roughnessFactor"]) == ((0.9, 0.6) if maps else (0.1, 0.6))
    assert (material["doubleSided"], material["alphaMode"], material["emissiveFactor"]) == (False, "OPAQUE", [0, 0, 0])
    assert document["samplers"] == [{"magFilter": 9729, "minFilter": 9987, "wrapS": 33071, "wrapT": 33071}]
    assert document["nodes"] == [{"name": "thing", "mesh": 0}]
    (primitive,) = document["meshes"][0]["primitives"]
    assert set(primitive["attributes"]) == {"POSITION", "NORMAL", "TEXCOORD_0"} | ({"TANGENT"} if maps else set())
    assert all(view["byteOffset"] % 4 == 0 for view in document["bufferViews"])
    found = images(document, binary)
    assert np.array_equal(found[0], picture(0))
    if maps:
        assert np.array_equal(found[surface["metallicRoughnessTexture"]["index"]], picture(1))
        assert material["occlusionTexture"] == {"index": surface["metallicRoughnessTexture"]["index"], "texCoord": 0, "strength": 1}
        assert (found[material["normalTexture"]["index"]] == [128, 128, 255]).all()


def test_bounds_normals_and_v_are_as_gltf_has_them() -> None:
    mesh = mapped("blob")
    document, binary = parse(glb_bytes(asset("blob")))
    (primitive,) = document["meshes"][0]["primitives"]
    positions, normals, uvs = (array(document, binary, primitive["attributes"][key]) for key in ("POSITION", "NORMAL", "TEXCOORD_0"))
    entry = document["accessors"][primitive["attributes"]["POSITION"]]
    assert (entry["min"], entry["max"]) == (positions.min(axis=0).tolist(), positions.max(axis=0).tolist())
    indices = array(document, binary, primitive["indices"]).reshape(-1, 3)
    given = mesh.uvs[mesh.face_uvs].numpy()
    assert np.array_equal(uvs[indices][:, :, 0], given[:, :, 0])
    assert np.array_equal(uvs[indices][:, :, 1], 1 - given[:, :, 1])
    distinct, row = np.unique(positions, axis=0, return_inverse=True)
    shared = np.zeros_like(distinct)
    shared[row.reshape(-1)] = normals
    assert len(distinct) < len(positions)
    assert np.array_equal(shared[row.reshape(-1)], normals)


def test_large_meshes_get_wide_indices() -> None:
    grid = torus(280, 140)  # 39,200 vertices, 78,400 faces
    corners = torch.arange(grid.faces.numel())
    uvs = torch.stack([corners / len(corners), corners % 7 / 7], dim=1)
    for face_uvs, component, count in ((grid.faces, 5123, len(grid.vertices)), (corners.view(-1, 3), 5125, len(corners))):
        document, _ = parse(glb_bytes(Asset("x", Mesh(grid.vertices, grid.faces, uvs, face_uvs), material())))
        (primitive,) = document["meshes"][0]["primitives"]
        assert document["accessors"][primitive["indices"]]["componentType"] == component
        assert document["accessors"][primitive["attributes"]["POSITION"]]["count"] == count


def test_the_same_asset_gives_the_same_bytes() -> None:
    assert glb_bytes(asset("sphere", True)) == glb_bytes(asset("sphere", True))


def test_extras_hold_the_plain_part_of_the_provenance() -> None:
    document, _ = parse(glb_bytes(asset("cube")))
    assert document["asset"]["generator"] == f"dreamfusion_mesh {__version__}"
    assert document["asset"]["extras"] == {
        "prompt": 'a "red" mushroom, crème — 蘑菇',
        "seed": 7,
        "model": {"name": "embedded", "licence": "Apache-2.0"},
    }


def test_names_in_the_file_are_plain() -> None:
    document, _ = parse(glb_bytes(asset("cube", title="../a b\n")))
    assert document["nodes"][0]["name"] == "a_b"
