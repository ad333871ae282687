"""A glTF that asks much of a viewer: instances, levels of detail, a skin, morph targets, sparse and quantised values, moved textures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from written_files import Draft, add_accessor, box


def rich() -> Draft:
    """A box of two squares a side, drawn by three nodes of four; its own UVs are the material's second set, and moved."""
    return replace(box(2), change=_enrich)


def _enrich(document: dict[str, Any]) -> None:
    draft = box(2)
    count = len(draft.positions)
    primitive = document["meshes"][0]["primitives"][0]
    places = add_accessor(document, np.array([3], "u1"))
    values = add_accessor(document, draft.positions[3:4].astype("<f4"))
    views = [document["accessors"][index]["bufferView"] for index in (places, values)]
    document["accessors"][0]["sparse"] = {
        "count": 1,
        "indices": {"bufferView": views[0], "componentType": 5121},
        "values": {"bufferView": views[1]},
    }
    primitive["attributes"] |= {
        "TANGENT": add_accessor(document, np.tile(np.array([[1, 0, 0, 1]], "<f4"), (count, 1))),
        "TEXCOORD_1": add_accessor(document, np.rint(draft.uvs * 65535).astype("<u2"), normalized=True),
        "COLOR_0": add_accessor(document, np.full((count, 4), 255, "u1"), normalized=True),
        "JOINTS_0": add_accessor(document, np.zeros((count, 4), "u1")),
        "WEIGHTS_0": add_accessor(document, np.tile(np.array([[1, 0, 0, 0]], "<f4"), (count, 1))),
    }
    primitive["targets"] = [{"POSITION": add_accessor(document, draft.positions.astype("<f4"))}]
    primitive["extensions"] = {"KHR_materials_variants": {"mappings": [{"material": 0, "variants": [0]}]}}
    document["meshes"][0]["weights"] = [0.0]
    document["skins"] = [{"joints": [3], "inverseBindMatrices": add_accessor(document, np.eye(4, dtype="<f4").reshape(1, 16))}]
    instancing = {"attributes": {"TRANSLATION": add_accessor(document, np.array([[0, 0, 0], [2, 0, 0]], "<f4"))}}
    document["nodes"] = [
        {"mesh": 0, "name": "asset_LOD0", "children": [1], "extensions": {"MSFT_lod": {"ids": [2]}}},
        {"mesh": 0, "name": "UCX_asset_01", "scale": [2, 1, 1], "extensions": {"EXT_mesh_gpu_instancing": instancing}},
        {"mesh": 0, "name": "asset_LOD1", "rotation": [0, 1, 0, 0], "skin": 0},
        {"name": "joint", "translation": [0, 1, 0], "extensions": {"KHR_node_visibility": {"visible": True}}},
    ]
    document["scenes"][0]["nodes"] = [0, 3]
    color = document["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"]
    color |= {
        "texCoord": 0,
        "extensions": {"KHR_texture_transform": {"texCoord": 1, "offset": [0, 0.5], "rotation": 0.0, "scale": [0.5, 0.5]}},
    }
    document["materials"][0]["extensions"] = {"KHR_materials_clearcoat": {"clearcoatFactor": 0.5}}
    document["asset"]["extras"] = {"prompt": "a box"}
    used = ["MSFT_lod", "EXT_mesh_gpu_instancing", "KHR_texture_transform", "KHR_materials_variants", "KHR_materials_clearcoat"]
    document["extensionsUsed"] = document["extensionsRequired"] = [*used, "KHR_mesh_quantization", "KHR_node_visibility"]
    document["extensions"] = {"KHR_materials_variants": {"variants": [{"name": "plain"}]}}
