"""The families of transformers: Stable Diffusion 3, PRX and FLUX.2 klein, which predict a flow's velocity, and PixArt-Sigma.

What each is given, and as which time, follows its pipeline in diffusers. Every failure to read one is BadInput in one line.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.models.denoiser import Denoiser, Question, checked_side, refuse_without_words
from dreamfusion_mesh.guidance.models.pretrained import check_extent, load_network
from dreamfusion_mesh.guidance.models.text_encoder import TextModel
from dreamfusion_mesh.guidance.models.text_families import TextFolder
from dreamfusion_mesh.guidance.models.transformer import LAYOUT, Transformer
from dreamfusion_mesh.guidance.weights.folder import INDEX, Source, read_json

_SD3_TIMES = 1000  # its time is the share of noise in thousandths
_WIDEST, _MOST_PLACES = 1 << 16, 512  # numbers of a text; places a side, of whose square diffusers builds a table of positions
_PRX_SIZE, _FLUX2_SIZE = 512, 1024  # pixels a side, where the folder does not say
_PRX_PIXELS = "PRXPixelPipeline"


class SD3(Transformer):
    """Stable Diffusion 3."""

    reads = "joint_attention_dim"
    counts: ClassVar = {"joint_attention_dim": _WIDEST, "pooled_projection_dim": _WIDEST, "pos_embed_max_size": _MOST_PLACES}

    @classmethod
    def text(cls, texts: TextFolder, config: Mapping[str, Any]) -> TextModel:
        """See Transformer.text."""
        return texts.clips_and_t5(config[cls.reads], config["pooled_projection_dim"])

    @property
    def most_places(self) -> int:
        """See Denoiser.most_places."""
        return int(self.config.pos_embed_max_size * self.config.patch_size)

    def given(self, question: Question) -> list[Tensor]:
        """See Denoiser.given."""
        kind, text = self.dtype, question.text
        return [question.noisy.to(kind), _SD3_TIMES * question.level, text.states.to(kind), text.whole.to(kind)]

    def call(self, network: nn.Module, *given: Tensor, views: int = 1) -> Tensor:
        """See Denoiser.call."""
        noisy, time, states, pooled = given
        more = {"encoder_hidden_states": states, "pooled_projections": pooled}
        velocity: Tensor = network(hidden_states=noisy, timestep=time, return_dict=False, **more)[0]
        return velocity


class PRX(Transformer):
    """Photoroom's PRX on latents."""

    reads = "context_in_dim"
    lora_layers = ("img_qkv_proj", "txt_kv_proj", "to_out.0")

    @classmethod
    def text(cls, texts: TextFolder, config: Mapping[str, Any]) -> TextModel:
        """See Transformer.text."""
        return texts.gemma()

    def size(self, source: Source, index: Mapping[str, Any], scale: int) -> int:
        """See Transformer.size."""
        return checked_side(source, f"{INDEX} has default_sample_size", index.get("default_sample_size", _PRX_SIZE))

    def given(self, question: Question) -> list[Tensor]:
        """See Denoiser.given."""
        kind, text = self.dtype, question.text
        return [question.noisy.to(kind), question.level, text.states.to(kind), text.tokens.bool()]

    def call(self, network: nn.Module, *given: Tensor, views: int = 1) -> Tensor:
        """See Denoiser.call."""
        noisy, time, states, mask = given
        more = {"encoder_hidden_states": states, "attention_mask": mask}
        velocity: Tensor = network(hidden_states=noisy, timestep=time, return_dict=False, **more)[0]
        return velocity


class Flux2(Transformer):
    """FLUX.2 klein, whose latents are a sequence with a position for each."""

    reads = "joint_attention_dim"
    lora_layers = (*Denoiser.lora_layers, "to_qkv_mlp_proj")

    @classmethod
    def check_config(cls, source: Source, config: Mapping[str, Any], index: Mapping[str, Any]) -> None:
        """See Transformer.check_config."""
        super().check_config(source, config, index)
        if config.get("guidance_embeds", True):
            raise BadInput(f"{source}: transformer/config.json has guidance_embeds: it is given its guidance; only FLUX.2 klein is read")

    @classmethod
    def check_answers(cls, source: Source, index: Mapping[str, Any], loss: str) -> None:
        """See Transformer.check_answers."""
        super().check_answers(source, index, loss)
        if index.get("is_distilled"):
            refuse_without_words(source, loss, f"{INDEX} has is_distilled")

    @classmethod
    def text(cls, texts: TextFolder, config: Mapping[str, Any]) -> TextModel:
        """See Transformer.text."""
        return texts.qwen()

    def size(self, source: Source, index: Mapping[str, Any], scale: int) -> int:
        """See Transformer.size."""
        return _FLUX2_SIZE

    def given(self, question: Question) -> list[Tensor]:
        """See Denoiser.given."""
        kind = self.dtype
        return [question.noisy.to(kind), question.level, question.text.states.to(kind)]

    def call(self, network: nn.Module, *given: Tensor, views: int = 1) -> Tensor:
        """See Denoiser.call."""
        noisy, time, states = given
        height, width = noisy.shape[2:]
        places = _positions(noisy.device, height=height, width=width), _positions(noisy.device, words=states.shape[1])
        more = {"encoder_hidden_states": states, "img_ids": places[0], "txt_ids": places[1], "guidance": None}
        velocity: Tensor = network(hidden_states=noisy.flatten(2).mT, timestep=time, return_dict=False, **more)[0]
        return velocity.mT.unflatten(2, (height, width))


