"""What every record asserts of its tensors at construction."""

from __future__ import annotations

import torch
from torch import Tensor


def check_tensor(name: str, value: Tensor, shape: tuple[int | None, ...], integral: bool = False) -> None:
    """Raises ValueError naming `name` unless `value` has `shape` (None: any length) and holds floats, or int64 if `integral`."""
    fits = value.dim() == len(shape) and all(want is None or have == want for have, want in zip(value.shape, shape, strict=True))
    wanted = [("?" if n is None else n) for n in shape]
    if not fits:
        raise ValueError(f"{name}: shape {list(value.shape)}, expected {wanted}")
    if integral and value.dtype != torch.int64:
        raise ValueError(f"{name}: dtype {value.dtype}, expected torch.int64")
    if not integral and not value.is_floating_point():
        raise ValueError(f"{name}: dtype {value.dtype}, expected a floating point type")
