"""The colour of a surface at each pixel that sees it, looked up in an image by the mesh's UVs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from dreamfusion_mesh.contracts import Rasterizer
from dreamfusion_mesh.records import Fragments, Mesh, srgb_to_linear

ColorOf = Callable[[Fragments, Tensor], Tensor]  # fragments and the pixels [N] that see the surface -> linear colour [N, 3] there


def texture_lookup(mesh: Mesh, image: np.ndarray, rasterizer: Rasterizer) -> ColorOf:
    """Linear colour by the mesh's UVs of an image, uint8 [H, W, 3] sRGB with row 0 at v = 1; between texels, beyond its edges clamped.

    Raises ValueError for a mesh without UVs, or another image.
    """
    if mesh.uvs is None or mesh.face_uvs is None:
        raise ValueError("texture: the mesh has no uvs to look it up at")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"texture: {image.dtype} {list(image.shape)}, expected uint8 [H, W, 3]")
    uvs, face_uvs = mesh.uvs.detach().float(), mesh.face_uvs
    texels = torch.from_numpy(np.array(image)).to(uvs.device)
    linear = srgb_to_linear(texels.permute(2, 0, 1)[None].float() / 255)

    def look_up(fragments: Fragments, seen: Tensor) -> Tensor:
        u, v = rasterizer.interpolate(uvs, fragments, face_uvs).reshape(-1, 2)[seen].unbind(1)
        grid = torch.stack((u * 2 - 1, 1 - v * 2), dim=1)[None, None]  # from origin bottom-left to row 0 on top
        return grid_sample(linear, grid, mode="bilinear", padding_mode="border", align_corners=False)[0, :, 0].T

    return look_up
