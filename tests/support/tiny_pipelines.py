"""Tiny random models of every published family, made and saved by diffusers' own pipeline classes."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import torch

WIDTH = 16  # of the words
CLIP_TOKENS = 24
QWEN_LAYERS = 27  # the last that FLUX.2 reads
CHAT = (  # what Qwen3's template comes to for one message of a user
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)


def tokenizer(longest: int = 512) -> Any:
    """The embedded model's, of 24 tokens at most or more."""
    from transformers import PreTrainedTokenizerFast

    file = Path(str(resources.files("dreamfusion_mesh.guidance"))) / "prior" / "tokenizer" / "tokenizer.json"
    found = PreTrainedTokenizerFast(tokenizer_file=str(file), model_max_length=longest, pad_token="<pad>", unk_token="<unk>")
    return found


def write_pipeline(family: str, folder: Path, **saved: Any) -> Any:
    """Save a tiny model of the family into `folder` and return the pipeline that it was; `saved` goes to save_pretrained."""
    torch.manual_seed(0)
    pipeline = FAMILIES[family]()
    pipeline.set_progress_bar_config(disable=True)
    for name in pipeline.components:
        if isinstance(part := getattr(pipeline, name), torch.nn.Module):
            part.eval().requires_grad_(False)
            for weight in part.parameters():
                if not weight.any():  # a gate that begins closed would hide what is behind it
                    weight.normal_(std=0.2)
    pipeline.save_pretrained(folder, **saved)
    return pipeline


def _stable_diffusion(prediction: str = "epsilon") -> Any:
    from diffusers import StableDiffusionPipeline

    parts = {"unet": _unet(4), "vae": _vae(4), "text_encoder": _clip(), "tokenizer": tokenizer(CLIP_TOKENS), "scheduler": _ddim(prediction)}
    return StableDiffusionPipeline(**parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False)


def _xl() -> Any:
    from diffusers import StableDiffusionXLPipeline

    own = {
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 6 * 8 + WIDTH,
        "cross_attention_dim": 2 * WIDTH,
    }
    clips = {"text_encoder": _clip(), "text_encoder_2": _clip(vectors=True)}
    words = {"tokenizer": tokenizer(CLIP_TOKENS), "tokenizer_2": tokenizer(CLIP_TOKENS)}
    return StableDiffusionXLPipeline(unet=_unet(4, **own), vae=_vae(4), scheduler=_ddim(), **clips, **words, add_watermarker=False)


def _deepfloyd() -> Any:
    from diffusers import DDPMScheduler, IFPipeline

    own = {
        "out_channels": 6,
        "encoder_hid_dim": WIDTH,
        "encoder_hid_dim_type": "text_proj",
        "cross_attention_dim": 12,
        "addition_embed_type": "text",
        "addition_embed_type_num_heads": 2,
        "down_block_types": ("SimpleCrossAttnDownBlock2D",),
        "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
        "up_block_types": ("SimpleCrossAttnUpBlock2D",),
    }
    scheduler = DDPMScheduler(beta_schedule="squaredcos_cap_v2", variance_type="learned_range", thresholding=True)
    none = {"safety_checker": None, "feature_extractor": None, "watermarker": None, "requires_safety_checker": False}
    return IFPipeline(unet=_unet(3, **own), text_encoder=_t5(), tokenizer=tokenizer(), scheduler=scheduler, **none)


def _sd3() -> Any:
    from diffusers import SD3Transformer2DModel, StableDiffusion3Pipeline

    transformer = SD3Transformer2DModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=2 * WIDTH,
        caption_projection_dim=16,
        pooled_projection_dim=2 * WIDTH,
        pos_embed_max_size=16,
    )
    clips = {"text_encoder": _clip(vectors=True), "text_encoder_2": _clip(vectors=True), "text_encoder_3": _t5(2 * WIDTH)}
    words = {"tokenizer": tokenizer(CLIP_TOKENS), "tokenizer_2": tokenizer(CLIP_TOKENS), "tokenizer_3": tokenizer()}
    vae = _vae(4, scaling_factor=1.5, shift_factor=0.06, use_quant_conv=False, use_post_quant_conv=False)
    return StableDiffusion3Pipeline(transformer=transformer, vae=vae, scheduler=_flow(shift=3.0), **clips, **words)


