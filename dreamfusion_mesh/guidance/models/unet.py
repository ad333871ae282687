"""The U-Nets of diffusers, in pixel space or on latents: Stable Diffusion, its XL form, DeepFloyd IF, and multi-view ones.

Read from a folder that `folder.open_folder` has checked. Every failure is BadInput in one line.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dreamfusion_mesh.config import MULTIVIEW
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.models.denoiser import Denoiser, Question, checked_side, refuse_without_words
from dreamfusion_mesh.guidance.models.low_rank import check_peft
from dreamfusion_mesh.guidance.models.multiview import CAMERA_NUMBERS, camera_numbers, predict_views, set_multiview_attention
from dreamfusion_mesh.guidance.models.pretrained import check_extent, load_network
from dreamfusion_mesh.guidance.models.text_encoder import TextModel
from dreamfusion_mesh.guidance.models.text_families import TextFolder
from dreamfusion_mesh.guidance.weights.folder import INDEX, Layout, Source, read_json
from dreamfusion_mesh.records import Cameras

LAYOUT = Layout(
    name="in the diffusers layout, which has unet/ or transformer/, text_encoder/, tokenizer/ and scheduler/",
    required=("unet", "text_encoder", "tokenizer", "scheduler"),
    optional=("vae", "text_encoder_2", "tokenizer_2"),  # of a model that works on latents, and of one with two text encoders
    weights={"unet": "diffusion_pytorch_model", "text_encoder": "model", "vae": "diffusion_pytorch_model", "text_encoder_2": "model"},
)
_KIND = "UNet2DConditionModel"
_CONDITIONS = {  # inputs that a U-Net may need beside noise, time and text
    "addition_embed_type": (None, "text", "text_time"),
    "encoder_hid_dim_type": (None, "text_proj"),
    "class_embed_type": (None, "projection"),  # the latter of a multi-view model's cameras, and of nothing else
    "num_class_embeds": (None,),
}
_XL = "text_time"
_XL_NUMBERS = 6  # height and width of the original, top and left of the crop, height and width that are asked for
_BLOCKS = {  # of a U-Net's config, and what diffusers takes where it does not say
    "down_block_types": ("CrossAttnDownBlock2D",),
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "up_block_types": ("CrossAttnUpBlock2D",),
}


class UNet(Denoiser):
    """Is given the texts' states and, where it is of the XL form, a vector for each text and the sizes of the image."""

    def __init__(self, network: Any, takes_cameras: bool = False) -> None:
        super().__init__(network)
        self.takes_cameras = takes_cameras
        self._is_xl = network.config.addition_embed_type == _XL

    def given(self, question: Question) -> list[Tensor]:
        """See Denoiser.given."""
        kind, text = self.dtype, question.text
        given = [question.noisy.to(kind), question.t, text.states.to(kind)]
        if self.takes_cameras:
            none = question.noisy.new_zeros(len(question.noisy), CAMERA_NUMBERS)
            given.append((none if question.cameras is None else question.cameras).to(kind))
        if self._is_xl:
            side = float(question.size)
            sizes = question.level.new_tensor([side, side, 0, 0, side, side])
            given += [text.whole.to(kind), sizes.expand(len(question.noisy), -1)]
        return given

    def call(self, network: nn.Module, *given: Tensor, views: int = 1) -> Tensor:
        """See Denoiser.call."""
        noisy, t, states, *others = given
        if not self._is_xl:
            return predict_views(network, noisy, t, states, others[0] if others else None, views)
        more = {"text_embeds": others[0], "time_ids": others[1]}
        predicted: Tensor = network(noisy, t, encoder_hidden_states=states, added_cond_kwargs=more).sample
        return predicted

    def camera_numbers(self, cameras: Cameras) -> Tensor:
        """See multiview.camera_numbers."""
        return camera_numbers(cameras.azimuth, cameras.elevation)

    def check_loss(self, source: Source, loss: str) -> None:
        """See Denoiser.check_loss."""
        check_unet_loss(source, self.network.config, loss)


