"""nvdiffrast.torch and kaolin.render.mesh as their documentation describes them, in plain torch on the CPU, for testing the adapters.

They share nothing with the package. Arguments that the real modules refuse or misread are refused here by assertions.
"""

import math
import sys
from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from torch import Tensor

from dreamfusion_mesh.render.raster import kaolin as raster_kaolin
from dreamfusion_mesh.render.raster import nvdiffrast as raster_nvdiffrast

_NUDGE = torch.tensor([2.0**-24, 2.0**-36], dtype=torch.float64)  # pixels, right and up: puts every centre on one side of an edge


def install(patch: pytest.MonkeyPatch, name: str) -> None:
    """Let `import` find the stand-in, and the adapter believe that its device will do."""
    parts = {"nvdiffrast": (raster_nvdiffrast, "nvdiffrast.torch", Nvdiffrast), "kaolin": (raster_kaolin, "kaolin.render.mesh", Kaolin)}
    adapter, module, contents = parts[name]
    patch.setattr(adapter, "not_on_cuda", lambda device: None)
    made = ModuleType(module)
    made.__dict__.update({key: value for key, value in vars(contents).items() if not key.startswith("__")})
    for end in range(1, module.count(".") + 1):
        patch.setitem(sys.modules, module.rsplit(".", end)[0], ModuleType(module.rsplit(".", end)[0]))
    patch.setitem(sys.modules, module, made)


def nearest_faces(
    low: Tensor, high: Tensor, height: int, width: int, examine: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
) -> Tensor:
    """[H, W] the face of least depth at each centre, among equals the first; -1 where there is none.

    low, high  [F, 2] boxes (x, y) in pixels that hold the faces
    examine    faces, rows and columns [N] of centres in their boxes to (whether the face covers it, depth)
    """
    most = torch.tensor([width, height]).double()
    first = (low - 0.5).ceil().clamp_min(0).minimum(most).long()
    count = ((high - 0.5).floor().clamp_min(-1).minimum(most - 1).long() - first + 1).clamp_min(0)
    total = count.prod(dim=1)
    best = torch.full((height * width,), math.inf, dtype=torch.float64)
    found = torch.full((height * width,), -1)
    for chunk in torch.arange(len(low)).split_with_sizes(_chunks(total)):
        face = chunk.repeat_interleave(total[chunk])
        place = torch.arange(len(face)) - (total[chunk].cumsum(dim=0) - total[chunk]).repeat_interleave(total[chunk])
        row, column = first[face, 1] + place // count[face, 0], first[face, 0] + place % count[face, 0]
        covers, depth = examine(face, row, column)
        face, pixel, depth = face[covers], (row * width + column)[covers], depth[covers].double()
        nearest = torch.full_like(best, math.inf).scatter_reduce(0, pixel, depth, "amin")
        tied = depth == nearest[pixel]
        lowest = torch.full_like(found, len(low)).scatter_reduce(0, pixel[tied], face[tied], "amin")
        found = torch.where(nearest < best, lowest, found)
        best = best.minimum(nearest)
    return found.view(height, width)


def _chunks(total: Tensor) -> list[int]:
    """Lengths of runs of faces that have about a million centres each."""
    run = (total.cumsum(dim=0) - 1).clamp_min(0) // 2**20
    return torch.unique_consecutive(run, return_counts=True)[1].tolist()


