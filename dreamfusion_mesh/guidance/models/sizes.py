"""How large the networks of a diffusion model are, read from its files without loading them."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from safetensors import safe_open

from dreamfusion_mesh.config import GuidanceSettings
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.models.latents import PART, autoencoder_width
from dreamfusion_mesh.guidance.models.load import model_files
from dreamfusion_mesh.guidance.weights.folder import INDEX, Layout, read_json, weight_files
from dreamfusion_mesh.guidance.weights.model_files import ModelFiles

_SIDE, _LARGEST_SIDE = 512, 1 << 14  # pixels, where the folder does not say, and of what is no mistake
_NETWORKS = ("unet", "transformer", "")  # the last where one file holds all networks


@dataclass(frozen=True)
class ModelSizes:
    """Numbers of weights, and what their activations depend on.

    network      of what denoises
    autoencoder  0 where there is none
    texts        of each text encoder
    encoded      numbers that the autoencoder keeps for the gradient of one pixel; 0 where there is none
    side         pixels a side of the images that the model is shown
    mapped       of the text encoders' weights, those that files hold in single precision
    """

    network: int
    autoencoder: int
    texts: tuple[int, ...]
    encoded: int
    side: int
    mapped: int = 0

    @property
    def weights(self) -> int:
        """Of all networks."""
        return self.network + self.autoencoder + sum(self.texts)


def model_sizes(settings: GuidanceSettings) -> ModelSizes | None:
    """Of the diffusion model that guides; None where its files cannot be read, which its loading says."""
    try:
        files = model_files(settings)
        counts = {part: _count(files, part) for part in files.layout.weights if part == "" or (files.folder / part).is_dir()}
        own, config = counts.get(PART, 0), _config(files, PART)
        if (chosen := files.autoencoder) is not None:
            own, config = _count(chosen, ""), _config(chosen, "")
        network = sum(counts.get(part, 0) for part in _NETWORKS)
        readers = [part for part in counts if part.startswith("text_encoder")]
        mapped = sum(_count(files, part, ("F32",)) for part in readers)
        width, levels = autoencoder_width(config)
        side = settings.image_size or _side(files, 2 ** max(levels - 1, 0))
    except (BadInput, OSError, ValueError):
        return None
    return ModelSizes(network, own, tuple(counts[part] for part in readers), width, side, mapped)


def _count(files: ModelFiles, part: str, types: Container[str] | None = None) -> int:
    """Numbers of all tensors of a part, or of those of these types, as safetensors names them."""
    count = 0
    one = Layout("", (part,), (), {part: files.layout.weights[part]})
    for file in weight_files(files.source, files.folder, one) if part in files.layout.weights else ():
        with safe_open(str(file), framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118  no mapping
                numbers = 1
                tensor = opened.get_slice(name)
                for length in tensor.get_shape():
                    numbers *= length
                count += numbers if types is None or tensor.get_dtype() in types else 0
    return count


def _config(files: ModelFiles, part: str) -> Mapping[str, Any]:
    name = Path(part, "config.json").as_posix()
    return read_json(files.source, files.folder, name) if (files.folder / name).is_file() else {}


def _side(files: ModelFiles, scale: int) -> int:
    """As the folder has it, about: the model's own loader is strict."""
    configs = (_config(files, "unet"), _config(files, "transformer"))
    named = [config.get("sample_size", config.get("image_size")) for config in configs]  # the latter of MVDream's port
    if found := [side for side in named if _is_side(side)]:
        return found[0] * scale
    index = read_json(files.source, files.folder, INDEX) if (files.folder / INDEX).is_file() else {}
    own = index.get("default_sample_size")
    return own if _is_side(own) else _SIDE


def _is_side(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and 0 < value <= _LARGEST_SIDE
