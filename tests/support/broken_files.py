"""A sound file with one thing broken at a time, and the rows of the audit that are about it."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from framed import FLAT, filled, png_of
from written_files import SIZE, Draft, box, png, png_with

from dreamfusion_mesh.audit.report import Audit, audit
from dreamfusion_mesh.config import AuditSettings
from dreamfusion_mesh.geometry.tangents import corner_tangents

ROOT_2 = 2**-0.5


def measure(path: Path, **changes: Any) -> Audit:
    return audit(path, AuditSettings(**changes), budget=1200, longest_side=1.0)


def failing(found: Audit) -> set[int]:
    """Numbers of the rows that fail."""
    return {row.number for row in found.rows if row.status == "fail"}


def shifted(draft: Draft, shift: tuple[float, float, float] = (0, 0, 0), scale: float = 1.0) -> Draft:
    return replace(draft, positions=draft.positions * scale + np.array(shift))


def document(change: Callable[[dict[str, Any]], None]) -> Draft:
    return replace(box(), change=change)


def without(draft: Draft, face: int) -> Draft:
    return replace(draft, faces=np.delete(draft.faces, face, axis=0))


def flipped(draft: Draft, face: int) -> Draft:
    faces = draft.faces.copy()
    faces[face] = faces[face, ::-1]
    return replace(draft, faces=faces)


def with_small_part(draft: Draft) -> Draft:
    """A tetrahedron inside the box, 4 of 1204 faces; each face has a chart of its own in the free third of the square."""
    corners = np.array([[0, 0, 0], [0.1, 0, 0], [0, 0.1, 0], [0, 0, 0.1]]) + np.array([0, 0.5, 0])
    faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    outwards = corners - corners.mean(axis=0)
    outwards /= np.linalg.norm(outwards, axis=1, keepdims=True)
    count = len(draft.positions)
    texels = np.array([[0, 20], [20, 0], [0, 0]])
    uvs = np.concatenate([texels + np.array([20 + 40 * i, 200]) for i in range(4)]) / SIZE
    return replace(
        draft,
        positions=np.concatenate([draft.positions, corners[faces.ravel()]]),
        normals=np.concatenate([draft.normals, outwards[faces.ravel()]]),
        uvs=np.concatenate([draft.uvs, uvs]),
        faces=np.concatenate([draft.faces, np.arange(12).reshape(4, 3) + count]),
    )


def with_uvs(change: Callable[[np.ndarray], None]) -> Draft:
    """The box with its UVs, in texels with the origin top-left, edited; 121 rows a side of the box."""
    draft = box()
    texels = draft.uvs * SIZE
    change(texels)
    return replace(draft, uvs=texels / SIZE)


def shift_side(side: int, right: float, down: float) -> Draft:
    def change(texels: np.ndarray) -> None:
        texels[121 * side : 121 * (side + 1)] += [right, down]

    return with_uvs(change)


def shrink_side(side: int, right: float, down: float) -> Draft:
    def change(texels: np.ndarray) -> None:
        part = texels[121 * side : 121 * (side + 1)]
        part[:] = part.min(axis=0) + (part - part.min(axis=0)) * [right, down]

    return with_uvs(change)


def mirror_side(texels: np.ndarray) -> None:
    texels[:121, 0] = 93 - texels[:121, 0]


def pbr(change: Callable[[dict[str, Any]], Any]) -> Draft:
    return document(lambda whole: change(whole["materials"][0]["pbrMetallicRoughness"]) and None)


def with_orm(image: bytes, source: int = 1) -> Draft:
    def change(whole: dict[str, Any]) -> None:
        whole["materials"][0]["pbrMetallicRoughness"]["metallicRoughnessTexture"] = {"index": source}

    return replace(box(), extra_images=[image], change=change)


def with_all_maps(draft: Draft | None = None) -> Draft:
    """One ORM image in both of its roles, and a flat normal map that says it is linear, with the tangents that it needs."""
    draft = draft or box()

    def change(whole: dict[str, Any]) -> None:
        material = whole["materials"][0]
        material["pbrMetallicRoughness"]["metallicRoughnessTexture"] = material["occlusionTexture"] = {"index": 1}
        material["normalTexture"] = {"index": 2}

    flat = png_with(b"gAMA", struct.pack(">I", 100_000), png_of(filled(FLAT)))
    return replace(draft, extra_images=[png(), flat], change=change, tangents=tangents_of(draft))


def tangents_of(draft: Draft) -> np.ndarray:
    """MikkTSpace's, of vertices whose faces all lie in one chart."""
    tangents = np.zeros((len(draft.positions), 4))
    upwards = np.stack([draft.uvs[:, 0], 1 - draft.uvs[:, 1]], axis=1)
    tangents[draft.faces] = corner_tangents(*(values.astype("<f4")[draft.faces] for values in (draft.positions, draft.normals, upwards)))
    return tangents


