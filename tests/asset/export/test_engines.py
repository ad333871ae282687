"""The files of an asset for each engine: what is in which file, by which names, as the validator, trimesh and the bytes have it."""

from __future__ import annotations

import io
import json
import logging
import struct
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import trimesh
from assets import full_asset
from PIL import Image

from dreamfusion_mesh.asset.export.engines import ENGINES
from dreamfusion_mesh.asset.export.files import asset_files
from dreamfusion_mesh.asset.export.glb import glb_bytes
from dreamfusion_mesh.config import AssetSettings

LEVELS = [len(mesh.faces) for mesh in (full_asset().mesh, *(lod.mesh for lod in full_asset().lods))]
HULL = 12  # faces
INSIDE = {  # each node of NAME.glb that draws something, and how many faces
    "generic": {"thing": LEVELS[0]},
    "unreal": {"SM_thing": LEVELS[0], "UCX_SM_thing_01": HULL, "UCX_SM_thing_02": HULL},
    "unity": {f"thing_LOD{n}": faces for n, faces in enumerate(LEVELS)} | {"thing_01_collider": HULL, "thing_02_collider": HULL},
    "godot": {"thing": LEVELS[0], "thing_01-convcolonly": HULL, "thing_02-convcolonly": HULL},
}
HULLS = {
    "generic": ["thing_collision_01", "thing_collision_02"],
    "unreal": ["UCX_SM_thing_01", "UCX_SM_thing_02"],
    "unity": ["thing_01_collider", "thing_02_collider"],
    "godot": ["thing_01-convcolonly", "thing_02-convcolonly"],
}


@lru_cache(maxsize=8)
def files(engine: str) -> dict[str, bytes]:
    return asset_files(full_asset(), AssetSettings(engine=engine))  # type: ignore[arg-type]


def document(data: bytes) -> dict:
    size = struct.unpack_from("<I", data, 12)[0]
    return json.loads(data[20 : 20 + size])


def image(data: bytes, name: str) -> np.ndarray:
    """The picture of that name in a GLB."""
    found = document(data)
    (entry,) = (entry for entry in found["images"] if entry["name"] == name)
    view = found["bufferViews"][entry["bufferView"]]
    start = 28 + struct.unpack_from("<I", data, 12)[0] + view["byteOffset"]
    return np.asarray(Image.open(io.BytesIO(data[start : start + view["byteLength"]])))


def drawn(data: bytes) -> dict[str, int]:
    """Faces by the node that draws them, as trimesh has them; nodes have no transforms."""
    scene = trimesh.load(io.BytesIO(data), file_type="glb", process=False, force="scene")
    placed = {node: scene.graph.get(node) for node in scene.graph.nodes_geometry}
    assert all(np.array_equal(matrix, np.eye(4)) for matrix, _ in placed.values())
    return {node: len(scene.geometry[geometry].faces) for node, (_, geometry) in placed.items()}


def test_every_engine_is_a_setting() -> None:
    assert set(ENGINES) == set(INSIDE) == set(AssetSettings.model_json_schema()["properties"]["engine"]["enum"])


@pytest.mark.parametrize("engine", ENGINES)
def test_the_files_have_the_same_names_for_every_engine(engine: str) -> None:
    maps = [f"thing_{kind}.png" for kind in ("basecolor", "metallic", "normal", "orm", "roughness")]
    models = ["thing.glb", "thing_LOD1.glb", "thing_LOD2.glb", "thing_collision.glb", "thing.obj", "thing.mtl"]
    assert sorted(files(engine)) == sorted([*models, *maps])


@pytest.mark.parametrize("engine", ENGINES)
def test_nodes_and_meshes_are_named_as_the_engine_knows_them(engine: str) -> None:
    main = files(engine)["thing.glb"]
    assert drawn(main) == INSIDE[engine]
    found = document(main)
    assert [found["meshes"][node["mesh"]]["name"] for node in found["nodes"] if "mesh" in node] == list(INSIDE[engine])
    prefix = "SM_" if engine == "unreal" else ""
    for number in (1, 2):
        assert drawn(files(engine)[f"thing_LOD{number}.glb"]) == {f"{prefix}thing_LOD{number}": LEVELS[number]}
    hulls = files(engine)["thing_collision.glb"]
    assert drawn(hulls) == dict.fromkeys(HULLS[engine], HULL)
    assert not {"materials", "images", "textures", "samplers"} & document(hulls).keys()


def test_unitys_levels_and_colliders_lie_under_one_root() -> None:
    found = document(files("unity")["thing.glb"])
    (root,) = found["scenes"][0]["nodes"]
    assert found["nodes"][root]["name"] == "thing"
    assert [found["nodes"][child]["name"] for child in found["nodes"][root]["children"]] == list(INSIDE["unity"])


