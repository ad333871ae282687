"""Tiny random models in the diffusers layout, written by the libraries themselves."""

import json
import shutil
from importlib import resources
from pathlib import Path

import torch

WIDTH = 16  # of the words


def write_folder(folder, channels=3, made=None, prediction="epsilon", vae=False, seed=0, multiview=False):
    """A folder with a U-Net of 8 x 8 and the embedded model's tokenizer; returns it."""
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(seed)
    cameras = {"class_embed_type": "projection", "projection_class_embeddings_input_dim": 5} if multiview else {}
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=channels,
        out_channels=made or channels,
        block_out_channels=(8,),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D",),
        up_block_types=("CrossAttnUpBlock2D",),
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        norm_num_groups=4,
        **cameras,
    )
    unet.save_pretrained(folder / "unet")
    text = CLIPTextConfig(
        vocab_size=256, hidden_size=WIDTH, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, max_position_embeddings=24
    )
    CLIPTextModel(text).save_pretrained(folder / "text_encoder")
    DDIMScheduler(beta_schedule="scaled_linear", prediction_type=prediction).save_pretrained(folder / "scheduler")
    shutil.copytree(Path(str(resources.files("dreamfusion_mesh.guidance"))) / "prior" / "tokenizer", folder / "tokenizer")
    edit_json(folder / "tokenizer" / "tokenizer_config.json", model_max_length=24)
    if multiview:
        (folder / "model_index.json").write_text('{"multiview": 4}')
    if vae:
        blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
        coder = AutoencoderKL(block_out_channels=(4, 8), norm_num_groups=2, latent_channels=4, scaling_factor=0.5, **blocks)
        coder.save_pretrained(folder / "vae")
    return folder


def edit_json(file, **values):
    """Set keys of a JSON object; None takes them out."""
    kept = {**json.loads(file.read_text()), **values}
    file.write_text(json.dumps({key: value for key, value in kept.items() if value is not None}))