def root(**transform: list[float]) -> Draft:
    return document(lambda whole: whole["nodes"][0].update(transform))


def accessor(index: int, **values: Any) -> Draft:
    return document(lambda whole: whole["accessors"][index].update(values))


def corrupt(values: str, row: int, number: float) -> Draft:
    draft = box()
    corrupted = getattr(draft, values).copy()
    corrupted[row, 0] = number
    return replace(draft, **{values: corrupted})


def finite_bounds(whole: dict[str, Any]) -> None:
    whole["accessors"][0].update(min=[-0.5, 0, -0.5], max=[0.5, 1, 0.5])


def two_boxes() -> Draft:
    one, count = box(), len(box().positions)
    return replace(
        one,
        positions=np.concatenate([one.positions, one.positions * 0.5 + [0, 0.25, 0]]),
        normals=np.concatenate([one.normals, -one.normals]),
        uvs=np.tile(one.uvs, (2, 1)),
        faces=np.concatenate([one.faces, one.faces[:, ::-1] + count]),
    )


INVALID: dict[str, tuple[Draft, set[int]]] = {  # glTF that the Khronos validator refuses, with the rows that fail without it
    "bounds that the positions do not have": (accessor(0, max=[0.5, 1.0, 0.6]), set()),
    "no bounds on the positions": (document(lambda whole: whole["accessors"][0].pop("min") and None), set()),
    "an index past the vertices": (replace(box(), faces=np.maximum(box().faces, (np.arange(1200) == 9)[:, None] * 726)), {2}),
    "an accessor past its bytes": (accessor(2, count=10**12), {2}),
    "an accessor off its boundary": (accessor(0, byteOffset=2), {2}),
    "an infinite position": (replace(corrupt("positions", 5, float("inf")), change=finite_bounds), {2}),
    "UVs that are not numbers": (corrupt("uvs", 5, float("nan")), {2}),
    "a JPEG declared as PNG": (replace(box(), image=b"\xff\xd8\xff" + bytes(50)), {7}),
    "an image type that is not there": (document(lambda whole: whole["images"][0].update(mimeType="image/jpeg")), set()),
    "a texture of no image": (document(lambda whole: whole["textures"][0].update(source=4)), {7}),
    "a texture that is not there": (pbr(lambda factors: factors["baseColorTexture"].update(index=7)), {7}),
    "another version": (document(lambda whole: whole["asset"].update(version="1.0")), {2}),
    "no version": (document(lambda whole: whole.pop("asset") and None), {2}),
    "a node that is its own child": (root(children=[0]), {2}),
    "a mode that is none": (document(lambda whole: whole["meshes"][0]["primitives"][0].update(mode=9)), {2}),
}

