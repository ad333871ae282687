"""Diffusion models of published sizes with random weights: what a step costs, for want of the weights themselves.

A further family is a function in SIZES that builds its networks; what a step asks of them, guidance knows.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch

from dreamfusion_mesh.config import MULTIVIEW, GuidanceSettings
from dreamfusion_mesh.guidance.models.denoiser import Denoiser
from dreamfusion_mesh.guidance.models.diffusion import DiffusionModel
from dreamfusion_mesh.guidance.models.latents import LatentSpace
from dreamfusion_mesh.guidance.models.multiview import set_multiview_attention
from dreamfusion_mesh.guidance.models.mvdream import MVDreamUNet
from dreamfusion_mesh.guidance.models.mvdream_folder import PUBLISHED
from dreamfusion_mesh.guidance.models.mvdream_keys import unet_config
from dreamfusion_mesh.guidance.models.prompted import PromptedDiffusion
from dreamfusion_mesh.guidance.models.text_condition import TextCondition
from dreamfusion_mesh.guidance.models.unet import LAYOUT, UNet
from dreamfusion_mesh.guidance.schedule import variance_preserving
from dreamfusion_mesh.guidance.weights.folder import Source
from dreamfusion_mesh.guidance.weights.model_files import ModelFiles

_SD: dict[str, Any] = {"in_channels": 4, "out_channels": 4, "block_out_channels": (320, 640, 1280, 1280), "sample_size": 64}
_XL: dict[str, Any] = {
    **{"in_channels": 4, "out_channels": 4, "sample_size": 128, "block_out_channels": (320, 640, 1280)},
    **{"down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D")},
    **{"up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D")},
    **{"attention_head_dim": (5, 10, 20), "transformer_layers_per_block": (1, 2, 10), "cross_attention_dim": 2048},
    **{"use_linear_projection": True, "addition_embed_type": "text_time", "addition_time_embed_dim": 256},
    "projection_class_embeddings_input_dim": 2816,
}
# github.com/deep-floyd/IF, deepfloyd_if/model/unet.py, as huggingface.co/DeepFloyd/IF-I-XL-v1.0 has it for diffusers.
_IF: dict[str, Any] = {
    **{"in_channels": 3, "out_channels": 6, "sample_size": 64, "block_out_channels": (704, 1408, 2112, 2816), "layers_per_block": 3},
    **{"down_block_types": ("ResnetDownsampleBlock2D", *("SimpleCrossAttnDownBlock2D",) * 3)},
    **{"up_block_types": (*("SimpleCrossAttnUpBlock2D",) * 3, "ResnetUpsampleBlock2D")},
    **{"mid_block_type": "UNetMidBlock2DSimpleCrossAttn", "attention_head_dim": 64, "resnet_time_scale_shift": "scale_shift"},
    **{"encoder_hid_dim": 4096, "encoder_hid_dim_type": "text_proj", "cross_attention_dim": 2816, "act_fn": "gelu"},
    **{"addition_embed_type": "text", "addition_embed_type_num_heads": 64, "cross_attention_norm": "group_norm"},
}
_TINY: dict[str, Any] = {
    **{"in_channels": 4, "out_channels": 4, "sample_size": 8, "block_out_channels": (32, 64), "cross_attention_dim": 32},
    **{"down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"), "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D")},
    **{"attention_head_dim": 2, "layers_per_block": 1},
}


class Built(NamedTuple):
    """A model's networks, and what its texts are: `length` states of `width` numbers, and `pooled` numbers for the whole text."""

    denoiser: Denoiser
    latents: LatentSpace
    length: int
    width: int
    pooled: int = 0


def random_model(name: str, device: torch.device, dtype: torch.dtype, settings: GuidanceSettings) -> PromptedDiffusion:
    """A model of one of SIZES, in `dtype` on `device`, bound to random texts and to `settings`; it sees views together where it can."""
    kept = torch.get_default_dtype()
    torch.set_default_dtype(dtype)  # so that large ones are never held in single precision
    try:
        with torch.device(device):
            built = SIZES[name]()
    finally:
        torch.set_default_dtype(kept)
    for network in (built.denoiser.network, built.latents.vae):
        if network is not None:
            network.eval().requires_grad_(False)
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000).square()
    model = DiffusionModel(
        files=ModelFiles(Source("guidance", f"random-{name}", "--model", Path()), Path(), LAYOUT),  # for messages: nothing was read
        loaded_with=settings.model_copy(update={"half_precision": dtype != torch.float32}).loaded_with,
        denoiser=built.denoiser,
        text=cast(Any, None),
        latents=built.latents,
        schedule=variance_preserving((1 - betas).cumprod(0)).to(device),
        prediction="epsilon",
        size=built.denoiser.network.config.sample_size * built.latents.scale,
    )
    draws = torch.Generator().manual_seed(0)
    states = torch.randn(9, built.length, built.width, generator=draws).to(device)
    pooled = torch.randn(9, built.pooled, generator=draws).to(device) if built.pooled else None
    texts = TextCondition(states, pooled)
    together = {"multiview": True} if built.denoiser.takes_cameras else {}
    return PromptedDiffusion(model, settings.model_copy(update=together), texts[:8], texts[8:], texts[9:])


def _unet(config: dict[str, Any]) -> UNet:
    from diffusers import UNet2DConditionModel

    return UNet(UNet2DConditionModel(**config))


def _autoencoder(widths: tuple[int, ...] = (128, 256, 512, 512), blocks: int = 2) -> LatentSpace:
    from diffusers import AutoencoderKL

    config = {
        **{"_class_name": "AutoencoderKL", "block_out_channels": widths, "layers_per_block": blocks, "latent_channels": 4},
        **{"down_block_types": ("DownEncoderBlock2D",) * len(widths), "up_block_types": ("UpDecoderBlock2D",) * len(widths)},
    }
    vae: Any = AutoencoderKL.from_config(config)
    vae.decoder = None  # a step only encodes
    return LatentSpace(vae, 2 ** (len(widths) - 1), 1, 4)


def _mvdream() -> Built:
    from diffusers import UNet2DConditionModel

    network = UNet2DConditionModel(**unet_config(PUBLISHED["unet"]))
    set_multiview_attention(network)
    return Built(MVDreamUNet(network, takes_cameras=True), _autoencoder(), 77, 1024)


SIZES: dict[str, Callable[[], Built]] = {
    "tiny": lambda: Built(_unet(_TINY), _autoencoder((32, 32), 1), 16, 32),
    "sd15": lambda: Built(_unet({**_SD, "attention_head_dim": 8, "cross_attention_dim": 768}), _autoencoder(), 77, 768),
    "sd21": lambda: Built(
        _unet({**_SD, "attention_head_dim": (5, 10, 20, 20), "cross_attention_dim": 1024, "use_linear_projection": True}),
        _autoencoder(),
        77,
        1024,
    ),
    "sdxl": lambda: Built(_unet(_XL), _autoencoder(), 77, 2048, 1280),
    "if": lambda: Built(_unet(_IF), LatentSpace(None, 1, 1, 3), 77, 4096),
    "mvdream": _mvdream,
}
VIEWS = MULTIVIEW  # of a step, that all sizes can see
