"""A text-to-image diffusion model with a U-Net: pixel-space or latent, predicting eps, v or the clean image."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from dreamfusion_mesh.config import MULTIVIEW, GuidanceSettings
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.encodings import prompt_texts
from dreamfusion_mesh.guidance.models.latents import decoded, encoded
from dreamfusion_mesh.guidance.models.low_rank import LowRank, check_room
from dreamfusion_mesh.guidance.models.multiview import (
    CAMERA_NUMBERS,
    camera_numbers,
    contrast_view,
    contrast_view_in_group,
    contrast_view_of_blend,
    predict_views,
)
from dreamfusion_mesh.guidance.models.recorded import RecordedCalls
from dreamfusion_mesh.guidance.models.unet_folder import check_answers, no_multiview
from dreamfusion_mesh.guidance.models.vocabulary import known_style, unknown_words
from dreamfusion_mesh.guidance.prompts import VIEW_SUFFIXES, check_prompt, textureless_rows, view_weights, view_words
from dreamfusion_mesh.guidance.weights.model_files import ModelFiles
from dreamfusion_mesh.records import Views
from dreamfusion_mesh.records.diffusion import Answers, Prediction, PromptEncoding, Schedule
from dreamfusion_mesh.terminal import cut


@dataclass(frozen=True, eq=False)
class UNetModel:
    """A GuidanceModel: frozen weights, loaded once for any number of prompts and of settings; `load_guidance` makes it.

    prediction        what the U-Net predicts
    patch             pixels a side that a pixel-space model folds into its channels; 0 for a latent model
    size              pixels a side of the images that it was made for
    limit             tokens a prompt may have, the start and end marks included
    takes_cameras     whether it is a multi-view model, which can be given cameras and can see four views together
    recorded          replays the U-Net's calls on a card; None: they are called
    """

    files: ModelFiles
    half_precision: bool
    unet: Any
    text_encoder: Any
    tokenizer: Any
    vae: Any | None
    schedule: Schedule
    prediction: Prediction
    patch: int
    size: int
    limit: int
    takes_cameras: bool
    recorded: RecordedCalls | None = None

    @property
    def model(self) -> str:
        """The model's name, as `guidance.model` has it."""
        return self.files.source.name

    def for_prompt(self, prompt: str, settings: GuidanceSettings, encoding: PromptEncoding | None = None) -> PromptedUNet:
        """The model bound to `prompt` and `settings`, with the texts that `encode_prompt` gives, or gave, for all views.

        Raises BadInput as `encode_prompt` does, ValueError where `encoding` is of other texts or of another model.
        """
        self._check_settings(settings)
        found = self.encode_prompt(prompt, settings) if encoding is None else encoding
        wanted = (len(found.texts), self.limit, self.text_encoder.config.hidden_size)
        wanted_texts = prompt_texts(prompt, known_style(self.files.source, self.tokenizer, settings)[0])
        if found.texts != wanted_texts or found.states.shape != wanted:
            raise ValueError(f"encoding: {list(found.states.shape)} of {cut(str(found.texts[:1]))}, expected {list(wanted)} of this prompt")
        states = found.states.to(self.schedule.signal.device)
        views = 2 * len(VIEW_SUFFIXES)
        return PromptedUNet(self, settings, states[:views], states[views : views + 1], states[views + 1 :], [*found.warnings])

    def encode_prompt(self, prompt: str, settings: GuidanceSettings) -> PromptEncoding:
        """The texts of `prompt` encoded once for all views, coloured and textureless, with the warnings about its words.

        Raises BadInput where the settings are for another model, or the prompt cannot be used, has more tokens than the model reads, or has
        no word that it knows.
        """
        self._check_settings(settings)
        known, warnings = known_style(self.files.source, self.tokenizer, settings)
        warnings += unknown_words(self.files.source, self.tokenizer, check_prompt(prompt))
        texts = prompt_texts(prompt, known)
        return PromptEncoding(texts, self.encode_text([*texts]), tuple(warnings))

    def text_fingerprint(self) -> str:
        """SHA-256 of what an encoding depends on beside its texts: the files of tokenizer and text encoder, and the device."""
        return self.files.text_fingerprint(("tokenizer", "text_encoder"), self.limit, self.schedule.signal.device)

    def provenance(self) -> dict[str, Any]:
        """What an asset has to record: the model's name, licences, kind, and SHA-256 of each weight file."""
        return {**self.files.provenance(), "prediction": self.prediction}

    def encode(self, images: Tensor) -> Tensor:
        """Images [B, H, H, 3] in [0, 1] to what the U-Net sees [B, C, h, h]: averaged down or stretched up to `size`, then to [-1, 1].

        Differentiable; the VAE of a latent model gives its mean. Raises ValueError where the images are not square RGB.
        """
        return encoded(images, self.vae, self.patch, self.size)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """What the U-Net sees [B, C, h, h] to images [B, H, H, 3] in [0, 1], H being `size`; what leaves that range is clipped."""
        return decoded(latents, self.vae, self.patch)

    @torch.no_grad()
    def predict(self, noisy: Tensor, t: Tensor, text: Tensor, cameras: Tensor | None = None, views: int = 1) -> Tensor:
        """The U-Net's own prediction [B, C, h, h] at noisy [B, C, h, h], t [B] int64, text [B, L, D]; half precision stays in here.

        cameras [B, 5] and views, for multi-view models, are as in `predict_views`; without them each image is seen alone.
        """
        given = self.inputs(noisy, t, text, cameras)
        call = partial(predict_views, self.unet, views=views)
        predicted = call(*given) if self.recorded is None else self.recorded(call, given, views)
        return predicted[:, : noisy.shape[1]].to(noisy.dtype)  # the rest, where there is any, is a learned variance

    def inputs(self, noisy: Tensor, t: Tensor, text: Tensor, cameras: Tensor | None) -> list[Tensor]:
        """What `predict_views` takes, in the U-Net's precision."""
        kind = next(self.unet.parameters()).dtype
        given = [noisy.to(kind), t, text.to(kind)]
        if self.takes_cameras:
            given.append((noisy.new_zeros(len(noisy), CAMERA_NUMBERS) if cameras is None else cameras).to(kind))
        return given

    @torch.no_grad()
    def encode_text(self, texts: list[str]) -> Tensor:
        """The text encoder's states [len(texts), L, D], padded to the limit. Raises BadInput where a text has too many tokens."""
        rows = []
        for text in texts:
            ids = self.tokenizer(text, padding=False, truncation=False, verbose=False).input_ids
            if len(ids) > self.limit:
                raise BadInput(
                    f"prompt: {cut(text)!r} has {len(ids)} tokens with its view's words and both marks, {self.files.source} "
                    f"reads at most {self.limit}; shorten it by {len(ids) - self.limit}"
                )
            rows.append(ids + [self.tokenizer.pad_token_id] * (self.limit - len(ids)))
        # No attention mask: these models are trained with every token attended to, padding too, and samples fade with one.
        return self.text_encoder(torch.tensor(rows, device=self.schedule.signal.device)).last_hidden_state.float()

    def _check_settings(self, settings: GuidanceSettings) -> None:
        if settings.loaded_kind != "diffusion model":
            raise BadInput(
                f"guidance.loss {settings.loss}: the model that was loaded is a diffusion model; load the one that the loss asks for"
            )
        if not self.files.source.same(settings.model):
            raise BadInput(f"guidance.model {settings.model!r}: the model that was loaded is {self.model!r}; load the one that is named")
        if settings.half_precision != self.half_precision:
            raise BadInput(
                f"guidance.half_precision {settings.half_precision}: {self.files.source} was loaded with {self.half_precision}; "
                "load it again with this setting"
            )
        if settings.multiview and not self.takes_cameras:
            raise no_multiview(self.files.source, "guidance.multiview=false")
        check_answers(self.files.source, self.unet.config, settings.loss)
        check_room(self.files.source, self.unet.config, settings.loss)


