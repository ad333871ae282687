"""UVs and materials of a glTF are what a viewer would show; what is not applied is named, by part, for the rows that depend on it."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from math import pi
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from written_files import Draft, add_accessor, box, data_uri

from dreamfusion_mesh.audit.atlas import measure_atlas
from dreamfusion_mesh.audit.readers import paint
from dreamfusion_mesh.audit.readers.gltf import parse_gltf
from dreamfusion_mesh.audit.readers.images import decode
from dreamfusion_mesh.audit.readers.scene import read_scene
from dreamfusion_mesh.audit.readers.written import Map, Written

Change = Callable[[dict[str, Any]], None]
NORMAL_MAP = {"index": 0}


def read(change: Change = lambda document: None, draft: Draft | None = None) -> Written:
    return read_scene(parse_gltf(replace(draft or box(2), change=change).glb(), Path()))


def material(document: dict[str, Any]) -> dict[str, Any]:
    return document["materials"][0]


def color(document: dict[str, Any]) -> dict[str, Any]:
    return material(document)["pbrMetallicRoughness"]["baseColorTexture"]


def primitive(document: dict[str, Any]) -> dict[str, Any]:
    return document["meshes"][0]["primitives"][0]


def moved(document: dict[str, Any], **transform: Any) -> None:
    """The same transform on every map of the material."""
    material(document)["normalTexture"] = dict(NORMAL_MAP)
    for slot in (color(document), material(document)["normalTexture"]):
        slot["extensions"] = {"KHR_texture_transform": transform}


def maps(written: Written) -> tuple[Map, ...]:
    assert written.materials is not None
    return written.materials.maps


def top_left(written: Written) -> np.ndarray:
    assert written.corner_uvs is not None
    return written.corner_uvs * [1, -1] + [0, 1]


def test_a_texture_transform_moves_the_uvs() -> None:
    plain, found = read(), read(lambda document: moved(document, offset=[0.25, 0], scale=[4, 2]))
    assert top_left(found) == pytest.approx(top_left(plain) * [4, 2] + [0.25, 0])
    assert found.unread == {}
    atlas = measure_atlas(found)
    assert atlas is not None
    assert atlas.layout.outside > 0
    assert atlas.unmeasured == "UVs leave the square"


def test_a_turned_texture_is_the_specifications_own_example() -> None:
    """The specification says: the lower left quadrant, rotated clockwise by 90 degrees. Its bottom left corner is shown at the top left."""
    square = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], float)
    uvs = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float)
    draft = Draft(square, np.tile([[0.0, 0, 1]], (4, 1)), uvs, np.array([[0, 1, 2], [0, 2, 3]]))
    found = read(lambda document: moved(document, offset=[0, 1], rotation=pi / 2, scale=[0.5, 0.5]), draft)
    assert top_left(found)[0] == pytest.approx(np.array([[0, 1], [0, 0.5], [0.5, 0.5]]))
    assert found.unread == {"normals": "materials[0]: KHR_texture_transform turns the maps, and the tangents are not turned with them"}


def test_maps_that_are_laid_differently_leave_the_uvs_unread() -> None:
    def one_alone(document: dict[str, Any]) -> None:
        moved(document, scale=[2, 2])
        material(document)["normalTexture"] = dict(NORMAL_MAP)

    def other_set(document: dict[str, Any]) -> None:
        primitive(document)["attributes"]["TEXCOORD_1"] = 2
        material(document)["normalTexture"] = {"index": 0, "texCoord": 1}

    def in_an_extension(document: dict[str, Any]) -> None:
        coat = {"clearcoatTexture": {"index": 0, "extensions": {"KHR_texture_transform": {"scale": [8, 8]}}}}
        material(document)["extensions"] = {"KHR_materials_clearcoat": coat}

    for change in (one_alone, other_set, in_an_extension):
        assert read(change).unread["uvs"] == "materials[0]: its maps differ in UV set or KHR_texture_transform, and one layout is measured"


@pytest.mark.parametrize("by_transform", [False, True])
def test_the_set_that_the_maps_name_is_read(by_transform: bool) -> None:
    draft = box(2)

    def change(document: dict[str, Any]) -> None:
        attributes = primitive(document)["attributes"]
        attributes["TEXCOORD_1"], attributes["TEXCOORD_0"] = attributes["TEXCOORD_0"], add_accessor(document, draft.uvs.astype("<f4") * 9)
        if by_transform:
            color(document).update(texCoord=0, extensions={"KHR_texture_transform": {"texCoord": 1}})
        else:
            color(document)["texCoord"] = 1

    assert np.array_equal(read(change).corner_uvs, read().corner_uvs)
    assert read(lambda document: color(document).update(texCoord=3)).corner_uvs is None


@pytest.mark.parametrize(
    ("name", "content", "parts"),
    [
        ("KHR_materials_unlit", {}, {"materials"}),
        ("KHR_materials_pbrSpecularGlossiness", {"diffuseTexture": {"index": 0}}, {"materials", "images"}),
        ("KHR_materials_sheen", {"sheenColorTexture": {"index": 0}}, {"materials"}),
        ("KHR_materials_sheen", {"sheenRoughnessFactor": 0.5}, set()),
        ("KHR_materials_ior", {"ior": 1.4}, set()),
        ("KHR_materials_transmission", {"transmissionFactor": 1}, set()),
        ("MSFT_packing_occlusionRoughnessMetallic", {"normalTexture": {"index": 0}}, {"materials"}),
        ("ACME_paint", {}, {"materials", "images"}),
    ],
)
def test_extensions_of_a_material_leave_unread_what_they_change(name: str, content: dict[str, Any], parts: set[str]) -> None:
    found = read(lambda document: material(document).update(extensions={name: content}))
    assert set(found.unread) == parts
    assert all(name in why for why in found.unread.values())
    if "images" in parts:
        atlas = measure_atlas(found)
        assert atlas is not None
        assert (atlas.size, atlas.unmeasured) == (None, found.unread["images"])


@pytest.mark.parametrize(
    ("changes", "mode", "hides"),
    [
        ({"alphaMode": "BLEND"}, "RGB", False),
        ({"alphaMode": "BLEND"}, "RGBA", True),
        ({"alphaMode": "MASK"}, "RGBA", True),
        ({"alphaMode": "OPAQUE"}, "RGBA", False),
        ({}, "RGBA", False),
        ({"alphaMode": "MASK", "alphaCutoff": 1.5}, "RGB", True),
    ],
)
def test_what_alpha_may_hide_leaves_the_material_unread(changes: dict[str, Any], mode: str, hides: bool) -> None:
    file = io.BytesIO()
    Image.new(mode, (256, 256)).save(file, "PNG")
    found = read(lambda document: material(document).update(changes), replace(box(2), image=file.getvalue()))
    assert set(found.unread) == ({"materials"} if hides else set())


def test_a_base_colour_that_is_half_there_hides_something() -> None:
    def change(document: dict[str, Any]) -> None:
        material(document)["alphaMode"] = "BLEND"
        material(document)["pbrMetallicRoughness"]["baseColorFactor"] = [1, 1, 1, 0.5]

    assert read(change).unread == {"materials": "materials[0].alphaMode is BLEND, and what its alpha hides is not measured"}


def test_factors_are_read_with_their_defaults() -> None:
    def change(document: dict[str, Any]) -> None:
        material(document)["normalTexture"] = {"index": 0, "scale": -2}
        material(document)["pbrMetallicRoughness"].pop("baseColorFactor")

    found = read(change).materials
    assert found is not None
    assert found.problems == ()
    assert found.factors["normalTexture.scale"] == (-2,)
    assert found.factors["occlusionTexture.strength"] == (1,)
    assert found.factors["baseColorFactor"] == (1, 1, 1, 1)
    assert found.factors["roughnessFactor"] == (0.8,)


def test_variants_show_the_default_material() -> None:
    def change(document: dict[str, Any]) -> None:
        document["materials"].append({})
        document["extensions"] = {"KHR_materials_variants": {"variants": [{"name": "other"}]}}
        primitive(document)["extensions"] = {"KHR_materials_variants": {"mappings": [{"material": 1, "variants": [0]}]}}

    found = read(change)
    assert found.unread == {}
    assert [entry.role for entry in maps(found)] == ["base color"]


def encoded(kind: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (256, 256), (10, 200, 30)).save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize(("name", "kind", "mime"), [("EXT_texture_webp", "WEBP", "webp"), ("MSFT_texture_dds", "DDS", "dds")])
def test_the_image_that_an_extension_of_the_texture_names_is_read(name: str, kind: str, mime: str) -> None:
    image = encoded(kind)

    def change(document: dict[str, Any]) -> None:
        document["images"].append({"uri": data_uri(image)})
        document["textures"][0]["extensions"] = {name: {"source": 1}}

    (found,) = maps(read(change))
    assert (found.key, found.data) == ("images[1]", image)
    info = decode(found.data, "here")
    assert (info.width, info.mime) == (256, f"image/{mime}")


def test_images_that_no_reader_decodes_are_unread_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def change(name: str) -> Change:
        return lambda document: document["textures"][0].update(extensions={name: {"source": 0}})

    found = read(change("KHR_texture_basisu"))
    assert found.unread == {"images": "needs KHR_texture_basisu (write its KTX2 images as PNG), see textures[0]"}
    assert maps(found) == ()
    monkeypatch.setattr(paint, "_reads", lambda kind: False)
    assert "needs EXT_texture_avif (install a Pillow" in read(change("EXT_texture_avif")).unread["images"]
    assert "needs 'ACME_image'" in read(change("ACME_image")).unread["images"]


def test_a_texture_that_is_missing_or_broken_is_a_problem_of_the_material_alone() -> None:
    changes: dict[str, Change] = {
        "images[0]: 'gone.png' is missing": lambda document: document["images"].__setitem__(0, {"uri": "gone.png"}),
        "images[0]: '../a.png' is not a file beside": lambda document: document["images"].__setitem__(0, {"uri": "../a.png"}),
        "textures[9] is not there": lambda document: color(document).update(index=9),
        "images[5] is not there": lambda document: document["textures"][0].update(source=5),
        "bufferViews[77] is not there": lambda document: document["images"][0].update(bufferView=77),
        "materials[8] is not there": lambda document: primitive(document).update(material=8),
        "texCoord: -1": lambda document: color(document).update(texCoord=-1),
    }
    for words, change in changes.items():
        found = read(change)
        assert found.materials is not None
        (problem,) = found.materials.problems
        assert words.split(" is missing")[0].replace("images[0]: 'gone.png'", "gone.png") in problem
        assert len(found.faces) == 48


def test_vertex_colours_leave_the_base_colour_unread_unless_they_are_white() -> None:
    def change(document: dict[str, Any], value: int) -> None:
        colours = np.full((54, 4), value, "u1")
        primitive(document)["attributes"]["COLOR_0"] = add_accessor(document, colours, normalized=True)

    assert read(lambda document: change(document, 255)).unread == {}
    assert set(read(lambda document: change(document, 254)).unread) == {"materials", "images"}
