"""A surface asked by points and rays, through a tree of boxes, on CPU and CUDA: what is nearest, what is hit, what is open."""

from typing import Any

import torch
import warp as wp
from torch import Tensor

from dreamfusion_mesh.kernels import trace_bake_warp, trace_warp
from dreamfusion_mesh.kernels.interpolate import Places, interpolate, vectors
from dreamfusion_mesh.kernels.launch import as_warp, launch

_SKIN = 1e-6  # of the surface's extent: how far behind a point its rays begin, and past a face they go on


class SurfaceTree:
    """A surface for many queries: vertices [V, 3] float32 and faces [F, 3] int64 on one device, taken as they are now. No gradients.

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
        """Of points [N, 3]: the nearest points on the surface [N, 3], their faces [N] int64, and the distances [N]."""
        asked = self._asked("points", points)
        nearest, faces = torch.empty_like(asked), torch.empty(len(asked), dtype=torch.int32, device=asked.device)
        launch(trace_warp.closest, len(asked), [self._mesh.id, *vectors(asked, nearest), as_warp(faces, wp.int32)], asked.device)
        self._check_found(faces)
        return nearest, faces.long(), (asked - nearest).norm(dim=1)

    def first_hit(self, origins: Tensor, directions: Tensor, farthest: float) -> tuple[Tensor, Tensor]:
        """The first crossing of each ray from origins [N, 3] along unit directions [N, 3], from either side of a face.

        Distances [N] and faces [N] int64; infinity and -1 where nothing lies within `farthest`.
        """
        asked, along = self._asked("origins", origins), self._asked("directions", directions, len(origins))
        distances, faces = torch.empty_like(asked[:, 0]), torch.empty(len(asked), dtype=torch.int32, device=asked.device)
        outputs = [as_warp(distances, wp.float32), as_warp(faces, wp.int32)]
        launch(trace_warp.first_hit, len(asked), [self._mesh.id, *vectors(asked, along), farthest, *outputs], asked.device)
        return distances, faces.long()

    def project(self, points: Tensor, normals: Tensor, cage: float, reach: float, limit: float = 0.0) -> Places:
        """Where points [N, 3] with unit normals [N, 3] belong on this surface, which lies close to them.

        That is the nearest crossing along the normal, forwards or backwards, within `cage` (0: none is looked for); else the nearest
        point. Both only on faces that face as the asker does (the cosine between both normals is above `limit`), so that one side of a
        thin wall never finds the other. Where there is no such face within `reach`, the nearest point of all.
        Raises ValueError where there is no nearest point.
        """
        asked, facing = self._asked("points", points), self._asked("normals", normals, len(points))
        faces, weights = torch.empty(len(asked), dtype=torch.int64, device=asked.device), torch.zeros_like(asked)
        inputs = [self._mesh.id, *vectors(self._vertices), as_warp(self._indices, wp.int32), *vectors(asked, facing)]
        bounds = [cage, reach, _SKIN * self.extent(), limit]
        launch(trace_bake_warp.project, len(asked), [*inputs, *bounds, as_warp(faces, wp.int64), *vectors(weights)], asked.device)
        self._check_found(faces)
        return Places(faces, weights)

    def open_share(
        self, points: Tensor, normals: Tensor, seeds: Tensor, rays: int, farthest: float, part: Tensor | None = None, parts: int = 1
    ) -> Tensor:
        """[N] in [0, 1]: the share of light from all sides that reaches points [N, 3] of surfaces with unit normals [N, 3].

        The mean over `rays` directions, spread by the cosine to the normal, of those that meet nothing within `farthest`. Points with the
        same seeds [N] int64 have the same directions on every device, and points with other seeds have these turned. Of the directions a
        point may take one in `parts` alone, from number `part` [N] int64 on: points side by side, with one seed and all parts, have them
        all. Points on this surface itself have to be lifted off it. Raises ValueError where `rays` is below `parts`, or that below 1.
        """
        if not 1 <= parts <= rays:
            raise ValueError(f"rays {rays} in {parts} parts: expected 1 part or more, and a ray or more in each")
        asked, facing = self._asked("points", points), self._asked("normals", normals, len(points))
        shares = torch.empty_like(asked[:, 0])
        numbers = (seeds, torch.zeros_like(seeds) if part is None else part)
        turned = [as_warp(number.to(torch.int32).contiguous(), wp.int32) for number in numbers]
        arguments = [self._mesh.id, *vectors(asked, facing), *turned, parts, rays, farthest, as_warp(shares, wp.float32)]
        launch(trace_bake_warp.open_share, len(asked), arguments, asked.device, smallest_slice=64)
        return shares

    def extent(self) -> float:
        """The longest side of the surface's bounding box."""
        return float((self._vertices.amax(dim=0) - self._vertices.amin(dim=0)).max())

    def positions(self, places: Places) -> Tensor:
        """[N, 3] where places on this surface lie."""
        return interpolate(self._vertices, self._indices.view(-1, 3).long(), places)

    def _asked(self, name: str, values: Tensor, count: int | None = None) -> Tensor:
        shaped = values.dim() == 2 and values.shape[1] == 3 and count in (None, len(values))
        if not shaped or values.device != self._vertices.device:
            expected = f"expected [{'N' if count is None else count}, 3] on {self._vertices.device}"
            raise ValueError(f"{name}: shape {list(values.shape)} on {values.device}, {expected}")
        return values.detach().float().contiguous()

    def _check_found(self, faces: Tensor) -> None:
        if bool((faces < 0).any()):
            raise ValueError(f"points: {int((faces < 0).sum())} of {len(faces)} have no nearest point: not finite, or no face has area")


def closest_point(points: Tensor, vertices: Tensor, faces: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Nearest points [N, 3] on a surface to points [N, 3], their faces [N] int64 and distances [N]; `SurfaceTree` for many queries."""
    return SurfaceTree(vertices, faces).closest(points)
