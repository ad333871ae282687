"""The rasterizer's contract by brute force: every pixel against every face, in float64 torch; and small scenes to draw."""

import math

import torch
from torch import Tensor

from dreamfusion_mesh.contracts import Rasterizer
from dreamfusion_mesh.records import Fragments

SQUARE = torch.tensor([[0, 1, 2], [0, 2, 3]])


def pixel_centres(height: int, width: int) -> Tensor:
    """[H, W, 3] float64: (x, y, 1) of the centres over w."""
    x = (torch.arange(width).double() + 0.5) / width * 2 - 1
    y = 1 - (torch.arange(height).double() + 0.5) / height * 2
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    return torch.stack((columns, rows, torch.ones_like(rows)), dim=-1)


def within(rasterizer: Rasterizer, double: float, single: float) -> float:
    """A tolerance for the precision that the back end computes in."""
    return double if torch.float64 in rasterizer.limits.precisions else single


def rounded(rasterizer: Rasterizer, exact: float, rough: float) -> float:
    """A value for back ends that round corners in the picture, and one for the others."""
    return exact if rasterizer.limits.edge == 0 else rough


def twin_rasterize(clip: Tensor, faces: Tensor, height: int, width: int, edge: float = 0.0) -> tuple[Fragments, Tensor]:
    """Fragments, and which pixels are clear [B, H, W]: off every visible edge, off near and far, and with no second face as near.

    edge  pixels; a centre this close to a face's edge, on either side, or to where another face is seen, is not clear either: faces may
          cross there, or pass through near or far

    Differentiable in `clip`.
    The point of the plane of corners v seen at a centre p solves sum_i l_i (x, y, w)_i = p; it is in the triangle where all l_i >= 0.
    """
    corners = clip.double()[:, faces]
    solve = torch.linalg.inv(corners[..., [0, 1, 3]].transpose(-1, -2))
    shares = torch.einsum("bfij,hwj->bhwfi", solve, pixel_centres(height, width))
    depth = torch.einsum("bhwfi,bfi->bhwf", shares, corners[..., 2])
    inside = (shares >= 0).all(dim=-1) & (depth.abs() <= 1)
    order = torch.where(inside, depth, math.inf).sort(dim=-1)
    none = order.values[..., 0].isinf()
    face = torch.where(none, -1, order.indices[..., 0])
    least = shares.amin(dim=-1) / shares.abs().amax(dim=-1)
    clear = ((least.abs() > 1e-6) | (depth.abs() > 1)).all(dim=-1) & ((depth.abs() - 1).abs() > 1e-6).all(dim=-1)
    if faces.shape[0] > 1:
        clear &= none | (order.values[..., 1] - order.values[..., 0] > 1e-6)
    if edge > 0:
        slope = solve[..., :2] * torch.tensor([2 / width, 2 / height])  # of the shares, a pixel
        away = shares / slope.norm(dim=-1)[:, None, None]
        clear &= ~((away > -edge).all(dim=-1) & (away < edge).any(dim=-1)).any(dim=-1)
        for right, down in ((x, y) for x in (-1, 0, 1) for y in (-1, 0, 1) if (x, y) != (0, 0)):
            shift = clip.new_tensor([2 * edge * right / width, 2 * edge * down / height, 0, 0], dtype=torch.float64)
            clear &= twin_rasterize(clip.detach().double() + clip.detach()[..., 3:] * shift, faces, height, width)[0].face == face
    picked = face.clamp_min(0)[..., None]
    bary = torch.gather(shares, 3, picked[..., None].expand(*picked.shape, 3))[..., 0, :]
    bary = torch.where(none[..., None], 0, bary / bary.sum(dim=-1, keepdim=True))
    return Fragments(face, bary, torch.where(none, 1, torch.gather(depth, 3, picked)[..., 0])), clear


def random_scene(seed: int, views: int = 2, count: int = 12) -> tuple[Tensor, Tensor]:
    """Triangles all around a perspective camera: some cross the near plane, some lie behind it.

    clip [B, 3 count, 4] float64 whose values float32 holds, too, so that every back end sees the same scene; faces.
    """
    draws = torch.Generator().manual_seed(seed)
    points = torch.randn(views, 3 * count, 3, generator=draws, dtype=torch.float64)
    points[..., 2] = 1.2 * points[..., 2] - 0.4
    near, far, slope = 0.2, 6.0, 1.3
    x, y, z = points.unbind(dim=-1)
    deep = (far + near) / (near - far) * z + 2 * far * near / (near - far)
    return torch.stack((slope * x, slope * y, deep, -z), dim=-1).float().double(), torch.arange(3 * count).reshape(count, 3)


def on_screen(points: Tensor, height: int, width: int, depth: Tensor | float = 0.0) -> Tensor:
    """Clip positions (w = 1) of points [..., 2] in pixels, y downwards; `depth` is z / w."""
    x, y = points[..., 0] / width * 2 - 1, 1 - points[..., 1] / height * 2
    return torch.stack((x, y, torch.zeros_like(x) + depth, torch.ones_like(x)), dim=-1)


def polygon(sides: int, turn: float) -> tuple[Tensor, Tensor, float]:
    """Regular polygon of radius 1 as a fan: points [sides + 1, 2] float64, faces, area."""
    angles = torch.arange(sides).double() * (2 * math.pi / sides) + turn
    points = torch.cat((torch.zeros(1, 2).double(), torch.stack((angles.cos(), angles.sin()), dim=1)))
    ring = torch.arange(sides)
    faces = torch.stack((torch.zeros_like(ring), ring + 1, (ring + 1) % sides + 1), dim=1)
    return points, faces, 0.5 * sides * math.sin(2 * math.pi / sides)


def sphere(rounds: int, mirrored: bool = False) -> tuple[Tensor, Tensor]:
    """Unit sphere from an octahedron split `rounds` times: vertices float64, faces. `mirrored`: along z many faces are seen edge-on."""
    vertices = torch.tensor([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], dtype=torch.float64)
    faces = torch.tensor([[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]])
    for _ in range(rounds):
        ends = torch.stack((faces, faces.roll(-1, dims=1)), dim=2).reshape(-1, 2).sort(dim=1).values
        edges, place = torch.unique(ends, dim=0, return_inverse=True)
        middle = place.reshape(-1, 3) + len(vertices)
        vertices = torch.cat((vertices, torch.nn.functional.normalize(vertices[edges].sum(dim=1), dim=1)))
        (a, b, c), (ab, bc, ca) = faces.unbind(dim=1), middle.unbind(dim=1)
        faces = torch.cat([torch.stack(part, dim=1) for part in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))])
    x, y, z = (math.pi / 4, 0.0, 0.0) if mirrored else (0.7, 0.5, 0.3)
    turn = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64)
    return vertices @ torch.linalg.matrix_exp(turn), faces


def jitter(steps: int) -> Tensor:
    """Sub-pixel offsets on a regular grid: [steps^2, 1, 2] float64 in [0, 1)."""
    one = torch.arange(steps).double() / steps
    return torch.stack(torch.meshgrid(one, one, indexing="ij"), dim=-1).reshape(-1, 1, 2)
