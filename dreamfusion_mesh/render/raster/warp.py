"""The default back end: the rasterizer in NVIDIA Warp, CPU and CUDA from one source."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.records import Fragments
from dreamfusion_mesh.render.raster.backend import BackEnd, LastValueCache

_CUDA_GRADIENT_SPREAD = 1e-5


class WarpRasterizer(BackEnd):
    """The whole contract, on every device that Warp runs on; see kernels/raster.py and kernels/antialias.py for how it works."""

    name = "warp"
    licence = "Apache-2.0"

    def __init__(self, device: torch.device) -> None:
        try:
            from dreamfusion_mesh.kernels import antialias, raster
            from dreamfusion_mesh.kernels.launch import warp_missing
        except ImportError as error:
            raise BadInput(f"raster.backend 'warp': cannot be imported ({error}); install it with: pip install warp-lang") from None
        cause = warp_missing(device)
        if cause is not None:
            raise BadInput(f"raster.backend {self.name!r}: {cause}; use --device cpu, or a driver that Warp supports")
        self._raster, self._antialias = raster, antialias
        self._edges = LastValueCache(antialias.find_edges)
        if device.type == "cuda":  # atomic sums in backward, in no fixed order
            self.limits = replace(self.limits, gradient_spread=_CUDA_GRADIENT_SPREAD)

    def draw(self, clip: Tensor, faces: Tensor, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
        """See BackEnd."""
        return self._raster.rasterize(clip, faces, height, width)

    def blend(self, attributes: Tensor, fragments: Fragments, faces: Tensor) -> Tensor:
        """See BackEnd."""
        return self._raster.interpolate(attributes, fragments.bary, fragments.face, faces)

    def smooth(self, image: Tensor, fragments: Fragments, clip: Tensor, faces: Tensor) -> Tensor:
        """See BackEnd."""
        return self._antialias.antialias(image, fragments.face, clip, faces, self._edges(faces, clip.shape[1]))
