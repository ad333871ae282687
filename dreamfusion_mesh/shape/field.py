"""The field: points to density, albedo and normals, by a hash grid (arXiv:2201.05989) and a small network."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from dreamfusion_mesh.config import FieldSettings
from dreamfusion_mesh.kernels.hashgrid import encode, hash_grid, input_gradient
from dreamfusion_mesh.records import FieldSample

_CHUNK = 2**18  # points at once where no gradient is asked for
_STEEPEST = 12.0  # exp(12) is opaque in 1e-5 units; beyond it the density grows no more, but its gradient stays
_FLAT = 1e-12  # squared slope below which a point has no direction


class HashField(nn.Module):
    """Density exp(network + density_bias + blob_density exp(-r^2 / (2 blob_radius^2))) and albedo sigmoid(network) in [-h, h]^3, 0 outside.

    The blob is DreamFusion's (arXiv:2209.14988, appendix A.2), added before the exponential: then the normal, -grad(density) normalised,
    is that of the exponent, sound however thin the density. One hidden layer, its first half for density, its second for albedo, SiLU
    because normals differentiate it. Parameters are plain float32 tensors, drawn from `draws` on the CPU.
    """

    def __init__(self, settings: FieldSettings, draws: torch.Generator, half_extent: float = 1.0) -> None:
        super().__init__()
        if half_extent <= 0:
            raise ValueError(f"half_extent {half_extent}: expected above 0")
        self.settings = settings
        self.half_extent = half_extent
        self.grid = hash_grid(settings.levels, settings.features, settings.table_size_log2, settings.coarsest, settings.finest)
        width, hidden = self.grid.width, settings.hidden
        self.table = _drawn(draws, (self.grid.rows, settings.features), 1e-4)  # arXiv:2201.05989, section 4: near zero
        self.hidden_weight = _drawn(draws, (2 * hidden, width), (6 / width) ** 0.5)
        self.hidden_bias = nn.Parameter(torch.zeros(2 * hidden))
        self.density_weight = _drawn(draws, (1, hidden), (3 / hidden) ** 0.5)
        self.albedo_weight = _drawn(draws, (3, hidden), (3 / hidden) ** 0.5)
        self.albedo_bias = nn.Parameter(torch.zeros(3))

    def forward(self, points: Tensor, normals: bool) -> FieldSample:
        """Density, albedo and, if asked for, normals at points [N, 3] in scene units.

        All are differentiable in the parameters, normals too, and in the points save through the normals. Normals are zero where the
        exponent is flat and outside the box; the setting `normals` says how they are found. Raises ValueError where points are not
        finite, float32 or [N, 3].
        """
        if not torch.is_grad_enabled() and len(points) > _CHUNK:
            parts = [self.forward(part, normals) for part in points.split(_CHUNK)]
            facing = [part.normals for part in parts if part.normals is not None]
            merged = torch.cat([part.density for part in parts]), torch.cat([part.albedo for part in parts])
            return FieldSample(*merged, torch.cat(facing) if normals else None)
        self._check(points)
        unit = self._unit(points)
        features = encode(unit, self.table, self.grid)
        thick, coloured = linear(features, self.hidden_weight, self.hidden_bias).split(self.settings.hidden, dim=1)
        hidden, slope = _SiluAndSlope.apply(thick) if normals else (nn.functional.silu(thick), None)
        exponent = self._exponent(hidden, points)
        facing_out = None if slope is None else self._normals(unit, points, slope)
        return FieldSample(self._density(exponent, points), self._albedo(nn.functional.silu(coloured)), facing_out)

    def density(self, points: Tensor) -> Tensor:
        """[N] per scene unit, at points [N, 3]; otherwise as `forward`."""
        return self._apart(points, slice(0, self.settings.hidden), lambda hidden, at: self._density(self._exponent(hidden, at), at))

    def albedo(self, points: Tensor) -> Tensor:
        """[N, 3] display-referred, at points [N, 3]; otherwise as `forward`."""
        return self._apart(points, slice(self.settings.hidden, None), lambda hidden, at: self._albedo(hidden))

    def _apart(self, points: Tensor, rows: slice, head: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """One head on its own half of the hidden layer."""
        if not torch.is_grad_enabled() and len(points) > _CHUNK:
            return torch.cat([self._apart(part, rows, head) for part in points.split(_CHUNK)])
        self._check(points)
        features = encode(self._unit(points), self.table, self.grid)
        return head(nn.functional.silu(linear(features, self.hidden_weight[rows], self.hidden_bias[rows])), points)

    def _exponent(self, hidden: Tensor, points: Tensor) -> Tensor:
        return linear(hidden, self.density_weight)[:, 0] + self.settings.density_bias + self._blob(points)

    def _density(self, exponent: Tensor, points: Tensor) -> Tensor:
        inside = (points.detach().abs() <= self.half_extent).all(dim=1)
        return torch.where(inside, _BoundedExp.apply(exponent), 0.0)

    def _albedo(self, hidden: Tensor) -> Tensor:
        return torch.sigmoid(linear(hidden, self.albedo_weight, self.albedo_bias))

    def _blob(self, points: Tensor) -> Tensor:
        return self.settings.blob_density * torch.exp(-points.square().sum(dim=1) / (2 * self.settings.blob_radius**2))

    def _normals(self, unit: Tensor, points: Tensor, slope: Tensor) -> Tensor:
        """The direction in which the exponent falls, and so the density; the points stay as they are."""
        unit, points = unit.detach(), points.detach()
        outward = self._fall(unit, points, slope) if self.settings.normals == "analytic" else self._felt_fall(points)
        inside = (points.abs() <= self.half_extent).all(dim=1, keepdim=True)
        square = outward.square().sum(dim=1, keepdim=True)
        sloped = inside & (square > _FLAT)
        # Both branches of the second `where` must be finite, or the gradient of the one not taken is NaN.
        return torch.where(sloped, outward * torch.where(sloped, square, 1.0).rsqrt(), 0.0)

    def _fall(self, unit: Tensor, points: Tensor, slope: Tensor) -> Tensor:
        """-grad of the exponent by hand, so that it costs no second graph and works without gradients."""
        in_features = slope @ (self.density_weight[0, :, None] * self.hidden_weight[: self.settings.hidden])
        in_unit = input_gradient(unit, self.table, in_features, self.grid)
        return self._blob(points)[:, None] * points / self.settings.blob_radius**2 - in_unit / (2 * self.half_extent)

    def _felt_fall(self, points: Tensor) -> Tensor:
        """-grad of the exponent by central differences over `normal_step`."""
        step = self.settings.normal_step
        offsets = step * torch.cat((-torch.eye(3), torch.eye(3))).to(points)
        around = (points[:, None] + offsets).reshape(-1, 3)
        exponent = self._apart(around, slice(0, self.settings.hidden), self._exponent).view(-1, 2, 3)
        return (exponent[:, 0] - exponent[:, 1]) / (2 * step)

    def _unit(self, points: Tensor) -> Tensor:
        """Scene units to the hash grid's [0, 1]."""
        return points / (2 * self.half_extent) + 0.5

    def _check(self, points: Tensor) -> None:
        if points.dim() != 2 or points.shape[1] != 3 or points.dtype != torch.float32:
            raise ValueError(f"points: {points.dtype} {list(points.shape)}, expected torch.float32 [N, 3]")
        if not bool(torch.isfinite(points.detach()).all()):
            bad = int((~torch.isfinite(points.detach())).any(dim=1).sum())
            raise ValueError(f"points: {bad} of {len(points)} are not finite")


