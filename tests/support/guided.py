"""What tests of guidance share: tiny models bound to a prompt, their guided scores, views, and seeded noise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dreamfusion_mesh.config import GuidanceSettings
from dreamfusion_mesh.guidance.answers import guided_noise
from dreamfusion_mesh.guidance.models.diffusion import DiffusionModel
from dreamfusion_mesh.guidance.models.load import load_guidance
from dreamfusion_mesh.guidance.models.prompted import PromptedDiffusion
from dreamfusion_mesh.guidance.models.text_condition import TextCondition
from dreamfusion_mesh.records import Shading, Views
from dreamfusion_mesh.render.cameras import turntable
from dreamfusion_mesh.render.views import plain_views

PROMPT = "a red mug"


def load(folder: Path, **settings: Any) -> DiffusionModel:
    return load_guidance(GuidanceSettings(model=str(folder), **settings), "cpu")


def bind(folder: Path, prompt: str = PROMPT, device: torch.device | str = "cpu", **settings: Any) -> PromptedDiffusion:
    """A freshly loaded model bound to `prompt` and the settings that it was loaded with."""
    chosen = GuidanceSettings(model=str(folder), **settings)
    return load_guidance(chosen, device).for_prompt(prompt, chosen)


def score(model: PromptedDiffusion, noisy: Tensor, t: Tensor, views: Views) -> Tensor:
    """Guided eps_hat with the settings that `model` is bound to."""
    return guided_noise(model.answer(noisy, t, views), noisy, model.schedule, t, model.settings)


def asked(model: PromptedDiffusion, noisy: Tensor, t: Tensor, states: Tensor, cameras: Tensor | None = None, views: int = 1) -> Tensor:
    """What the network itself predicts with these states of texts [B, L, D]."""
    return model.model.predict(model.model.question(noisy, t, TextCondition(states), cameras), views)


def views_around(count: int, shading: Shading = Shading.ALBEDO, device: torch.device | str = "cpu") -> Views:
    return plain_views(turntable(count, 0.2, 2.6, 0.7, 8, 8, device), shading, (1, 1, 1), 0.35, 0.7)


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def column(values: Tensor) -> Tensor:
    """[B] to [B, 1, 1, 1]."""
    return values[:, None, None, None]
