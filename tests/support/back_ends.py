"""What the tests ask of every back end: when its absence is a skip, and how closely it repeats itself."""

from collections.abc import Sequence

import pytest
from torch import Tensor

from dreamfusion_mesh.contracts import Limits, Rasterizer
from dreamfusion_mesh.render.raster.backend import Unusable
from dreamfusion_mesh.render.raster.resolve import resolve_rasterizer


def resolve_or_skip(name: str, device: str) -> Rasterizer:
    """The back end; skips where the machine lacks what it needs, and fails where it is there and cannot be used."""
    try:
        return resolve_rasterizer(name, device)
    except Unusable as error:
        if error.is_broken:
            raise
        pytest.skip(f"{name}: {', '.join(cause.absent.value for cause in error.causes if cause.absent)}")


def assert_repeats(first: Sequence[Tensor], second: Sequence[Tensor], limits: Limits) -> None:
    """Gradients of two runs over the same input agree as closely as the back end promises."""
    for one, other in zip(first, second, strict=True):
        spread, largest = (one - other).abs().max().item(), one.abs().max().item()
        assert spread <= limits.gradient_spread * largest, f"gradients differ by {spread:.1e}, the largest is {largest:.1e}"
