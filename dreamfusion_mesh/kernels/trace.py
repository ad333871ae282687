"""The nearest point of a surface, and whether it blocks a ray, through a tree of boxes, on CPU and CUDA."""

from typing import Any

import torch
import warp as wp
from torch import Tensor

from dreamfusion_mesh.kernels.launch import as_warp, launch
from dreamfusion_mesh.kernels.trace_warp import blocked, closest


class SurfaceTree:
    """A surface for many nearest-point queries: vertices [V, 3] float32 and faces [F, 3] int64 on one device, taken as they are now.

    Raises ValueError where there is no face, or values are not finite. Faces without area are never found.
    """

    def __init__(self, vertices: Tensor, faces: Tensor) -> None:
        if len(faces) == 0:
            raise ValueError("faces: shape [0, 3], expected at least one face to be near to")
        if not bool(torch.isfinite(vertices).all()):
            raise ValueError(f"vertices: shape {list(vertices.shape)} holds values that are not finite")
        self._vertices = vertices.detach().float().clone(memory_format=torch.contiguous_format)
        self._indices = faces.to(torch.int32).reshape(-1).contiguous()
        self._mesh = self._tree()

    def _tree(self) -> Any:
        points, indices = as_warp(self._vertices, wp.vec3), as_warp(self._indices, wp.int32)
        device = self._vertices.device
        if device.type != "cuda":
            return wp.Mesh(points=points, indices=indices)
        with wp.ScopedStream(wp.stream_from_torch(torch.cuda.current_stream(device))):  # where the vertices were written
            return wp.Mesh(points=points, indices=indices)

    def closest(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of points [N, 3]: the nearest points on the surface [N, 3], their faces [N] int64, and the distances [N]. No gradients."""
        if points.dim() != 2 or points.shape[1] != 3 or points.device != self._vertices.device:
            raise ValueError(f"points: shape {list(points.shape)} on {points.device}, expected [N, 3] on {self._vertices.device}")
        asked = points.detach().float().contiguous()
        nearest, faces = torch.empty_like(asked), torch.empty(len(asked), dtype=torch.int32, device=asked.device)
        arguments = [self._mesh.id, as_warp(asked, wp.vec3), as_warp(nearest, wp.vec3), as_warp(faces, wp.int32)]
        launch(closest, len(asked), arguments, asked.device)
        if bool((faces < 0).any()):
            raise ValueError(f"points: {int((faces < 0).sum())} of {len(faces)} have no nearest point: not finite, or no face has area")
        return nearest, faces.long(), (asked - nearest).norm(dim=1)

    def blocked(self, origins: Tensor, directions: Tensor, reach: float) -> Tensor:
        """[N] bool: whether rays from origins [N, 3] along unit directions [N, 3] meet the surface, from either side, within `reach`."""
        for name, rays in (("origins", origins), ("directions", directions)):
            if rays.shape != (len(origins), 3) or rays.device != self._vertices.device:
                expected = f"[{len(origins)}, 3] on {self._vertices.device}"
                raise ValueError(f"{name}: shape {list(rays.shape)} on {rays.device}, expected {expected}")
        start, along = (rays.detach().float().contiguous() for rays in (origins, directions))
        hits = torch.empty(len(start), dtype=torch.bool, device=start.device)
        arguments = [self._mesh.id, as_warp(start, wp.vec3), as_warp(along, wp.vec3), reach, as_warp(hits, wp.bool)]
        launch(blocked, len(start), arguments, start.device)
        return hits


def closest_point(points: Tensor, vertices: Tensor, faces: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Nearest points [N, 3] on a surface to points [N, 3], their faces [N] int64 and distances [N]; `SurfaceTree` for many queries."""
    return SurfaceTree(vertices, faces).closest(points)
