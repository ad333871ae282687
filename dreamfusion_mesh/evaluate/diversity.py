"""How different the assets of one prompt are from seed to seed."""

from __future__ import annotations

from torch import Tensor


def mean_distance(vectors: Tensor) -> float | None:
    """Mean cosine distance of all pairs of unit vectors [N, D], from 0 (all alike) to 2; None for fewer than two."""
    count = len(vectors)
    if count < 2:
        return None
    alike = (vectors @ vectors.T).double()
    return float(1 - (alike.sum() - alike.diagonal().sum()) / (count * (count - 1)))
