"""What each stage minimises, as pure functions: named terms, their weights, and the sum of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from dreamfusion_mesh.config import CoarseSettings, FineSettings
from dreamfusion_mesh.guidance.losses.distilled import Distilled
from dreamfusion_mesh.records import Mesh, Render
from dreamfusion_mesh.shape.regularisers import laplacian_loss, normal_consistency_loss
from dreamfusion_mesh.shape.tets.surface import TetSurface
from dreamfusion_mesh.stages.warm_start import Pictures

SDS = "sds"
_OPACITY_FLOOR = 0.01  # DreamFusion's opacity term: sqrt(alpha^2 + .01)


@dataclass(frozen=True, eq=False)
class Terms:
    """The terms of one step's loss by name: scalars with their graph, and the weight of each."""

    values: Mapping[str, Tensor]
    weights: Mapping[str, float]

    def total(self) -> Tensor:
        """Scalar sum of weight times term, in the order of the names."""
        parts = [self.weights[name] * value for name, value in self.values.items()]
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total

    def figures(self) -> dict[str, float]:
        """The terms without their weights, but for score distillation's, whose value means nothing."""
        names = [name for name in self.values if name != SDS]
        return dict(zip(names, torch.stack([self.values[name].detach() for name in names]).tolist(), strict=True))


def coarse_loss(render: Render, distilled: Distilled, settings: CoarseSettings, progress: float) -> Terms:
    """Score distillation and the regularisers of DreamFusion (arXiv:2209.14988, appendix A.2) on a volume render.

    opacity      mean of sqrt(alpha^2 + 0.01): against fog that fills the box
    orientation  mean penalty of normals that face away from the camera
    entropy      mean binary entropy of alpha, its weight growing from 0: towards opaque or empty
    """
    values, weights = {SDS: distilled.loss, **distilled.training}, {SDS: 1.0, **dict.fromkeys(distilled.training, 1.0)}
    return _with_regularisers(values, weights, render, settings, progress)


def picture_loss(render: Render, pictures: Pictures, settings: CoarseSettings, progress: float) -> Terms:
    """How far a volume render [B, H, W], before the pictures' backgrounds, is from `pictures`, and the regularisers of `coarse_loss`.

    image    mean squared difference of the colours
    outline  mean squared opacity where the pictures show their background
    """
    values = {
        "image": (render.rgb - pictures.rgb).square().mean(),
        "outline": (render.alpha.square() * pictures.empty).mean(),
    }
    weights = {"image": settings.warm_start.image, "outline": settings.warm_start.outline}
    return _with_regularisers(values, weights, render, settings, progress)


def _with_regularisers(
    values: Mapping[str, Tensor], weights: Mapping[str, float], render: Render, settings: CoarseSettings, progress: float
) -> Terms:
    alpha = render.alpha.clamp(1e-4, 1 - 1e-4)
    terms = {
        **values,
        "opacity": (render.alpha.square() + _OPACITY_FLOOR).sqrt().mean(),
        "orientation": render.orientation.mean(),
        "entropy": -(alpha * alpha.log() + (1 - alpha) * (1 - alpha).log()).mean(),
    }
    each = {**weights, "opacity": settings.opacity, "orientation": settings.orientation, "entropy": settings.entropy * progress}
    return Terms(terms, each)


def fine_loss(surface: TetSurface, mesh: Mesh, distilled: Distilled, settings: FineSettings, progress: float) -> Terms:
    """Score distillation and what keeps a surface without floaters and creases; `mesh` is `surface.mesh()`.

    sdf_sign            cross-entropy of edges that change sign, its weight going over the span: against floaters and cavities
    normal_consistency  mean of 1 - cos between neighbouring faces
    laplacian           mean squared offset of a vertex from its neighbours' mean, in edges
    """
    start, end = settings.sdf_sign
    values = {
        SDS: distilled.loss,
        **distilled.training,
        "sdf_sign": surface.sign_loss(),
        "normal_consistency": normal_consistency_loss(mesh.vertices, mesh.faces),
        "laplacian": laplacian_loss(mesh.vertices, mesh.faces),
    }
    weights = {
        SDS: 1.0,
        **dict.fromkeys(distilled.training, 1.0),
        "sdf_sign": start + (end - start) * progress,
        "normal_consistency": settings.normal_consistency,
        "laplacian": settings.laplacian,
    }
    return Terms(values, weights)
