"""MVDream's published tensors, by name and shape, are all of those that our networks have, and nothing is left over."""

from __future__ import annotations

from typing import Any

import torch
from tiny_mvdream import FULL, FULL_VAE, Shapes, text_shapes, unet_shapes, vae_shapes

from dreamfusion_mesh.guidance.models import mvdream_keys as keys
from dreamfusion_mesh.guidance.models.mvdream_folder import PUBLISHED


def meta(shapes: Shapes, prefix: str = "") -> dict[str, torch.Tensor]:
    return {prefix + name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


def shapes_of(tensors: dict[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in tensors.items()}


def test_the_published_sizes_are_those_of_the_authors_configuration() -> None:
    assert PUBLISHED["unet"] == FULL
    assert PUBLISHED["vae"] == FULL_VAE


def test_names_and_shapes_are_those_that_the_checkpoint_is_known_to_have() -> None:
    """The rules of tiny_mvdream.py against tensors that are known one by one from checkpoints of Stable Diffusion 2.1, and the camera's."""
    unet, vae, text = unet_shapes(FULL), vae_shapes(FULL_VAE), text_shapes(49408, 77, 1024, 24)
    known = {
        "camera_embed.0.weight": (1280, 16),
        "camera_embed.0.bias": (1280,),
        "camera_embed.2.weight": (1280, 1280),
        "time_embed.0.weight": (1280, 320),
        "input_blocks.0.0.weight": (320, 4, 3, 3),
        "input_blocks.1.1.proj_in.weight": (320, 320),
        "input_blocks.1.1.transformer_blocks.0.attn1.to_k.weight": (320, 320),
        "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (320, 1024),
        "input_blocks.3.0.op.weight": (320, 320, 3, 3),
        "input_blocks.4.0.skip_connection.weight": (640, 320, 1, 1),
        "input_blocks.8.1.transformer_blocks.0.ff.net.0.proj.weight": (10240, 1280),
        "middle_block.1.transformer_blocks.0.attn2.to_v.weight": (1280, 1024),
        "output_blocks.2.1.conv.weight": (1280, 1280, 3, 3),
        "output_blocks.5.2.conv.weight": (1280, 1280, 3, 3),
        "output_blocks.8.0.in_layers.2.weight": (640, 960, 3, 3),
        "output_blocks.11.1.transformer_blocks.0.norm3.bias": (320,),
        "out.2.weight": (4, 320, 3, 3),
    }
    assert {name: unet[name] for name in known} == known
    assert len(unet) == 686 + 4  # those of Stable Diffusion 2.1, and the camera's
    assert sum(torch.Size(shape).numel() for shape in unet.values()) == 867_572_164  # 1.74 GB in half precision, as the port's file is
    assert vae["decoder.up.3.block.2.conv2.weight"] == (512, 512, 3, 3)
    assert vae["encoder.down.1.block.0.nin_shortcut.weight"] == (256, 128, 1, 1)
    assert sum(torch.Size(shape).numel() for shape in vae.values()) == 83_653_863
    assert text["transformer.resblocks.23.attn.in_proj_weight"] == (3072, 1024)


def test_the_u_net_takes_every_published_tensor_and_no_other() -> None:
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        network = UNet2DConditionModel(**keys.unet_config(FULL))
    made = keys.unet_tensors(meta(unet_shapes(FULL)), 2)
    assert shapes_of(made) == shapes_of(network.state_dict())
    assert len(made) == len(unet_shapes(FULL))


def test_the_autoencoder_takes_every_published_tensor_and_no_other() -> None:
    from diffusers import AutoencoderKL

    with torch.device("meta"):
        network = AutoencoderKL.from_config(keys.vae_config(FULL_VAE, 0.18215))
    made = keys.vae_tensors(meta(vae_shapes(FULL_VAE), keys.VAE), 4)
    assert shapes_of(made) == shapes_of(network.state_dict())
    assert len(made) == len(vae_shapes(FULL_VAE))


def test_the_text_encoder_takes_all_layers_but_the_last() -> None:
    from transformers import CLIPTextConfig, CLIPTextModel

    shapes = text_shapes(49408, 77, 1024, 24)
    assert keys.text_layers(meta(shapes)) == 23
    sizes: dict[str, Any] = {"vocab_size": 49408, "hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16}
    with torch.device("meta"):
        network = CLIPTextModel(CLIPTextConfig(num_hidden_layers=23, max_position_embeddings=77, **sizes))
    assert shapes_of(keys.text_tensors(meta(shapes))) == shapes_of(network.state_dict())


def test_queries_keys_and_values_are_thirds_of_the_published_tensor() -> None:
    found = {"transformer.resblocks.0.attn.in_proj_bias": torch.arange(6.0), "transformer.resblocks.1.ln_1.bias": torch.zeros(2)}
    made = keys.text_tensors(found)
    assert {name: value.tolist() for name, value in made.items()} == {
        "encoder.layers.0.self_attn.q_proj.bias": [0, 1],
        "encoder.layers.0.self_attn.k_proj.bias": [2, 3],
        "encoder.layers.0.self_attn.v_proj.bias": [4, 5],
    }
