"""Views of one object seen together: what a U-Net is told of their cameras, and attention that reads all of them as one sequence.

Source: MVDream, Shi et al., arXiv:2308.16512, sections 3.1 and 3.2: the camera's embedding is added to that of the time, and
self-attention, its weights as they are, spans all views.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

CAMERA_NUMBERS = 5


def camera_numbers(azimuth: Tensor, elevation: Tensor) -> Tensor:
    """[B, 5] of angles [B] in radians: the direction from the object to the camera, and the azimuth's sine and cosine, which the
    direction loses towards the poles. All zero means that the camera is not told."""
    sin_a, cos_a, sin_e, cos_e = azimuth.sin(), azimuth.cos(), elevation.sin(), elevation.cos()
    return torch.stack((cos_e * sin_a, sin_e, cos_e * cos_a, sin_a, cos_a), dim=1)


def another(places: Tensor, t: Tensor, count: int) -> Tensor:
    """For places [B] among `count`, another each [B]; which of them falls with t [B] int64, so that over the times all are met alike."""
    return (places + 1 + t % (count - 1)) % count


def another_together(t: Tensor, views: int) -> Tensor:
    """The row of another image of the same group for each of B, of which each `views` in a row are seen together; t is as in `another`."""
    rows = torch.arange(len(t), device=t.device)
    return rows - rows % views + another(rows % views, t, views)


def span_views(unet: Any) -> None:
    """Let the attention of a diffusers U-Net take `views` (see `ask`)."""
    from diffusers.models.attention_processor import AttnProcessor2_0

    unet.set_attn_processor(_SpanningAttention(AttnProcessor2_0()))


def ask(unet: Any, noisy: Tensor, t: Tensor, words: Tensor, cameras: Tensor, views: int) -> Tensor:
    """The prediction [B, C, h, h] of a U-Net that `span_views` has prepared, at noisy [B, C, h, h], t [B], words [B, L, D].

    cameras [B, 5] is as `camera_numbers` makes it. Each `views` images in a row show one object and are seen together; 1: each alone.
    """
    answer: Tensor = unet(noisy, t, encoder_hidden_states=words, class_labels=cameras, cross_attention_kwargs={"views": views}).sample
    return answer


class _SpanningAttention:
    """An attention processor of diffusers: self-attention spans each `views` images in a row, attention to words is left as it is."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __call__(
        self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, attention_mask: Any = None, views: int = 1
    ) -> Tensor:
        if encoder_hidden_states is not None or views == 1:
            alone: Tensor = self.inner(attn, hidden_states, encoder_hidden_states, attention_mask)
            return alone
        joined = hidden_states.unflatten(0, (-1, views)).flatten(1, 2)
        seen: Tensor = self.inner(attn, joined, None, attention_mask)
        return seen.unflatten(1, (views, -1)).flatten(0, 1)
