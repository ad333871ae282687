"""Thresholds of the audit."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dreamfusion_mesh.config.base import Fraction, Positive, Settings


class AuditSettings(Settings):
    """Thresholds of the game-ready audit; the names follow its rows."""

    hausdorff: Positive = 0.005  # of the diagonal
    smallest_shell: Fraction = 0.005  # of the faces
    mip: Annotated[int, Field(ge=0, le=6)] | Literal["auto"] = "auto"  # gaps survive to this mip; auto: log2(size) - 8, not below 1
    narrow_charts: Fraction = 0.05
    narrow_texels: Positive = 8.0
    density_ratio: Positive = 2.0
    utilisation: Fraction = 0.5
