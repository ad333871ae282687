"""The published tensors of MVDream, under the names that diffusers and transformers have for the same networks.

MVDream's U-Net is that of Stable Diffusion 2.1 with an MLP on the camera, added to the embedding of the time, which is what diffusers makes
of `class_embed_type` "projection". Source: the names that github.com/bytedance/MVDream (MIT) gives its modules.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

Tensors = Mapping[str, Tensor]
UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.model."
CAMERA = f"{UNET}camera_embed.0.weight"  # [width, 16]: what tells MVDream's checkpoint from others
_CAMERA_LAYERS = {"camera_embed.0": "class_embedding.linear_1", "camera_embed.2": "class_embedding.linear_2"}
_LAYER = re.compile(r"transformer\.resblocks\.(\d{1,4})\..+", re.ASCII)
_TEXT_NAMES = {
    "token_embedding.weight": "embeddings.token_embedding.weight",
    "positional_embedding": "embeddings.position_embedding.weight",
    "ln_final.weight": "final_layer_norm.weight",
    "ln_final.bias": "final_layer_norm.bias",
}
_LAYER_NAMES = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}


def unet_tensors(found: Tensors, blocks: int) -> dict[str, Tensor]:
    """The U-Net's tensors, without the prefix UNET and with `blocks` residual blocks a level, as diffusers names them."""
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    converted: dict[str, Tensor] = convert_ldm_unet_checkpoint(
        {UNET + name: value for name, value in found.items()}, {"layers_per_block": blocks}
    )
    for theirs, ours in _CAMERA_LAYERS.items():
        for kind in ("weight", "bias"):
            if f"{theirs}.{kind}" in found:
                converted[f"{ours}.{kind}"] = found[f"{theirs}.{kind}"]
    return converted


def vae_tensors(found: Tensors, levels: int) -> dict[str, Tensor]:
    """The autoencoder's tensors, with the prefix VAE and as many `levels`, as diffusers names them."""
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

    blocks = {"down_block_types": [None] * levels, "up_block_types": [None] * levels}
    converted: dict[str, Tensor] = convert_ldm_vae_checkpoint(found, blocks)
    return converted


def text_layers(found: Tensors) -> int:
    """Layers that are used of an OpenCLIP text encoder without the prefix TEXT: all but the last, as Stable Diffusion 2 has it."""
    return max(len({_layer_of(name) for name in found} - {None}) - 1, 0)


def _layer_of(name: str) -> int | None:
    """The layer that a tensor of an OpenCLIP text encoder belongs to, if any."""
    found = _LAYER.fullmatch(name)
    return int(found[1]) if found else None


def text_tensors(found: Tensors) -> dict[str, Tensor]:
    """The tensors of an OpenCLIP text encoder, without the prefix TEXT, as transformers' CLIPTextModel names them."""
    converted = {ours: found[theirs] for theirs, ours in _TEXT_NAMES.items() if theirs in found}
    used = text_layers(found)
    for name, value in found.items():
        place = _layer_of(name)
        if place is None or place >= used:
            continue
        layer, within = f"encoder.layers.{place}", name.split(".", 3)[3]
        if within in ("attn.in_proj_weight", "attn.in_proj_bias"):
            kind = within.removeprefix("attn.in_proj_")
            for part, share in zip("qkv", value.chunk(3), strict=True):
                converted[f"{layer}.self_attn.{part}_proj.{kind}"] = share
        else:
            module, _, kind = within.rpartition(".")
            converted[f"{layer}.{_LAYER_NAMES.get(module, module)}.{kind}"] = value
    return converted


def unet_config(params: Mapping[str, Any]) -> dict[str, Any]:
    """MVDream's parameters of its U-Net as a config of diffusers' UNet2DConditionModel.

    `num_head_channels` is the width of a head; diffusers takes their number, under the name attention_head_dim.
    """
    widths = [params["model_channels"] * factor for factor in params["channel_mult"]]
    attention = [2**level in params["attention_resolutions"] for level in range(len(widths))]
    return {
        "sample_size": params["image_size"],
        "in_channels": params["in_channels"],
        "out_channels": params["out_channels"],
        "block_out_channels": widths,
        "layers_per_block": params["num_res_blocks"],
        "down_block_types": ["CrossAttnDownBlock2D" if has else "DownBlock2D" for has in attention],
        "up_block_types": ["CrossAttnUpBlock2D" if has else "UpBlock2D" for has in reversed(attention)],
        "attention_head_dim": [max(width // params["num_head_channels"], 1) for width in widths],
        "transformer_layers_per_block": params["transformer_depth"],
        "cross_attention_dim": params["context_dim"],
        "use_linear_projection": True,
        "class_embed_type": "projection",
        "projection_class_embeddings_input_dim": params["camera_dim"],
    }


def vae_config(params: Mapping[str, Any], scale: float) -> dict[str, Any]:
    """The parameters ("ddconfig") of the autoencoder as a config of diffusers' AutoencoderKL."""
    widths = [params["ch"] * factor for factor in params["ch_mult"]]
    return {
        "_class_name": "AutoencoderKL",
        "block_out_channels": widths,
        "down_block_types": ["DownEncoderBlock2D"] * len(widths),
        "up_block_types": ["UpDecoderBlock2D"] * len(widths),
        "latent_channels": params["z_channels"],
        "layers_per_block": params["num_res_blocks"],
        "scaling_factor": scale,
    }
