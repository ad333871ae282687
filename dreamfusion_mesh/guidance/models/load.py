"""Loading what guides: a diffusion model, whatever its family, or a CLIP."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import cast

import torch

from dreamfusion_mesh.config import GuidanceSettings
from dreamfusion_mesh.contracts import PromptedModel, ScoreModel
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.models.clip import load_clip
from dreamfusion_mesh.guidance.models.clip_folder import open_clip_folder
from dreamfusion_mesh.guidance.models.clip_guidance import ClipGuidance, PromptedClip
from dreamfusion_mesh.guidance.models.low_rank import check_room
from dreamfusion_mesh.guidance.models.multiview import set_multiview_attention
from dreamfusion_mesh.guidance.models.pretrained import load_tokenizer
from dreamfusion_mesh.guidance.models.recorded import recorded_calls
from dreamfusion_mesh.guidance.models.unet import UNetModel
from dreamfusion_mesh.guidance.models.unet_folder import (
    LAYOUT,
    check_answers,
    check_sizes,
    is_multiview,
    load_networks,
    load_schedule,
    no_multiview,
)
from dreamfusion_mesh.guidance.weights.folder import Source, open_folder, read_json, weight_files
from dreamfusion_mesh.guidance.weights.model_files import ModelFiles


def load_guidance(settings: GuidanceSettings, device: torch.device | str) -> UNetModel | ClipGuidance:
    """The model that `settings.loss` takes, frozen, on `device`: `load_diffusion`'s or `load_clip`'s, and raises as they do."""
    if settings.loaded_kind == "CLIP":
        return ClipGuidance(load_clip(clip_source(settings.clip), device))
    return load_diffusion(settings, device)


def load_diffusion(settings: GuidanceSettings, device: torch.device | str) -> UNetModel:
    """The model that `settings.model` names ("embedded" or a folder in the diffusers layout), frozen, on `device`.

    Of the settings `model`, `half_precision` and `loss` are used; `for_prompt` binds the rest. Only local safetensors are read and no code
    from the folder is run. Raises BadInput in one line where anything is missing, broken, of the wrong size or kind, or leads out of the
    folder.
    """
    source, device = diffusion_source(settings.model), torch.device(device)
    folder = open_folder(source, LAYOUT)
    config = read_json(source, folder, "unet/config.json")
    check_answers(source, config, settings.loss)
    check_room(source, config, settings.loss)
    schedule, prediction = load_schedule(source, folder)
    tokenizer = load_tokenizer(source, folder, "tokenizer")
    half = settings.half_precision and device.type == "cuda"
    unet, text_encoder, vae = load_networks(source, folder, torch.float16 if half else torch.float32)
    takes_cameras = is_multiview(source, folder, unet.config)
    if takes_cameras:
        set_multiview_attention(unet)
    patch, size = check_sizes(source, unet.config, text_encoder.config, tokenizer, None if vae is None else vae.config)
    return UNetModel(
        files=ModelFiles(source, folder, LAYOUT),
        half_precision=settings.half_precision,
        unet=unet.to(device),
        text_encoder=text_encoder.to(device),
        tokenizer=tokenizer,
        vae=None if vae is None else vae.to(device),
        schedule=schedule.to(device),
        prediction=prediction,
        patch=patch,
        size=size,
        limit=int(min(text_encoder.config.max_position_embeddings, tokenizer.model_max_length)),
        takes_cameras=takes_cameras,
        recorded=recorded_calls(unet, device),
    )


def diffusion_source(model: str) -> Source:
    """The diffusion model that `guidance.model` names."""
    return Source("guidance", model, "guidance.model", Path(str(resources.files("dreamfusion_mesh.guidance") / "prior")))


def clip_source(clip: str) -> Source:
    """The CLIP that `guidance.clip` names."""
    return Source("CLIP", clip, "guidance.clip", Path(str(resources.files("dreamfusion_mesh.guidance") / "clip")))


def model_files(settings: GuidanceSettings) -> ModelFiles:
    """The files of the model that guides, which is not loaded. Raises BadInput where its folder is missing, or is none of such a model."""
    return clip_files(clip_source(settings.clip)) if settings.loaded_kind == "CLIP" else diffusion_files(diffusion_source(settings.model))


def diffusion_files(source: Source) -> ModelFiles:
    """The files of a diffusion model. Raises as `model_files` does."""
    return ModelFiles(source, open_folder(source, LAYOUT), LAYOUT)


def clip_files(source: Source) -> ModelFiles:
    """The files of a CLIP. Raises as `model_files` does."""
    return ModelFiles(source, *open_clip_folder(source))


def check_start(start: str, model: str) -> None:
    """Raises BadInput where `coarse.start` asks for views together and `guidance.model`, which is not loaded, cannot see them so."""
    if start == "views":
        source = diffusion_source(model)
        folder = open_folder(source, LAYOUT)
        if not is_multiview(source, folder, read_json(source, folder, "unet/config.json")):
            raise no_multiview(source, "coarse.start=sphere")


def model_bytes(settings: GuidanceSettings) -> int:
    """Size of the weight files of the model that guides, 0 where it has none that can be read."""
    try:
        files = model_files(settings)
        return sum(file.stat().st_size for file in weight_files(files.source, files.folder, files.layout))
    except (BadInput, OSError):
        return 0


def check_device(model: PromptedModel, device: torch.device) -> None:
    """Raises BadInput where a model that the caller loaded is on another device than the run's."""
    found = model.vectors.device if isinstance(model, PromptedClip) else cast(ScoreModel, model).schedule.signal.device
    wanted = torch.empty(0, device=device).device  # "cuda" is the current card
    if found != wanted:
        raise BadInput(f"guidance: the model was loaded on {found}, the run uses {wanted}; load it there, or set device={found.type}")
