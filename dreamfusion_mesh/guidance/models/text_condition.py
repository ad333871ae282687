"""What a network is given to read: states of tokens and, as the family asks, a vector for the whole text and a mask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dreamfusion_mesh.records.diffusion import PromptEncoding


@dataclass(frozen=True, eq=False)
class TextCondition:
    """Texts as a text encoder gives them, [N] of them, or [N, V] where each of N views has V to choose from.

    states  [..., L, D]
    pooled  [..., P]   of families that take a vector for the whole text
    mask    [..., L]   of families that pass over padding: 1 for a token, 0 for padding
    """

    states: Tensor
    pooled: Tensor | None = None
    mask: Tensor | None = None

    @property
    def whole(self) -> Tensor:
        """`pooled`, of a family that takes it."""
        return _given("pooled", self.pooled)

    @property
    def tokens(self) -> Tensor:
        """`mask`, of a family that takes it."""
        return _given("mask", self.mask)

    def __len__(self) -> int:
        return len(self.states)

    def __getitem__(self, rows: Tensor | slice | list[int]) -> TextCondition:
        """The texts of these rows."""
        return self._map(lambda values: values[rows])

    def at(self, rows: Tensor) -> TextCondition:
        """Of [N, V] texts the one of each view's row [N]."""
        views = torch.arange(len(rows), device=rows.device)
        return self._map(lambda values: values[views, rows])

    def expand(self, count: int) -> TextCondition:
        """`count` texts from as many, or from one."""
        return self._map(lambda values: values.expand(count, *values.shape[1:]))

    def blended(self, shares: Tensor) -> TextCondition:
        """[N] of [N, V] texts with shares [N, V]; a state is passed over where it is padding in all texts that have a share."""
        states = (shares[..., None, None] * self.states).sum(1)
        pooled = None if self.pooled is None else (shares[..., None] * self.pooled).sum(1)
        mask = None if self.mask is None else ((shares[..., None] * self.mask).sum(1) > 0).to(self.mask)
        return TextCondition(states, pooled, mask)

    def _map(self, change: Callable[[Tensor], Tensor]) -> TextCondition:
        pooled, mask = (None if values is None else change(values) for values in (self.pooled, self.mask))
        return TextCondition(change(self.states), pooled, mask)


def condition_of(encoding: PromptEncoding) -> TextCondition:
    """All texts of an encoding."""
    return TextCondition(encoding.states, encoding.pooled, encoding.mask)


def joined(parts: Sequence[TextCondition]) -> TextCondition:
    """The texts of all parts, which are of one model, in a row."""
    first = parts[0]
    pooled = None if first.pooled is None else torch.cat([part.pooled for part in parts if part.pooled is not None])
    mask = None if first.mask is None else torch.cat([part.mask for part in parts if part.mask is not None])
    return TextCondition(torch.cat([part.states for part in parts]), pooled, mask)


def _given(name: str, values: Tensor | None) -> Tensor:
    if values is None:
        raise ValueError(f"{name}: None, and the network takes it")
    return values
