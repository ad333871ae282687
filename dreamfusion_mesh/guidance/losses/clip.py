"""The similarity of a CLIP as a loss: Dream Fields (arXiv:2112.01455) on a field, CLIP-Mesh (arXiv:2203.13333) on a mesh.

CLIP-Mesh's image prior is left out: it takes a diffusion model of image vectors, and without it the paper's own loss is this one.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from dreamfusion_mesh.config import Span
from dreamfusion_mesh.config.guidance import ClipLossSettings
from dreamfusion_mesh.contracts import SimilarityModel
from dreamfusion_mesh.guidance.losses.backgrounds import random_backgrounds
from dreamfusion_mesh.guidance.losses.distilled import Distilled
from dreamfusion_mesh.guidance.losses.step import Step
from dreamfusion_mesh.records import Render, Views


def similarity(model: SimilarityModel, step: Step, settings: ClipLossSettings) -> Distilled:
    """Mean of 1 - cosine between the views' words and cuts of the step's images before random backgrounds, and the transmittance loss.

    The step's draws give where the cuts lie, then the backgrounds. Raises ValueError where the images are not square.
    """
    pictures = augmented(step.render, step.views, model.size, settings, step.draws)
    cosines = (model.images(pictures) * model.texts(step.views).repeat(settings.crops, 1)).sum(dim=1)
    target = target_transmittance(step.progress, settings.target_transmittance, settings.anneal)
    loss = 1 - cosines.mean() + settings.transmittance * transmittance_loss(step.render.alpha, target)
    finite = math.isfinite(float(loss.detach()))
    none_drawn = torch.empty(0, dtype=torch.int64)
    return Distilled(loss if finite else torch.zeros_like(loss), none_drawn, finite, 1 - float(cosines.detach().mean()))


def transmittance_loss(alpha: Tensor, target: float) -> Tensor:
    """Scalar -min(target, mean of 1 - alpha), its mean over the views of alpha [B, H, W, 1]. Source: arXiv:2112.01455, eq. 5 and 6."""
    return -(1 - alpha).flatten(1).mean(dim=1).clamp_max(target).mean()


def target_transmittance(progress: float, span: Span, anneal: float) -> float:
    """The target at `progress` in [0, 1]: what is opaque falls exponentially over the first `anneal` of the steps, then stays.

    Without this some prompts end without anything. Source: arXiv:2112.01455, section 3.2, and its published settings.
    """
    share = min(1.0, progress / anneal) if anneal else 1.0
    return 1 - (1 - span[0]) ** (1 - share) * (1 - span[1]) ** share


def augmented(render: Render, views: Views, size: int, settings: ClipLossSettings, draws: torch.Generator) -> Tensor:
    """[crops B, size, size, 3]: of each view in turn, `crops` times over, a cut at random before a random background."""
    layers = torch.cat((foreground(render, views), render.alpha), dim=3).repeat(settings.crops, 1, 1, 1)
    cut = resized(random_cuts(layers, settings.crop_size, draws), size)
    plain = views.background.repeat(settings.crops, 1)[:, None, None].expand(-1, size, size, 3)
    textured = random_backgrounds(len(cut), size, settings.background_blur, draws).to(cut)
    chosen = (torch.rand(len(cut), generator=draws) < settings.random_backgrounds).to(cut.device)
    behind = torch.where(chosen[:, None, None, None], textured, plain)
    return cut[..., :3] + (1 - cut[..., 3:]) * behind


def foreground(render: Render, views: Views) -> Tensor:
    """What `render` shows without its views' plain background [B, H, W, 3], premultiplied by alpha."""
    return render.rgb - (1 - render.alpha) * views.background[:, None, None]


def random_cuts(images: Tensor, share: float, draws: torch.Generator) -> Tensor:
    """Squares [B, h, h, C] out of [B, H, H, C], each anywhere; h is `share` of H, rounded up. Raises ValueError unless H = W."""
    count, side = images.shape[:2]
    if images.shape[2] != side:
        raise ValueError(f"images: {side} x {images.shape[2]} pixels, expected a square")
    kept = math.ceil(share * side)
    corners = torch.randint(side - kept + 1, (count, 2), generator=draws).tolist()
    return torch.stack([image[y : y + kept, x : x + kept] for image, (y, x) in zip(images, corners, strict=True)])


def resized(images: Tensor, size: int) -> Tensor:
    """[B, H, H, C] to [B, size, size, C], bilinear and antialiased."""
    if images.shape[1] == size:
        return images
    pixels = images.permute(0, 3, 1, 2)
    return functional.interpolate(pixels, size=(size, size), mode="bilinear", antialias=True, align_corners=False).permute(0, 2, 3, 1)
