"""A mesh becomes a Render: which triangle each pixel sees, what is there, and silhouettes whose gradients move the vertices."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor
from torch.nn.functional import normalize

from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.records import Fragments, Mesh, Render, Views
from dreamfusion_mesh.render.cameras import clip_from_world
from dreamfusion_mesh.render.shading import Shade

if TYPE_CHECKING:
    from dreamfusion_mesh.kernels.antialias import Edges

Albedo = Callable[[Tensor], Tensor]
_LOG = logging.getLogger(__name__)
_MOST_PIXELS = 2**30  # a pair of pixels is counted in 31 bits


class Rasterizer(Protocol):
    """The contract of every back end. Clip space: x right, y up, -w <= z <= w, w the depth along the view; row 0 on top; no culling.

    All raise ValueError naming the argument where shapes, dtypes or devices do not fit, a face is out of range, or a value is not finite.
    """

    name: str
    licence: str

    def rasterize(self, clip: Tensor, faces: Tensor, size: tuple[int, int]) -> Fragments:
        """What the pixels' centres see of clip [B, V, 4] and faces [F, 3] int64, at (H, W); bary and depth carry gradients to `clip`.

        A centre on an edge belongs to one of its two faces; of faces at equal depth the first wins.
        """
        ...

    def interpolate(self, attributes: Tensor, fragments: Fragments, faces: Tensor) -> Tensor:
        """[V, C] or [B, V, C] to [B, H, W, C], zero where no face is; gradients in the attributes and in fragments.bary."""
        ...

    def antialias(self, image: Tensor, fragments: Fragments, clip: Tensor, faces: Tensor) -> Tensor:
        """`image` [B, H, W, C] with smooth silhouettes; gradients in the image and, through where the silhouettes lie, in `clip`."""
        ...


def resolve_rasterizer(backend: str, device: torch.device | str) -> Rasterizer:
    """The back end that `backend` ("auto" or a name) stands for on `device`. Raises BadInput where it is unknown or missing."""
    match backend:
        case "auto" | "warp":
            rasterizer = WarpRasterizer()
        case _:
            raise BadInput(f"raster.backend {backend!r}: not known; there are auto and warp")
    _LOG.info("rasterizer: %s (%s) on %s, asked for %s", rasterizer.name, rasterizer.licence, device, backend)
    return rasterizer


class WarpRasterizer:
    """The rasterizer in NVIDIA Warp, CPU and CUDA from one source; see kernels/raster.py and kernels/antialias.py for how it works."""

    name = "warp"
    licence = "Apache-2.0"

    def __init__(self) -> None:
        try:
            from dreamfusion_mesh.kernels import antialias, raster
        except ImportError as error:
            raise BadInput(f"raster.backend 'warp': cannot be imported ({error}); install it with: pip install warp-lang") from None
        self._raster, self._antialias = raster, antialias
        self._known: tuple[weakref.ref[Tensor], int, int, Edges] | None = None

    def rasterize(self, clip: Tensor, faces: Tensor, size: tuple[int, int]) -> Fragments:
        """See Rasterizer."""
        height, width = size
        _check_clip(clip, None)
        _check_faces(faces, clip.shape[1], clip.device)
        if height < 0 or width < 0 or clip.shape[0] * height * width > _MOST_PIXELS:
            raise ValueError(f"size: {height} x {width} for {clip.shape[0]} views, expected 0 or more and at most 2^30 pixels in all")
        return Fragments(*self._raster.rasterize(clip, faces, height, width))

    def interpolate(self, attributes: Tensor, fragments: Fragments, faces: Tensor) -> Tensor:
        """See Rasterizer."""
        views = fragments.face.shape[0]
        per_view = attributes.dim() == 3
        if attributes.dim() not in (2, 3) or (per_view and attributes.shape[0] != views):
            raise ValueError(f"attributes: shape {list(attributes.shape)}, expected [V, C] or [{views}, V, C]")
        _check_values("attributes", attributes, fragments.bary)
        _check_faces(faces, attributes.shape[-2], attributes.device)
        _check_fragments(fragments, faces)
        return self._raster.interpolate(attributes if per_view else attributes[None], fragments.bary, fragments.face, faces)

    def antialias(self, image: Tensor, fragments: Fragments, clip: Tensor, faces: Tensor) -> Tensor:
        """See Rasterizer."""
        shape = fragments.face.shape
        if image.dim() != 4 or image.shape[:3] != shape:
            raise ValueError(f"image: shape {list(image.shape)}, expected {[*shape, '?']}")
        _check_clip(clip, shape[0])
        _check_values("image", image, clip)
        _check_faces(faces, clip.shape[1], clip.device)
        _check_fragments(fragments, faces)
        return self._antialias.antialias(image, fragments.face, clip, faces, self._edges(faces, clip.shape[1]))

    def _edges(self, faces: Tensor, vertices: int) -> Edges:
        """The faces' edges; those of the last tensor are kept while it lives unchanged."""
        if faces.is_inference():  # has no version to tell a change by
            return self._antialias.find_edges(faces, vertices)
        known = self._known
        if known is None or known[0]() is not faces or known[1:3] != (faces._version, vertices):
            known = (weakref.ref(faces), faces._version, vertices, self._antialias.find_edges(faces, vertices))
            self._known = known
        return known[3]


