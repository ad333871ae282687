"""The parts of a CLIP, built from a folder: as transformers saves one whole, or as two small towers. Every failure is BadInput in one line.

The small towers are ours: image/ holds a ResNet whose classifier is the projection, text/ CLIP's text model with its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.models.pretrained import check_extent, load_network
from dreamfusion_mesh.guidance.weights.folder import INDEX, Layout, Source, find_folder, open_folder, read_json

WANTED = "that holds a CLIP as transformers saves it, with config.json, model.safetensors, the tokenizer and preprocessor_config.json"
WHOLE = Layout(WANTED, ("",), (), {"": "model"})
TOWERS = Layout(f"{WANTED}, or small towers in image/ and text/", ("image", "text"), (), {"image": "model", "text": "model"})
_LARGEST_SIDE = 4096  # of the pictures that a model sees
_OWN_TYPES = {"image": "resnet", "text": "clip_text_model"}


@dataclass(frozen=True, eq=False)
class Networks:
    """Both towers, frozen; what they give are no unit vectors yet.

    image       pixels [B, 3, S, S] to [B, D]
    words       token ids [B, L] to [B, D]
    width       D
    side        S, or 0 where the image tower takes any
    image_part  the part that says how images become pixels
    text_part   the part that holds the tokenizer
    text        settings of the text tower: vocab_size, max_position_embeddings, eos_token_id
    """

    image: Callable[[Tensor], Tensor]
    words: Callable[[Tensor], Tensor]
    width: int
    side: int
    image_part: str
    text_part: str
    text: Any


def open_clip_folder(source: Source) -> tuple[Path, Layout]:
    """The folder of `source`, checked, and which of the two layouts it has. Raises BadInput naming the file and the remedy."""
    folder = find_folder(source, WANTED)
    if (folder / "config.json").exists():
        found = read_json(source, folder, "config.json").get("model_type")
        if found != "clip":
            raise BadInput(f"{source}: config.json has model_type {found!r:.60}; only 'clip' is read: name a folder {WANTED}")
        return open_folder(source, WHOLE), WHOLE
    if any((folder / part).is_dir() for part in TOWERS.required):
        return open_folder(source, TOWERS), TOWERS
    if (folder / INDEX).exists():
        raise BadInput(f"{source}: has a {INDEX}, so it is a diffusion model; name a folder {WANTED}")
    raise BadInput(f"{source}: has neither config.json nor image/ and text/; name a folder {WANTED}")


def load_networks(source: Source, folder: Path, layout: Layout, device: torch.device) -> Networks:
    """Both towers, float32, on `device`. Raises BadInput."""
    return (_load_whole if layout is WHOLE else _load_towers)(source, folder, device)


def _load_whole(source: Source, folder: Path, device: torch.device) -> Networks:
    from transformers import CLIPModel

    config = read_json(source, folder, "config.json")
    check_extent(source, folder, WHOLE, {"": config}, ("projection_dim",))
    for name in ("text_config", "vision_config"):
        check_extent(source, folder, WHOLE, {"": _group(source, config, name)})
    clip = load_network(source, folder, "", CLIPModel, torch.float32).to(device)
    side = clip.config.vision_config.image_size
    if clip.config.vision_config.num_channels != 3 or not isinstance(side, int) or not 1 <= side <= _LARGEST_SIDE:
        raise BadInput(f"{source}: config.json has image_size {side!r:.60}; expected square RGB images of 1 to {_LARGEST_SIDE} pixels")

    def image(pixels: Tensor) -> Tensor:
        seen: Tensor = clip.visual_projection(clip.vision_model(pixel_values=pixels).pooler_output)
        return seen

    def words(ids: Tensor) -> Tensor:
        read: Tensor = clip.text_projection(clip.text_model(input_ids=ids).pooler_output)
        return read

    return Networks(image, words, clip.config.projection_dim, side, "", "", clip.config.text_config)


def _load_towers(source: Source, folder: Path, device: torch.device) -> Networks:
    from transformers import CLIPTextModelWithProjection, ResNetForImageClassification

    configs = {part: read_json(source, folder, f"{part}/config.json") for part in TOWERS.required}
    for part, wanted in _OWN_TYPES.items():
        if (found := configs[part].get("model_type")) != wanted:
            raise BadInput(f"{source}: {part}/config.json has model_type {found!r:.60}; expected {wanted!r}, or name a folder {WANTED}")
    check_extent(source, folder, TOWERS, configs, ("projection_dim",))
    image_tower = load_network(source, folder, "image", ResNetForImageClassification, torch.float32).to(device)
    text_tower = load_network(source, folder, "text", CLIPTextModelWithProjection, torch.float32).to(device)
    seen, read = image_tower.config.num_labels, text_tower.config.projection_dim
    if seen != read:
        raise BadInput(f"{source}: image/ makes {seen} numbers, text/ {read}; they belong to different models")

    def image(pixels: Tensor) -> Tensor:
        logits: Tensor = image_tower(pixels.contiguous(memory_format=torch.channels_last)).logits
        return logits

    def words(ids: Tensor) -> Tensor:
        embedded: Tensor = text_tower(input_ids=ids).text_embeds
        return embedded

    return Networks(image, words, read, 0, "image", "text", text_tower.config)


def _group(source: Source, config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    group = config.get(name) or {}
    if not isinstance(group, dict):
        raise BadInput(f"{source}: config.json has {name} {group!r:.60}, expected an object; download the model again")
    return group
