"""What a glTF asks of a viewer and the reader does not apply is named, by part, for the rows that depend on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from written_files import box

from dreamfusion_mesh.audit.readers.extensions import EVERYTHING
from dreamfusion_mesh.audit.readers.gltf import parse_gltf
from dreamfusion_mesh.audit.readers.scene import read_scene
from dreamfusion_mesh.audit.readers.written import Written


def read(change: Callable[[dict[str, Any]], None]) -> Written:
    return read_scene(parse_gltf(replace(box(2), change=change).glb(), Path()))


def primitive(document: dict[str, Any]) -> dict[str, Any]:
    return document["meshes"][0]["primitives"][0]


@pytest.mark.parametrize("holder", ["primitive", "mesh", "node", "scene", "accessor", "bufferView"])
def test_unknown_extensions_on_what_is_drawn_leave_the_surface_unread(holder: str) -> None:
    def change(document: dict[str, Any]) -> None:
        places = {"mesh": "meshes", "node": "nodes", "scene": "scenes", "accessor": "accessors", "bufferView": "bufferViews"}
        entry = primitive(document) if holder == "primitive" else document[places[holder]][0]
        entry["extensions"] = {"ACME_shape": {}}

    found = read(change)
    assert set(found.unread) == {"surface", "uvs", "normals"}
    assert "needs 'ACME_shape', see" in found.unread["surface"]


@pytest.mark.parametrize(("target", "part"), [("TEXCOORD_0", "uvs"), ("NORMAL", "normals"), ("POSITION", "surface")])
def test_values_packed_by_meshopt_leave_their_own_part_unread(target: str, part: str) -> None:
    def change(document: dict[str, Any]) -> None:
        view = document["bufferViews"][document["accessors"][primitive(document)["attributes"][target]]["bufferView"]]
        view["extensions"] = {
            "EXT_meshopt_compression": {"buffer": 0, "byteLength": 9, "byteStride": 12, "count": 54, "mode": "ATTRIBUTES"}
        }
        document["buffers"].append({"byteLength": 999, "extensions": {"EXT_meshopt_compression": {"fallback": True}}})

    found = read(change)
    assert set(found.unread) == {part, *(("uvs", "normals") if part == "surface" else ())}
    assert "needs EXT_meshopt_compression (write the file without it" in found.unread[part]


def test_an_unknown_extension_that_is_required_leaves_everything_unread() -> None:
    found = read(lambda document: document.update(extensionsRequired=["ACME_shape"]))
    assert found.unread == dict.fromkeys(EVERYTHING, "needs 'ACME_shape', see extensionsRequired")
    broken = read(lambda document: document.update(extensionsRequired=["ACME_shape"], meshes=[]))
    assert (broken.unread, len(broken.faces)) == (found.unread, 0)
    assert read(lambda document: document.update(extensionsRequired=["KHR_mesh_quantization"])).unread == {}


@pytest.mark.parametrize("mode", [0, 1, 3])
def test_points_and_lines_are_no_surface(mode: int) -> None:
    def beside(document: dict[str, Any]) -> None:
        document["meshes"][0]["primitives"].append({**primitive(document), "mode": mode})

    what = "points" if mode == 0 else "lines"
    for change, faces in ((lambda document: primitive(document).update(mode=mode), 0), (beside, 48)):
        found = read(change)
        assert f"draws {what}, which are no part of a surface" in found.unread["surface"]
        assert len(found.faces) == faces


def test_the_scene_that_is_shown_is_the_default_one_or_the_only_one() -> None:
    def scenes(document: dict[str, Any]) -> None:
        document["nodes"].append({"mesh": 0, "scale": [5, 5, 5]})
        document["scenes"] = [{"nodes": [1]}, {"nodes": [0]}]
        document["scene"] = 1

    def none_named(document: dict[str, Any]) -> None:
        scenes(document)
        del document["scene"]

    assert np.ptp(read(scenes).vertices[:, 0]) == 1
    assert read(lambda document: document.pop("scene") and None).unread == {}
    assert read(none_named).unread["surface"] == "the file has 2 scenes and names none to be shown"
