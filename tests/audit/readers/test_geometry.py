"""Whatever a glTF asks of a viewer in drawing its surface is applied: the same box comes out, however it is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from written_files import Draft, add_accessor, box, data_uri

from dreamfusion_mesh.audit.readers.gltf import parse_gltf
from dreamfusion_mesh.audit.readers.scene import read_scene
from dreamfusion_mesh.audit.readers.written import Written
from dreamfusion_mesh.errors import BadInput

Change = Callable[[dict[str, Any]], None]


def read(change: Change = lambda document: None, draft: Draft | None = None, engine: str = "generic") -> Written:
    return read_scene(parse_gltf(replace(draft or box(2), change=change).glb(), Path()), engine)


def primitive(document: dict[str, Any]) -> dict[str, Any]:
    return document["meshes"][0]["primitives"][0]


def faces_of(places: np.ndarray) -> set[tuple[tuple[float, ...], ...]]:
    """The faces [F, 3, 3] whatever their order, and whichever corner each begins with; to a hundredth."""
    rounded = [[tuple(corner) for corner in face] for face in (np.round(places, 2) + 0.0).tolist()]
    return {min((face[0], face[1], face[2]), (face[1], face[2], face[0]), (face[2], face[0], face[1])) for face in rounded}


def assert_same(found: Written, wanted: Written, atol: float = 0.0) -> None:
    assert found.unread == {}
    assert found.vertices[found.faces] == pytest.approx(wanted.vertices[wanted.faces], abs=atol)
    assert found.corner_uvs == pytest.approx(wanted.corner_uvs, abs=atol)
    assert found.corner_normals == pytest.approx(wanted.corner_normals, abs=1 / 127 if atol else 0.0)


def test_normals_and_tangents_are_read_as_the_file_has_them() -> None:
    draft, tangents = box(2), np.tile(np.array([[0.6, 0.8, 0, -1]], "<f4"), (54, 1))
    found = read(lambda document: primitive(document)["attributes"].update(TANGENT=add_accessor(document, tangents)))
    assert np.array_equal(found.corner_normals, draft.normals.astype("<f4").astype(np.float64)[draft.faces])
    assert np.array_equal(found.corner_tangents, tangents.astype(np.float64)[draft.faces])
    assert (found.levels, found.hulls, dict(found.notes), dict(found.unread)) == ((), (), {}, {})
    assert read(lambda document: document["asset"].update(extras={"prompt": "a mug"})).notes == {"prompt": "a mug"}
    assert read(lambda document: document["asset"].update(extras=[1])).notes == {}


def test_a_mirroring_node_turns_normals_tangents_and_the_side_of_the_bitangent() -> None:
    tangents = np.tile(np.array([[1, 0, 0, 1]], "<f4"), (54, 1))

    def change(document: dict[str, Any]) -> None:
        primitive(document)["attributes"]["TANGENT"] = add_accessor(document, tangents)
        document["nodes"][0].update(scale=[-2, 1, 1])

    draft, found = box(2), read(change)
    turned = draft.normals * [-0.5, 1, 1]
    turned /= np.linalg.norm(turned, axis=1, keepdims=True)
    assert found.corner_normals == pytest.approx(turned[draft.faces][:, ::-1])
    assert np.array_equal(np.unique(found.corner_tangents.reshape(-1, 4), axis=0), [[-1, 0, 0, -1]])
    faces = found.vertices[found.faces]
    outside = np.cross(faces[:, 1] - faces[:, 0], faces[:, 2] - faces[:, 0])
    assert (np.einsum("fi,fi->f", outside, found.corner_normals[:, 0]) > 0).all()


def test_a_stretching_node_keeps_normals_upright() -> None:
    """On the plane x + y = 0 stretched along x by 2, the normal is that of x / 2 + y = 0."""
    plane = Draft(
        np.array([[0, 0, 0], [1, -1, 0], [0, 0, 1]], float),
        np.tile([[0.5**0.5, 0.5**0.5, 0]], (3, 1)),
        np.eye(3)[:, :2],
        np.array([[0, 1, 2]]),
    )
    found = read(lambda document: document["nodes"][0].update(scale=[2, 1, 1]), plane)
    assert found.corner_normals[0, 0] == pytest.approx(np.array([1, 2, 0]) / 5**0.5)


def test_strips_and_fans_are_cut_into_triangles() -> None:
    square = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]], float)
    draft = Draft(square, np.tile([[0.0, 0, 1]], (4, 1)), square[:, :2], np.array([[0, 1, 2]]))
    strip, fan = [[0, 1, 2], [1, 3, 2]], [[1, 3, 0], [3, 2, 0]]
    for mode, order, faces in ((5, [0, 1, 2, 3], strip), (6, [0, 1, 3, 2], fan), (5, [0, 1, 2, 2, 1, 1, 1, 3, 2], strip)):

        def change(document: dict[str, Any], mode: int = mode, order: list[int] = order) -> None:
            primitive(document).update(mode=mode, indices=add_accessor(document, np.array(order, "<u2")))

        found = read(change, draft)
        assert len(found.faces) == 2
        assert faces_of(found.vertices[found.faces]) == faces_of(square[faces])


def test_normalised_and_quantised_attributes_are_what_they_stand_for() -> None:
    draft = box(2)

    def change(document: dict[str, Any]) -> None:
        quantised = np.rint(draft.positions * 2000).astype("<i2")
        attributes = {
            "POSITION": add_accessor(document, np.pad(quantised, ((0, 0), (0, 1))), type="VEC3"),
            "NORMAL": add_accessor(
                document, np.pad(np.rint(draft.normals * 127), ((0, 0), (0, 1))).astype("i1"), type="VEC3", normalized=True
            ),
            "TEXCOORD_0": add_accessor(document, np.rint(draft.uvs * 65535).astype("<u2"), normalized=True),
        }
        for name, step in (("POSITION", 8), ("NORMAL", 4)):
            document["bufferViews"][document["accessors"][attributes[name]]["bufferView"]]["byteStride"] = step
        primitive(document)["attributes"] = attributes
        document["nodes"][0]["scale"] = [1 / 2000] * 3
        document["extensionsUsed"] = document["extensionsRequired"] = ["KHR_mesh_quantization"]

    assert_same(read(change), read(), 1e-5)


def test_sparse_values_replace_their_rows_and_zeros_stand_where_no_buffer_does() -> None:
    draft = box(2)
    moved = np.array([3, 10, 53])

    def sparse(document: dict[str, Any], base: np.ndarray | None) -> dict[str, Any]:
        rows = np.arange(54) if base is None else moved
        places, values = add_accessor(document, rows.astype("u1")), add_accessor(document, draft.positions[rows].astype("<f4"))
        views = [document["accessors"][index]["bufferView"] for index in (places, values)]
        return {"count": len(rows), "indices": {"bufferView": views[0], "componentType": 5121}, "values": {"bufferView": views[1]}}

    def over_values(document: dict[str, Any]) -> None:
        wrong = draft.positions.copy()
        wrong[moved] = 9
        index = add_accessor(document, wrong.astype("<f4"), sparse=sparse(document, wrong))
        primitive(document)["attributes"]["POSITION"] = index

    def over_nothing(document: dict[str, Any]) -> None:
        document["accessors"].append({"componentType": 5126, "count": 54, "type": "VEC3", "sparse": sparse(document, None)})
        primitive(document)["attributes"]["POSITION"] = len(document["accessors"]) - 1

    def nothing(document: dict[str, Any]) -> None:
        document["accessors"].append({"componentType": 5126, "count": 54, "type": "VEC3"})
        primitive(document)["attributes"]["POSITION"] = len(document["accessors"]) - 1

    assert_same(read(over_values), read())
    assert_same(read(over_nothing), read())
    assert np.array_equal(read(nothing).vertices, [[0, 0, 0]])


@pytest.mark.parametrize(
    "change",
    [{"count": 4}, {"indices": {"bufferView": 0, "componentType": 5126}}, {"values": {"bufferView": 99}}, {"values": {}}, {"indices": 3}],
)
def test_sparse_values_that_leave_their_bytes_are_refused(change: dict[str, Any]) -> None:
    def broken(document: dict[str, Any]) -> None:
        view = document["accessors"][add_accessor(document, np.array([1, 2, 54], "u1"))]["bufferView"]
        sparse = {"count": 2, "indices": {"bufferView": view, "componentType": 5121}, "values": {"bufferView": 0}}
        document["accessors"][0]["sparse"] = sparse | change

    with pytest.raises(BadInput, match=r"sparse|bufferViews\[(99|None)\]"):
        read(broken)


def test_morph_targets_are_added_by_the_weights_of_the_node_or_the_mesh() -> None:
    draft = box(2)

    def change(document: dict[str, Any], owner: str = "meshes", weights: list[float] | None = None) -> None:
        up, out = np.tile(np.array([[0, 1, 0]], "<f4"), (54, 1)), draft.positions.astype("<f4")
        primitive(document)["targets"] = [{"POSITION": add_accessor(document, up)}, {"POSITION": add_accessor(document, out)}]
        if weights is not None:
            document[owner][0]["weights"] = weights

    plain = read()
    assert_same(read(change), plain)
    for owner in ("meshes", "nodes"):
        found = read(lambda document, owner=owner: change(document, owner, [0.25, 0.5]))
        assert found.vertices[found.faces] == pytest.approx(plain.vertices[plain.faces] * 1.5 + [0, 0.25, 0])
    with pytest.raises(BadInput, match="weights: expected 2 finite numbers"):
        read(lambda document: change(document, "meshes", [1.0]))


def test_a_skin_places_vertices_by_its_joints_and_not_by_the_node() -> None:
    """Half on each of two joints: one lies where it was bound, the other is moved by (0, 2, 0) from there."""

    def change(document: dict[str, Any]) -> None:
        bind = np.eye(4)
        bind[:3, 3] = [0, -1, 0]
        inverse = np.stack([np.eye(4), bind]).swapaxes(1, 2).reshape(2, 16).astype("<f4")
        document["nodes"][0].update(translation=[50, 0, 0], skin=0)
        document["nodes"] += [{"translation": [0, 0, 0], "children": [2]}, {"translation": [0, 3, 0]}]
        document["scenes"][0]["nodes"] = [0, 1]
        document["skins"] = [{"joints": [1, 2], "inverseBindMatrices": add_accessor(document, inverse)}]
        primitive(document)["attributes"] |= {
            "JOINTS_0": add_accessor(document, np.tile(np.array([[0, 1, 0, 0]], "u1"), (54, 1))),
            "WEIGHTS_0": add_accessor(document, np.tile(np.array([[0.5, 0.5, 0, 0]], "<f4"), (54, 1))),
        }

    plain, found = read(), read(change)
    assert found.unread == {}
    assert found.vertices[found.faces] == pytest.approx(plain.vertices[plain.faces] + [0, 1, 0])
    assert found.corner_normals == pytest.approx(plain.corner_normals)

    def apart(document: dict[str, Any]) -> None:
        change(document)
        document["scenes"][0]["nodes"] = [0]

    assert read(apart).unread["surface"] == "skins[0]: its joint nodes[1] is not in the scene"


def test_instances_are_drawn_each() -> None:
    def change(document: dict[str, Any]) -> None:
        half = 2**-0.5
        places = {
            "TRANSLATION": np.array([[0, 0, 0], [3, 0, 0]], "<f4"),
            "ROTATION": np.array([[0, 0, 0, 1], [0, half, 0, half]], "<f4"),
            "SCALE": np.array([[1, 1, 1], [2, 2, 2]], "<f4"),
        }
        instancing = {"attributes": {name: add_accessor(document, values) for name, values in places.items()}}
        document["nodes"][0].update(translation=[0, 5, 0], extensions={"EXT_mesh_gpu_instancing": instancing})

    plain, found = read(), read(change)
    x, y, z = plain.vertices[plain.faces].transpose(2, 0, 1)
    assert found.vertices[found.faces[:48]] == pytest.approx(np.stack([x, y + 5, z], axis=-1))
    assert found.vertices[found.faces[48:]] == pytest.approx(np.stack([2 * z + 3, 2 * y + 5, -2 * x], axis=-1), abs=1e-6)


def test_hidden_nodes_are_not_drawn() -> None:
    def change(document: dict[str, Any]) -> None:
        document["nodes"] += [{"extensions": {"KHR_node_visibility": {"visible": False}}, "children": [2]}, {"mesh": 0, "scale": [9, 9, 9]}]
        document["scenes"][0]["nodes"] = [0, 1]

    assert_same(read(change), read())


def test_cameras_lights_and_metadata_change_nothing() -> None:
    def change(document: dict[str, Any]) -> None:
        document["cameras"] = [{"type": "perspective", "perspective": {"yfov": 1, "znear": 0.1}}]
        document["nodes"].append({"camera": 0, "extensions": {"KHR_lights_punctual": {"light": 0}}})
        document["scenes"][0] |= {"nodes": [0, 1], "extensions": {"KHR_xmp_json_ld": {"packet": 0}}}
        document["extensionsUsed"] = ["KHR_lights_punctual", "KHR_xmp_json_ld"]

    assert_same(read(change), read())


@pytest.mark.parametrize("scale", [1e300, 1e39, -1e308])
def test_what_a_node_moves_past_float32_is_refused(scale: float) -> None:
    def nested(document: dict[str, Any]) -> None:
        document["nodes"] = [{"scale": [scale] * 3, "children": [1]}, {"mesh": 0, "scale": [scale] * 3}]

    for change in (nested, lambda document: document["nodes"][0].update(scale=[scale, 1, 1])):
        with pytest.raises(BadInput, match="positions: has numbers that are not finite, or are larger than float32 holds"):
            read(change)


def test_a_packed_mesh_is_unpacked(tmp_path: Path) -> None:
    draco = pytest.importorskip("DracoPy")
    draft = box(2)
    packed = draco.encode(draft.positions, draft.faces.astype(np.uint32), tex_coord=draft.uvs, normals=draft.normals, quantization_bits=16)
    kinds = {attribute["attribute_type"]: attribute["unique_id"] for attribute in draco.decode(packed).attributes}

    def change(document: dict[str, Any], data: bytes = packed) -> None:
        document["buffers"].append({"byteLength": len(data), "uri": data_uri(data)})
        document["bufferViews"].append({"buffer": 1, "byteLength": len(data)})
        attributes = {"POSITION": kinds[0], "NORMAL": kinds[1], "TEXCOORD_0": kinds[3]}
        extension = {"bufferView": len(document["bufferViews"]) - 1, "attributes": attributes}
        primitive(document)["extensions"] = {"KHR_draco_mesh_compression": extension}
        for index in (0, 1, 2, 3):
            document["accessors"][index].pop("bufferView")
        document["extensionsUsed"] = document["extensionsRequired"] = ["KHR_draco_mesh_compression"]

    found, plain = read(change), read()
    assert found.unread == {}
    assert len(found.faces) == 48
    assert faces_of(found.vertices[found.faces]) == faces_of(plain.vertices[plain.faces])
    assert found.corner_normals is not None
    assert found.corner_uvs is not None
    assert np.ptp(found.corner_uvs.reshape(-1, 2), axis=0) == pytest.approx(np.ptp(plain.corner_uvs.reshape(-1, 2), axis=0), abs=1e-4)
    for broken in (packed[:40], packed[: len(packed) // 2], b"DRACO" + bytes(40)):
        with pytest.raises(BadInput, match=r"KHR_draco_mesh_compression: cannot be unpacked"):
            read(lambda document, broken=broken: change(document, broken))


def test_without_its_reader_a_packed_mesh_is_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    def change(document: dict[str, Any]) -> None:
        primitive(document)["extensions"] = {"KHR_draco_mesh_compression": {"bufferView": 0, "attributes": {"POSITION": 0}}}

    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    found = read(change)
    assert set(found.unread) == {"surface", "uvs", "normals"}
    assert found.unread["surface"].startswith("needs KHR_draco_mesh_compression (pip install DracoPy), see meshes[0].primitives[0]")
    assert len(found.faces) == 0
