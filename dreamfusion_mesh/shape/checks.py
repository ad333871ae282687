"""Checks of tensors that callers give."""

from __future__ import annotations

import torch
from torch import Tensor


def check_values(name: str, values: Tensor, shape: tuple[int, ...], like: Tensor) -> None:
    """Raise ValueError unless `values` is finite floating point of that shape, with the dtype and on the device of `like`."""
    if tuple(values.shape) != shape or values.dtype != like.dtype or values.device != like.device or not values.is_floating_point():
        raise ValueError(
            f"{name}: {values.dtype} {list(values.shape)} on {values.device}, expected {like.dtype} {list(shape)} on {like.device}"
        )
    check_finite(name, values)


def check_finite(name: str, values: Tensor) -> None:
    """Raise ValueError, naming the first bad row, where `values` [N, ...] holds NaN or infinity."""
    finite = torch.isfinite(values.detach())
    if not bool(finite.all()):
        raise ValueError(f"{name}: shape {list(values.shape)} holds NaN or infinity, first in row {int((~finite).nonzero()[0, 0])}")
