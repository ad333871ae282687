"""A score that is exact for a known object, and the sphere tracer that draws the object.

The tracer shares nothing with the package's renderers but the records, so that it can judge them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dreamfusion_mesh.config import GuidanceSettings
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.schedule import variance_preserving
from dreamfusion_mesh.records import Shading, Views
from dreamfusion_mesh.records.diffusion import Answers
from dreamfusion_mesh.render.cameras import rays
from tools.oracle.shapes import REACH, Shape, Solid

SERVED = ("sds", "cfd", "sdi")  # losses
CLAY = 0.8
TOUCH = 3e-4  # a ray this near has arrived; what it adds to a leg of 0.16 is under half a percent
MOST_STEPS = 200  # a ray that meets a flat side at .04 radians takes so many
GRAZING = 0.01  # a ray that is still on its way then, as near as this, skims a side, and has arrived
# Directions whose differences give a gradient from four evaluations: the corners of a tetrahedron.
_CORNERS = torch.tensor([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])


@torch.no_grad()
def draw(shape: Shape, views: Views, supersample: int = 2) -> tuple[Tensor, Tensor]:
    """Colour [B, H, W, 3] and coverage [B, H, W, 1] of `shape`, by sphere tracing with supersampled pixels."""
    cameras = views.cameras
    height, width = cameras.height * supersample, cameras.width * supersample
    fine = type(cameras)(cameras.to_world, cameras.fov_y, cameras.azimuth, cameras.elevation, height, width)
    origins, directions = (part.reshape(-1, 3) for part in rays(fine))
    view = torch.arange(len(views)).repeat_interleave(height * width)
    hit, points = trace(shape.sdf, origins, directions)
    image = views.background[view]
    image[hit] = _shade(shape, points, views, view[hit])
    size = (len(views), cameras.height, supersample, cameras.width, supersample, -1)
    return image.reshape(size).mean((2, 4)), hit.to(image.dtype).reshape(size).mean((2, 4))


def trace(sdf: Solid, origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """Which rays [R, 3] hit the solid, [R] bool, and where those do, [hits, 3]; only within REACH of the middle."""
    middle = -(origins * directions).sum(-1)  # of the ray's way through the sphere
    square = REACH**2 - (origins + directions * middle[:, None]).square().sum(-1)
    active = (square > 0).nonzero()[:, 0]
    half = square[active].sqrt()
    t, end = middle[active] - half, middle[active] + half
    start, along = origins[active], directions[active]
    done, reached = torch.zeros(len(origins), dtype=torch.bool), torch.zeros(len(origins))
    for _ in range(MOST_STEPS):
        distance = sdf(start + along * t[:, None])
        near = distance < TOUCH
        done[active[near]] = True
        reached[active[near]] = t[near]
        t = t + distance
        going = ~near & (t < end)
        active, t, end, start, along = (each[going] for each in (active, t, end, start, along))
        if len(active) == 0:
            break
    skimming = sdf(start + along * t[:, None]) < GRAZING
    done[active[skimming]] = True
    reached[active[skimming]] = t[skimming]
    return done, origins[done] + directions[done] * reached[done, None]


def _shade(shape: Shape, points: Tensor, views: Views, view: Tensor) -> Tensor:
    mode = views.shading[view][:, None]
    albedo = torch.where(mode == Shading.TEXTURELESS, CLAY, shape.color(points))
    lit = mode[:, 0] != Shading.ALBEDO
    if not lit.any():
        return albedo
    step, spots, which = 1e-3, points[lit], view[lit]
    slopes = torch.stack([shape.sdf(spots + corner * step) for corner in _CORNERS], -1) @ _CORNERS
    cosine = (torch.nn.functional.normalize(slopes, dim=-1) * views.lights.directions[which]).sum(-1).clamp_min(0)
    light = views.lights.ambient[which] + views.lights.diffuse[which] * cosine
    albedo[lit] = (albedo[lit] * light[:, None]).clamp(0, 1)
    return albedo


def check_served(guidance: GuidanceSettings) -> None:
    """Raises BadInput for a loss that an exact score cannot serve, which has no words, no weights and no CLIP."""
    if guidance.loss not in SERVED:
        raise BadInput(f"guidance.loss {guidance.loss}: an exact score has no words, no weights and no CLIP; use {', '.join(SERVED)}")


class OracleScore:
    """The exact score of N(render of the shape from the asked view, spread^2 I): eps_hat in closed form.

    With x_t = a x + s eps, the posterior mean of eps is s (x_t - a mean) / (a^2 spread^2 + s^2).
    """

    def __init__(self, shape: Shape, size: int = 64, spread: float = 0.05) -> None:
        self.shape, self.size, self.spread, self.together, self.patch, self.warnings = shape, size, spread, 1, 1, ()
        ramp = torch.linspace(0, 1, 1001)[1:]
        self.schedule = variance_preserving(torch.cos(ramp * 0.998 * torch.pi / 2) ** 2)

    def encode(self, images: Tensor) -> Tensor:
        pixels = images.permute(0, 3, 1, 2) * 2 - 1
        return torch.nn.functional.interpolate(pixels, size=(self.size, self.size), mode="area")

    def decode(self, latents: Tensor) -> Tensor:
        """Latents [B, 3, h, h] to images [B, h, h, 3] in [0, 1]."""
        return (latents.permute(0, 2, 3, 1) + 1) / 2

    def nearest_image(self, latents: Tensor) -> Tensor:
        return latents.clamp(-1, 1)

    def seeing_together(self) -> OracleScore:
        """Itself: what it knows of each view agrees with the others."""
        return self

    def answer(self, noisy: Tensor, t: Tensor, views: Views) -> Answers:
        """eps_hat without words: it knows what is right, so there is nothing to guide."""
        mean = self.encode(draw(self.shape, views, supersample=2 * self.size // views.cameras.height or 1)[0])
        signal, sigma = self.schedule.at(t, noisy)
        return Answers("epsilon", sigma * (noisy - signal * mean) / (signal**2 * self.spread**2 + sigma**2))

    def answer_without_words(self, noisy: Tensor, t: Tensor, views: Views) -> Answers:
        """It has none: see `answer`."""
        raise BadInput("guidance.loss: an exact score has no answer without words; use guidance.loss=sds or sdi")
