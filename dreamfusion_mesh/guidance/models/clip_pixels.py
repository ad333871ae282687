"""How a CLIP's images become what its image tower sees, as its preprocessor_config.json says."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.weights.folder import Source, read_json

_LARGEST_SIDE = 4096  # pixels
_SMALLEST_STD = 1e-6  # of colours in [0, 1]; what divides by less may be infinite in float32
_MODES = {2: "bilinear", 3: "bicubic"}  # of Pillow's filters, by their numbers
_MEAN, _STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # OpenAI's, which transformers takes by default


@dataclass(frozen=True, eq=False)
class Pixels:
    """Square images, resized to `side`, cut to the middle `crop`, and normalised.

    mode       of the interpolation, which is antialiased
    mean, std  [3, 1, 1]
    """

    side: int
    crop: int
    mode: str
    mean: Tensor
    std: Tensor

    def __call__(self, images: Tensor) -> Tensor:
        """Images [B, H, H, 3] in [0, 1] to [B, 3, crop, crop]; differentiable. Raises ValueError where they are not square RGB."""
        if images.dim() != 4 or images.shape[1] != images.shape[2] or images.shape[3] != 3:
            raise ValueError(f"images: shape {list(images.shape)}, expected [B, H, H, 3]")
        pixels = images.permute(0, 3, 1, 2)
        if pixels.shape[-1] != self.side:
            resized = functional.interpolate(pixels, size=(self.side, self.side), mode=self.mode, antialias=True, align_corners=False)
            pixels = resized.clamp(0, 1)  # bicubic overshoots, where a picture of bytes cannot
        first = (self.side - self.crop) // 2
        cut = pixels[:, :, first : first + self.crop, first : first + self.crop]
        return (cut - self.mean) / self.std


def read_pixels(source: Source, folder: Path, part: str, tower_side: int, device: torch.device) -> Pixels:
    """What the part's preprocessor_config.json, or the processor_config.json of newer libraries, says; tower_side 0 takes any size.

    Raises BadInput naming the value and what is allowed.
    """
    name, config = _read(source, folder, part)

    def refuse(key: str, allowed: str) -> BadInput:
        return BadInput(f"{source}: {name} has {key} {config.get(key)!r:.80}; {allowed}")

    side = _side(config.get("size", 224)) if config.get("do_resize", True) else tower_side
    if not 1 <= side <= _LARGEST_SIDE:
        raise refuse("size", f"expected the side of a square, 1 to {_LARGEST_SIDE} pixels")
    crop = _side(config.get("crop_size", 224)) if config.get("do_center_crop", True) else side
    if not 1 <= crop <= side or (tower_side and crop != tower_side):
        raise refuse("crop_size", f"expected {tower_side or f'1 to {side}'} pixels, which the model sees")
    if (mode := _mode(config.get("resample", 3))) is None:
        raise refuse("resample", "expected 2 (bilinear) or 3 (bicubic)")
    if not config.get("do_rescale", True) or not math.isclose(_number(config.get("rescale_factor", 1 / 255)), 1 / 255, rel_tol=1e-3):
        raise refuse("rescale_factor", "expected 1/255, for a model of images in [0, 1]")
    mean, std = _normalisation(config)
    if len(mean) != 3 or not all(math.isfinite(value) for value in mean):
        raise refuse("image_mean", "expected three numbers")
    if len(std) != 3 or not all(_SMALLEST_STD <= value < math.inf for value in std):
        raise refuse("image_std", f"expected three numbers from {_SMALLEST_STD:g} up")
    return Pixels(side, crop, mode, *(torch.tensor(values, device=device)[:, None, None] for values in (mean, std)))


def _read(source: Source, folder: Path, part: str) -> tuple[str, Mapping[str, Any]]:
    name = Path(part, "preprocessor_config.json").as_posix()
    newer = Path(part, "processor_config.json").as_posix()
    if (folder / name).exists() or not (folder / newer).exists():
        return name, read_json(source, folder, name)
    config = read_json(source, folder, newer).get("image_processor")
    if not isinstance(config, dict):
        raise BadInput(f"{source}: {newer} has no image_processor; get {name}, or download the model again")
    return newer, config


def _side(size: Any) -> int:
    """A size as transformers spells it, where it is the side of a square; else 0."""
    if isinstance(size, dict):
        side, other = (size.get(key) for key in (("height", "width") if "height" in size else ("shortest_edge", "shortest_edge")))
        size = side if side == other else 0
    return size if isinstance(size, int) and not isinstance(size, bool) else 0


def _normalisation(config: Mapping[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if not config.get("do_normalize", True):
        return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    mean, std = config.get("image_mean", _MEAN), config.get("image_std", _STD)
    return _numbers(mean), _numbers(std)


def _numbers(values: Any) -> tuple[float, ...]:
    return tuple(_number(value) for value in values) if isinstance(values, (list, tuple)) else ()


def _mode(number: Any) -> str | None:
    return _MODES.get(number) if isinstance(number, int) else None


def _number(value: Any) -> float:
    try:
        return float(value) if isinstance(value, (int, float)) else math.nan
    except OverflowError:  # a whole number with hundreds of digits
        return math.inf