BROKEN: dict[str, tuple[Draft, set[int]]] = {
    # 2: sound surface
    "a missing face": (without(box(), 7), {2}),
    "a face inside out": (flipped(box(), 7), {2, 4}),
    "a face twice": (replace(box(), faces=np.concatenate([box().faces[:-1], box().faces[:1]])), {2, 4}),
    "a face without area": (replace(box(), faces=np.concatenate([box().faces[:-1], [[0, 1, 1]]])), {2, 4}),
    "everything inside out": (replace(box(), faces=box().faces[:, ::-1]), {2, 4, 9}),
    "a small part": (with_small_part(box()), {2, 3}),
    "a cavity": (two_boxes(), {2, 3, 4, 5, 6}),
    # 3: budget
    "a triangle too many": (box(11), {3}),
    # 4: UVs
    "a chart on another": (shift_side(0, 5.0, 84.0), {4, 5, 6}),
    "a chart outside": (shift_side(0, -20.0, 0.0), {4}),
    "a mirrored chart": (with_uvs(mirror_side), {4}),
    "a chart without area": (shrink_side(0, 0.0, 1.0), {4, 5, 6}),
    # 5: mip-safe gaps
    "charts too near": (shift_side(0, 5.0, 0.0), {5}),
    "a narrow chart": (shrink_side(0, 7 / 77, 1.0), {5, 6}),
    # 6: texel density
    "a chart drawn finer than the others": (shrink_side(0, 0.4, 0.9), {6}),
    "a square left empty": (replace(box(), uvs=box().uvs * 0.9, image=png()), {6}),
    # 7: PBR
    "an image that does not decode": (replace(box(), image=png()[:200]), {7}),
    "no roughness": (pbr(lambda factors: factors.pop("roughnessFactor")), {7}),
    "no metalness": (document(lambda whole: whole["materials"][0]["pbrMetallicRoughness"].pop("metallicFactor") and None), {7}),
    "no base colour factor": (pbr(lambda factors: factors.pop("baseColorFactor")), {7}),
    "no base colour texture": (pbr(lambda factors: factors.pop("baseColorTexture")), {7}),
    "a size that is no power of two": (replace(box(), image=png(255)), {7}),
    "a map that is not square": (replace(box(), image=png((256, 128))), {7}),
    "a palette": (replace(box(), image=png(mode="P")), {7}),
    "sixteen bits": (replace(box(), image=png(mode="I;16")), {7}),
    "a linear base colour": (replace(box(), image=png_with(b"gAMA", struct.pack(">I", 100_000))), {7}),
    "a foreign profile": (replace(box(), image=png_with(b"iCCP", b"Display P3\0\0x")), {7}),
    "an sRGB data map": (with_orm(png_with(b"sRGB", b"\0")), {7}),
    "maps of two sizes": (with_orm(png(128)), {7}),
    "colour read as data": (with_orm(png(), source=0), {7}),
    "a metalness below nothing": (pbr(lambda factors: factors.update(metallicFactor=-0.1)), {7}),
    "a roughness that is a word": (pbr(lambda factors: factors.update(roughnessFactor="rough")), {7, 14}),
    "a base colour that is black": (pbr(lambda factors: factors.update(baseColorFactor=[0, 0, 0, 1])), {7}),
    "a blending that is not there": (document(lambda whole: whole["materials"][0].update(alphaMode="GLOW")), {7, 14}),
    "no material": (document(lambda whole: whole["meshes"][0]["primitives"][0].pop("material") and None), {7}),
    # 13: placement
    "a pivot in the middle": (shifted(box(), (0, -0.5, 0)), {13}),
    "a pivot at the side": (shifted(box(), (0.01, 0, 0)), {13}),
    "another size": (shifted(box(), scale=1.001), {13}),
    "a root that turns": (root(rotation=[0, ROOT_2, 0, ROOT_2]), {13}),
    "a root that scales": (root(scale=[1, 1, 1.00001]), {13}),
    "a root with a matrix": (root(matrix=[1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 1, 0, 1]), {13}),
}
