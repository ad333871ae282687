"""What score distillation knows of a diffusion model: its noise schedule, and what it predicts at one noisy image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from dreamfusion_mesh.records.checks import check_tensor

Prediction = Literal["epsilon", "v_prediction", "sample", "flow"]


@dataclass(frozen=True, eq=False)
class Schedule:
    """x_t = signal[t] x_0 + noise[t] eps, for times t = 0 .. T - 1.

    signal  [T] float   sqrt(alpha_bar) where the schedule preserves variance, 1 - noise of a flow model
    noise   [T] float   sqrt(1 - alpha_bar) there, a flow model's own time in (0, 1]
    """

    signal: Tensor
    noise: Tensor

    def __post_init__(self) -> None:
        check_tensor("signal", self.signal, (None,))
        check_tensor("noise", self.noise, (len(self.signal),))

    def __len__(self) -> int:
        return len(self.signal)

    def to(self, device: torch.device | str) -> Schedule:
        """The same schedule on `device`."""
        return Schedule(self.signal.to(device), self.noise.to(device))

    def at(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """signal and noise at t [B] int64, each [B, 1, ...] in the dtype of `like` [B, ...]."""
        column = (-1, *(1,) * (like.dim() - 1))
        return self.signal[t].to(like.dtype).reshape(column), self.noise[t].to(like.dtype).reshape(column)


@dataclass(frozen=True, eq=False)
class PromptEncoding:
    """A prompt's texts as a model's text encoder gives them, of which one encoder serves any number of runs.

    texts     what was encoded, in the order of guidance/encodings.py's `prompt_texts`
    states    [len(texts), L, D] float32
    warnings  lines for the user, such as words of the prompt that the model does not know
    pooled    [len(texts), P] float32   a vector for each text as a whole, of models that take one beside the states
    mask      [len(texts), L] float32   1 where a state is a token's, 0 where it is padding, of models that pass over padding
    """

    texts: tuple[str, ...]
    states: Tensor
    warnings: tuple[str, ...] = ()
    pooled: Tensor | None = None
    mask: Tensor | None = None

    def __post_init__(self) -> None:
        check_tensor("states", self.states, (len(self.texts), None, None))
        if self.pooled is not None:
            check_tensor("pooled", self.pooled, (len(self.texts), None))
        if self.mask is not None:
            check_tensor("mask", self.mask, tuple(self.states.shape[:2]))

    @property
    def nbytes(self) -> int:
        """Bytes of all its numbers."""
        return sum(value.nbytes for value in (self.states, self.pooled, self.mask) if value is not None)

    def to(self, device: torch.device | str) -> PromptEncoding:
        """The same encoding on `device`."""
        pooled, mask = (None if value is None else value.to(device) for value in (self.pooled, self.mask))
        return PromptEncoding(self.texts, self.states.to(device), self.warnings, pooled, mask)


@dataclass(frozen=True, eq=False)
class Answers:
    """A diffusion model's own predictions at one x_t [B, ...], before any guidance.

    prediction  what they are predictions of: the noise eps, the clean image x_0 ("sample"), v = signal eps - noise x_0, or the velocity
                eps - x_0 of a flow model ("flow"), whose signal and noise add up to 1
    text        [B, ...] with the prompt
    uncond      [B, ...] with the negative prompt, or without words; None where the text's prediction is to be taken as it is
    others      each [B, ...] with what another view would be asked, for Perp-Neg; empty without it
    negative    [B, ...] with the negative prompt, where `uncond` is to be without words beside it; None otherwise
    """

    prediction: Prediction
    text: Tensor
    uncond: Tensor | None = None
    others: tuple[Tensor, ...] = ()
    negative: Tensor | None = None