@pytest.mark.parametrize("engine", ENGINES)
def test_materials_and_images_are_named_as_the_engine_wants(engine: str) -> None:
    found = document(files(engine)["thing.glb"])
    if engine == "unreal":
        assert [entry["name"] for entry in found["materials"]] == ["M_thing"]
        assert [entry["name"] for entry in found["images"]] == ["T_thing_BC", "T_thing_ORM", "T_thing_N"]
        assert not found.keys() & {"extensionsUsed", "extensionsRequired"}
    else:
        names = ["thing", "thing_LOD2"] if engine == "unity" else ["thing"]  # the first level shares the asset's
        assert [entry["name"] for entry in found["materials"]] == names
        assert [entry["name"] for entry in found["images"]] == [
            f"{name}_{kind}" for name in names for kind in ("basecolor", "orm", "normal")
        ]


def test_a_shared_material_goes_into_a_file_once_and_each_level_has_its_own() -> None:
    found = document(files("unity")["thing.glb"])
    primitives = [mesh["primitives"][0] for mesh in found["meshes"]]
    assert [primitive.get("material") for primitive in primitives] == [0, 0, 1, None, None]
    used = [entry["pbrMetallicRoughness"]["baseColorTexture"]["index"] for entry in found["materials"]]
    assert [found["textures"][index]["source"] for index in used] == [0, 3]


@pytest.mark.parametrize("engine", ENGINES)
def test_every_surface_with_a_normal_map_has_tangents(engine: str) -> None:
    for name in ("thing.glb", "thing_LOD1.glb", "thing_LOD2.glb"):
        found = document(files(engine)[name])
        for mesh in found["meshes"]:
            (primitive,) = mesh["primitives"]
            expected = {"POSITION", "NORMAL", "TEXCOORD_0", "TANGENT"} if "material" in primitive else {"POSITION"}
            assert primitive["attributes"].keys() == expected


@pytest.mark.parametrize("engine", ENGINES)
def test_green_points_up_in_every_gltf(engine: str) -> None:
    """As glTF has it, and as each importer takes it; Unreal's turns it itself."""
    name = "T_thing_N" if engine == "unreal" else "thing_normal"
    assert np.array_equal(image(files(engine)["thing.glb"], name), full_asset().material.maps["normal"].pixels)


def test_levels_of_detail_lie_in_the_file_by_msft_lod_on_request(caplog: pytest.LogCaptureFixture) -> None:
    asset = full_asset()
    found = document(glb_bytes(asset, AssetSettings(msft_lod=True)))
    assert found["extensionsUsed"] == ["MSFT_lod"]
    assert "extensionsRequired" not in found
    (shown,) = found["scenes"][0]["nodes"]  # what does not know the extension draws the finest level alone
    lods = found["nodes"][shown]["extensions"]["MSFT_lod"]["ids"]
    assert [found["nodes"][node]["name"] for node in (shown, *lods)] == ["thing", "thing_LOD1", "thing_LOD2"]
    coverage = found["nodes"][shown]["extras"]["MSFT_screencoverage"]
    assert coverage == [0.25, 0.0625, 0.0]
    with caplog.at_level(logging.WARNING):
        assert glb_bytes(asset, AssetSettings(msft_lod=True, engine="unreal")) == files("unreal")["thing.glb"]
    assert [record.getMessage() for record in caplog.records] == [
        "asset.msft_lod: left out, since files for unreal hold their levels of detail another way"
    ]


def test_the_khronos_validator_finds_no_error_and_no_warning_in_any_file(khronos_reports, tmp_path: Path) -> None:
    made = {f"{engine}_{name}": content for engine in ENGINES for name, content in files(engine).items() if name.endswith(".glb")}
    made["lod.glb"] = glb_bytes(full_asset(), AssetSettings(msft_lod=True))
    for name, content in made.items():
        (tmp_path / name).write_bytes(content)
    found = {name: report["issues"] for name, report in zip(made, khronos_reports([tmp_path / name for name in made]), strict=True)}
    assert len(found) == 4 * 4 + 1
    assert not {name: issues["messages"] for name, issues in found.items() if issues["numErrors"] + issues["numWarnings"]}


@pytest.mark.parametrize("engine", ENGINES)
def test_bounds_come_back_from_every_file(engine: str, tmp_path: Path) -> None:
    asset, made = full_asset(), files(engine)
    for file, content in made.items():
        (tmp_path / file).write_bytes(content)
    for name, meshes in {
        "thing.obj": [asset.mesh],
        "thing_LOD1.glb": [asset.lods[0].mesh],
        "thing_LOD2.glb": [asset.lods[1].mesh],
        "thing_collision.glb": asset.hulls,
    }.items():
        points = np.concatenate([mesh.vertices.numpy() for mesh in meshes])
        assert trimesh.load(tmp_path / name, process=False).bounds == pytest.approx(np.stack([points.min(axis=0), points.max(axis=0)]))


def test_the_same_asset_gives_the_same_bytes() -> None:
    assert asset_files(full_asset(), AssetSettings(engine="unity")) == files("unity")


def test_an_asset_without_levels_and_hulls_has_no_files_for_them() -> None:
    from assets import asset

    assert not [name for name in asset_files(asset("cube"), AssetSettings()) if "LOD" in name or "collision" in name]