@dataclass(frozen=True, eq=False)
class PromptedUNet:
    """A ScoreModel: a U-Net model bound to one prompt and its settings.

    text       [8, L, D]   the prompt for each row of VIEW_SUFFIXES, then the textureless prompt likewise
    negative   [1, L, D]   the negative prompt, or no words
    wordless   [1, L, D]   no words, where the loss takes these beside the negative prompt; otherwise [0, L, D]
    warnings               lines for the user: words that the model does not know
    """

    model: UNetModel
    settings: GuidanceSettings
    text: Tensor
    negative: Tensor
    wordless: Tensor
    warnings: list[str] = field(default_factory=list)

    @property
    def schedule(self) -> Schedule:
        """Noise by time."""
        return self.model.schedule

    @property
    def together(self) -> int:
        """Views of one object that are seen together."""
        return MULTIVIEW if self.settings.multiview else 1

    @property
    def patch(self) -> int:
        """Pixels a side that are folded into channels, 1 of a latent model."""
        return max(1, self.model.patch)

    def encode(self, images: Tensor) -> Tensor:
        """See UNetModel.encode."""
        return self.model.encode(images)

    def decode(self, latents: Tensor) -> Tensor:
        """See UNetModel.decode."""
        return self.model.decode(latents)

    def nearest_image(self, latents: Tensor) -> Tensor:
        """Pixels [B, C, h, h] within [-1, 1]; a VAE's latents as they are."""
        return latents.clamp(-1, 1) if self.model.vae is None else latents

    def seeing_together(self) -> PromptedUNet:
        """The same with `guidance.multiview`. Raises BadInput where this is no multi-view model."""
        if not self.model.takes_cameras:
            raise no_multiview(self.model.files.source, "coarse.start=sphere")
        return replace(self, settings=self.settings.model_copy(update={"multiview": True}))

    @torch.no_grad()
    def answer(self, noisy: Tensor, t: Tensor, views: Views) -> Answers:
        """Raw predictions shaped like `noisy` [B, C, h, h] at t [B] int64, with each view's text; one call of the U-Net for all.

        B is a multiple of `together`. `perp_neg` adds a third U-Net evaluation, with another view: its text alone, or the text and camera
        of another of those that are seen together. csd with a negative prompt adds one, without words beside it.
        """
        texts, shares = self._texts(views)
        text = _blended(texts, shares)
        camera = camera_numbers(views.cameras.azimuth, views.cameras.elevation)
        asked = {"uncond": (self.negative, camera), "text": (text, camera)}
        if len(self.wordless):
            asked |= {"uncond": (self.wordless, camera), "negative": (self.negative, camera)}
        if self.settings.perp_neg:
            asked["other"] = self._contrast(texts, shares, camera, t)
        found = dict(zip(asked, self._predict(noisy, t, [*asked.values()]), strict=True))
        others = (found.pop("other"),) if self.settings.perp_neg else ()
        return Answers(self.model.prediction, others=others, **found)

    @torch.no_grad()
    def answer_without_words(self, noisy: Tensor, t: Tensor, views: Views) -> Answers:
        """What `answer` gives as `uncond`, alone and as the text's."""
        camera = camera_numbers(views.cameras.azimuth, views.cameras.elevation)
        (found,) = self._predict(noisy, t, [(self.wordless if len(self.wordless) else self.negative, camera)])
        return Answers(self.model.prediction, found)

    def adapter(self, rank: int, draws: torch.Generator) -> LowRank:
        """A LoRA on the U-Net's attention, given the words for each view and, where views are seen together, their cameras."""
        return LowRank(self.model.unet, rank, draws, self._answer_of)

    def _answer_of(self, unet: nn.Module, noisy: Tensor, t: Tensor, views: Views) -> Answers:
        cameras = camera_numbers(views.cameras.azimuth, views.cameras.elevation) if self.together > 1 else None
        given = self.model.inputs(noisy, t, _blended(*self._texts(views)), cameras)
        predicted = partial(predict_views, unet, views=self.together)(*given)
        return Answers(self.model.prediction, predicted[:, : noisy.shape[1]].to(noisy.dtype))

    def _texts(self, views: Views) -> tuple[Tensor, Tensor]:
        """Each view's texts [B, 4, L, D], a row for each of VIEW_SUFFIXES, and how much of each it is given, [B, 4]."""
        settings, azimuth, elevation = self.settings, views.cameras.azimuth, views.cameras.elevation
        texts = self.text[textureless_rows(views)[:, None] + torch.arange(len(VIEW_SUFFIXES), device=self.text.device)]
        if settings.blend_view_words:
            return texts, view_weights(azimuth, elevation, settings.overhead_degrees).to(texts)
        rows = view_words(azimuth, elevation, settings.front_degrees, settings.overhead_degrees)
        return texts, functional.one_hot(rows, len(VIEW_SUFFIXES)).to(texts)

    def _contrast(self, texts: Tensor, shares: Tensor, camera: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Text and camera of a contrast view: another one of the group that is seen together, or else another one in the text alone."""
        if self.together > 1:
            order = contrast_view_in_group(t, self.together)
            return _blended(texts, shares[order]), camera[order]
        blend = self.settings.blend_view_words
        rows = contrast_view_of_blend(shares, t) if blend else contrast_view(shares.argmax(1), t, len(VIEW_SUFFIXES))
        return texts[torch.arange(len(t), device=texts.device), rows], camera

    def _predict(self, noisy: Tensor, t: Tensor, conditions: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, ...]:
        """The U-Net's predictions at `noisy` [B, C, h, h], t [B], each with a text [1 or B, L, D] and cameras [B, 5], by one call of it."""
        branches = len(conditions)
        texts = torch.cat([text.expand(len(noisy), -1, -1) for text, _ in conditions])
        cameras = torch.cat([camera for _, camera in conditions]) if self.together > 1 else None
        return self.model.predict(noisy.repeat(branches, 1, 1, 1), t.repeat(branches), texts, cameras, self.together).chunk(branches)


def _blended(texts: Tensor, shares: Tensor) -> Tensor:
    """[B, L, D] of texts [B, V, L, D] with shares [B, V]."""
    return (shares[..., None, None] * texts).sum(1)
