"""What the audit measures on: a delivered file read back as one surface, its texture maps and its placement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from dreamfusion_mesh.errors import BadInput

_MOST = float(np.finfo(np.float32).max)

Part = Literal["surface", "uvs", "normals", "images", "materials"]  # of a file, that rows depend on


@dataclass(frozen=True, eq=False)
class Map:
    """One texture map of a material.

    role    "base color", "metallic-roughness", "occlusion", "normal" or "emissive"; an OBJ's also "roughness", "metallic" or "bump"
    key     the image it reads, so that one image in two roles is seen
    data    the image's file
    """

    role: str
    key: str
    data: bytes


@dataclass(frozen=True, eq=False)
class Materials:
    """What the surface is painted with.

    count            how many materials the surface uses
    maps             of the one material in use; empty where there is none, or several
    missing_factors  factors that this material leaves to defaults
    factors          numbers of this material that change what its maps hold, by their names in glTF; empty in other files
    problems         what is missing or broken: a texture, a material library, an index, a factor, each as a line for row 7
    """

    count: int
    maps: tuple[Map, ...] = ()
    missing_factors: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    factors: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Hull:
    """One collision hull: its node's name, vertices [V, 3] float64 in world space, each exact position once, and faces [F, 3] int64."""

    name: str
    vertices: np.ndarray
    faces: np.ndarray


@dataclass(frozen=True, eq=False)
class Written:
    """A delivered file.

    kind               "glTF", "OBJ", "PLY" ...
    vertices           [V, 3] float64     world space, each exact position once
    faces              [F, 3] int64       rows of `vertices`
    corner_uvs         [F, 3, 2] float64  of each face's corners, origin bottom-left; None where the surface has none
    split_faces        [F, 3] int64       the faces once vertices are split along UV seams: faces that share one lie in one chart; or None
    materials          None where files of this kind hold none
    transformed_roots  scene roots that carry a transform
    corner_normals     [F, 3, 3] float64  as the file has them, in world space, finite or not; None where it has none
    corner_tangents    [F, 3, 4] float64  likewise, w the handedness
    levels             levels of detail that the same file holds below the surface itself, from the finest on
    levels_apart       the levels are such that programs may leave them out, as those do that do not know MSFT_lod
    hulls              collision hulls that the same file holds
    notes              what the file says of its origin: glTF's asset.extras
    unread             parts that cannot be measured as a viewer would show them, each with why: what the file asks for and is not applied.
                       With the surface, its UVs and normals are unread, too; there may then be no faces at all
    """

    kind: str
    vertices: np.ndarray
    faces: np.ndarray
    corner_uvs: np.ndarray | None
    split_faces: np.ndarray | None
    materials: Materials | None
    transformed_roots: tuple[str, ...] = ()
    corner_normals: np.ndarray | None = None
    corner_tangents: np.ndarray | None = None
    levels: tuple[Written, ...] = ()
    levels_apart: bool = False
    hulls: tuple[Hull, ...] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)
    unread: Mapping[Part, str] = field(default_factory=dict)


def from_corners(
    kind: str, corners: np.ndarray, uvs: np.ndarray | None, materials: Materials | None, transformed_roots: tuple[str, ...] = ()
) -> Written:
    """A record of separate face corners [F, 3, 3] float64 and their UVs [F, 3, 2]: corners at bit-equal positions become one vertex.

    Joined here on purpose, and not by geometry.topology.weld: the exporter welds with that, and a fault in it, such as joining vertices
    that are apart, would hide from an audit that welds the file the same way. Tests compare the two.
    Raises BadInput where a number is not finite, or is larger than the float32 that viewers hold.
    """
    for name, values in (("positions", corners), ("UVs", uvs)):
        if values is not None and not (np.abs(values) <= _MOST).all():
            raise BadInput(f"{name}: has numbers that are not finite, or are larger than float32 holds")
    vertices, faces = _joined(corners.reshape(-1, 3))
    split_faces = None
    if uvs is not None:
        split_faces = _joined(np.concatenate([faces.reshape(-1, 1).astype(np.float64), uvs.reshape(-1, 2)], axis=1))[1].reshape(-1, 3)
    return Written(kind, vertices, faces.reshape(-1, 3), uvs, split_faces, materials, transformed_roots)


def unread_surface(kind: str, unread: Mapping[Part, str], materials: Materials | None = None) -> Written:
    """The record of a file that has a surface, which cannot be read at all: no vertices and no faces."""
    return Written(kind, np.empty((0, 3)), np.empty((0, 3), np.int64), None, None, materials, unread=unread)


def _joined(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different rows of numbers [N, C], in their order, and for each row [N] which of them it is."""
    rows = rows + 0.0  # adding zero turns -0 into 0
    order = np.lexsort(rows.T[::-1])
    ordered = rows[order]
    new = np.concatenate([np.zeros(min(len(rows), 1), bool), (ordered[1:] != ordered[:-1]).any(axis=1)])
    numbers = np.empty(len(rows), np.int64)
    numbers[order] = np.cumsum(new)
    return ordered[np.concatenate([np.ones(min(len(rows), 1), bool), new[1:]])], numbers
