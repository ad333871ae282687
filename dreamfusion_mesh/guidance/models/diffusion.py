"""A text-to-image diffusion model, whatever its family: frozen networks that prompts and settings are bound to."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from dreamfusion_mesh.config import GuidanceSettings
from dreamfusion_mesh.errors import BadInput, RunFailed
from dreamfusion_mesh.guidance.models.compiled import CompiledBlocks
from dreamfusion_mesh.guidance.models.denoiser import Denoiser, Question
from dreamfusion_mesh.guidance.models.encoding import Shortage, encoded, wants_tiles
from dreamfusion_mesh.guidance.models.fitted_texts import fitted_texts
from dreamfusion_mesh.guidance.models.latents import LatentSpace
from dreamfusion_mesh.guidance.models.multiview import no_multiview
from dreamfusion_mesh.guidance.models.pretrained import called
from dreamfusion_mesh.guidance.models.prompted import PromptedDiffusion
from dreamfusion_mesh.guidance.models.recorded import RecordedCalls
from dreamfusion_mesh.guidance.models.text_condition import TextCondition, condition_of
from dreamfusion_mesh.guidance.models.text_encoder import TextModel
from dreamfusion_mesh.guidance.models.vocabulary import known_style, unknown_words
from dreamfusion_mesh.guidance.prompts import VIEW_SUFFIXES, check_prompt
from dreamfusion_mesh.guidance.weights.model_files import ModelFiles
from dreamfusion_mesh.out_of_memory import describe
from dreamfusion_mesh.records.diffusion import Prediction, PromptEncoding, Schedule
from dreamfusion_mesh.terminal import cut

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class DiffusionModel:
    """A GuidanceModel: frozen weights, loaded once for any number of prompts and of settings; `load_guidance` makes it.

    loaded_with  see GuidanceSettings.loaded_with
    prediction   what the network predicts
    size         pixels a side of the images that it was made for
    recorded     replays the network's calls on a card; None: they are called
    compiled     calls the network, whose blocks are compiled; None: it is not compiled
    shortage     whether memory ran out
    """

    files: ModelFiles
    loaded_with: Mapping[str, object]
    denoiser: Denoiser
    text: TextModel
    latents: LatentSpace
    schedule: Schedule
    prediction: Prediction
    size: int
    recorded: RecordedCalls | None = None
    compiled: CompiledBlocks | None = None
    shortage: Shortage = field(default_factory=Shortage)

    @property
    def model(self) -> str:
        """The model's name, as `guidance.model` has it."""
        return self.files.source.name

    def for_prompt(self, prompt: str, settings: GuidanceSettings, encoding: PromptEncoding | None = None) -> PromptedDiffusion:
        """The model bound to `prompt` and `settings`, with the texts that `encode_prompt` gives, or gave, for all views.

        Raises BadInput as `encode_prompt` does, ValueError where `encoding` is of other texts or of another model.
        """
        self._check_settings(settings)
        found = self.encode_prompt(prompt, settings) if encoding is None else encoding
        texts = fitted_texts(self.files.source, self.text, prompt, known_style(self.files.source, self.text.tokenizer, settings)[0])[0]
        wanted = (len(found.texts), self.text.length, self.text.width)
        if found.texts != texts or found.states.shape != wanted:
            raise ValueError(f"encoding: {list(found.states.shape)} of {cut(str(found.texts[:1]))}, expected {list(wanted)} of this prompt")
        text = condition_of(found.to(self.schedule.signal.device))
        views = 2 * len(VIEW_SUFFIXES)
        tiles, notes = self._tiles(settings)
        warnings = [*found.warnings, *notes]
        return PromptedDiffusion(self, settings, text[:views], text[views : views + 1], text[views + 1 :], tiles, warnings)

    def _tiles(self, settings: GuidanceSettings) -> tuple[bool, list[str]]:
        """Whether images are encoded in tiles, and a line for the user where the card has decided it."""
        size, device = settings.image_size or self.size, self.schedule.signal.device
        tiles = wants_tiles(settings.tile_encoder, size, self.latents, device)
        line = f"guidance.tile_encoder auto: images of {size} pixels are encoded in tiles, for the memory of {device} is small"
        return tiles, [line] if tiles and settings.tile_encoder == "auto" else []

    def encode_prompt(self, prompt: str, settings: GuidanceSettings) -> PromptEncoding:
        """The texts of `prompt` encoded once for all views, coloured and textureless, with the warnings about its words.

        Raises BadInput where the settings are for another model, or the prompt cannot be used, has more tokens than the model reads, or has
        no word that it knows; RunFailed where the text encoders fail.
        """
        self._check_settings(settings)
        source, tokenizer = self.files.source, self.text.tokenizer
        known, warnings = known_style(source, tokenizer, settings)
        warnings += unknown_words(source, tokenizer, check_prompt(prompt))
        texts, shortened = fitted_texts(source, self.text, prompt, known)
        with called(source, self.text.made_by):
            made = self.text.encode(texts)
        if not bool(made.states.isfinite().all()):
            raise RunFailed(f"{source}: {self.text.made_by} reads the prompt as numbers that are not finite; download the model again")
        return PromptEncoding(texts, made.states, (*warnings, *shortened), made.pooled, made.mask)

    def text_fingerprint(self) -> str:
        """SHA-256 of what an encoding depends on beside its texts: the files of tokenizers and text encoders, how they read, the device."""
        text = self.text
        how = [text.limit, text.length, text.width, text.blank, self.loaded_with["half_precision"]]
        return self.files.text_fingerprint(text.parts, how, self.schedule.signal.device)

    def provenance(self) -> dict[str, Any]:
        """What an asset has to record: the model's name, licences, kind, and SHA-256 of each weight file."""
        return {**self.files.provenance(), "prediction": self.prediction}

    def encode(self, images: Tensor, size: int = 0, one_by_one: bool = False, tiles: bool = False) -> Tensor:
        """Images [B, H, H, 3] in [0, 1] to what the network sees [B, C, h, h]: averaged down or stretched up to `size`, then to [-1, 1].

        size               pixels a side; 0: those that the model was made for
        one_by_one, tiles  see `encoded`
        Differentiable; an autoencoder gives its mean. Raises ValueError where the images are not square RGB.
        """
        if images.dim() != 4 or images.shape[1] != images.shape[2] or images.shape[3] != 3:
            raise ValueError(f"images: shape {list(images.shape)}, expected [B, H, H, 3]")
        pixels = 2 * _resize(images.permute(0, 3, 1, 2), size or self.size) - 1
        with self._encoding():
            return encoded(pixels, self.latents, self.shortage, one_by_one, tiles)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """What the network sees [B, C, h, h] to images [B, H, H, 3] in [0, 1]; what leaves that range is clipped."""
        with self._encoding():
            return ((self.latents.decode(latents).permute(0, 2, 3, 1) + 1) / 2).clamp(0, 1)

    def question(self, noisy: Tensor, t: Tensor, text: TextCondition, cameras: Tensor | None = None, size: int = 0) -> Question:
        """What is asked at noisy [B, C, h, h], t [B] int64, with B texts; `size` is as in `encode`, the rest as in Question."""
        return Question(noisy, t, self.schedule.noise[t], text, cameras, size or self.size)

    @torch.no_grad()
    def predict(self, question: Question, views: int = 1) -> Tensor:
        """The network's own prediction [B, C, h, h]; half precision stays in here.

        views: images in a row that a multi-view model sees together.
        Where memory runs out, now or before, the network is called for one half of them after the other.
        """
        if not self.shortage.met:
            try:
                return self._predict_whole(question, views)
            except Exception as error:
                if describe(error) is None or len(question.noisy) < 2 * views:
                    raise
            self.shortage.met = True  # behind the except, whose error holds what the call had made
            count = len(question.noisy)
            _log.warning("guidance: the memory does not hold %d images in one call of the network; half of them from here", count)
        return torch.cat([self._predict_whole(part, views) for part in question.halves(views)])

    def _predict_whole(self, question: Question, views: int) -> Tensor:
        given = self.denoiser.given(question)
        call = partial(self.denoiser.call, self.denoiser.network, views=views)
        with called(self.files.source, type(self.denoiser.network).__name__):
            through = self.recorded or self.compiled
            predicted = call(*given) if through is None else through(call, given, views)
        return predicted[:, : question.noisy.shape[1]].to(question.noisy.dtype)  # the rest, where there is any, is a learned variance

    def _encoding(self) -> AbstractContextManager[None]:
        """While the autoencoder is called."""
        chosen = self.latents.source
        return called(self.files.source, "vae/") if chosen is None else called(chosen, "the folder")

    def _check_settings(self, settings: GuidanceSettings) -> None:
        source = self.files.source
        if settings.loaded_kind != "diffusion model":
            raise BadInput(
                f"guidance.loss {settings.loss}: the model that was loaded is a diffusion model; load the one that the loss asks for"
            )
        if not source.same(settings.model):
            raise BadInput(f"guidance.model {settings.model!r}: the model that was loaded is {self.model!r}; load the one that is named")
        for name, value in settings.loaded_with.items():
            if value != self.loaded_with[name]:
                found = f"guidance.{name} {value!r:.80}: {source} was loaded with {self.loaded_with[name]!r:.80}"
                raise BadInput(f"{found}; load it again with this setting")
        if settings.multiview and not self.denoiser.takes_cameras:
            raise no_multiview(source, "guidance.multiview=false")
        self._check_size(settings.image_size)
        self.denoiser.check_loss(source, settings.loss)

    def _check_size(self, size: int) -> None:
        step = self.latents.scale * self.denoiser.step
        most = self.denoiser.most_places
        if size % step or (most is not None and size > most * self.latents.scale):
            limit = "" if most is None else f" up to {most * self.latents.scale}"
            allowed = f"multiples of {step} pixels{limit}; 0 is its own {self.size}"
            raise BadInput(f"guidance.image_size {size}: {self.files.source} sees {allowed}")


def _resize(pixels: Tensor, size: int) -> Tensor:
    """[B, C, H, H] to [B, C, size, size]: means of areas when shrinking, bilinear when growing."""
    side = pixels.shape[-1]
    if side == size:
        return pixels
    if side % size == 0:
        return functional.avg_pool2d(pixels, side // size)
    if side > size:
        return functional.interpolate(pixels, size=(size, size), mode="area")
    return functional.interpolate(pixels, size=(size, size), mode="bilinear", align_corners=False)
