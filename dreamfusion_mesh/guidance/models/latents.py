"""What a network sees of an image: its pixels, or the latents of an autoencoder. Every failure to read one is BadInput in one line."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.models.float16 import GradientScale
from dreamfusion_mesh.guidance.models.pretrained import check_extent, load_network, shown_part
from dreamfusion_mesh.guidance.weights.folder import Layout, Source, read_json

PART = "vae"  # of a model's folder
_KL, _DC, _FLUX2, _TINY = "AutoencoderKL", "AutoencoderDC", "AutoencoderKLFlux2", "AutoencoderTiny"
_BLOCKS = "encoder_block_out_channels"
_NUMBERS, _TINY_NUMBERS = 48, 15  # 2 * 3085 / 128 and 2 * 469 / 64: numbers by the first block's channels
_LARGEST_SCALE = 1_000_000
_MOST_SIZES, _WIDEST = 16, 1 << 16  # of an autoencoder whose memory is estimated
_FLUX2_PATCH = 2  # latents a side that FLUX.2 folds into the channels of one


@dataclass(frozen=True, eq=False)
class LatentSpace:
    """Pixels [B, 3, S, S] in [-1, 1] to what the network sees, [B, C, h, h].

    vae       the autoencoder, frozen; None for pixels
    scale     pixels a side of what the network sees as one place
    patch     pixels a side, or the autoencoder's places, that are folded into the channels of one place
    channels  C
    source    of the autoencoder, where it was chosen in place of the model's own
    """

    vae: Any | None
    scale: int
    patch: int
    channels: int
    source: Source | None = None

    @property
    def is_tiny(self) -> bool:
        """Whether the autoencoder is a small one, distilled from a larger one's."""
        return self.vae is not None and self.vae.config._class_name == _TINY

    def encode(self, pixels: Tensor) -> Tensor:
        """The mean that the autoencoder gives, scaled as its config says; differentiable in `pixels` alone."""
        if self.vae is None:
            return functional.pixel_unshuffle(pixels, self.patch)
        mean, config = self._mean(pixels), self.vae.config
        if config._class_name == _FLUX2:
            folded = functional.pixel_unshuffle(mean, self.patch)
            center, deviation = self._statistics(folded)
            return (folded - center) / deviation
        return (mean - (config.get("shift_factor") or 0.0)) * config.scaling_factor

    def _mean(self, pixels: Tensor) -> Tensor:
        """What the autoencoder makes of pixels, before any scaling."""
        vae: Any = self.vae
        kind, scale = next(iter(vae.parameters())).dtype, GradientScale()
        scaled = kind == torch.float16 and pixels.requires_grad
        if scaled:
            pixels = pixels.clone()  # so that the hook is on this use of it alone
            scale.restore(pixels)
        made, config = vae.encode(pixels.to(kind)), vae.config
        match config._class_name:
            case "AutoencoderDC":
                mean = made.latent
            case "AutoencoderTiny":
                mean = made.latents
            case _:
                mean = made.latent_dist.mean
        mean = mean.to(pixels.dtype)
        if scaled:
            scale.enlarge(mean)
        return mean

    def decode(self, latents: Tensor) -> Tensor:
        """What the network sees, [B, C, h, h], back to pixels [B, 3, S, S], about in [-1, 1]."""
        if self.vae is None:
            return functional.pixel_shuffle(latents, self.patch)
        config, kind = self.vae.config, next(iter(self.vae.parameters())).dtype
        if config._class_name == _FLUX2:
            mean, deviation = self._statistics(latents)
            unscaled = functional.pixel_shuffle(latents * deviation + mean, self.patch)
        else:
            unscaled = latents / config.scaling_factor + (config.get("shift_factor") or 0.0)
        made: Tensor = self.vae.decode(unscaled.to(kind)).sample
        return made.to(latents.dtype)

    def to(self, device: torch.device) -> LatentSpace:
        """The same on `device`."""
        return self if self.vae is None else replace(self, vae=self.vae.to(device))

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation that FLUX.2's autoencoder has learnt of each channel, [1, C, 1, 1]."""
        norm: Any = self.vae.bn  # type: ignore[union-attr]
        mean, variance = (value.to(like)[None, :, None, None] for value in (norm.running_mean, norm.running_var))
        return mean, (variance + self.vae.config.batch_norm_eps).sqrt()  # type: ignore[union-attr]