def edges_at(corners: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """[N, 3] edge functions of corners [N, 3, (X, Y, .., w)], X and Y in pixels times w, at the points (x, y)."""
    relative = corners[..., :2] - torch.stack((x, y), dim=1)[:, None] * corners[..., 3:]
    b, c = relative.roll(-1, 1), relative.roll(-2, 1)
    return b[..., 0] * c[..., 1] - b[..., 1] * c[..., 0]


def in_pixels(pos: Tensor, height: int, width: int) -> Tensor:
    """Clip positions with x and y in pixels times w, from the lower left corner upwards."""
    x, y, z, w = pos.double().unbind(dim=-1)
    return torch.stack(((x + w) * width / 2, (y + w) * height / 2, z, w), dim=-1)


class Nvdiffrast:
    """Row 0 at the bottom; float32 and int32; (u, v, z/w, triangle + 1) with no gradient through z/w; whole tiles of 8 pixels.

    Which triangle covers a centre is decided after its corners were rounded to sixteenths of a pixel.
    """

    class RasterizeCudaContext:
        def __init__(self, device: object = None) -> None:
            assert device is not None

    @staticmethod
    def rasterize(context, pos, tri, resolution, ranges=None, grad_db=True):
        assert isinstance(context, Nvdiffrast.RasterizeCudaContext)
        _check(pos, tri)
        height, width = resolution
        assert pos.dim() == 3
        assert ranges is None
        assert height > 0 == height % 8
        assert width > 0 == width % 8
        return torch.stack([_draw(view, tri.long(), height, width) for view in pos]), torch.empty(len(pos), height, width, 0)

    @staticmethod
    def interpolate(attr, rast, tri, rast_db=None, diff_attrs=None):
        _check(attr, tri)
        assert rast.is_contiguous() or rast.grad_fn is not None
        assert rast.dtype == torch.float32
        assert attr.dim() == 3
        number = rast[..., 3].long() - 1
        view = torch.arange(len(rast))[:, None, None, None] % len(attr)
        corners = attr[view, tri.long()[number.clamp_min(0)]]
        u, v = rast[..., 0:1], rast[..., 1:2]
        made = u * corners[..., 0, :] + v * corners[..., 1, :] + (1 - u - v) * corners[..., 2, :]
        return torch.where(number[..., None] >= 0, made, 0), torch.empty(*rast.shape[:3], 0)


class Kaolin:
    """Row 0 on top; greatest z is nearest; weights without perspective; nothing is clipped; a centre on an edge is inside."""

    @staticmethod
    def rasterize(
        height, width, face_vertices_z, face_vertices_image, face_features, valid_faces=None, multiplier=None, eps=None, backend="cuda"
    ):
        views, count = face_vertices_z.shape[:2]
        assert face_vertices_z.shape == (views, count, 3)
        assert face_vertices_image.shape == (views, count, 3, 2)
        assert face_features.shape[:3] == (views, count, 3)
        assert count > 0
        assert backend == "cuda"
        assert valid_faces is None
        guard = 1e-8 if eps is None else eps
        scale = 1000 if multiplier is None else multiplier
        face = torch.stack(
            [Kaolin._seen(height, width, *mesh, scale, guard) for mesh in zip(face_vertices_z, face_vertices_image, strict=True)]
        )
        return face_vertices_z.new_zeros(views, height, width, face_features.shape[3]), face

    @staticmethod
    def _seen(height, width, z, image, scale, guard):
        low, high = image.amin(dim=1).double(), image.amax(dim=1).double()
        box = [
            torch.stack(((x + 1) * width / 2, (1 - y) * height / 2), dim=1) for x, y in ((low[:, 0], high[:, 1]), (high[:, 0], low[:, 1]))
        ]

        def examine(face: Tensor, row: Tensor, column: Tensor) -> tuple[Tensor, Tensor]:
            single = torch.tensor(scale, dtype=torch.float32)  # whatever the corners' precision
            x = (single / width * (2 * column + 1 - width)).to(image)
            y = (single / height * (height - 2 * row - 1)).to(image)
            a, b, c = (image[face] * scale - torch.stack((x, y), dim=1)[:, None]).unbind(dim=1)
            parts = torch.stack([p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0] for p, q in ((b, c), (c, a), (a, b))], dim=1)
            total = parts.sum(dim=1, keepdim=True)
            weights = parts / (total + torch.where(total < 0, -guard, guard))
            boxed = (x >= low[face, 0] * scale) & (x < high[face, 0] * scale) & (y >= low[face, 1] * scale) & (y < high[face, 1] * scale)
            return boxed & (weights >= 0).all(dim=1), -(weights * z[face]).sum(dim=1)

        return nearest_faces(box[0] - 1e-6, box[1] + 1e-6, height, width, examine)


def _check(values: Tensor, tri: Tensor) -> None:
    assert values.dtype == torch.float32
    assert tri.dtype == torch.int32
    assert values.is_contiguous()
    assert tri.is_contiguous()
    assert values.numel() > 0
    assert tri.shape[0] > 0 == tri.dim() - 2


def _draw(pos: Tensor, tri: Tensor, height: int, width: int) -> Tensor:
    """[H, W, 4] of one view, the row at the bottom first."""
    placed = in_pixels(pos, height, width)
    corners = placed.detach()[tri]
    before = corners[..., 3:] > 0
    flat = corners[..., :2] / torch.where(before, corners[..., 3:], 1)
    whole = before.all(dim=1)
    cut = torch.zeros(len(pos), dtype=torch.bool).index_fill(0, tri[~whole[:, 0]].reshape(-1), True)  # clipped first, so left as they are
    rounded = torch.where(cut[tri][..., None], corners[..., :2], (flat * 16).round() / 16 * corners[..., 3:])
    rounded = torch.cat((rounded, corners[..., 2:]), dim=2)
    low = torch.where(whole, flat.amin(dim=1) - 1 / 16, -1)
    high = torch.where(whole, flat.amax(dim=1) + 1 / 16, float(max(height, width)) + 1)

    def examine(face: Tensor, row: Tensor, column: Tensor) -> tuple[Tensor, Tensor]:
        x, y = column.double() + 0.5, row.double() + 0.5
        e, true = edges_at(rounded[face], x + _NUDGE[0], y + _NUDGE[1]), edges_at(corners[face], x, y)
        scale = (true * corners[face, :, 3]).sum(dim=1)
        depth = (true * corners[face, :, 2]).sum(dim=1) / scale
        inside = ((e > 0).all(dim=1) & (scale > 0)) | ((e < 0).all(dim=1) & (scale < 0))
        return inside & (depth.abs() <= 1), depth

    found = nearest_faces(low, high, height, width, examine).reshape(-1)
    seen = (found >= 0).nonzero()[:, 0]
    e = edges_at(placed[tri[found[seen]]], seen % width + 0.5, seen // width + 0.5)
    weights = (e / e.sum(dim=1, keepdim=True)).clamp(0, 1)
    z, w = corners[found[seen]][..., 2:].unbind(dim=2)
    deep = (weights.detach() * z).sum(dim=1) / (weights.detach() * w).sum(dim=1)
    values = torch.cat((weights[:, :2], deep[:, None], found[seen, None] + 1.0), dim=1).float()
    return torch.zeros(height * width, 4).index_copy(0, seen, values).view(height, width, 4)
