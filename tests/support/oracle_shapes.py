"""Known objects drawn by a sphere tracer of their own, and a score that is exact for them.

The renderer shares nothing with the package's but the records, so that it can judge it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dreamfusion_mesh.guidance.schedule import variance_preserving
from dreamfusion_mesh.records import Shading, Views
from dreamfusion_mesh.records.diffusion import Answers
from dreamfusion_mesh.render.cameras import rays

CLAY = 0.8
TOUCH = 3e-4  # a ray this near has arrived; what it adds to a leg of 0.16 is under half a percent
RED, BLUE, GREEN, YELLOW = (torch.tensor(c) for c in ((0.85, 0.12, 0.1), (0.12, 0.3, 0.85), (0.15, 0.65, 0.2), (0.95, 0.82, 0.15)))


@dataclass(frozen=True)
class Shape:
    name: str
    sdf: Callable[[Tensor], Tensor]
    color: Callable[[Tensor], Tensor]


def _ball(p: Tensor, center: tuple[float, float, float], radius: float) -> Tensor:
    return (p - p.new_tensor(center)).norm(dim=-1) - radius


def _box(p: Tensor, center: tuple[float, float, float], half: tuple[float, float, float]) -> Tensor:
    q = (p - p.new_tensor(center)).abs() - p.new_tensor(half)
    return q.clamp_min(0).norm(dim=-1) + q.amax(-1).clamp_max(0)


def _ring(p: Tensor) -> Tensor:
    """A torus whose hole looks at the front."""
    return torch.stack([p[..., :2].norm(dim=-1) - 0.48, p[..., 2]], -1).norm(dim=-1) - 0.2


def _table(p: Tensor) -> Tensor:
    top = _box(p, (0, 0.3, 0), (0.6, 0.09, 0.45))
    legs = [_box(p, (x * 0.48, -0.12, z * 0.33), (0.08, 0.4, 0.08)) for x in (-1, 1) for z in (-1, 1)]
    return torch.stack([top, *legs]).amin(0)


def _pair(p: Tensor) -> Tensor:
    return torch.minimum(_ball(p, (0, -0.22, 0), 0.45), _ball(p, (0, 0.35, 0.1), 0.3))


def _plain(color: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda p: color.to(p).expand(len(p), 3)


def _two_colours(p: Tensor) -> Tensor:
    upper = _ball(p, (0, 0.35, 0.1), 0.3) < _ball(p, (0, -0.22, 0), 0.45)
    return torch.where(upper[:, None], BLUE.to(p), YELLOW.to(p))


SHAPES = [Shape("ring", _ring, _plain(GREEN)), Shape("table", _table, _plain(RED)), Shape("pair", _pair, _two_colours)]


@torch.no_grad()
def draw(shape: Shape, views: Views, supersample: int = 2) -> tuple[Tensor, Tensor]:
    """Colour [B, H, W, 3] and coverage [B, H, W, 1] of `shape`, by sphere tracing with supersampled pixels."""
    cameras = views.cameras
    fine = type(cameras)(
        cameras.to_world, cameras.fov_y, cameras.azimuth, cameras.elevation, cameras.height * supersample, cameras.width * supersample
    )
    origins, directions = rays(fine)
    images, covers = [], []
    for b in range(len(views)):
        o, d = origins[b].reshape(-1, 3), directions[b].reshape(-1, 3)
        image = views.background[b].expand(len(d), 3).clone()
        hit, points = _trace(shape.sdf, o, d)
        if hit.any():
            image[hit] = _shade(shape, points, views, b)
        size = (fine.height // supersample, supersample, fine.width // supersample, supersample, -1)
        images.append(image.reshape(size).mean((1, 3)))
        covers.append(hit.to(image.dtype).reshape(size).mean((1, 3)))
    return torch.stack(images), torch.stack(covers)


def _trace(sdf: Callable[[Tensor], Tensor], o: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    along = -(o * d).sum(-1)  # closest to the origin
    inside = (o + d * along[:, None]).norm(dim=-1) < 1.2
    t = (along - 1.2).clamp_min(0)
    active = inside.nonzero()[:, 0]
    done = torch.zeros(len(d), dtype=torch.bool)
    for _ in range(80):
        distance = sdf(o[active] + d[active] * t[active, None])
        done[active[distance < TOUCH]] = True
        t[active] += distance
        active = active[(distance >= TOUCH) & (t[active] < along[active] + 1.2)]
        if len(active) == 0:
            break
    return done, o[done] + d[done] * t[done, None]


def _shade(shape: Shape, points: Tensor, views: Views, b: int) -> Tensor:
    albedo = shape.color(points)
    mode = int(views.shading[b])
    if mode == Shading.ALBEDO:
        return albedo
    if mode == Shading.TEXTURELESS:
        albedo = torch.full_like(albedo, CLAY)
    step = 1e-3
    axes = torch.eye(3, dtype=points.dtype) * step
    normals = torch.stack([shape.sdf(points + axis) - shape.sdf(points - axis) for axis in axes], -1)
    normals = torch.nn.functional.normalize(normals, dim=-1)
    light = views.lights.ambient[b] + views.lights.diffuse[b] * (normals @ views.lights.directions[b]).clamp_min(0)
    return (albedo * light[:, None]).clamp(0, 1)


class OracleScore:
    """The exact score of N(render of the shape from the asked view, spread^2 I): eps_hat in closed form.

    With x_t = a x + s eps, the posterior mean of eps is s (x_t - a mean) / (a^2 spread^2 + s^2).
    """

    def __init__(self, shape: Shape, size: int = 64, spread: float = 0.05) -> None:
        self.shape, self.size, self.spread, self.together, self.warnings = shape, size, spread, 1, ()
        ramp = torch.linspace(0, 1, 1001)[1:]
        self.schedule = variance_preserving(torch.cos(ramp * 0.998 * torch.pi / 2) ** 2)

    def encode(self, images: Tensor) -> Tensor:
        pixels = images.permute(0, 3, 1, 2) * 2 - 1
        return torch.nn.functional.interpolate(pixels, size=(self.size, self.size), mode="area")

    def answer(self, noisy: Tensor, t: Tensor, views: Views) -> Answers:
        """eps_hat without words: it knows what is right, so there is nothing to guide."""
        mean = self.encode(draw(self.shape, views, supersample=2 * self.size // views.cameras.height or 1)[0])
        signal, sigma = self.schedule.at(t, noisy)
        return Answers("epsilon", sigma * (noisy - signal * mean) / (signal**2 * self.spread**2 + sigma**2))
