"""The base colour map: the field's albedo where each texel lies on the surface."""

from __future__ import annotations

from dreamfusion_mesh.asset.bake.maps import bake_map
from dreamfusion_mesh.asset.bake.texels import Texels
from dreamfusion_mesh.contracts import Probe
from dreamfusion_mesh.records import TextureMap


def bake_base_color(texels: Texels, albedo: Probe) -> TextureMap:
    """The base colour [S, S, 3] sRGB, of an `albedo` that takes points [N, 3] to display-referred colour [N, 3].

    Raises ValueError where it gives another shape, PoorOutcome where a colour is not finite.
    """
    return bake_map(texels, albedo, channels=3, color_space="srgb")