class _SiluAndSlope(torch.autograd.Function):
    """SiLU, x s with s = sigmoid(x), and its derivative s + x s (1 - s); by hand, for autograd would keep five more such tensors."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> tuple[Tensor, Tensor]:
        s = torch.sigmoid(x)
        value = x * s
        slope = (1 - s).mul_(value).add_(s)
        ctx.save_for_backward(x, s, slope)
        return value, slope

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: torch.autograd.function.FunctionCtx, in_value: Tensor, in_slope: Tensor) -> Tensor:
        x, s, slope = ctx.saved_tensors  # type: ignore[attr-defined]
        curve = (1 - 2 * s).mul_(x).add_(2).mul_(s).mul_(1 - s)
        return curve.mul_(in_slope).addcmul_(in_value, slope)


class _BoundedExp(torch.autograd.Function):
    """exp(min(x, 12)) whose gradient is its value everywhere, so that what overshot can come back (arXiv:2201.05989, appendix)."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
        value = torch.exp(x.clamp(max=_STEEPEST))
        ctx.save_for_backward(value)
        return value

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, upstream: Tensor) -> Tensor:
        (value,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return upstream * value


def _drawn(draws: torch.Generator, shape: tuple[int, int], bound: float) -> nn.Parameter:
    return nn.Parameter((2 * torch.rand(shape, generator=draws) - 1) * bound)
