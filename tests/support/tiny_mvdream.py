"""MVDream as it is published: the names and shapes of its tensors, and tiny random models in both of its layouts.

Names and shapes are written down from the modules of github.com/bytedance/MVDream at c6a4d392: `MultiViewUNetModel` in
mvdream/ldm/modules/diffusionmodules/openaimodel.py, `SpatialTransformer3D` in mvdream/ldm/modules/attention.py, `Encoder` and `Decoder` in
mvdream/ldm/modules/diffusionmodules/model.py, and OpenCLIP's text transformer; sizes from mvdream/configs/sd-v2-base.yaml. The port's
unet/ (github.com/ashawkey/mvdream_diffusers, mv_unet.py) has the U-Net's names without their prefix.
"""

from __future__ import annotations

import json
import shutil
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tiny_folders import edit_json, write_folder

Shapes = dict[str, tuple[int, ...]]
FULL = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 320,
    "attention_resolutions": [4, 2, 1],
    "num_res_blocks": 2,
    "channel_mult": [1, 2, 4, 4],
    "num_head_channels": 64,
    "transformer_depth": 1,
    "context_dim": 1024,
    "camera_dim": 16,
}
FULL_VAE = {"ch": 128, "ch_mult": [1, 2, 4, 4], "z_channels": 4, "num_res_blocks": 2}
TINY = FULL | {
    "image_size": 4,
    "model_channels": 32,
    "attention_resolutions": [1],
    "num_res_blocks": 1,
    "channel_mult": [1, 2],
    "num_head_channels": 16,
    "context_dim": 16,
}
TINY_VAE = {"ch": 32, "ch_mult": [1, 1], "z_channels": 4, "num_res_blocks": 1}
WIDE = 64  # of the original checkpoint's text encoder, whose heads are 64 wide


def _layer(name: str, *shape: int, bias: bool = True) -> Shapes:
    return {f"{name}.weight": shape} | ({f"{name}.bias": shape[:1]} if bias else {})


def _residual(name: str, given: int, made: int, time: int) -> Shapes:
    parts = _layer(f"{name}.in_layers.0", given) | _layer(f"{name}.in_layers.2", made, given, 3, 3)
    parts |= _layer(f"{name}.emb_layers.1", made, time)
    parts |= _layer(f"{name}.out_layers.0", made) | _layer(f"{name}.out_layers.3", made, made, 3, 3)
    return parts | (_layer(f"{name}.skip_connection", made, given, 1, 1) if given != made else {})


def _transformer(name: str, width: int, words: int, depth: int) -> Shapes:
    parts = _layer(f"{name}.norm", width) | _layer(f"{name}.proj_in", width, width) | _layer(f"{name}.proj_out", width, width)
    for place in range(depth):
        block = f"{name}.transformer_blocks.{place}"
        for attention, read in (("attn1", width), ("attn2", words)):
            for kind, given in (("to_q", width), ("to_k", read), ("to_v", read)):
                parts |= _layer(f"{block}.{attention}.{kind}", width, given, bias=False)
            parts |= _layer(f"{block}.{attention}.to_out.0", width, width)
        parts |= _layer(f"{block}.ff.net.0.proj", 8 * width, width) | _layer(f"{block}.ff.net.2", width, 4 * width)
        for norm in ("norm1", "norm2", "norm3"):
            parts |= _layer(f"{block}.{norm}", width)
    return parts