class PixArt(Transformer):
    """PixArt-Sigma, which predicts the noise, and a variance beside it."""

    is_flow = False
    reads = "caption_channels"
    counts: ClassVar = {"sample_size": _MOST_PLACES}

    @classmethod
    def check_config(cls, source: Source, config: Mapping[str, Any], index: Mapping[str, Any]) -> None:
        """See Transformer.check_config."""
        super().check_config(source, config, index)
        more = config.get("use_additional_conditions")
        if more or (more is None and config.get("sample_size") == 128):  # what diffusers takes where it is not said
            found = "transformer/config.json has use_additional_conditions"
            raise BadInput(f"{source}: {found}: it needs more than the prompt; not supported")

    @classmethod
    def text(cls, texts: TextFolder, config: Mapping[str, Any]) -> TextModel:
        """See Transformer.text."""
        return texts.masked_t5()

    def given(self, question: Question) -> list[Tensor]:
        """See Denoiser.given."""
        kind, text = self.dtype, question.text
        return [question.noisy.to(kind), question.t, text.states.to(kind), text.tokens]

    def call(self, network: nn.Module, *given: Tensor, views: int = 1) -> Tensor:
        """See Denoiser.call."""
        noisy, t, states, mask = given
        more = {"encoder_attention_mask": mask, "added_cond_kwargs": {"resolution": None, "aspect_ratio": None}}
        noise: Tensor = network(noisy, encoder_hidden_states=states, timestep=t, return_dict=False, **more)[0]
        return noise


FAMILIES: Mapping[str, type[Transformer]] = {
    "SD3Transformer2DModel": SD3,
    "PRXTransformer2DModel": PRX,
    "Flux2Transformer2DModel": Flux2,
    "PixArtTransformer2DModel": PixArt,
}


def check_latents(source: Source) -> None:
    """Raises BadInput where the folder, which is not yet looked at, holds the PRX that works in pixels."""
    try:
        found = read_json(source, source.folder, INDEX).get("_class_name")
    except BadInput:  # which is said later where it matters
        return
    if found == _PRX_PIXELS:
        what = "predicts the picture itself, from noise of twice the strength, and reads with Qwen3-VL"
        raise BadInput(f"{source}: is PRX in pixels ({_PRX_PIXELS}), which {what}; not supported: use PRX on latents, such as prx-512")


def family_of(source: Source, config: Mapping[str, Any]) -> type[Transformer]:
    """The family of a transformer with this config. Raises BadInput for one that is not read."""
    found = str(config.get("_class_name"))
    if found not in FAMILIES:
        raise BadInput(f"{source}: transformer/ is a {found:.60}; only {', '.join(FAMILIES)} are read")
    return FAMILIES[found]


def load_transformer(source: Source, folder: Path, config: Mapping[str, Any], index: Mapping[str, Any], dtype: torch.dtype) -> Transformer:
    """The transformer with this config in `dtype`, frozen, on the CPU; `index` is the folder's model_index.json. Raises BadInput."""
    import diffusers

    check_extent(source, folder, LAYOUT, {"transformer": config})
    kind = getattr(diffusers, config["_class_name"])
    network = load_network(source, folder, "transformer", kind, dtype, low_cpu_mem_usage=False)
    return family_of(source, config)(network, index)


def check_transformer(source: Source, transformer: Transformer, text: TextModel, channels: int) -> None:
    """Whether the texts and the latents, of this many channels, are what the transformer takes and makes. Raises BadInput."""
    config = transformer.config
    wanted = config[transformer.reads]
    if wanted != text.width:
        found = f"transformer/ reads words {wanted} wide, {text.made_by} makes {text.width}"
        raise BadInput(f"{source}: {found}; they belong to different models")
    made = config.get("out_channels") or config.in_channels
    if made not in (channels, 2 * channels):
        raise BadInput(f"{source}: transformer/ makes {made} channels of {channels}; expected as many, or twice with a learned variance")


def _positions(device: torch.device, height: int = 1, width: int = 1, words: int = 1) -> Tensor:
    """[height width words, 4]: for each the time (none), row, column, and place in the text."""
    ends = (torch.arange(count, device=device) for count in (1, height, width, words))
    return torch.cartesian_prod(*ends)
