"""Row 10: is the colour the same on both sides of a UV seam, near and far?"""

from __future__ import annotations

import numpy as np

from dreamfusion_mesh.audit.atlas import Atlas
from dreamfusion_mesh.audit.readers.written import Written
from dreamfusion_mesh.audit.row import Figures, Row, measured_row, unmeasured_row
from dreamfusion_mesh.audit.rows.gaps import promised_mip
from dreamfusion_mesh.audit.seam_edges import SeamEdges, seam_edges
from dreamfusion_mesh.audit.texels import LARGEST_SIDE, color_difference, lab, mip_levels, sample, texels_of
from dreamfusion_mesh.config import AuditSettings

MIPS = 4  # levels that are measured: 0 to 3
MOST_SAMPLES = 200_000  # of all seams together
_WHITE = (1.0, 1.0, 1.0, 1.0)


def seams_row(written: Written, atlas: Atlas | None, settings: AuditSettings) -> Row:
    """Row 10, on the base colour texture: judged up to the mip level that row 5 asks gaps for, and told beyond it.

    Raises BadInput where the texture does not decode.
    """
    if atlas is None:
        return unmeasured_row(10, "there are no UVs")
    if atlas.size is None or atlas.layout.outside or written.materials is None:
        return unmeasured_row(10, atlas.unmeasured)
    if atlas.size > LARGEST_SIDE:
        return unmeasured_row(10, f"a texture of {atlas.size} texels a side, and seams are measured up to {LARGEST_SIDE}")
    edges = seam_edges(written)
    if not len(edges):
        return measured_row(10, {"seam edges": 0}, [], "there is no seam")
    texels = texels_of(next(entry.data for entry in written.materials.maps if entry.role == "base color"), "base color")
    found = seam_differences(atlas.uvs, edges, texels, np.array(written.materials.factors.get("baseColorFactor", _WHITE)[:3]))
    last = promised_mip(atlas.size, settings)
    problems = [
        f"colours differ across seams by {value:.3g} dE (p95) at mip {mip}, at most {settings.seam_difference:g}"
        for mip, value in enumerate(found[: last + 1])
        if not value <= settings.seam_difference
    ]
    measured: Figures = {"seam edges": len(edges), **{f"dE p95 at mip {mip}": value for mip, value in enumerate(found)}}
    return measured_row(10, measured, problems, "CIEDE2000" if last >= MIPS - 1 else f"CIEDE2000; judged to mip {last}, as the gaps are")


def seam_differences(corner_uvs: np.ndarray, edges: SeamEdges, texels: np.ndarray, factor: np.ndarray | float = 1.0) -> list[float]:
    """95th percentile of CIEDE2000 between both sides of the seams of UVs [F, 3, 2] at each mip level of an image [H, W, 3] uint8,
    whose light a `factor` [3] multiplies.

    Sampled about once a texel along the longer side of each edge, so that long edges count for more.
    """
    uvs = corner_uvs.reshape(-1, 2)
    one, other = uvs[edges.one], uvs[edges.other]  # [N, 2, 2]
    length = np.maximum(*(np.linalg.norm((side[:, 1] - side[:, 0]) * texels.shape[1::-1], axis=1) for side in (one, other)))
    share = min(1.0, MOST_SAMPLES / max(float(length.sum()), 1.0))
    counts = np.maximum(np.ceil(length * share), 1).astype(np.int64)
    edge = np.repeat(np.arange(len(counts)), counts)
    along = (np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts) + 0.5) / counts[edge]
    places = [side[edge, 0] + along[:, None] * (side[edge, 1] - side[edge, 0]) for side in (one, other)]
    levels = mip_levels(texels, MIPS)
    return [float(np.percentile(color_difference(*(lab(factor * sample(level, place)) for place in places)), 95)) for level in levels]
