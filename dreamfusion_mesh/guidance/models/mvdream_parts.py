"""MVDream's networks, built from a folder in either layout. Every failure is BadInput in one line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from torch import Tensor, nn

from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.models import mvdream_keys as keys
from dreamfusion_mesh.guidance.models.autoencoder import read_latents
from dreamfusion_mesh.guidance.models.latents import LatentSpace, check_scale
from dreamfusion_mesh.guidance.models.mvdream_folder import PORT, PUBLISHED, checked_params, read_settings
from dreamfusion_mesh.guidance.models.placement import Placement
from dreamfusion_mesh.guidance.models.pretrained import load_error, no_library_output, word_count
from dreamfusion_mesh.guidance.models.schedules import ddpm_schedule, load_schedule
from dreamfusion_mesh.guidance.models.text_condition import TextCondition
from dreamfusion_mesh.guidance.models.text_encoder import Encoder, Reader, TextModel
from dreamfusion_mesh.guidance.models.text_families import TextFolder
from dreamfusion_mesh.guidance.models.tokenizers import load_tokenizer
from dreamfusion_mesh.guidance.weights.folder import Layout, Source, read_json, weight_files
from dreamfusion_mesh.guidance.weights.model_files import ModelFiles
from dreamfusion_mesh.records.diffusion import Prediction, Schedule

_HEAD = 64  # the width of a head of OpenCLIP's text encoders


class Parts(NamedTuple):
    """What is read of a folder, frozen; the networks on the CPU, but for the text encoder's."""

    unet: Any
    text: TextModel
    latents: LatentSpace
    schedule: Schedule
    prediction: Prediction


def load_parts(source: Source, folder: Path, layout: Layout, dtype: torch.dtype, placement: Placement, chosen: ModelFiles | None) -> Parts:
    """All parts, U-Net and autoencoder (`chosen`, or its own) in `dtype`, the text encoder placed. Raises BadInput."""
    with no_library_output():
        return (_load_port if layout is PORT else _load_file)(source, folder, layout, dtype, placement, chosen)


def _load_port(source: Source, folder: Path, layout: Layout, dtype: torch.dtype, placement: Placement, chosen: ModelFiles | None) -> Parts:
    where = "unet/config.json"
    params = checked_params(source, where, {**PUBLISHED["unet"], **read_json(source, folder, where)})
    files = weight_files(source, folder, Layout("", ("unet",), (), {"unet": PORT.weights["unet"]}))
    unet = _unet(source, "unet/", _tensors(files), params)
    text = TextFolder(source, folder, layout, torch.float32, placement).clip()
    latents = read_latents(source, folder, layout, dtype, ("unet", params["in_channels"]), chosen)
    return Parts(_frozen(unet, dtype), text, latents, *load_schedule(source, folder))


def _load_file(source: Source, folder: Path, layout: Layout, dtype: torch.dtype, placement: Placement, chosen: ModelFiles | None) -> Parts:
    where, settings = read_settings(source, folder)
    (file,) = weight_files(source, folder, layout)
    params = checked_params(source, where, settings["unet"])
    unet = _unet(source, file.name, _tensors([file], keys.UNET), params)
    text = _text_model(source, folder, file, placement)
    schedule = _published_schedule(source, where, settings)
    if chosen is None:
        latents = _latents(source, where, file, settings, dtype)
    else:
        latents = read_latents(source, folder, layout, dtype, ("unet", params["in_channels"]), chosen)
    return Parts(_frozen(unet, dtype), text, latents, schedule, "epsilon")


def _latents(source: Source, where: str, file: Path, settings: Mapping[str, Any], dtype: torch.dtype) -> LatentSpace:
    """Those of the original checkpoint's autoencoder, which is float32 where `dtype` is float16, as other autoencoders of its kind are."""
    from diffusers import AutoencoderKL

    config = keys.vae_config(checked_params(source, where, settings["vae"]), settings["scale_factor"])
    found, levels = _tensors([file], keys.VAE, keep=True), len(config["block_out_channels"])
    vae = _built(source, file.name, lambda: AutoencoderKL.from_config(config), lambda: keys.vae_tensors(found, levels), "meta")
    check_scale(source, where, config)
    kept = torch.float32 if dtype == torch.float16 else dtype
    return LatentSpace(_frozen(vae, kept), 2 ** (levels - 1), 1, config["latent_channels"])


