"""A diffusion model whose residual is known."""

from __future__ import annotations

import torch
from torch import Tensor

from dreamfusion_mesh.records import Views
from dreamfusion_mesh.records.diffusion import Answers, Schedule


class StubScore:
    """eps_hat - eps is `residual` everywhere: without signal a noisy latent is the noise alone. Remembers the times it was evaluated at,
    and how what it saw was shaded.
    """

    def __init__(self, size: int = 16, residual: float = 0.0, device: torch.device | str = "cpu") -> None:
        self.size, self.residual, self.together, self.patch, self.warnings = size, residual, 1, 1, ()
        self.schedule = Schedule(torch.zeros(1000, device=device), torch.ones(1000, device=device))
        self.times: list[int] = []
        self.shading: list[int] = []

    def encode(self, images: Tensor) -> Tensor:
        return torch.nn.functional.interpolate(images.permute(0, 3, 1, 2) * 2 - 1, size=(self.size, self.size), mode="area")

    def answer(self, noisy: Tensor, t: Tensor, views: Views) -> Answers:
        self.times += t.tolist()
        self.shading += views.shading.tolist()
        return Answers("epsilon", noisy + self.residual)

    def answer_without_words(self, noisy: Tensor, t: Tensor, views: Views) -> Answers:
        return self.answer(noisy, t, views)
