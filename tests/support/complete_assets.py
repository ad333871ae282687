"""A whole delivery made by hand: a box with every map, two levels of detail, a hull, notes and provenance; all fifteen rows pass on it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from broken_files import with_all_maps
from written_files import Draft, box, pack

PROVENANCE = {
    "prompt": "a box",
    "seed": 0,
    "settings": {"coarse": {"steps": 3}},
    "versions": {"python": "3.11"},
    "guidance": {"model": "embedded", "licence": "Apache-2.0"},
    "rasterizer": {"name": "warp", "licence": "Apache-2.0"},
}
FILES = ("asset.glb", "asset_LOD1.glb", "asset_LOD2.glb", "asset_collision.glb")


def hulls_glb(*hulls: Draft, merged: bool = False) -> bytes:
    """Positions and faces alone: a primitive for each hull, or one for all of them."""
    if merged:
        starts = np.cumsum([0, *(len(hull.positions) for hull in hulls[:-1])])
        positions, faces = np.concatenate([hull.positions for hull in hulls]), [h.faces + s for h, s in zip(hulls, starts, strict=True)]
        return hulls_glb(replace(hulls[0], positions=positions, faces=np.concatenate(faces)))
    binary, views, accessors, primitives = b"", list[Any](), list[Any](), list[Any]()
    for hull in hulls:
        points, rows = hull.positions.astype("<f4"), hull.faces.astype("<u4").reshape(-1)
        bounds = {"min": points.min(axis=0).tolist(), "max": points.max(axis=0).tolist()}
        for values, kind, component, target in ((points, "VEC3", 5126, 34962), (rows, "SCALAR", 5125, 34963)):
            views.append({"buffer": 0, "byteOffset": len(binary), "byteLength": values.nbytes, "target": target})
            entry = {"bufferView": len(accessors), "componentType": component, "count": len(values), "type": kind}
            accessors.append(entry | (bounds if kind == "VEC3" else {}))
            binary += values.tobytes()
        primitives.append({"attributes": {"POSITION": len(accessors) - 2}, "indices": len(accessors) - 1})
    document = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": "asset_collision"}],
        "meshes": [{"primitives": primitives}],
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": len(binary)}],
    }
    return pack(document, binary)


def complete(folder: Path, name: str = "asset") -> Path:
    """Writes the delivery and returns the path of its main file."""
    notes = {"prompt": "a box", "seed": 0}

    def with_notes(draft: Draft) -> Draft:
        change = draft.change

        def both(document: dict[str, Any]) -> None:
            change(document)
            document["asset"]["extras"] = notes

        return replace(draft, change=both)

    files = {
        f"{name}.glb": with_notes(with_all_maps()).glb(),
        f"{name}_LOD1.glb": with_all_maps(box(7)).glb(),
        f"{name}_LOD2.glb": with_all_maps(box(5)).glb(),
        f"{name}_collision.glb": hulls_glb(box(1)),
    }
    for file, content in files.items():
        (folder / file).write_bytes(content)
    write_provenance(folder, list(files))
    return folder / f"{name}.glb"


def write_provenance(folder: Path, names: list[str], **changes: Any) -> None:
    """provenance.json on files that are there; a change of None leaves an entry out."""
    contents = {name: (folder / name).read_bytes() for name in names}
    files = {name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)} for name, content in contents.items()}
    values = {key: value for key, value in {**PROVENANCE, "files": files, **changes}.items() if value is not None}
    (folder / "provenance.json").write_text(json.dumps(values))