def _text_model(source: Source, folder: Path, file: Path, placement: Placement) -> TextModel:
    """The original checkpoint's text encoder, float32, and the tokenizer beside it."""
    tokenizer = load_tokenizer(source, folder, "tokenizer")
    encoder = Encoder(lambda: _frozen(_text_encoder(source, file.name, _tensors([file], keys.TEXT)), torch.float32), placement)
    if (words := word_count(tokenizer)) > encoder.config.vocab_size:
        raise BadInput(f"{source}: tokenizer/ has {words} words, {file.name} {encoder.config.vocab_size}; they belong to different models")
    limit = int(min(encoder.config.max_position_embeddings, tokenizer.model_max_length))
    reader = Reader("", "tokenizer", tokenizer, encoder, limit, lambda output: output.last_hidden_state)
    return TextModel((reader,), lambda made: TextCondition(made[0].states), limit, reader.width, placement.device)


def _published_schedule(source: Source, where: str, settings: Mapping[str, Any]) -> Schedule:
    """That of the original checkpoint: roots of the noise's variances rise linearly. Raises BadInput."""
    ends = {"beta_start": settings["linear_start"], "beta_end": settings["linear_end"]}
    return ddpm_schedule(source, where, {**ends, "num_train_timesteps": settings["timesteps"], "beta_schedule": "scaled_linear"})


def _unet(source: Source, where: str, found: dict[str, Tensor], params: Mapping[str, Any]) -> nn.Module:
    from diffusers import UNet2DConditionModel

    config = keys.unet_config(params)
    return _built(source, where, lambda: UNet2DConditionModel(**config), lambda: keys.unet_tensors(found, params["num_res_blocks"]), "meta")


def _text_encoder(source: Source, where: str, found: dict[str, Tensor]) -> nn.Module:
    from transformers import CLIPTextConfig, CLIPTextModel

    if not {"token_embedding.weight", "positional_embedding"} <= found.keys():
        raise BadInput(f"{source}: {where} has no {keys.TEXT}token_embedding.weight; MVDream on Stable Diffusion 2.1 is read alone")
    words, width = _sides(source, where, found, "token_embedding.weight")
    places, _ = _sides(source, where, found, "positional_embedding")
    config = CLIPTextConfig(
        vocab_size=words,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=keys.text_layers(found),
        num_attention_heads=max(width // _HEAD, 1),
        max_position_embeddings=places,
        hidden_act="gelu",
        bos_token_id=0,
        eos_token_id=words - 1,
    )
    return _built(source, where, lambda: CLIPTextModel(config), lambda: keys.text_tensors(found))


def _sides(source: Source, where: str, found: Mapping[str, Tensor], name: str) -> tuple[int, int]:
    """Of a matrix. Raises BadInput where the tensor is none."""
    if len(shape := found[name].shape) != 2:
        raise BadInput(f"{source}: {where}: {keys.TEXT}{name} has shape {list(shape)}, expected a matrix; download it again")
    return shape[0], shape[1]


def _built(source: Source, where: str, make: Callable[[], Any], convert: Callable[[], dict[str, Tensor]], device: str = "cpu") -> nn.Module:
    """The network with these tensors, all of which it has to take, and no others. On "meta" it is built without memory of its own."""
    try:
        with torch.device(device):
            network: nn.Module = make()
        network.load_state_dict({name: value.contiguous() for name, value in convert().items()}, strict=True, assign=True)
    except Exception as error:
        raise load_error(source, where, error) from error
    return network


def _frozen(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    return network.to(dtype).eval().requires_grad_(False)


def _tensors(files: list[Path], prefix: str = "", keep: bool = False) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix`, which is left out unless `keep`."""
    found = {}
    for file in files:
        with safe_open(str(file), framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118  no mapping
                if name.startswith(prefix):
                    found[name if keep else name.removeprefix(prefix)] = opened.get_tensor(name)
    return found