def unet_shapes(params: dict[str, Any]) -> Shapes:
    """Of `MultiViewUNetModel`."""
    base, words, depth = params["model_channels"], params["context_dim"], params["transformer_depth"]
    time = 4 * base
    parts = _layer("time_embed.0", time, base) | _layer("time_embed.2", time, time)
    parts |= _layer("camera_embed.0", time, params["camera_dim"]) | _layer("camera_embed.2", time, time)
    parts |= _layer("input_blocks.0.0", base, params["in_channels"], 3, 3)
    kept, width, place = [base], base, 1
    levels = [(level, base * factor) for level, factor in enumerate(params["channel_mult"])]
    for level, made in levels:
        for _ in range(params["num_res_blocks"]):
            parts |= _residual(f"input_blocks.{place}.0", width, made, time)
            width = made
            if 2**level in params["attention_resolutions"]:
                parts |= _transformer(f"input_blocks.{place}.1", width, words, depth)
            kept, place = [*kept, width], place + 1
        if level < len(levels) - 1:
            parts |= _layer(f"input_blocks.{place}.0.op", width, width, 3, 3)
            kept, place = [*kept, width], place + 1
    parts |= _residual("middle_block.0", width, width, time) | _transformer("middle_block.1", width, words, depth)
    parts |= _residual("middle_block.2", width, width, time)
    place = 0
    for level, made in reversed(levels):
        for turn in range(params["num_res_blocks"] + 1):
            parts |= _residual(f"output_blocks.{place}.0", width + kept.pop(), made, time)
            width, after = made, 1
            if 2**level in params["attention_resolutions"]:
                parts |= _transformer(f"output_blocks.{place}.1", width, words, depth)
                after = 2
            if level and turn == params["num_res_blocks"]:
                parts |= _layer(f"output_blocks.{place}.{after}.conv", width, width, 3, 3)
            place += 1
    return parts | _layer("out.0", width) | _layer("out.2", params["out_channels"], width, 3, 3)


def _vae_block(name: str, given: int, made: int) -> Shapes:
    parts = _layer(f"{name}.norm1", given) | _layer(f"{name}.conv1", made, given, 3, 3)
    parts |= _layer(f"{name}.norm2", made) | _layer(f"{name}.conv2", made, made, 3, 3)
    return parts | (_layer(f"{name}.nin_shortcut", made, given, 1, 1) if given != made else {})


def _vae_middle(name: str, width: int) -> Shapes:
    parts = _vae_block(f"{name}.mid.block_1", width, width) | _vae_block(f"{name}.mid.block_2", width, width)
    parts |= _layer(f"{name}.mid.attn_1.norm", width)
    for kind in ("q", "k", "v", "proj_out"):
        parts |= _layer(f"{name}.mid.attn_1.{kind}", width, width, 1, 1)
    return parts


def vae_shapes(params: dict[str, Any]) -> Shapes:
    """Of `AutoencoderKL`."""
    base, latent, count = params["ch"], params["z_channels"], params["num_res_blocks"]
    widths = [base * factor for factor in params["ch_mult"]]
    parts, width = _layer("encoder.conv_in", base, 3, 3, 3), base
    for level, made in enumerate(widths):
        for block in range(count):
            parts |= _vae_block(f"encoder.down.{level}.block.{block}", width, made)
            width = made
        if level < len(widths) - 1:
            parts |= _layer(f"encoder.down.{level}.downsample.conv", width, width, 3, 3)
    parts |= _vae_middle("encoder", width) | _layer("encoder.norm_out", width) | _layer("encoder.conv_out", 2 * latent, width, 3, 3)
    parts |= _layer("decoder.conv_in", width, latent, 3, 3) | _vae_middle("decoder", width)
    for level, made in reversed([*enumerate(widths)]):
        for block in range(count + 1):
            parts |= _vae_block(f"decoder.up.{level}.block.{block}", width, made)
            width = made
        if level:
            parts |= _layer(f"decoder.up.{level}.upsample.conv", width, width, 3, 3)
    parts |= _layer("decoder.norm_out", width) | _layer("decoder.conv_out", 3, width, 3, 3)
    return parts | _layer("quant_conv", 2 * latent, 2 * latent, 1, 1) | _layer("post_quant_conv", latent, latent, 1, 1)


