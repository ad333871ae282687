"""Loading what guides: a diffusion model, whatever its family, or a CLIP."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import NamedTuple, cast

import torch

from dreamfusion_mesh.config import GuidanceSettings, ViewSettings, model_names, read_model
from dreamfusion_mesh.contracts import GuidanceModel, PromptedModel, ScoreModel
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.files import kind_of
from dreamfusion_mesh.guidance.models import transformer, transformer_families, unet
from dreamfusion_mesh.guidance.models.autoencoder import autoencoder_files, read_latents, read_layout
from dreamfusion_mesh.guidance.models.clip import load_clip
from dreamfusion_mesh.guidance.models.clip_folder import open_clip_folder
from dreamfusion_mesh.guidance.models.clip_guidance import ClipGuidance, PromptedClip
from dreamfusion_mesh.guidance.models.compiled import compiled_blocks
from dreamfusion_mesh.guidance.models.denoiser import Denoiser
from dreamfusion_mesh.guidance.models.diffusion import DiffusionModel
from dreamfusion_mesh.guidance.models.latents import LatentSpace, pixel_space
from dreamfusion_mesh.guidance.models.multiview import no_multiview
from dreamfusion_mesh.guidance.models.mvdream import MVDreamModel, check_mvdream_settings, load_mvdream
from dreamfusion_mesh.guidance.models.mvdream_folder import mvdream_layout
from dreamfusion_mesh.guidance.models.placement import Placement
from dreamfusion_mesh.guidance.models.recorded import recorded_calls
from dreamfusion_mesh.guidance.models.schedules import load_flow, load_schedule
from dreamfusion_mesh.guidance.models.text_encoder import TextModel
from dreamfusion_mesh.guidance.models.text_families import TextFolder
from dreamfusion_mesh.guidance.weights.folder import EMBEDDED, INDEX, Layout, Source, find_folder, open_folder, read_json, weight_files
from dreamfusion_mesh.guidance.weights.model_files import ModelFiles
from dreamfusion_mesh.records.diffusion import Prediction, Schedule


class _Parts(NamedTuple):
    """What a family's loader makes of a folder, on the CPU but for the text encoders."""

    denoiser: Denoiser
    text: TextModel
    latents: LatentSpace
    schedule: Schedule
    prediction: Prediction
    size: int


def load_guidance(settings: GuidanceSettings, device: torch.device | str) -> DiffusionModel | ClipGuidance:
    """The model that `settings.loss` takes, frozen, on `device`: `load_diffusion`'s or `load_clip`'s, and raises as they do."""
    if settings.loaded_kind == "CLIP":
        return ClipGuidance(load_clip(clip_source(settings.clip), device))
    return load_diffusion(settings, device)


def load_diffusion(settings: GuidanceSettings, device: torch.device | str) -> DiffusionModel:
    """The model that `settings.model` names ("embedded" or a folder in the diffusers layout), frozen, on `device`.

    Of the settings `model` and those of `loaded_with` are used; `for_prompt` binds the rest, and `check_served` says before whether it
    will. Only local safetensors are read and no code from the folder is run. Raises BadInput in one line where anything is missing, broken,
    of the wrong size or kind, or leads out of the folder.
    """
    source, device = diffusion_source(settings.model), torch.device(device)
    dtype = _precision(source, device) if settings.half_precision else torch.float32
    if (published := mvdream_layout(source)) is not None:
        return load_mvdream(source, published, settings, dtype, device)
    layout, chosen = _layout(source), autoencoder_files(settings.autoencoder)
    transformer_families.check_latents(source)
    read = read_layout(layout, chosen)
    folder = open_folder(source, read)
    placement = Placement(device, settings.offload == "layers")
    texts = TextFolder(source, folder, layout, torch.bfloat16 if dtype == torch.bfloat16 else torch.float32, placement)
    load = _load_unet if layout is unet.LAYOUT else _load_transformer
    parts = load(source, folder, dtype, texts, chosen)
    network = placement.place(parts.denoiser.network)
    return DiffusionModel(
        files=ModelFiles(source, folder, read, chosen),
        loaded_with=settings.loaded_with,
        denoiser=parts.denoiser,
        text=parts.text,
        latents=parts.latents.to(device),
        schedule=parts.schedule.to(device),
        prediction=parts.prediction,
        size=parts.size,
        recorded=recorded_calls(network, placement) if layout is unet.LAYOUT and not settings.compile else None,
        compiled=compiled_blocks(network, settings),
    )


def _load_unet(source: Source, folder: Path, dtype: torch.dtype, texts: TextFolder, chosen: ModelFiles | None) -> _Parts:
    config = read_json(source, folder, "unet/config.json")
    schedule, prediction = load_schedule(source, folder)
    text = unet.load_unet_text(config, texts)
    denoiser = unet.load_unet(source, folder, dtype)
    own = denoiser.network.config
    unet.check_unet(source, own, text)
    if chosen is None and not (folder / "vae").is_dir():
        latents = pixel_space(source, own.in_channels)
    else:
        latents = read_latents(source, folder, unet.LAYOUT, dtype, ("unet", own.in_channels), chosen)
    return _Parts(denoiser, text, latents, schedule, prediction, unet.side(source, own) * latents.scale)


