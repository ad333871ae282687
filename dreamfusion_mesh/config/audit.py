"""Thresholds of the audit."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dreamfusion_mesh.config.base import Fraction, Settings


class AuditSettings(Settings):
    """Thresholds of the game-ready audit; the names follow its rows."""

    hausdorff: Annotated[float, Field(ge=0, le=100)] = 0.005
    """Row 3: the largest distance to the refined surface, as a share of the diagonal."""
    smallest_shell: Fraction = 0.005
    """Row 2: share of the faces that a separate shell has at least."""
    mip: Annotated[int, Field(ge=0, le=6)] | Literal["auto"] = "auto"
    """Row 5: gaps between charts survive to this mip; auto: log2(size) - 8, not below 1."""
    narrow_charts: Fraction = 0.05
    """Row 5: the largest share of charts narrower than `narrow_texels`."""
    narrow_texels: Annotated[float, Field(ge=0.1, le=4096)] = 8.0
    """Row 5: width in texels below which a chart is narrow; up to the largest texture's side."""
    density_ratio: Annotated[float, Field(ge=1, le=1e6)] = 2.0
    """Row 6: the largest ratio of texel densities, a 95th over a 5th percentile, so never below 1."""
    utilisation: Fraction = 0.5
    """Row 6: the least share of the square that charts cover."""
    seam_difference: Annotated[float, Field(ge=0, le=200)] = 2.0
    """Row 10: CIE dE between both sides of a seam, 95th percentile."""
    lod_ratio: tuple[Fraction, Fraction] = (0.35, 0.65)
    """Row 11: triangles of a level over those of the one before, the least and the largest share."""
    lod_pixels: Annotated[float, Field(ge=0, le=1080)] = 1.0
    """Row 11: projected error of LODn where the object is 1080 / 2^n pixels high."""
    hulls: Annotated[int, Field(ge=1, le=1024)] = 16
    """Row 12: the most collision hulls."""
    hull_vertices: Annotated[int, Field(ge=4, le=1024)] = 32
    """Row 12: the most corners of a hull."""
    hull_coverage: Fraction = 0.98
    """Row 12: share of surface samples inside a hull or within `hull_distance`."""
    hull_distance: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Row 12: how far outside a hull a sample still counts as covered, as a share of the diagonal."""
    hull_volume: Annotated[float, Field(ge=0, le=1e6)] = 1.15
    """Row 12: volume of the union of the hulls over the mesh's own, at most."""
