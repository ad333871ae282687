"""Variational score distillation: SDS whose noise is what a LoRA of the model sees in the renders (Wang et al., arXiv:2305.16213)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from dreamfusion_mesh.config import GuidanceSettings
from dreamfusion_mesh.contracts import AdaptableModel
from dreamfusion_mesh.guidance.answers import convert, guided_noise
from dreamfusion_mesh.guidance.losses.distilled import Distilled, with_gradient
from dreamfusion_mesh.guidance.losses.loss import Loss
from dreamfusion_mesh.guidance.losses.sds import draw_times
from dreamfusion_mesh.guidance.losses.step import Step
from dreamfusion_mesh.guidance.schedule import add_noise, draw_noise, draw_timesteps, weight
from dreamfusion_mesh.records.diffusion import Answers, Prediction, Schedule


def denoising_target(kind: Prediction, latents: Tensor, noise: Tensor, schedule: Schedule, t: Tensor) -> Tensor:
    """What a model that predicts `kind` should answer, shaped like latents [B, ...], where `noise` [B, ...] was added to them at t [B]."""
    match kind:
        case "epsilon":
            return noise
        case "sample":
            return latents
        case "v_prediction":
            signal, sigma = schedule.at(t, latents)
            return signal * noise - sigma * latents
        case "flow":
            return noise - latents


class VariationalScore(Loss):
    """The gradient in the latents is w(t) (eps_hat - eps_lora) / (B N), both predictions at one x_t (eq. 9).

    The LoRA learns each step to denoise the step's own renders, at other times and noise (eq. 8), by an AdamW of its own.
    """

    def __init__(self, model: AdaptableModel, settings: GuidanceSettings, draws: torch.Generator) -> None:
        """draws, on the CPU, give what the LoRA begins with."""
        super().__init__()
        self._model, self._settings = model, settings
        self.lora = model.adapter(settings.vsd.rank, draws)
        self._optimizer = torch.optim.AdamW(self.lora.parameters(), lr=settings.vsd.learning_rate)

    def optimizers(self) -> Mapping[str, torch.optim.Optimizer]:
        """The LoRA's."""
        return {"lora": self._optimizer}

    def forward(self, step: Step) -> Distilled:
        """Evaluate model and LoRA; `Distilled.training` has the LoRA's own loss. The draws give times and noise, then the LoRA's."""
        model, settings, schedule = self._model, self._settings, self._model.schedule
        latents = model.encode(step.render.rgb)
        t = draw_times(model, step, settings)
        with torch.no_grad():
            noisy = add_noise(latents, draw_noise(latents.shape, step.draws).to(latents), schedule, t)
            guided = guided_noise(model.answer(noisy, t, step.views), noisy, schedule, t, settings)
            own: Answers = self.lora(noisy, t, step.views)
            residual = guided - convert(own.text, noisy, schedule, t, own.prediction, "epsilon")
        weights = weight(schedule, t, settings.weighting).to(residual).reshape(-1, *(1,) * (residual.dim() - 1))
        training = {"lora": self._denoising_loss(latents.detach(), step)}
        return with_gradient(latents, weights * residual, residual, t, training)

    def _denoising_loss(self, latents: Tensor, step: Step) -> Tensor:
        """Mean square of the LoRA's error about latents [B, ...], at times drawn from all."""
        schedule = self._model.schedule
        t = draw_timesteps(0, len(schedule) - 1, len(latents), step.draws, self._model.together).to(latents.device)
        noise = draw_noise(latents.shape, step.draws).to(latents)
        answers: Answers = self.lora(add_noise(latents, noise, schedule, t), t, step.views)
        return (answers.text - denoising_target(answers.prediction, latents, noise, schedule, t)).square().mean()