def _load_transformer(source: Source, folder: Path, dtype: torch.dtype, texts: TextFolder, chosen: ModelFiles | None) -> _Parts:
    config, index = read_json(source, folder, "transformer/config.json"), read_json(source, folder, INDEX)
    family = transformer_families.family_of(source, config)
    family.check_config(source, config, index)
    schedule, prediction = (load_flow if family.is_flow else load_schedule)(source, folder)
    text = family.text(texts, config)
    denoiser = transformer_families.load_transformer(source, folder, config, index, dtype)
    latents = read_latents(source, folder, transformer.LAYOUT, dtype, ("transformer", denoiser.config.in_channels), chosen)
    transformer_families.check_transformer(source, denoiser, text, latents.channels)
    return _Parts(denoiser, text, latents, schedule, prediction, denoiser.size(source, index, latents.scale))


def _layout(source: Source) -> Layout:
    """Of a folder with transformer/, or of one with unet/. Raises BadInput where there is none."""
    folder = find_folder(source, unet.LAYOUT.name)
    return transformer.LAYOUT if kind_of(folder / "transformer", f"{source}: transformer") == "folder" else unet.LAYOUT


def _precision(source: Source, device: torch.device) -> torch.dtype:
    """Half precision on a card: bfloat16, which overflows nowhere, where the card has it."""
    if device.type != "cuda":
        return torch.float32
    # The embedded model is measured in float16, in which it overflows nowhere either.
    return torch.bfloat16 if source.name != EMBEDDED and torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def diffusion_source(model: str) -> Source:
    """The diffusion model that `guidance.model` names."""
    return Source("guidance", model, "guidance.model", Path(str(resources.files("dreamfusion_mesh.guidance") / "prior")))


def clip_source(clip: str) -> Source:
    """The CLIP that `guidance.clip` names."""
    return Source("CLIP", clip, "guidance.clip", Path(str(resources.files("dreamfusion_mesh.guidance") / "clip")))


def model_files(settings: GuidanceSettings) -> ModelFiles:
    """The files of the model that guides, which is not loaded. Raises BadInput where its folder is missing, or is none of such a model."""
    if settings.loaded_kind == "CLIP":
        return clip_files(clip_source(settings.clip))
    return diffusion_files(diffusion_source(settings.model), autoencoder_files(settings.autoencoder))


def diffusion_files(source: Source, chosen: ModelFiles | None = None) -> ModelFiles:
    """The files of a diffusion model, with those of the autoencoder chosen for it. Raises as `model_files` does."""
    layout = read_layout(mvdream_layout(source) or _layout(source), chosen)
    return ModelFiles(source, open_folder(source, layout), layout, chosen)


def clip_files(source: Source) -> ModelFiles:
    """The files of a CLIP. Raises as `model_files` does."""
    return ModelFiles(source, *open_clip_folder(source))


def check_served(settings: GuidanceSettings, start: str) -> None:
    """Raises BadInput where the model, which is not loaded, is missing, cannot give what the loss asks for, or cannot see views together.

    start  coarse.start of the work that is left, which like `guidance.multiview` may ask for views together
    """
    if settings.loaded_kind == "CLIP":
        return
    source, together = diffusion_source(settings.model), settings.multiview or start == "views"
    alone = no_multiview(source, "guidance.multiview=false" if settings.multiview else "coarse.start=sphere")
    if together and settings.model in model_names() and not read_model(settings.model).multiview:
        raise alone  # before it is missed, and fetched in vain
    transformer_families.check_latents(source)
    folder = model_files(settings).folder
    if mvdream_layout(source) is not None:
        check_mvdream_settings(source, settings)
        return
    takes_cameras = False
    if _layout(source) is unet.LAYOUT:
        config = read_json(source, folder, "unet/config.json")
        unet.check_unet_loss(source, config, settings.loss)
        takes_cameras = unet.is_multiview(source, folder, config)
    else:
        config = read_json(source, folder, "transformer/config.json")
        transformer_families.family_of(source, config).check_answers(source, read_json(source, folder, INDEX), settings.loss)
    if together and not takes_cameras:
        raise alone


def model_bytes(settings: GuidanceSettings) -> int:
    """Size of the weight files of the model that guides, 0 where it has none that can be read."""
    try:
        files = model_files(settings)
        return sum(file.stat().st_size for file in weight_files(files.source, files.folder, files.layout))
    except (BadInput, OSError):
        return 0


def check_views(model: GuidanceModel, views: ViewSettings) -> None:
    """Raises BadInput where the model was made for other views than a run draws."""
    if isinstance(model, MVDreamModel):
        model.check_views(views)


def check_device(model: PromptedModel, device: torch.device) -> None:
    """Raises BadInput where a model that the caller loaded is on another device than the run's."""
    found = model.vectors.device if isinstance(model, PromptedClip) else cast(ScoreModel, model).schedule.signal.device
    wanted = torch.empty(0, device=device).device  # "cuda" is the current card
    if found != wanted:
        raise BadInput(f"guidance: the model was loaded on {found}, the run uses {wanted}; load it there, or set device={found.type}")
