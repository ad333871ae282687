"""Which autoencoder makes a model's latents: its own, or one that was chosen in its place. Every failure is BadInput in one line."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import torch

from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.models.latents import PART, LatentSpace, load_latents
from dreamfusion_mesh.guidance.weights.folder import Layout, Source, open_folder
from dreamfusion_mesh.guidance.weights.model_files import ModelFiles

LAYOUT = Layout(
    name="with an autoencoder as diffusers saves it, which has config.json and diffusion_pytorch_model.safetensors",
    required=("",),
    optional=(),
    weights={"": "diffusion_pytorch_model"},
)


def autoencoder_files(name: str) -> ModelFiles | None:
    """Those of the autoencoder that `guidance.autoencoder` names; None where it is empty. Raises BadInput."""
    if not name:
        return None
    source = Source("autoencoder", name, "guidance.autoencoder", None)
    return ModelFiles(source, open_folder(source, LAYOUT), LAYOUT)


def read_layout(layout: Layout, chosen: ModelFiles | None) -> Layout:
    """What is read of a model's folder: without its own autoencoder where another one was chosen."""
    if chosen is None:
        return layout
    required, optional = (tuple(part for part in parts if part != PART) for parts in (layout.required, layout.optional))
    return replace(layout, required=required, optional=optional)


def read_latents(
    source: Source, folder: Path, layout: Layout, dtype: torch.dtype, taken: tuple[str, int], chosen: ModelFiles | None
) -> LatentSpace:
    """The latents of the model in `folder`, by `chosen` or its own autoencoder, frozen, on the CPU. Raises BadInput.

    taken  the network's part, and how many channels it takes
    """
    part, channels = taken
    if chosen is None:
        return load_latents(source, folder, layout, dtype, (f"{part}/", channels))
    if not (folder / PART).is_dir() and part == "unet" and channels == 3 * math.isqrt(channels // 3) ** 2:
        raise BadInput(f"{chosen.source}: {source} sees pixels, which no autoencoder makes; leave guidance.autoencoder empty")
    found = load_latents(chosen.source, chosen.folder, chosen.layout, dtype, (f"{part}/ of {source}", channels), "")
    return replace(found, source=chosen.source)
