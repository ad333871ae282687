"""Loading a diffusion model, whatever its family."""

from __future__ import annotations

from pathlib import Path

import torch

from dreamfusion_mesh.config import GuidanceSettings
from dreamfusion_mesh.contracts import ScoreModel
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.models.multiview import set_multiview_attention
from dreamfusion_mesh.guidance.models.recorded import recorded_calls
from dreamfusion_mesh.guidance.models.unet import UNetModel
from dreamfusion_mesh.guidance.models.unet_folder import LAYOUT, check_sizes, is_multiview, load_networks, load_schedule, load_tokenizer
from dreamfusion_mesh.guidance.weights.folder import EMBEDDED, open_folder, weight_files


def load_guidance(settings: GuidanceSettings, device: torch.device | str) -> UNetModel:
    """The model that `settings.model` names ("embedded" or a folder in the diffusers layout), frozen, on `device`.

    Of the settings only `model` and `half_precision` are used; `for_prompt` binds the rest. Only local safetensors are read and no code
    from the folder is run. Raises BadInput in one line where anything is missing, broken, of the wrong size or kind, or leads out of the
    folder.
    """
    model, device = settings.model, torch.device(device)
    folder = open_folder(model, LAYOUT)
    schedule, prediction = load_schedule(model, folder)
    tokenizer = load_tokenizer(model, folder)
    half = settings.half_precision and device.type == "cuda"
    unet, text_encoder, vae = load_networks(model, folder, torch.float16 if half else torch.float32)
    takes_cameras = is_multiview(model, folder, unet.config)
    if takes_cameras:
        set_multiview_attention(unet)
    patch, size = check_sizes(model, unet.config, text_encoder.config, tokenizer, None if vae is None else vae.config)
    return UNetModel(
        model=model,
        half_precision=settings.half_precision,
        folder=folder,
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


def model_bytes(model: str) -> int:
    """Size of a model's weight files, 0 where it has none that can be read."""
    try:
        return sum(file.stat().st_size for file in weight_files(model, open_folder(model, LAYOUT), LAYOUT))
    except (BadInput, OSError):
        return 0


def embedded_weights() -> list[Path]:
    """The weight files of the embedded model. Raises BadInput where the package lacks one of them or it cannot be read."""
    return weight_files(EMBEDDED, open_folder(EMBEDDED, LAYOUT), LAYOUT)


def check_device(model: ScoreModel, device: torch.device) -> None:
    """Raises BadInput where a model that the caller loaded is on another device than the run's."""
    found, wanted = model.schedule.signal.device, torch.empty(0, device=device).device  # "cuda" is the current card
    if found != wanted:
        raise BadInput(f"guidance: the model was loaded on {found}, the run uses {wanted}; load it there, or set device={found.type}")
