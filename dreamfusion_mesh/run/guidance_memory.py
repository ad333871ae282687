"""How much memory the model that guides takes, about: its weights, counted in its files, and what they compute."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dreamfusion_mesh.config import GuidanceSettings
from dreamfusion_mesh.guidance.models.encoding import TILE, tiles_by
from dreamfusion_mesh.guidance.models.load import model_bytes
from dreamfusion_mesh.guidance.models.sizes import model_sizes

_IMAGE = 8 * 2**20  # the embedded model's activations for one image of 64 x 64
_IMAGE_SHARE, _LARGEST_IMAGE = 1.5, 2**30  # another model's: a share of its weights, up to a limit


@dataclass(frozen=True)
class GuidanceMemory:
    """Bytes where networks compute, about, but for `weights` and `reading`, which are counted.

    weights  of the networks that every step needs
    reading  of text encoders, while they are loaded or read
    mapped   of these, what stays in the files: transformers maps weights that have the type which is asked for, and the system reads them
             from there, as often as it has to
    image    of the network, for one image in one call
    encoded  of the autoencoder, for one image and its gradient
    alone    whether it sees one image at a time
    """

    weights: int
    reading: int = 0
    mapped: int = 0
    image: float = 0
    encoded: int = 0
    alone: bool = False

    def step(self, views: int, asked: int) -> float:
        """Of a step with so many views, of which each is asked of the network so often: what it computes."""
        return asked * views * self.image + (1 if self.alone else views) * self.encoded


def guidance_memory(settings: GuidanceSettings, device: torch.device) -> GuidanceMemory:
    """Of the model that these settings name, on `device`."""
    if settings.loaded_kind == "CLIP" or settings.loaded_model == "embedded":
        weights = model_bytes(settings)
        embedded = settings.loaded_model == "embedded"
        return GuidanceMemory(weights, image=_IMAGE if embedded else min(_IMAGE_SHARE * weights, _LARGEST_IMAGE))
    sizes = model_sizes(settings)
    if sizes is None:
        return GuidanceMemory(0)
    card = device.type == "cuda"
    each = 2 if card and settings.half_precision else 4
    by_layer = card and settings.offload == "layers"
    texts = [each * count for count in sizes.texts]
    tiles = tiles_by(settings.tile_encoder, sizes.side, False, device)
    pixels = min(TILE, sizes.side) ** 2 if tiles else sizes.side**2
    return GuidanceMemory(
        weights=each * (sizes.autoencoder + (0 if by_layer else sizes.network)),
        # On a CPU all are there at first; on a card one at a time.
        reading=0 if by_layer else max(texts, default=0) if card else sum(texts),
        mapped=0 if card else each * sizes.mapped,
        image=min(_IMAGE_SHARE * each * sizes.network, _LARGEST_IMAGE),
        encoded=each * sizes.encoded * pixels,
        alone=tiles or settings.checkpoint_encoder,
    )
