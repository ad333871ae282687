"""Small fields, drawn from a seed, and points to evaluate them at."""

from __future__ import annotations

import torch
from torch import Tensor

from dreamfusion_mesh.config import FieldSettings
from dreamfusion_mesh.shape.field import HashField

BLOB = {"density_bias": -1.0, "blob_density": 5.0, "blob_radius": 0.3}
SMALL = FieldSettings(levels=4, table_size_log2=10, coarsest=4, finest=20, hidden=16, **BLOB)


def fresh(seed: int = 0, half_extent: float = 1.0, rough: float = 0.0, **changes: float) -> HashField:
    """A field; `rough` spreads its table, so that the network matters."""
    field = HashField(SMALL.model_copy(update=changes), torch.Generator().manual_seed(seed), half_extent)
    with torch.no_grad():
        field.table.add_(rough * torch.randn(field.table.shape, generator=torch.Generator().manual_seed(seed + 1)))
        field.hidden_bias.copy_(0.3 * torch.randn(field.hidden_bias.shape, generator=torch.Generator().manual_seed(seed + 2)))
    return field


def head_weight(field: HashField, name: str = "density") -> Tensor:
    return field.heads.get_parameter(f"{name}.weight")


def scattered(count: int = 300, reach: float = 1.0) -> Tensor:
    return (2 * torch.rand(count, 3, generator=torch.Generator().manual_seed(7)) - 1) * reach


def by_autograd(field: HashField, points: Tensor) -> Tensor:
    """Normals by differentiating the density in its points, twice differentiable through the encoding's own double backward."""
    points = points.clone().requires_grad_()
    (slope,) = torch.autograd.grad(field.density(points).log().sum(), points, create_graph=True)
    return -slope / slope.norm(dim=1, keepdim=True)
