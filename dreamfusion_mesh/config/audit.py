"""Thresholds of the audit."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dreamfusion_mesh.config.base import Fraction, Settings


class AuditSettings(Settings):
    """Thresholds of the game-ready audit; the names follow its rows."""

    hausdorff: Annotated[float, Field(ge=0, le=100)] = 0.005  # of the diagonal
    smallest_shell: Fraction = 0.005  # of the faces
    mip: Annotated[int, Field(ge=0, le=6)] | Literal["auto"] = "auto"  # gaps survive to this mip; auto: log2(size) - 8, not below 1
    narrow_charts: Fraction = 0.05
    narrow_texels: Annotated[float, Field(ge=0.1, le=4096)] = 8.0  # up to the largest texture's side
    density_ratio: Annotated[float, Field(ge=1, le=1e6)] = 2.0  # a 95th over a 5th percentile, so never below 1
    utilisation: Fraction = 0.5
