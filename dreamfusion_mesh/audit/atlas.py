"""The UVs on their texture, as rows 4 to 6 measure them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dreamfusion_mesh.audit.readers.images import image_size
from dreamfusion_mesh.audit.readers.written import Written
from dreamfusion_mesh.audit.spans import centre_spans, covered_cells
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.geometry.areas import uv_areas

_MOST_ROWS, _MOST_ROWS_A_FACE = 5_000_000, 60  # n faces that part a square among them, g rows high, cross about g n^(1/2)
SUBTEXELS = 4  # coverage is counted at this many samples a texel's side


@dataclass(frozen=True)
class UvLayout:
    """outside: corners that leave [0, 1]; flipped: faces of negative, empty: of zero UV area."""

    outside: int
    flipped: int
    empty: int


@dataclass(frozen=True, eq=False)
class Atlas:
    """A surface's UVs and the texture they lie on.

    corners      [F, 3, 3]  the faces in space
    uvs          [F, 3, 2]  the faces on the texture, origin bottom-left
    split_faces  [F, 3]     faces that share a row lie in one chart
    size         texels a side; None where no one texture gives it
    unmeasured   why coverage, gaps and density cannot be measured; "" where they can
    covered      share of the square that some face covers
    overlapping  sub-texels that a further face covers
    """

    corners: np.ndarray
    uvs: np.ndarray
    split_faces: np.ndarray
    layout: UvLayout
    size: int | None
    unmeasured: str
    covered: float = 0.0
    overlapping: int = 0


def measure_atlas(written: Written) -> Atlas | None:
    """The atlas of a delivered file; None where it has no UVs."""
    uvs, split_faces = written.corner_uvs, written.split_faces
    if uvs is None or split_faces is None:
        return None
    size, why = _texture_size(written)
    found = uv_layout(uvs)
    unmeasured = why or ("UVs leave the square" if found.outside else _too_many_rows(uvs, SUBTEXELS * size) if size else "")
    covered, overlapping = coverage(uvs, SUBTEXELS * size) if size and not unmeasured else (0, 0)
    share = covered / (SUBTEXELS * size) ** 2 if size else 0.0
    return Atlas(written.vertices[written.faces], uvs, split_faces, found, size, unmeasured, share, overlapping)


def _texture_size(written: Written) -> tuple[int | None, str]:
    """Texels a side of the base colour, or why there is no such number."""
    materials = written.materials
    if materials is None:
        return None, f"no texture is read from {written.kind} files"
    if "images" in written.unread or "materials" in written.unread:
        return None, written.unread.get("images", written.unread.get("materials", ""))
    if materials.count > 1:
        return None, f"{materials.count} materials, and UVs are measured on one"
    color = [entry for entry in materials.maps if entry.role == "base color"]
    try:
        return (max(image_size(color[0].data, "base color")), "") if color else (None, "no base color texture gives a size")
    except BadInput as error:
        return None, str(error)


def _too_many_rows(corner_uvs: np.ndarray, grid: int) -> str:
    """Why the cells that faces cover cannot be counted, which takes a second or two for a million rows; "" where they can."""
    rows = int(np.ceil(np.ptp(corner_uvs[:, :, 1], axis=1) * grid).sum())
    most = _MOST_ROWS + _MOST_ROWS_A_FACE * len(corner_uvs)
    return f"faces cross {rows} rows of sub-texels, more than the {most} that are counted" if rows > most else ""


def uv_layout(corner_uvs: np.ndarray) -> UvLayout:
    """Count what is wrong with UVs [F, 3, 2] (origin bottom-left) face by face."""
    areas = uv_areas(corner_uvs)
    outside = int(((corner_uvs < 0) | (corner_uvs > 1)).any(axis=2).sum())
    return UvLayout(outside, int((areas < 0).sum()), int((areas == 0).sum()))


def coverage(corner_uvs: np.ndarray, grid: int) -> tuple[int, int]:
    """Cell centres of a grid x grid square that some face covers, and how many times a centre is covered by a further face.

    UVs [F, 3, 2] in [0, 1]. Counted exactly, see `centre_spans`.
    """
    return covered_cells(centre_spans(corner_uvs, grid), grid)
