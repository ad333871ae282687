"""A mesh's material, baked: base colour, occlusion with roughness and metallic, and normals, from one set of surface points."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from dreamfusion_mesh.asset.bake.denoise import smooth_colors
from dreamfusion_mesh.asset.bake.maps import bake_values, to_maps
from dreamfusion_mesh.asset.bake.normal_map import bake_normals
from dreamfusion_mesh.asset.bake.occlusion import bake_occlusion
from dreamfusion_mesh.asset.bake.texels import sample_texels
from dreamfusion_mesh.asset.finishes import Finishes, telling_space
from dreamfusion_mesh.config import TextureSettings
from dreamfusion_mesh.contracts import Probe, Rasterizer
from dreamfusion_mesh.records import Material, Mesh

_SOFT = 0.02  # of the edge between two parts, in the space in which they are told apart
_COLORS = 1 << 20  # at once


@dataclass(frozen=True, eq=False)
class Baked:
    """A material, and the seconds that each part of it took: places, color, denoise, normal, occlusion, finish, images."""

    material: Material
    seconds: dict[str, float]


@torch.no_grad()
def bake_material(
    mesh: Mesh, reference: Mesh | None, rasterizer: Rasterizer, settings: TextureSettings, albedo: Probe, finishes: Finishes
) -> Baked:
    """The maps of `mesh`, which has UVs: base_color and orm always, normal where the settings ask for it. All factors are 1.

    reference  the surface before decimation, from which all is taken; None: the mesh itself
    albedo     takes points [N, 3] to display-referred colour [N, 3]
    finishes   of the prompt's words, see asset/finishes.py; with parts, each texel has that of the part whose colour its own is nearest to
    Raises ValueError where the mesh has no UVs or covers no texel, or `albedo` gives another shape; PoorOutcome where a colour is not
    finite.
    """
    laps = _Laps(mesh.vertices.device)
    texels = sample_texels(mesh, rasterizer, settings, reference)
    laps.end("places")
    colors = bake_values(texels, albedo, 3, "srgb", settings.supersample)
    laps.end("color")
    colors = smooth_colors(colors, texels.points, settings.denoise)
    laps.end("denoise")
    normals = {"normal": bake_normals(texels)} if settings.normal_map else {}
    laps.end("normal")
    occlusion = bake_occlusion(texels, settings.occlusion_rays)
    laps.end("occlusion")
    orm = torch.cat([occlusion[:, None], finish_values(finishes, colors)], dim=1)
    laps.end("finish")
    maps = to_maps(texels, {"base_color": colors, "orm": orm, **normals})
    laps.end("images")
    return Baked(Material(maps, 1.0, 1.0), laps.seconds)


def finish_values(finishes: Finishes, colors: Tensor) -> Tensor:
    """[N, 2] roughness and metallic of a surface with colours [N, 3] (sRGB): of the part whose colour is the nearest, mixed at the edge."""
    if not finishes.parts:
        return torch.tensor(finishes.base, device=colors.device).expand(len(colors), 2)
    named = telling_space(torch.tensor([part.color for part in finishes.parts], device=colors.device) / 255)
    values = torch.tensor([part.finish for part in finishes.parts], device=colors.device)
    shares = [torch.softmax(-torch.cdist(telling_space(some), named) / _SOFT, dim=1) for some in colors.split(_COLORS)]
    return torch.cat([share @ values for share in shares])


class _Laps:
    """Seconds from one end of a piece of work to the next, by name."""

    def __init__(self, device: torch.device) -> None:
        self.seconds: dict[str, float] = {}
        self._device, self._last = device, time.perf_counter()

    def end(self, name: str) -> None:
        """The piece of work `name` is done."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        now = time.perf_counter()
        self.seconds[name], self._last = round(now - self._last, 3), now
