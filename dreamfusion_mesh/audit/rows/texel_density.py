"""Row 6: is the texture spread evenly over the surface, and is the square used?"""

from __future__ import annotations

import numpy as np

from dreamfusion_mesh.audit.atlas import Atlas
from dreamfusion_mesh.audit.row import Row, measured_row, unmeasured_row
from dreamfusion_mesh.config import AuditSettings
from dreamfusion_mesh.geometry.areas import uv_areas


def texel_density_row(atlas: Atlas, settings: AuditSettings) -> Row:
    """Row 6."""
    if atlas.unmeasured:
        return unmeasured_row(6, atlas.unmeasured)
    ratio = density_ratio(atlas.corners, atlas.uvs)
    problems = []
    if not ratio <= settings.density_ratio:
        problems.append(f"texel density p95/p5 {ratio:.3g}, at most {settings.density_ratio:g}")
    if atlas.covered < settings.utilisation:
        problems.append(f"{atlas.covered:.1%} of the square is used, at least {settings.utilisation:.1%}")
    return measured_row(6, {"p95/p5": ratio, "utilisation": atlas.covered}, problems)


def density_ratio(corners: np.ndarray, corner_uvs: np.ndarray) -> float:
    """95th over 5th percentile of UV area over surface area, faces weighted by surface area. Infinite where the 5th is zero.

    corners [F, 3, 3], corner_uvs [F, 3, 2]; faces without surface area do not count.
    """
    from trimesh.triangles import area

    areas = area(corners)
    kept = areas > 0
    if not kept.any():
        return float("inf")
    density = np.abs(uv_areas(corner_uvs))[kept] / areas[kept]
    order = np.argsort(density)
    reach = np.cumsum(areas[kept][order])
    low, high = (density[order][np.searchsorted(reach, share * reach[-1])] for share in (0.05, 0.95))
    return float(high / low) if low > 0 else float("inf")
