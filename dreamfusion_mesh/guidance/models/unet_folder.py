"""The parts of a U-Net model, built from a folder that `folder.open_folder` has checked. Every failure is BadInput in one line."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast, get_args

import torch

from dreamfusion_mesh.config import MULTIVIEW
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.models.multiview import CAMERA_NUMBERS
from dreamfusion_mesh.guidance.models.pretrained import check_extent, load_error, load_network, word_count
from dreamfusion_mesh.guidance.schedule import variance_preserving
from dreamfusion_mesh.guidance.weights.folder import INDEX, Layout, Source, parts_of, read_json
from dreamfusion_mesh.records.diffusion import Prediction, Schedule

LAYOUT = Layout(
    name="in the diffusers layout, which has unet/, text_encoder/, tokenizer/ and scheduler/",
    required=("unet", "text_encoder", "tokenizer", "scheduler"),
    optional=("vae",),  # of a model that works on latents
    weights={"unet": "diffusion_pytorch_model", "text_encoder": "model", "vae": "diffusion_pytorch_model"},
)
_KINDS = {"unet": "UNet2DConditionModel", "vae": "AutoencoderKL"}
_CONDITIONS = {  # inputs that a U-Net may need beside noise, time and text
    "addition_embed_type": (None, "text"),
    "encoder_hid_dim_type": (None, "text_proj"),
    "class_embed_type": (None, "projection"),  # the latter of a multi-view model's cameras, and of nothing else
    "num_class_embeds": (None,),
}
_LARGEST_SIDE = 4096  # of the pictures or latents that a model sees
_MOST_TIMES = 100_000  # of a noise schedule


def load_networks(source: Source, folder: Path, dtype: torch.dtype) -> tuple[Any, Any, Any | None]:
    """U-Net, text encoder and VAE (None for a pixel-space model), frozen, on the CPU; the U-Net in `dtype`. Raises BadInput.

    The text encoder runs once a prompt and some known VAEs overflow in half precision: both are float32.
    """
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel

    configs = {part: read_json(source, folder, f"{part}/config.json") for part in parts_of(folder, LAYOUT) if part in LAYOUT.weights}
    _check_kinds(source, configs)
    check_extent(source, folder, LAYOUT, configs)
    text_encoder = load_network(source, folder, "text_encoder", CLIPTextModel, torch.float32)
    unet = load_network(source, folder, "unet", UNet2DConditionModel, dtype, low_cpu_mem_usage=False)
    vae = load_network(source, folder, "vae", AutoencoderKL, torch.float32, low_cpu_mem_usage=False) if "vae" in configs else None
    return unet, text_encoder, vae


def load_schedule(source: Source, folder: Path) -> tuple[Schedule, Prediction]:
    """The noise schedule and the kind of prediction, whatever sampler the folder names. Raises BadInput."""
    from diffusers import DDPMScheduler

    name = "scheduler/scheduler_config.json"
    config = read_json(source, folder, name)
    kinds = get_args(Prediction)
    kind = config.get("prediction_type", "epsilon")  # what the first models, written before the key was, predict
    if kind not in kinds:
        raise BadInput(f"{source}: {name} has prediction_type {kind!r}; {', '.join(kinds)} are read")
    if "beta_schedule" not in config and config.get("trained_betas") is None:
        raise BadInput(f"{source}: {name} has no beta_schedule; only models of the DDPM family are read, not flow matching")
    wanted = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "rescale_betas_zero_snr")
    try:
        if config.get("num_train_timesteps", 0) > _MOST_TIMES:
            raise ValueError(f"num_train_timesteps is over {_MOST_TIMES}")
        scheduler: Any = DDPMScheduler(**{key: config[key] for key in wanted if key in config})
        alpha_bar = scheduler.alphas_cumprod
    except Exception as error:
        raise load_error(source, name, error) from error
    if alpha_bar.dim() != 1 or not len(alpha_bar) or not ((alpha_bar >= 0) & (alpha_bar <= 1)).all():  # not so of a NaN either
        raise BadInput(f"{source}: {name} gives shares of signal outside [0, 1]; download the model again")
    return variance_preserving(alpha_bar.float()), cast(Prediction, kind)


def check_sizes(source: Source, unet: Any, text: Any, tokenizer: Any, vae: Any | None) -> tuple[int, int]:
    """Whether the parts fit together, from their configs. Returns (patch, size) as documented at UNetModel. Raises BadInput."""
    channels, made, who = unet.in_channels, unet.out_channels, f"{source}: "
    if made not in (channels, 2 * channels):
        raise BadInput(f"{who}unet/ makes {made} channels of {channels}; expected as many, or twice with a learned variance")
    if vae is None:
        patch = scale = math.isqrt(max(channels, 0) // 3)
        if patch < 1 or channels != 3 * patch * patch:
            raise BadInput(f"{who}unet/ takes {channels} channels; without vae/ expected 3 p^2 (3, 12, 27, 48, ...); add vae/")
    else:
        patch, scale = 0, 2 ** (len(vae.block_out_channels) - 1)
        if channels != vae.latent_channels:
            raise BadInput(f"{who}unet/ takes {channels} channels, vae/ makes {vae.latent_channels}; they belong to different models")
    width = unet.encoder_hid_dim or unet.cross_attention_dim
    if width != text.hidden_size:
        raise BadInput(f"{who}unet/ reads words {width} wide, text_encoder/ makes {text.hidden_size}; they belong to different models")
    if (words := word_count(tokenizer)) > text.vocab_size:
        raise BadInput(f"{who}tokenizer/ has {words} words, text_encoder/ {text.vocab_size}; they belong to different models")
    side = unet.sample_size
    side = side[0] if isinstance(side, (list, tuple)) and len(set(side)) == 1 else side
    if not isinstance(side, int) or not 1 <= side <= _LARGEST_SIDE:
        allowed = f"expected one whole number up to {_LARGEST_SIDE}, the side of a square"
        raise BadInput(f"{who}unet/config.json has sample_size {side!r:.60}; {allowed}")
    return patch, side * scale


def is_multiview(source: Source, folder: Path, unet: Mapping[str, Any]) -> bool:
    """Whether this is a multi-view model (see multiview.py): its U-Net takes cameras and model_index.json says so.

    unet  the U-Net's config
    Raises BadInput.
    """
    if unet.get("class_embed_type") != "projection":
        return False
    views = read_json(source, folder, INDEX).get("multiview")
    numbers = unet.get("projection_class_embeddings_input_dim")
    if (views, numbers) != (MULTIVIEW, CAMERA_NUMBERS):
        raise BadInput(
            f"{source}: unet/config.json has class_embed_type 'projection' of {numbers!r} numbers and {INDEX} multiview "
            f"{views!r}: it needs more than the prompt, and cameras only where these are {CAMERA_NUMBERS} and {MULTIVIEW}; not supported"
        )
    return True


def no_multiview(source: Source, remedy: str) -> BadInput:
    """What to raise where views are to be seen together, and the model cannot."""
    return BadInput(f"{source}: is not a multi-view model; set {remedy}, or name one that is")


def check_answers(source: Source, unet: Any, loss: str) -> None:
    """Raises BadInput where the loss compares the words with none, and the model's guidance is part of it. `unet` is the U-Net's config."""
    if loss in ("csd", "ism") and unet.get("time_cond_proj_dim") is not None:
        raise BadInput(
            f"guidance.loss {loss}: compares the words with none, and {source} is distilled from guidance (unet/config.json has "
            "time_cond_proj_dim), so it has no answer without words; use guidance.loss=sds, or another model"
        )


def _check_kinds(source: Source, configs: dict[str, dict[str, Any]]) -> None:
    for part, wanted in _KINDS.items():
        found = configs[part].get("_class_name") if part in configs else wanted
        if found != wanted:
            raise BadInput(f"{source}: {part}/ is a {found}; only {wanted} is read")
    found = configs["text_encoder"].get("model_type")
    if found != "clip_text_model":
        raise BadInput(f"{source}: text_encoder/ is a {found}; only CLIP text encoders (clip_text_model) are read")
    for key, readable in _CONDITIONS.items():
        value = configs["unet"].get(key)
        if value not in readable:
            raise BadInput(f"{source}: unet/config.json has {key} {value!r}: it needs more than the prompt; not supported")
