"""Consistent flow distillation: SDS along one path of the flow, its noise fixed on the surface (Yan et al., arXiv:2501.05445)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pixel_unshuffle

from dreamfusion_mesh.config import GuidanceSettings
from dreamfusion_mesh.contracts import ScoreModel
from dreamfusion_mesh.guidance.answers import guided_noise
from dreamfusion_mesh.guidance.losses.distilled import Distilled, with_gradient
from dreamfusion_mesh.guidance.losses.loss import Loss
from dreamfusion_mesh.guidance.losses.sds import draw_times, noise_residual
from dreamfusion_mesh.guidance.losses.step import Step
from dreamfusion_mesh.guidance.losses.surface_noise import HASHED, evolve, pixel_noise, pixel_rows
from dreamfusion_mesh.guidance.schedule import draw_noise
from dreamfusion_mesh.records import SurfacePoints
from dreamfusion_mesh.records.diffusion import Schedule

_POINTS = 2  # along a side of a pixel: four of them name most of the voxels that it covers at the default size


def flow_weight(schedule: Schedule, t: Tensor, most: float) -> Tensor:
    """lambda [B] = noise / signal at t [B] int64, at most `most`; uncapped the gradient is x - x0_hat."""
    return (schedule.noise[t] / schedule.signal[t]).clamp_max(most)


class ConsistentFlow(Loss):
    """The gradient in the latents is lambda (eps_hat - eps) / (B N), with the noise eps of the surface's points.

    noise  [R, C]  a row for each voxel and for each pixel of the background: see surface_noise.py
    """

    noise: Tensor

    def __init__(self, model: ScoreModel, settings: GuidanceSettings, size: int, draws: torch.Generator) -> None:
        """size: pixels a side of the images to come; draws, on the CPU, give the first noise.

        Raises ValueError unless the model's latents are square.
        """
        super().__init__()
        with torch.no_grad():
            latents = model.encode(torch.zeros(1, size, size, 3, device=model.schedule.signal.device))
        _, channels, height, width = latents.shape
        if height != width:
            raise ValueError(f"latents: {height} x {width}, expected a square")
        self._model, self._settings, self._side = model, settings, height * model.patch
        self.points_side = self._side * _POINTS
        first = draw_noise((HASHED + self._side**2, channels // model.patch**2), draws)
        self.register_buffer("noise", first.to(latents))

    def surface_noise(self, seen: SurfacePoints) -> Tensor:
        """The noise [B, C, h, h] of what is seen, as the model folds pixels into channels."""
        rows = pixel_rows(seen, self._side, self._settings.cfd.voxels)
        return pixel_unshuffle(pixel_noise(self.noise, rows), self._model.patch)

    def forward(self, step: Step) -> Distilled:
        """Evaluate the model once, with noise that moves on by `cfd.gamma`. Raises ValueError where the step brings no points."""
        if step.points is None:
            raise ValueError("points: None, but the loss cfd has its noise on the surface")
        model, settings, schedule = self._model, self._settings, self._model.schedule
        latents = model.encode(step.render.rgb)
        t = draw_times(model, step, settings)
        evolve(self.noise, settings.cfd.gamma, step.draws)

        def predict(noisy: Tensor, times: Tensor) -> Tensor:
            return guided_noise(model.answer(noisy, times, step.views), noisy, schedule, times, settings)

        residual = noise_residual(latents, predict, schedule, t, self.surface_noise(step.points).to(latents))
        weights = flow_weight(schedule, t, settings.cfd.most_weight).to(residual).reshape(-1, 1, 1, 1)
        return with_gradient(latents, weights * residual, residual, t)
