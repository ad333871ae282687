"""Gradients through float16 networks, in which those of a mean over many values vanish: the least number that they hold is 6e-8."""

from __future__ import annotations

import torch
from torch import Tensor


class GradientScale:
    """Makes gradients about 1 on their way through a network, and as small as they were behind it.

    The scale is found anew for each backward pass, a power of two, which takes no digits. A gradient that is not finite stays so.
    Source: mixed precision training, Micikevicius et al., arXiv:1710.03740, section 3.2.
    """

    def __init__(self) -> None:
        self._scale = torch.ones(())

    def enlarge(self, made: Tensor) -> None:
        """Where gradients come in: `made` is float32, of the network's output."""
        made.register_hook(self._enlarged)

    def restore(self, given: Tensor) -> None:
        """Where gradients go out: `given` is float32, of the network's input or one of its parameters."""
        given.register_hook(lambda gradient: gradient / self._scale)

    def _enlarged(self, gradient: Tensor) -> Tensor:
        largest = gradient.abs().max().clamp_min(torch.finfo(gradient.dtype).tiny)
        self._scale = torch.exp2(-largest.log2().floor())
        return gradient * self._scale