def _pixart() -> Any:
    from diffusers import DPMSolverMultistepScheduler, PixArtSigmaPipeline, PixArtTransformer2DModel

    transformer = PixArtTransformer2DModel(
        sample_size=8,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        cross_attention_dim=16,
        caption_channels=WIDTH,
        norm_num_groups=2,
        use_additional_conditions=False,
    )
    parts = {"text_encoder": _t5(), "tokenizer": tokenizer(), "vae": _vae(4)}
    return PixArtSigmaPipeline(transformer=transformer, scheduler=DPMSolverMultistepScheduler(), **parts)


def _prx() -> Any:
    from diffusers import PRXPipeline, PRXTransformer2DModel
    from transformers.models.t5gemma import T5GemmaConfig
    from transformers.models.t5gemma.modeling_t5gemma import T5GemmaEncoder

    own = {"vocab_size": 256, "hidden_size": WIDTH, "intermediate_size": 16, "num_hidden_layers": 1}
    own |= {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8}
    transformer = PRXTransformer2DModel(
        in_channels=4, context_in_dim=WIDTH, hidden_size=16, mlp_ratio=2.0, num_heads=2, depth=1, axes_dim=[4, 4]
    )
    parts = {"text_encoder": T5GemmaEncoder(T5GemmaConfig(encoder=own, decoder=own).encoder), "tokenizer": tokenizer(256)}
    return PRXPipeline(transformer=transformer, scheduler=_flow(shift=3.0), vae=_vae(4, shift_factor=0.1), default_sample_size=16, **parts)


def _flux2() -> Any:
    from diffusers import AutoencoderKLFlux2, Flux2KleinPipeline, Flux2Transformer2DModel
    from transformers import Qwen3Config, Qwen3ForCausalLM

    own = {"vocab_size": 256, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": QWEN_LAYERS}
    own |= {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 4}
    transformer = Flux2Transformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=3 * 8,
        timestep_guidance_channels=16,
        axes_dims_rope=(2, 2, 2, 2),
        guidance_embeds=False,
    )
    vae = AutoencoderKLFlux2(**_BLOCKS, latent_channels=4, norm_num_groups=2, sample_size=16)
    vae.bn.running_mean.uniform_(-0.5, 0.5)
    vae.bn.running_var.uniform_(0.5, 2.0)
    words = tokenizer()
    words.chat_template = CHAT
    scheduler = _flow(use_dynamic_shifting=True, shift=3.0)
    text = Qwen3ForCausalLM(Qwen3Config(**own))
    return Flux2KleinPipeline(scheduler, vae, text, words, transformer)


FAMILIES: dict[str, Callable[[], Any]] = {
    "stable diffusion": _stable_diffusion,
    "v-prediction": lambda: _stable_diffusion("v_prediction"),
    "xl": _xl,
    "deepfloyd": _deepfloyd,
    "sd3": _sd3,
    "pixart": _pixart,
    "prx": _prx,
    "flux2": _flux2,
}
_BLOCKS: dict[str, Any] = {
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "block_out_channels": (4, 8),
    "layers_per_block": 1,
}


def _unet(channels: int, **own: Any) -> Any:
    from diffusers import UNet2DConditionModel

    given = {
        "sample_size": 8,
        "in_channels": channels,
        "out_channels": channels,
        "block_out_channels": (8,),
        "layers_per_block": 1,
        "down_block_types": ("CrossAttnDownBlock2D",),
        "up_block_types": ("CrossAttnUpBlock2D",),
        "cross_attention_dim": WIDTH,
        "attention_head_dim": 4,
        "norm_num_groups": 4,
    }
    return UNet2DConditionModel(**{**given, **own})


def _vae(channels: int, **own: Any) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(**_BLOCKS, norm_num_groups=2, latent_channels=channels, **{"scaling_factor": 0.5, **own})


def _clip(vectors: bool = False) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=256,
        hidden_size=WIDTH,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=CLIP_TOKENS,
        projection_dim=WIDTH,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
    )
    return (CLIPTextModelWithProjection if vectors else CLIPTextModel)(config)


def _t5(width: int = WIDTH) -> Any:
    from transformers import T5Config, T5EncoderModel

    return T5EncoderModel(T5Config(vocab_size=256, d_model=width, d_kv=8, d_ff=16, num_layers=1, num_heads=2))


def _ddim(prediction: str = "epsilon") -> Any:
    from diffusers import DDIMScheduler

    more = {"clip_sample": False, "steps_offset": 1, "set_alpha_to_one": False}  # as Stable Diffusion's folder has them
    return DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type=prediction, **more)


def _flow(**own: Any) -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(**own)
