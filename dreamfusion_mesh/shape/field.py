"""The field: points to density, normals and named heads (albedo), by a hash grid (arXiv:2201.05989) and a small network."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from dreamfusion_mesh.config import FieldSettings
from dreamfusion_mesh.kernels.hashgrid import encode, hash_grid, input_gradient
from dreamfusion_mesh.records import FieldSample

_CHUNK = 2**18  # points at once where no gradient is asked for
_MOST_LOOKUPS = 2**31 - 1  # of points times levels at once, which the hash grid's kernels count in 32 bits
_MAX_LOG_DENSITY = 12.0  # exp(12) is opaque within 1e-5 units; beyond it the density grows no more, but its gradient stays
_MIN_SQUARED_SLOPE = 1e-12  # below it a point has no direction
_DENSITY = "density"
_HEADS = {"albedo": 3}  # outputs beside the density, by name: how many channels each has


class HashField(nn.Module):
    """Density exp(network + density_bias + blob_density exp(-r^2 / (2 blob_radius^2))), 0 outside [-h, h]^3, and sigmoid(network) heads.

    The trunk is a hash grid and one hidden layer, in which the density and each named head have rows of their own; SiLU, because normals
    differentiate it. Albedo is a head of three channels; another one needs its name and channels alone. The blob is DreamFusion's
    (arXiv:2209.14988, appendix A.2), added before the exponential: then the normal, -grad(density) normalised, is that of the exponent,
    sound however thin the density. Parameters are float32, drawn from `draws` on the CPU.

    heads  channels by name; with "albedo" among them
    """

    def __init__(
        self, settings: FieldSettings, draws: torch.Generator, half_extent: float = 1.0, heads: Mapping[str, int] | None = None
    ) -> None:
        super().__init__()
        if half_extent <= 0:
            raise ValueError(f"half_extent {half_extent}: expected above 0")
        named = dict(_HEADS if heads is None else heads)
        if "albedo" not in named or _DENSITY in named or min(named.values()) < 1:
            raise ValueError(f"heads {named}: expected 'albedo' among them, 'density' not, and 1 channel or more in each")
        channels = {_DENSITY: 1, **named}
        self.settings = settings
        self.half_extent = half_extent
        self.grid = hash_grid(settings.levels, settings.features, settings.table_size_log2, settings.coarsest, settings.finest)
        width, hidden = self.grid.width, settings.hidden
        self.table = _drawn(draws, (self.grid.rows, settings.features), 1e-4)  # arXiv:2201.05989, section 4: near zero
        self.hidden_weight = _drawn(draws, (len(channels) * hidden, width), (6 / width) ** 0.5)
        self.hidden_bias = nn.Parameter(torch.zeros(len(channels) * hidden))
        self.heads = nn.ModuleDict({name: _Head(draws, hidden, count, bias=name != _DENSITY) for name, count in channels.items()})
        self._rows = {name: slice(i * hidden, (i + 1) * hidden) for i, name in enumerate(channels)}

    def forward(self, points: Tensor, normals: bool) -> FieldSample:
        """Density, albedo and, if asked for, normals at points [N, 3] in scene units, from one look-up of the trunk.

        All are differentiable in the parameters, normals too, and in the points save through the normals. Normals are zero where the
        exponent is flat and outside the box; the setting `normals` says how they are found. Raises ValueError where points are not
        finite, float32 or [N, 3].
        """
        if len(points) > self._most_at_once():
            parts = [self.forward(part, normals) for part in points.split(self._most_at_once())]
            facing = [part.normals for part in parts if part.normals is not None]
            merged = torch.cat([part.density for part in parts]), torch.cat([part.albedo for part in parts])
            return FieldSample(*merged, torch.cat(facing) if normals else None)
        self._check(points)
        unit = self._unit(points)
        features = encode(unit, self.table, self.grid)
        parts_of_hidden = linear(features, self.hidden_weight, self.hidden_bias).split(self.settings.hidden, dim=1)
        hidden = dict(zip(self.heads, parts_of_hidden, strict=True))
        active, slope = _SiluAndSlope.apply(hidden[_DENSITY]) if normals else (nn.functional.silu(hidden[_DENSITY]), None)
        exponent = self._exponent(active, points)
        outward = None if slope is None else self._normals(unit, points, slope)
        albedo = torch.sigmoid(self.heads["albedo"](nn.functional.silu(hidden["albedo"])))
        return FieldSample(self._density(exponent, points), albedo, outward)

    def density(self, points: Tensor) -> Tensor:
        """[N] per scene unit, at points [N, 3]; otherwise as `forward`."""
        return self._evaluate(points, _DENSITY, lambda hidden, at: self._density(self._exponent(hidden, at), at))

    def head(self, name: str, points: Tensor) -> Tensor:
        """[N, C] in [0, 1], the head `name` at points [N, 3]; otherwise as `forward`. Raises ValueError for a name that there is not."""
        if name not in self.heads or name == _DENSITY:
            raise ValueError(f"head {name!r}: expected one of {', '.join(other for other in self.heads if other != _DENSITY)}")
        return self._evaluate(points, name, lambda hidden, at: torch.sigmoid(self.heads[name](hidden)))

    def albedo(self, points: Tensor) -> Tensor:
        """[N, 3] display-referred, at points [N, 3]: the head of that name."""
        return self.head("albedo", points)

    def _evaluate(self, points: Tensor, name: str, output: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """`output` of one head's rows of the hidden layer [N, hidden] and the points."""
        if len(points) > self._most_at_once():
            return torch.cat([self._evaluate(part, name, output) for part in points.split(self._most_at_once())])
        self._check(points)
        features, rows = encode(self._unit(points), self.table, self.grid), self._rows[name]
        return output(nn.functional.silu(linear(features, self.hidden_weight[rows], self.hidden_bias[rows])), points)

    def _most_at_once(self) -> int:
        return _MOST_LOOKUPS // self.settings.levels if torch.is_grad_enabled() else _CHUNK

    def _exponent(self, hidden: Tensor, points: Tensor) -> Tensor:
        return self.heads[_DENSITY](hidden)[:, 0] + self.settings.density_bias + self._blob(points)

    def _density(self, exponent: Tensor, points: Tensor) -> Tensor:
        inside = (points.detach().abs() <= self.half_extent).all(dim=1)
        return torch.where(inside, _BoundedExp.apply(exponent), 0.0)

    def _blob(self, points: Tensor) -> Tensor:
        return self.settings.blob_density * torch.exp(-points.square().sum(dim=1) / (2 * self.settings.blob_radius**2))

    def _normals(self, unit: Tensor, points: Tensor, slope: Tensor) -> Tensor:
        """[N, 3] minus the exponent's gradient, normalised; the points get no gradient."""
        unit, points = unit.detach(), points.detach()
        analytic = self.settings.normals == "analytic"
        outward = -(self._analytic_gradient(unit, points, slope) if analytic else self._finite_difference_gradient(points))
        inside = (points.abs() <= self.half_extent).all(dim=1, keepdim=True)
        square = outward.square().sum(dim=1, keepdim=True)
        sloped = inside & (square > _MIN_SQUARED_SLOPE)
        # Both branches of the second `where` must be finite, or the gradient of the one not taken is NaN.
        return torch.where(sloped, outward * torch.where(sloped, square, 1.0).rsqrt(), 0.0)

    def _analytic_gradient(self, unit: Tensor, points: Tensor, slope: Tensor) -> Tensor:
        """[N, 3] of the exponent, by hand, so that it costs no second graph and works without gradients."""
        in_features = slope @ (self.heads.get_parameter("density.weight")[0, :, None] * self.hidden_weight[self._rows[_DENSITY]])
        in_unit = input_gradient(unit, self.table, in_features, self.grid)
        return in_unit / (2 * self.half_extent) - self._blob(points)[:, None] * points / self.settings.blob_radius**2

    def _finite_difference_gradient(self, points: Tensor) -> Tensor:
        """[N, 3] of the exponent, by central differences over `normal_step`."""
        step = self.settings.normal_step
        axes = torch.eye(3, dtype=points.dtype, device=points.device)
        around = (points[:, None] + step * torch.cat((-axes, axes))).reshape(-1, 3)
        exponent = self._evaluate(around, _DENSITY, self._exponent).view(-1, 2, 3)
        return (exponent[:, 1] - exponent[:, 0]) / (2 * step)

    def _unit(self, points: Tensor) -> Tensor:
        """Scene units to the hash grid's [0, 1]."""
        return points / (2 * self.half_extent) + 0.5

    def _check(self, points: Tensor) -> None:
        if points.dim() != 2 or points.shape[1] != 3 or points.dtype != torch.float32:
            raise ValueError(f"points: {points.dtype} {list(points.shape)}, expected torch.float32 [N, 3]")
        if not bool(torch.isfinite(points.detach()).all()):
            bad = int((~torch.isfinite(points.detach())).any(dim=1).sum())
            raise ValueError(f"points: {bad} of {len(points)} are not finite")


class _Head(nn.Module):
    """A linear output of the hidden layer: weight [C, hidden], and bias [C] or none."""

    def __init__(self, draws: torch.Generator, hidden: int, channels: int, bias: bool) -> None:
        super().__init__()
        self.weight = _drawn(draws, (channels, hidden), (3 / hidden) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(channels)) if bias else None

    def forward(self, hidden: Tensor) -> Tensor:
        return linear(hidden, self.weight, self.bias)


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
        value = torch.exp(x.clamp(max=_MAX_LOG_DENSITY))
        ctx.save_for_backward(value)
        return value

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, upstream: Tensor) -> Tensor:
        (value,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return upstream * value


def _drawn(draws: torch.Generator, shape: tuple[int, int], bound: float) -> nn.Parameter:
    return nn.Parameter((2 * torch.rand(shape, generator=draws) - 1) * bound)
