"""Views of one object seen together: the camera conditions of a U-Net, and attention that spans all views as one sequence.

Source: MVDream, Shi et al., arXiv:2308.16512, sections 3.1 and 3.2: the camera's embedding is added to that of the time, and
self-attention, its weights as they are, spans all views.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.weights.folder import Source

CAMERA_NUMBERS = 5
_GOLDEN = (5**0.5 - 1) / 2


def no_multiview(source: Source, remedy: str) -> BadInput:
    """What to raise where views are to be seen together, and the model cannot."""
    return BadInput(f"{source}: is not a multi-view model; set {remedy}, or name one that is")


def camera_numbers(azimuth: Tensor, elevation: Tensor) -> Tensor:
    """The camera conditions [B, 5] of angles [B] in radians: the direction from the object to the camera, and the azimuth's sine and
    cosine, which the direction loses towards the poles. All zero means that no camera is given."""
    sin_a, cos_a, sin_e, cos_e = azimuth.sin(), azimuth.cos(), elevation.sin(), elevation.cos()
    return torch.stack((cos_e * sin_a, sin_e, cos_e * cos_a, sin_a, cos_a), dim=1)


def contrast_view(views: Tensor, t: Tensor, count: int) -> Tensor:
    """For each of views [B] among `count` another one [B], to keep away from.

    It is chosen by the time t [B] int64, so that uniformly drawn times give every other view equally often.
    """
    return (views + 1 + t % (count - 1)) % count


def contrast_view_of_blend(shares: Tensor, t: Tensor) -> Tensor:
    """For each blend of views with these shares [B, V], which add up to 1, a view [B] int64 to keep away from.

    It is chosen by the time t [B] int64, so that over all times each view comes as often as 1 minus its share says: a view that is alone
    is never kept away from, and every other one then equally often.
    """
    place = torch.remainder(t.double() * _GOLDEN, 1.0)  # evenly spread over any run of times
    ends = ((1 - shares.double()) / (shares.shape[1] - 1)).cumsum(1)
    return (place[:, None] >= ends).sum(1).clamp_max(shares.shape[1] - 1)


def contrast_view_in_group(t: Tensor, views: int) -> Tensor:
    """For each of B images its contrast view's row, in the same group of `views` images in a row; t [B] is as in `contrast_view`."""
    rows = torch.arange(len(t), device=t.device)
    return rows - rows % views + contrast_view(rows % views, t, views)


def set_multiview_attention(unet: Any) -> None:
    """Let the attention of a diffusers U-Net take `views` (see `predict_views`)."""
    from diffusers.models.attention_processor import AttnProcessor2_0

    unet.set_attn_processor(_MultiviewAttention(AttnProcessor2_0()))


def predict_views(unet: Any, noisy: Tensor, t: Tensor, text: Tensor, cameras: Tensor | None = None, views: int = 1) -> Tensor:
    """The prediction [B, C, h, h] of a U-Net at noisy [B, C, h, h], t [B], text [B, L, D].

    cameras [B, 5], of a U-Net with multi-view attention, is as `camera_numbers` makes it; None for one without. Each `views` images in a
    row show one object and are seen together; 1: each alone.
    """
    given = {} if cameras is None else {"class_labels": cameras, "cross_attention_kwargs": {"views": views}}
    predicted: Tensor = unet(noisy, t, encoder_hidden_states=text, **given).sample
    return predicted


class _MultiviewAttention:
    """An attention processor of diffusers: self-attention spans each `views` images in a row, cross-attention to the text does not."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __call__(
        self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, attention_mask: Any = None, views: int = 1
    ) -> Tensor:
        if encoder_hidden_states is not None or views == 1:
            alone: Tensor = self.inner(attn, hidden_states, encoder_hidden_states, attention_mask)
            return alone
        joined = hidden_states.unflatten(0, (-1, views)).flatten(1, 2)
        attended: Tensor = self.inner(attn, joined, None, attention_mask)
        return attended.unflatten(1, (views, -1)).flatten(0, 1)
