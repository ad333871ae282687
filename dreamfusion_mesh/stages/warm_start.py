"""The warm start of the coarse stage: views that a model draws together, and the field fitted to them as to photographs.

Sources: MVDream, arXiv:2308.16512, for views drawn together; SDEdit, arXiv:2108.01073, for the background from which they are drawn; NeRF,
arXiv:2003.08934, for a field fitted to pictures. Each step of the sampler and each picture step is a step of the stage, so that all are
stopped, resumed, counted and, where NaN is found, skipped alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d

from dreamfusion_mesh.config import MULTIVIEW, CoarseSettings, GuidanceSettings, ViewSettings
from dreamfusion_mesh.contracts import MultiviewModel, PromptedModel
from dreamfusion_mesh.guidance.answers import guided_image
from dreamfusion_mesh.guidance.sampler import denoise, sampling_times
from dreamfusion_mesh.guidance.schedule import add_noise, draw_noise
from dreamfusion_mesh.records import Shading, Views
from dreamfusion_mesh.render.cameras import turntable
from dreamfusion_mesh.render.views import plain_views

VIEWS = "views"  # the module that holds what was drawn, in the stage's checkpoint
_BORDER = 2  # pixels along the edges of a picture, which show the background
_NEAR = 0.15  # of a channel: what differs less from the background's colour, and can be reached from the edges, is background
_SAME = 0.06  # what differs less than this is background wherever it is, as where a hole is seen through
_TURNS = (0, 2, 1, 3)  # front, back and both sides: any two in a row that begin with an even one face each other


class DrawnViews(nn.Module):
    """The latents of four views [4, C, h, h]: a noised background at first, the clean images at last. They belong to the checkpoint."""

    latents: Tensor

    def __init__(self, latents: Tensor) -> None:
        super().__init__()
        self.register_buffer("latents", latents)


@dataclass(frozen=True, eq=False)
class Pictures:
    """What was drawn, as the field is to look.

    rgb         [4, S, S, 3]
    background  [4, 3]
    empty       [4, S, S, 1] bool   where the background is seen
    """

    rgb: Tensor
    background: Tensor
    empty: Tensor

    def part(self, rows: list[int]) -> Pictures:
        """Some of the pictures."""
        return Pictures(self.rgb[rows], self.background[rows], self.empty[rows])


class WarmStart:
    """Draws the views in `settings.warm_start.draw_steps` steps, and then says which of them a step of the field's is to look like.

    drawn  the module whose state goes on
    views  the four as the model is asked for them: flat colour, for it lights what it draws
    Raises BadInput where the model cannot see views together.
    """

    def __init__(
        self, model: PromptedModel, settings: CoarseSettings, views: ViewSettings, guidance: GuidanceSettings, device: torch.device
    ) -> None:
        self._decoder = cast(MultiviewModel, model)
        self._model = self._decoder.seeing_together()
        self._settings = settings
        self._guidance = guidance.model_copy(update={"scale": settings.warm_start.scale, "perp_neg": 0.0})
        distance, fov = sum(views.distance) / 2, math.radians(sum(views.fov_y_degrees) / 2)
        elevation, size = math.radians(settings.warm_start.elevation_degrees), settings.size
        cameras = turntable(MULTIVIEW, elevation, distance, fov, size, size, device)
        self.views = plain_views(cameras, Shading.ALBEDO, settings.warm_start.background, views.ambient, views.diffuse)
        with torch.no_grad():
            self._background = self._decoder.encode(self.views.background[:, None, None].expand(-1, size, size, -1))
        self.drawn = DrawnViews(torch.zeros_like(self._background))
        self._times = sampling_times(len(self._model.schedule), settings.warm_start.draw_steps, settings.warm_start.strength)

    @torch.no_grad()
    def draw(self, index: int, draws: torch.Generator) -> bool:
        """Step `index` of the sampler, whose first noises the background; whether it was finite. Where not, only `draws` have changed."""
        schedule, latents = self._model.schedule, self.drawn.latents
        now, then = self._times[index], self._times[index + 1] if index + 1 < len(self._times) else None
        t = torch.full((MULTIVIEW,), now, device=latents.device)
        noisy = self._noised_background(t, draws) if index == 0 else latents
        clean = self._decoder.nearest_image(guided_image(self._model.answer(noisy, t, self.views), noisy, schedule, t, self._guidance))
        moved = denoise(noisy, clean, schedule, now, then)
        finite = bool(moved.isfinite().all())
        if finite:
            latents.copy_(moved)
        return finite

    def _noised_background(self, t: Tensor, draws: torch.Generator) -> Tensor:
        """x_t [4, C, h, h] of the plain background at t [4] int64.

        Unlike SDEdit's, the noise of each channel has a mean of 0: where there is hardly any signal, a model would read a colour from it.
        """
        noise = draw_noise(self._background.shape, draws).to(self._background)
        return add_noise(self._background, noise - noise.mean((2, 3), keepdim=True), self._model.schedule, t)

    @torch.no_grad()
    def drawn_images(self) -> Tensor:
        """[4, H, H, 3] the views as far as they are drawn."""
        return self._decoder.decode(self.drawn.latents)

    def look(self, index: int) -> tuple[Views, Pictures]:
        """As many views as a step has, at most all four, for picture step `index`, by turns, and what was drawn there."""
        count = min(self._settings.views, MULTIVIEW)
        rows = [_TURNS[(index * count + k) % MULTIVIEW] for k in range(count)]
        return replace(self.views, background=self._pictures.background).part(rows), self._pictures.part(rows)

    @cached_property
    def _pictures(self) -> Pictures:
        """Of the finished drawing, at the stage's size."""
        return pictures_of(self._decoder.decode(self.drawn.latents), self._settings.size)


def pictures_of(images: Tensor, size: int) -> Pictures:
    """Images [B, H, H, 3] in [0, 1] averaged, or stretched, to `size`, with their backgrounds: the median colour along each one's edges."""
    mode = "area" if images.shape[1] >= size else "bilinear"
    rgb = interpolate(images.permute(0, 3, 1, 2), size=(size, size), mode=mode).permute(0, 2, 3, 1)
    edge = torch.ones(size, size, dtype=torch.bool, device=images.device)
    edge[_BORDER:-_BORDER, _BORDER:-_BORDER] = False
    background = rgb[:, edge].median(dim=1).values
    difference = (rgb - background[:, None, None]).abs().amax(dim=3)[:, None]
    empty = _reached((difference < _NEAR) & edge, difference < _NEAR) | (difference < _SAME)
    return Pictures(rgb, background, empty.permute(0, 2, 3, 1))


def _reached(start: Tensor, within: Tensor) -> Tensor:
    """What can be reached from `start` [B, 1, H, W] bool, step by step to neighbours, through `within`."""
    found, count = start, -1
    while (more := int(found.sum())) != count:
        count = more
        found = (max_pool2d(found.float(), 3, stride=1, padding=1) > 0) & within
    return found