def render_mesh(
    rasterizer: Rasterizer,
    mesh: Mesh,
    vertex_normals: Tensor,
    albedo: Albedo,
    views: Views,
    shade: Shade,
    near: float = 0.1,
    far: float = 10.0,
) -> Render:
    """See a mesh from `views`, lit pixel by pixel, over the views' background.

    vertex_normals [V, 3] (any length); `albedo` takes the seen surface points [N, 3] to [N, 3]; `shade` as shading.shader gives it.
    Gradients reach the vertices through silhouettes, points and normals, and whatever `albedo` holds. Raises as the rasterizer does.
    """
    cameras = views.cameras
    height, width, count = cameras.height, cameras.width, len(views)
    homogeneous = torch.cat((mesh.vertices, torch.ones_like(mesh.vertices[:, :1])), dim=1)
    clip = homogeneous @ clip_from_world(cameras, near, far).to(homogeneous).transpose(1, 2)
    fragments = rasterizer.rasterize(clip, mesh.faces, (height, width))
    surface = rasterizer.interpolate(torch.cat((mesh.vertices, vertex_normals), dim=1), fragments, mesh.faces)
    seen = (fragments.face.reshape(-1) >= 0).nonzero()[:, 0]
    points, normals = surface.reshape(-1, 6)[seen].split(3, dim=1)
    normals, view = normalize(normals, dim=1), seen // (height * width)
    colors = albedo(points)
    layers = torch.cat(
        (
            shade(colors, normals, view),
            torch.ones_like(points[:, :1]),
            colors,
            normals,
            (points - cameras.positions[view]).norm(dim=1, keepdim=True),
        ),
        dim=1,
    )
    background = views.background[:, None, None].expand(count, height, width, 3).to(layers)
    empty = torch.cat((background, background.new_zeros(count, height, width, 8)), dim=3).reshape(-1, 11)
    filled = empty.index_copy(0, seen, layers).reshape(count, height, width, 11)
    rgb, alpha, flat, normal, depth = rasterizer.antialias(filled, fragments, clip, mesh.faces).split((3, 1, 3, 3, 1), dim=3)
    return Render(rgb, alpha, flat, normal, depth, torch.zeros_like(alpha))


def downsample(image: Tensor, factor: int) -> Tensor:
    """Area average [B, H, W, C] -> [B, H / factor, W / factor, C]. Raises ValueError where the factor does not divide the size."""
    count, height, width, channels = image.shape
    if factor < 1 or height % factor or width % factor:
        raise ValueError(f"factor: {factor}, expected a divisor of {height} and {width}")
    return image.reshape(count, height // factor, factor, width // factor, factor, channels).mean(dim=(2, 4))


def _check_clip(clip: Tensor, views: int | None) -> None:
    if clip.dim() != 3 or clip.shape[2] != 4 or (views is not None and clip.shape[0] != views):
        raise ValueError(f"clip: shape {list(clip.shape)}, expected [{'B' if views is None else views}, V, 4]")
    if clip.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"clip: dtype {clip.dtype}, expected torch.float32 or torch.float64")
    finite = torch.isfinite(clip.detach())
    if not bool(finite.all()):
        view, vertex, _ = (~finite).nonzero()[0].tolist()
        raise ValueError(f"clip: shape {list(clip.shape)} holds NaN or infinity, first at view {view}, vertex {vertex}")


def _check_values(name: str, values: Tensor, like: Tensor) -> None:
    if values.dtype != like.dtype or values.device != like.device:
        raise ValueError(f"{name}: {values.dtype} {list(values.shape)} on {values.device}, expected {like.dtype} on {like.device}")


def _check_faces(faces: Tensor, vertices: int, device: torch.device) -> None:
    if faces.dim() != 2 or faces.shape[1] != 3 or faces.dtype != torch.int64 or faces.device != device:
        raise ValueError(f"faces: {faces.dtype} {list(faces.shape)} on {faces.device}, expected torch.int64 [F, 3] on {device}")
    if faces.numel() == 0:
        return
    low, high = torch.stack(faces.aminmax()).tolist()
    if low < 0 or high >= vertices:
        raise ValueError(f"faces: shape {list(faces.shape)} with vertices {low} to {high}, expected 0 to {vertices - 1}")


def _check_fragments(fragments: Fragments, faces: Tensor) -> None:
    face, bary = fragments.face, fragments.bary
    if face.dim() != 3 or face.dtype != torch.int64 or bary.shape != (*face.shape, 3) or not face.device == bary.device == faces.device:
        raise ValueError(
            f"fragments: face {face.dtype} {list(face.shape)} on {face.device}, bary {list(bary.shape)} on {bary.device}; "
            f"expected torch.int64 [B, H, W] and [B, H, W, 3] on {faces.device}"
        )
    if face.numel() and int(face.max()) >= len(faces):
        raise ValueError(f"fragments: face {int(face.max())} seen, expected below {len(faces)}: they are of another mesh")
