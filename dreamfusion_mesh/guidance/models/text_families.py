"""The text encoders of each family of networks, read from a folder. Every failure is BadInput in one line.

What each reads, how it is padded and which layer is taken follow the pipelines of diffusers, so that a network is given what it was trained
with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.models.placement import Placement
from dreamfusion_mesh.guidance.models.pretrained import check_extent, load_error, load_network, word_count
from dreamfusion_mesh.guidance.models.text_condition import TextCondition
from dreamfusion_mesh.guidance.models.text_encoder import Encoder, Reader, TextModel
from dreamfusion_mesh.guidance.models.tokenizers import load_tokenizer
from dreamfusion_mesh.guidance.weights.folder import INDEX, Layout, Source, read_json

_CLIP, _T5, _GEMMA, _QWEN = ("clip_text_model",), ("t5",), ("t5gemma", "t5_gemma_module"), ("qwen3",)
_SHOWN = {_CLIP: "CLIP text encoders (clip_text_model)", _T5: "T5 (t5)", _GEMMA: "T5Gemma (t5gemma)", _QWEN: "Qwen3 (qwen3)"}
_IF_TOKENS, _PIXART_TOKENS, _SD3_TOKENS, _PRX_TOKENS, _FLUX2_TOKENS = 77, 300, 256, 256, 512
_FLUX2_LAYERS = (9, 18, 27)  # of Qwen3, whose states are put side by side
# What Qwen3's template makes of one message of a user, without thinking.
_QWEN_CHAT = ("<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n")


class TextFolder:
    """A checked folder, from which the text encoders of one network are read to where `placement` says.

    dtype  of encoders other than CLIP, which are large
    """

    def __init__(self, source: Source, folder: Path, layout: Layout, dtype: torch.dtype, placement: Placement) -> None:
        self.source, self._folder, self._layout, self._dtype = source, folder, layout, dtype
        self._placement, self._device = placement, placement.device

    def kind(self, part: str) -> str:
        """What model the part's config says that it is."""
        return str(read_json(self.source, self._folder, f"{part}/config.json").get("model_type"))

    def clip(self) -> TextModel:
        """Stable Diffusion: the last states of a CLIP."""
        reader = self._clip("text_encoder", "tokenizer", _last)
        return TextModel((reader,), _states_alone, reader.limit, reader.width, self._device)

    def clip_pair(self) -> TextModel:
        """Stable Diffusion XL: the last states but one of two CLIPs, side by side, and the second's vector.

        No words are zeros, unless the folder's index says otherwise.
        """
        first = self._clip("text_encoder", "tokenizer", _last_but_one)
        second = self._clip("text_encoder_2", "tokenizer_2", _last_but_one, _text_vector)
        self._check_lengths(first, second)
        blank = read_json(self.source, self._folder, INDEX).get("force_zeros_for_empty_prompt", True)

        def join(made: Sequence[TextCondition]) -> TextCondition:
            return TextCondition(torch.cat([each.states for each in made], dim=2), made[1].pooled)

        return TextModel((first, second), join, first.limit, first.width + second.width, self._device, blank is not False)

    def t5(self) -> TextModel:
        """DeepFloyd IF: a T5, which passes over padding; its network does not."""
        reader = self._t5("text_encoder", "tokenizer", _IF_TOKENS, masked=True, lower=True)
        return TextModel((reader,), _states_alone, reader.limit, reader.width, self._device)

    def masked_t5(self) -> TextModel:
        """PixArt-Sigma: a T5; both it and the network pass over padding."""
        reader = self._t5("text_encoder", "tokenizer", _PIXART_TOKENS, masked=True, lower=True)
        return TextModel((reader,), _with_mask, reader.limit, reader.width, self._device)

    def clips_and_t5(self, width: int, pooled: int) -> TextModel:
        """Stable Diffusion 3: two CLIPs side by side, then a T5, in states of `width`; without the T5's folder zeros in its place.

        pooled: how wide both CLIPs' vectors are together.
        """
        clips = [self._clip(f"text_encoder{part}", f"tokenizer{part}", _last_but_one, _text_vector) for part in ("", "_2")]
        self._check_lengths(*clips)
        own = self._t5("text_encoder_3", "tokenizer_3", _SD3_TOKENS) if (self._folder / "text_encoder_3").is_dir() else None
        vectors, side = sum(clip.encoder.config.projection_dim for clip in clips), sum(clip.width for clip in clips)
        if vectors != pooled or side > width or (own and own.width != width):
            found = f"{vectors} numbers a text and states {own.width if own else side} wide"
            wanted = f"transformer/ takes {pooled} and {width}"
            raise BadInput(f"{self.source}: the text encoders make {found}, {wanted}; they belong to different models")

        more = own.limit if own else _SD3_TOKENS

        def join(made: Sequence[TextCondition]) -> TextCondition:
            pair = torch.cat([each.states for each in made[:2]], dim=2)
            words = made[2].states if own else pair.new_zeros(len(pair), more, width)
            states = torch.cat([functional.pad(pair, (0, width - pair.shape[2])), words], dim=1)
            return TextCondition(states, torch.cat([each.pooled for each in made[:2] if each.pooled is not None], dim=1))

        return TextModel((*clips, *([own] if own else [])), join, clips[0].limit + more, width, self._device)

    def gemma(self) -> TextModel:
        """PRX: the encoder of a T5Gemma; both it and the network pass over padding."""
        from transformers.models.t5gemma import T5GemmaConfig
        from transformers.models.t5gemma.modeling_t5gemma import T5GemmaEncoder

        part = "text_encoder"
        kind, config = self._config(part, _GEMMA)
        own = config.get("encoder") if kind == "t5gemma" else config
        self._check_extent(part, _without_places(own if isinstance(own, dict) else {}))
        try:  # a folder of the whole model's settings names the encoder's among them
            more = {"config": T5GemmaConfig.from_pretrained(str(self._folder / part)).encoder} if kind == "t5gemma" else {}
        except Exception as error:
            raise load_error(self.source, f"{part}/config.json", error) from error
        reader = self._reader(part, "tokenizer", T5GemmaEncoder, _PRX_TOKENS, _last, masked=True, lower=True, **more)
        return TextModel((reader,), _with_mask, reader.limit, reader.width, self._device)

    def qwen(self) -> TextModel:
        """FLUX.2 klein: states of three layers of a Qwen3, which passes over padding; its network does not."""
        from transformers import Qwen3Model

        _, config = self._config("text_encoder", _QWEN)
        self._check_extent("text_encoder", _without_places(config))
        layers = config.get("num_hidden_layers")
        if not isinstance(layers, int) or layers < _FLUX2_LAYERS[-1]:
            found = f"text_encoder/config.json has num_hidden_layers {layers!r:.60}"
            raise BadInput(f"{self.source}: {found}, but states of layer {_FLUX2_LAYERS[-1]} are read; download the model again")
        reader = self._reader("text_encoder", "tokenizer", Qwen3Model, _FLUX2_TOKENS, _three_layers, masked=True, around=_QWEN_CHAT)
        return TextModel((reader,), _states_alone, reader.limit, len(_FLUX2_LAYERS) * reader.width, self._device)

    def _clip(self, part: str, tokens_in: str, states: Callable[[Any], Tensor], pooled: Callable[[Any], Tensor] | None = None) -> Reader:
        from transformers import CLIPTextModel, CLIPTextModelWithProjection

        self._check_extent(part, self._config(part, _CLIP)[1])
        kind = CLIPTextModelWithProjection if pooled else CLIPTextModel
        return self._reader(part, tokens_in, kind, None, states, pooled=pooled)

    def _t5(self, part: str, tokens_in: str, limit: int, masked: bool = False, lower: bool = False) -> Reader:
        from transformers import T5EncoderModel

        self._check_extent(part, self._config(part, _T5)[1])
        return self._reader(part, tokens_in, T5EncoderModel, limit, _last, masked=masked, lower=lower)

    def _config(self, part: str, kinds: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
        """What model the part is, one of `kinds`, and its settings. Raises BadInput for any other."""
        if not (self._folder / part).is_dir():
            raise BadInput(f"{self.source}: has no {part}/, which this kind of model reads with; download the model again")
        config = read_json(self.source, self._folder, f"{part}/config.json")
        found = config.get("model_type")
        if found not in kinds:
            raise BadInput(f"{self.source}: {part}/ is a {found!s:.60}; only {_SHOWN[kinds]} are read here")
        return found, config

    def _check_extent(self, part: str, config: dict[str, Any]) -> None:
        check_extent(self.source, self._folder, self._layout, {part: config})

    def _reader(
        self, part: str, tokens_in: str, kind: Any, limit: int | None, states: Callable[[Any], Tensor], config: Any = None, **more: Any
    ) -> Reader:
        """limit: tokens to pad to; None: as many as the encoder has places for."""
        tokenizer = load_tokenizer(self.source, self._folder, tokens_in)
        dtype = torch.float32 if limit is None else self._dtype

        def load() -> Any:
            given = {} if config is None else {"config": config}
            return load_network(self.source, self._folder, part, kind, dtype, **given)

        encoder = Encoder(load, self._placement)
        if (words := word_count(tokenizer)) > encoder.config.vocab_size:
            found = f"{tokens_in}/ has {words} words, {part}/ {encoder.config.vocab_size}"
            raise BadInput(f"{self.source}: {found}; they belong to different models")
        most = encoder.config.max_position_embeddings if limit is None else limit
        return Reader(part, tokens_in, tokenizer, encoder, int(min(most, tokenizer.model_max_length)), states, **more)

    def _check_lengths(self, first: Reader, second: Reader) -> None:
        if first.limit != second.limit:
            found = f"{first.part}/ reads {first.limit} tokens, {second.part}/ {second.limit}"
            raise BadInput(f"{self.source}: {found}; they belong to different models")


def _without_places(config: dict[str, Any]) -> dict[str, Any]:
    """A config without the most tokens that are read, of encoders whose positions are rotations, which no weights hold."""
    return {key: value for key, value in config.items() if key != "max_position_embeddings"}


def _last(output: Any) -> Tensor:
    states: Tensor = output.last_hidden_state
    return states


def _last_but_one(output: Any) -> Tensor:
    states: Tensor = output.hidden_states[-2]
    return states


def _three_layers(output: Any) -> Tensor:
    return torch.cat([output.hidden_states[layer] for layer in _FLUX2_LAYERS], dim=2)


def _text_vector(output: Any) -> Tensor:
    vector: Tensor = output.text_embeds
    return vector


def _states_alone(made: Sequence[TextCondition]) -> TextCondition:
    return TextCondition(made[0].states)


def _with_mask(made: Sequence[TextCondition]) -> TextCondition:
    return made[0]
