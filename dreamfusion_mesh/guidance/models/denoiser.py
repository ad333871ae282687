"""What a family of networks has to say for itself, so that all else of guidance knows none of them by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.models.text_condition import TextCondition
from dreamfusion_mesh.guidance.weights.folder import Source
from dreamfusion_mesh.records import Cameras

_LARGEST_SIDE = 4096  # of the pictures or latents that a model sees


@dataclass(frozen=True, eq=False)
class Question:
    """What is asked of a network, in one call for all branches and views.

    noisy    [B, C, h, h]   latents
    t        [B] int64      rows of the schedule
    level    [B] float32    the noise of these
    text     of B texts
    cameras  [B, N]         as the network's `camera_numbers` gives them; None where each image is seen alone
    size     pixels a side of the images that the latents stand for
    """

    noisy: Tensor
    t: Tensor
    level: Tensor
    text: TextCondition
    cameras: Tensor | None
    size: int

    def halves(self, together: int) -> tuple[Question, ...]:
        """The first half of the images and the rest, `together` in a row in the same one; alone where there are no more than these."""
        groups = len(self.noisy) // together
        ends = (0, (groups + 1) // 2 * together, len(self.noisy))
        return tuple(self._part(slice(*span)) for span in pairwise(ends) if span[0] < span[1])

    def _part(self, rows: slice) -> Question:
        cameras = None if self.cameras is None else self.cameras[rows]
        return Question(self.noisy[rows], self.t[rows], self.level[rows], self.text[rows], cameras, self.size)


class Denoiser(ABC):
    """A frozen network of one family.

    takes_cameras  whether it is a multi-view model, which can be given cameras and can see four views together
    lora_layers    names of the linear layers of its attention, where a LoRA is put
    """

    takes_cameras: bool = False
    lora_layers: ClassVar[tuple[str, ...]] = ("to_q", "to_k", "to_v", "to_out.0")

    def __init__(self, network: Any) -> None:
        self.network = network

    @property
    def dtype(self) -> torch.dtype:
        """Of its weights."""
        return next(iter(self.network.parameters())).dtype

    @abstractmethod
    def given(self, question: Question) -> list[Tensor]:
        """What `call` takes, in the network's precision."""

    @abstractmethod
    def call(self, network: nn.Module, *given: Tensor, views: int = 1) -> Tensor:
        """[B, C, h, h] or more channels, of which the first C are the prediction.

        network  this one's, or a copy of it with a LoRA
        views    images in a row that a multi-view model sees together
        """

    def camera_numbers(self, cameras: Cameras) -> Tensor:
        """[B, N], what a multi-view model is told of its cameras. Raises ValueError where it is none."""
        raise ValueError(f"{type(self).__name__}: takes no cameras")

    @abstractmethod
    def check_loss(self, source: Source, loss: str) -> None:
        """Raises BadInput where the loss asks for what the network cannot give."""

    @property
    def step(self) -> int:
        """Latent places a side that it sees as one: the latents' side is a multiple."""
        return 1

    @property
    def most_places(self) -> int | None:
        """Latent places a side that it can see; None: any number."""
        return None


def refuse_without_words(source: Source, loss: str, why: str) -> None:
    """Raises BadInput where the loss compares the words with none, for a network that is distilled from guidance."""
    if loss in ("csd", "ism"):
        raise BadInput(
            f"guidance.loss {loss}: compares the words with none, and {source} is distilled from guidance ({why}), so it has no answer "
            "without words; use guidance.loss=sds, or another model"
        )


def checked_side(source: Source, what: str, side: Any) -> int:
    """`side`, of the square images or latents that a network was made for. Raises BadInput beginning with `what` where it is none."""
    return checked_count(source, what, side, _LARGEST_SIDE)


def checked_count(source: Source, what: str, count: Any, most: int) -> int:
    """`count`, a whole number from 1 to `most`. Raises BadInput beginning with `what` where it is none."""
    if not isinstance(count, int) or not 1 <= count <= most:
        raise BadInput(f"{source}: {what} {count!r:.60}; expected one whole number up to {most}")
    return count