def pixel_space(source: Source, channels: int) -> LatentSpace:
    """Of a network that takes this many channels. Raises BadInput where these are no folded pixels."""
    patch = math.isqrt(max(channels, 0) // 3)
    if patch < 1 or channels != 3 * patch * patch:
        raise BadInput(f"{source}: unet/ takes {channels} channels; without vae/ expected 3 p^2 (3, 12, 27, 48, ...); add vae/")
    return LatentSpace(None, patch, patch, channels)


def check_scale(source: Source, where: str, config: Mapping[str, Any]) -> None:
    """Raises BadInput where an autoencoder's config has no numbers to scale its latents by."""
    for key, otherwise in (("scaling_factor", 1.0), ("shift_factor", 0.0), ("batch_norm_eps", 0.0)):
        value = config.get(key, otherwise)
        if value is None and key == "shift_factor":
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < _LARGEST_SCALE:  # not so of a NaN either
            raise BadInput(f"{source}: {where} has {key} {value!r:.60}; expected a number below {_LARGEST_SCALE}; download the model again")


def autoencoder_width(config: Mapping[str, Any]) -> tuple[int, int]:
    """Numbers that an autoencoder of this config keeps of one pixel for its gradient, about, and how many sizes it has.

    Counted for those of Stable Diffusion, the full and the tiny one, and taken twice for what its gradient needs beside.
    """
    widths = config.get(_BLOCKS if config.get("_class_name") in (_DC, _TINY) else "block_out_channels")
    if not isinstance(widths, list) or not 0 < len(widths) <= _MOST_SIZES:
        return 0, 0
    if not all(isinstance(width, int) and 0 < width <= _WIDEST for width in widths):  # which is refused as the weights are read
        return 0, 0
    each = _TINY_NUMBERS if config.get("_class_name") == _TINY else _NUMBERS
    return each * widths[0], len(widths)


def load_latents(source: Source, folder: Path, layout: Layout, dtype: torch.dtype, taken: tuple[str, int], part: str = PART) -> LatentSpace:
    """The autoencoder of vae/, or of another part, frozen, on the CPU. Raises BadInput.

    taken  which part takes its latents, and how many channels of them
    A tiny autoencoder (AutoencoderTiny) has the latents of the one that it was distilled from. In float16 the others overflow where their
    config does not say otherwise (force_upcast, true by default), as that of Stable Diffusion XL does: they are then float32.
    """
    import diffusers

    where, shown = Path(part, "config.json").as_posix(), shown_part(part)
    config = read_json(source, folder, where)
    found = config.get("_class_name")
    if found not in (_KL, _DC, _FLUX2, _TINY):
        raise BadInput(f"{source}: {shown} is a {found!s:.60}; only {_KL}, {_FLUX2}, {_DC} and {_TINY} are read")
    check_extent(source, folder, layout, {part: config})
    overflows = dtype == torch.float16 and config.get("force_upcast", found != _TINY)
    vae = load_network(source, folder, part, getattr(diffusers, found), torch.float32 if overflows else dtype, low_cpu_mem_usage=False)
    check_scale(source, where, vae.config)
    patch = _FLUX2_PATCH if found == _FLUX2 else 1
    blocks = vae.config.get(_BLOCKS if found in (_DC, _TINY) else "block_out_channels")
    scale = 2 ** (len(blocks) - 1)
    channels = vae.config.latent_channels * patch * patch
    taker, wanted = taken
    if channels != wanted:
        raise BadInput(f"{source}: {taker} takes {wanted} channels, {shown} makes {channels}; they belong to different models")
    return LatentSpace(vae, scale * patch, patch, channels)