def text_shapes(words: int, places: int, width: int, layers: int) -> Shapes:
    """Of OpenCLIP's text transformer, its last layer too, which Stable Diffusion 2 leaves out."""
    parts: Shapes = {"positional_embedding": (places, width), "text_projection": (width, width), "logit_scale": ()}
    parts |= _layer("token_embedding", words, width, bias=False) | _layer("ln_final", width)
    for place in range(layers):
        name = f"transformer.resblocks.{place}"
        parts |= _layer(f"{name}.ln_1", width) | _layer(f"{name}.ln_2", width) | _layer(f"{name}.attn.out_proj", width, width)
        parts |= {f"{name}.attn.in_proj_weight": (3 * width, width), f"{name}.attn.in_proj_bias": (3 * width,)}
        parts |= _layer(f"{name}.mlp.c_fc", 4 * width, width) | _layer(f"{name}.mlp.c_proj", width, 4 * width)
    return parts


def random_tensors(shapes: Shapes, prefix: str = "", seed: int = 0) -> dict[str, torch.Tensor]:
    """Seeded weights of about the size that a trained network has; norms are near one."""
    draws, made = torch.Generator().manual_seed(seed), {}
    for name, shape in shapes.items():
        values = torch.randn(shape, generator=draws)
        fan = max(torch.Size(shape[1:]).numel(), 1)
        made[prefix + name] = 1 + 0.1 * values if len(shape) == 1 and name.endswith("weight") else values / fan**0.5
    return made


def write_port(folder: Path, params: dict[str, Any] | None = None, seed: int = 0) -> Path:
    """MVDream in the layout of its port: unet/ with the original names, the other parts as diffusers saves them."""
    params = params or TINY
    write_folder(folder, channels=4, vae=True)
    edit_json(folder / "scheduler" / "scheduler_config.json", beta_start=0.00085, beta_end=0.012)
    shutil.rmtree(folder / "unet")
    (folder / "unet").mkdir()
    config = {"_class_name": "MultiViewUNetModel", "_diffusers_version": "0.25.0", **params}
    (folder / "unet" / "config.json").write_text(json.dumps(config))
    save_file(random_tensors(unet_shapes(params), seed=seed), folder / "unet" / "diffusion_pytorch_model.safetensors")
    classes = {"_class_name": "MVDreamPipeline", "unet": ["mv_unet", "MultiViewUNetModel"], "vae": ["diffusers", "AutoencoderKL"]}
    (folder / "model_index.json").write_text(json.dumps(classes))
    return folder


def checkpoint_tensors(params: dict[str, Any], seed: int = 0) -> dict[str, torch.Tensor]:
    """A tiny original checkpoint: three networks in one file, and buffers of the noise's schedule."""
    found = random_tensors(unet_shapes(params), "model.diffusion_model.", seed)
    found |= random_tensors(vae_shapes(TINY_VAE), "first_stage_model.", seed)
    found |= random_tensors(text_shapes(256, 24, WIDE, 2), "cond_stage_model.model.", seed)
    return found | {"betas": torch.linspace(0.01, 0.1, 1000)}


def write_checkpoint(folder: Path, seed: int = 0) -> Path:
    """MVDream as its authors publish it, converted to safetensors, with its configuration and a tokenizer beside it."""
    params = TINY | {"context_dim": WIDE}
    folder.mkdir()
    save_file(checkpoint_tensors(params, seed), folder / "sd-v2.1-base-4view.safetensors")
    shutil.copytree(Path(str(resources.files("dreamfusion_mesh.guidance"))) / "prior" / "tokenizer", folder / "tokenizer")
    edit_json(folder / "tokenizer" / "tokenizer_config.json", model_max_length=24)
    settings = {
        "linear_start": 0.00085,
        "linear_end": 0.012,
        "timesteps": 1000,
        "scale_factor": 0.18215,
        "unet_config": {"target": "mvdream.MultiViewUNetModel", "params": params},
        "first_stage_config": {"params": {"embed_dim": 4, "ddconfig": TINY_VAE}},
    }
    (folder / "sd-v2-base.yaml").write_text(json.dumps({"model": {"params": settings}}))
    return folder