def load_unet(source: Source, folder: Path, dtype: torch.dtype) -> UNet:
    """The U-Net in `dtype`, frozen, on the CPU. Raises BadInput."""
    from diffusers import UNet2DConditionModel

    config = read_json(source, folder, "unet/config.json")
    _check_kind(source, config)
    check_extent(source, folder, LAYOUT, {"unet": config})
    network = load_network(source, folder, "unet", UNet2DConditionModel, dtype, low_cpu_mem_usage=False)
    takes_cameras = is_multiview(source, folder, network.config)
    if takes_cameras:
        set_multiview_attention(network)
    return UNet(network, takes_cameras)


def load_unet_text(config: Mapping[str, Any], texts: TextFolder) -> TextModel:
    """The text encoders that a U-Net of this config reads with: CLIP, two of them, or T5, as the folder has it. Raises BadInput."""
    if config.get("addition_embed_type") == _XL:
        return texts.clip_pair()
    return texts.t5() if texts.kind("text_encoder") == "t5" else texts.clip()


def check_unet(source: Source, unet: Any, text: TextModel) -> None:
    """Whether the text encoders make what the U-Net, whose config is `unet`, reads, and it makes what it takes. Raises BadInput."""
    channels, made = unet.in_channels, unet.out_channels
    if made not in (channels, 2 * channels):
        raise BadInput(f"{source}: unet/ makes {made} channels of {channels}; expected as many, or twice with a learned variance")
    width = unet.encoder_hid_dim or unet.cross_attention_dim
    if width != text.width:
        raise BadInput(f"{source}: unet/ reads words {width} wide, {text.made_by} makes {text.width}; they belong to different models")
    if unet.addition_embed_type == _XL:
        pooled = text.readers[-1].encoder.config.projection_dim
        each = unet.addition_time_embed_dim
        wanted = _XL_NUMBERS * each + pooled if isinstance(each, int) else f"with addition_time_embed_dim {each!r:.60} none"
        if unet.projection_class_embeddings_input_dim != wanted:
            found = f"projection_class_embeddings_input_dim {unet.projection_class_embeddings_input_dim}"
            raise BadInput(f"{source}: unet/config.json has {found}, expected {wanted} of a base model; a refiner is not supported")


def side(source: Source, unet: Any) -> int:
    """The side of the square that a U-Net, whose config is `unet`, was made for. Raises BadInput where it is none, or too large."""
    found = unet.sample_size
    found = found[0] if isinstance(found, (list, tuple)) and len(set(found)) == 1 else found
    return checked_side(source, "unet/config.json has sample_size", found)


def check_unet_loss(source: Source, unet: Mapping[str, Any], loss: str) -> None:
    """Raises BadInput where the U-Net whose config is `unet` cannot give what the loss asks for."""
    if unet.get("time_cond_proj_dim") is not None:
        refuse_without_words(source, loss, "unet/config.json has time_cond_proj_dim")
    if loss == "vsd":
        check_peft()
        if "Attn" not in str([unet.get(key, otherwise) for key, otherwise in _BLOCKS.items()]):
            raise BadInput(
                f"guidance.loss vsd: {source} has no room for a LoRA: no block of unet/config.json has attention; use guidance.loss=sds, "
                "or another model"
            )


def is_multiview(source: Source, folder: Path, unet: Mapping[str, Any]) -> bool:
    """Whether this is a multi-view model (see multiview.py): its U-Net, of this config, takes cameras, and model_index.json says so.

    Raises BadInput where only one of them says so.
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


def _check_kind(source: Source, config: Mapping[str, Any]) -> None:
    if (found := config.get("_class_name")) != _KIND:
        raise BadInput(f"{source}: unet/ is a {found}; only {_KIND} is read")
    for key, readable in _CONDITIONS.items():
        value = config.get(key)
        if value not in readable:
            raise BadInput(f"{source}: unet/config.json has {key} {value!r}: it needs more than the prompt; not supported")
