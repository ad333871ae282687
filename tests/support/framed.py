"""Surfaces as the audit reads them from a file, with the normals and tangents that such a file holds."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from written_files import box

from dreamfusion_mesh.audit.readers.written import Map, Materials, Written, from_corners
from dreamfusion_mesh.geometry.tangents import corner_frames
from dreamfusion_mesh.records import Mesh

FLAT = (128, 128, 255)


def png_of(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def filled(color: tuple[int, int, int], size: int = 256) -> np.ndarray:
    return np.full((size, size, 3), color, dtype=np.uint8)


def materials(**images: np.ndarray) -> Materials:
    """One material whose maps have the given pixels, by role; `base_color` where none is given is grey."""
    images = {"base_color": filled((128, 128, 128)), **images}
    return Materials(1, tuple(Map(role.replace("_", " "), role, png_of(pixels)) for role, pixels in images.items()))


def framed(mesh: Mesh, **images: np.ndarray) -> Written:
    """A mesh with UVs, its own normals and tangents, and maps."""
    assert mesh.uvs is not None
    assert mesh.face_uvs is not None
    corners, uvs = mesh.vertices[mesh.faces].double().numpy(), mesh.uvs[mesh.face_uvs].double().numpy()
    normals, tangents = (values.double().numpy() for values in corner_frames(mesh))
    return replace(from_corners("glTF", corners, uvs, materials(**images)), corner_normals=normals, corner_tangents=tangents)


def box_mesh(cells: int = 10) -> Mesh:
    """The box of written_files, with six square charts on 256 texels, 8 texels apart."""
    draft = box(cells)
    uvs = np.stack([draft.uvs[:, 0], 1 - draft.uvs[:, 1]], axis=1)
    faces = torch.from_numpy(draft.faces)
    return Mesh(torch.from_numpy(draft.positions).float(), faces, torch.from_numpy(uvs).float(), faces)


def changed(written: Written, part: str, rows: Any, values: Any) -> Written:
    """With some rows of an array replaced."""
    array = getattr(written, part).copy()
    array[rows] = values
    return replace(written, **{part: array})
