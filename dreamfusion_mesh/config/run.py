"""Every setting of one run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from dreamfusion_mesh.config.audit import AuditSettings
from dreamfusion_mesh.config.base import Settings, Words
from dreamfusion_mesh.config.coarse import CoarseSettings
from dreamfusion_mesh.config.delivery import AssetSettings, MeshSettings, TextureSettings
from dreamfusion_mesh.config.fine import FineSettings, RasterSettings
from dreamfusion_mesh.config.guidance import MULTIVIEW, GuidanceSettings
from dreamfusion_mesh.config.views import ViewSettings

# What may change when a finished run is delivered again, from the surface that its fine stage left.
DELIVERY_GROUPS = ("mesh", "texture", "asset", "audit", "raster", "device", "commercial", "licence_checked")


class RunConfig(Settings):
    """Every setting of one run; the prompt too, so that one file says how to make the asset again."""

    prompt: Words = ""
    """What to make; the prompt too is a setting, so that one file says how to make the asset again."""
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)] = 0
    """Seed of every random draw."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: a card where torch finds one, else the CPU."""
    commercial: bool = False
    """Refuse parts whose licence bars commercial use."""
    licence_checked: bool = False
    """The user states that the model's licence allows commercial use, whatever its cards say."""
    guidance: GuidanceSettings = GuidanceSettings()
    views: ViewSettings = ViewSettings()
    coarse: CoarseSettings = CoarseSettings()
    fine: FineSettings = FineSettings()
    raster: RasterSettings = RasterSettings()
    mesh: MeshSettings = MeshSettings()
    texture: TextureSettings = TextureSettings()
    asset: AssetSettings = AssetSettings()
    audit: AuditSettings = AuditSettings()

    @model_validator(mode="after")
    def _together(self) -> RunConfig:
        if self.guidance.multiview and not self.coarse.views == self.fine.views == MULTIVIEW:
            raise ValueError(
                f"guidance.multiview: {MULTIVIEW} views are seen together, and a step has coarse.views {self.coarse.views} and fine.views "
                f"{self.fine.views}: set both to {MULTIVIEW}"
            )
        return self

    @model_validator(mode="after")
    def _start(self) -> RunConfig:
        if self.coarse.start == "views":
            if self.guidance.loss == "clip":
                raise ValueError("coarse.start views: guidance.loss clip has no diffusion model that draws; set coarse.start=sphere")
            low, high = self.guidance.t_min, self.coarse.warm_start.t_max
            if any(first >= last for first, last in zip(low, high, strict=True)):
                raise ValueError(
                    f"coarse.start views: guidance.t_min stays below coarse.warm_start.t_max at the first and at the last step (given "
                    f"{list(low)} and {list(high)})"
                )
        return self
