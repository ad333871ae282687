"""A diffusion model bound to one prompt and its settings: which text and camera each view is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from dreamfusion_mesh.config import MULTIVIEW, GuidanceSettings
from dreamfusion_mesh.guidance.models.low_rank import LowRank
from dreamfusion_mesh.guidance.models.multiview import contrast_view, contrast_view_in_group, contrast_view_of_blend, no_multiview
from dreamfusion_mesh.guidance.models.text_condition import TextCondition, joined
from dreamfusion_mesh.guidance.prompts import VIEW_SUFFIXES, textureless_rows, view_weights, view_words
from dreamfusion_mesh.records import Views
from dreamfusion_mesh.records.diffusion import Answers, Schedule

if TYPE_CHECKING:
    from dreamfusion_mesh.guidance.models.diffusion import DiffusionModel


@dataclass(frozen=True, eq=False)
class PromptedDiffusion:
    """A ScoreModel: a diffusion model bound to one prompt and its settings.

    text       8 texts: the prompt for each row of VIEW_SUFFIXES, then the textureless prompt likewise
    negative   one: the negative prompt, or no words
    wordless   one: no words, where the loss takes these beside the negative prompt; none otherwise
    tiles      whether an autoencoder sees images in tiles
    warnings   lines for the user: words that the model does not know, or that were cut
    """

    model: DiffusionModel
    settings: GuidanceSettings
    text: TextCondition
    negative: TextCondition
    wordless: TextCondition
    tiles: bool = False
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
        """Pixels a side, or places of an autoencoder, that are folded into the channels of one place."""
        return self.model.latents.patch

    def encode(self, images: Tensor) -> Tensor:
        """See DiffusionModel.encode."""
        return self.model.encode(images, self._size, self.settings.checkpoint_encoder, self.tiles)

    def decode(self, latents: Tensor) -> Tensor:
        """See DiffusionModel.decode."""
        return self.model.decode(latents)

    def nearest_image(self, latents: Tensor) -> Tensor:
        """Pixels [B, C, h, h] within [-1, 1]; an autoencoder's latents as they are."""
        return latents.clamp(-1, 1) if self.model.latents.vae is None else latents

    def seeing_together(self) -> PromptedDiffusion:
        """The same with `guidance.multiview`, to draw from: whatever the loss, it goes away from the negative prompt, or from no words.

        And not from other views, with Perp-Neg: these are there as well, and agree less where each is driven from one of them.

        Raises BadInput where this is no multi-view model.
        """
        if not self.model.denoiser.takes_cameras:
            raise no_multiview(self.model.files.source, "coarse.start=sphere")
        settings = self.settings.model_copy(update={"multiview": True, "perp_neg": 0.0})
        return replace(self, settings=settings, wordless=self.wordless[:0])

    @torch.no_grad()
    def answer(self, noisy: Tensor, t: Tensor, views: Views) -> Answers:
        """Raw predictions shaped like `noisy` [B, C, h, h] at t [B] int64, with each view's text; one call of the network for all.

        B is a multiple of `together`. `perp_neg` adds a third evaluation, with another view: its text alone, or the text and camera
        of another of those that are seen together. csd with a negative prompt adds one, without words beside it.
        """
        texts, shares = self._texts(views)
        text, camera = texts.blended(shares), self._cameras(views)
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
        camera = self._cameras(views)
        (found,) = self._predict(noisy, t, [(self.wordless if len(self.wordless) else self.negative, camera)])
        return Answers(self.model.prediction, found)

    def adapter(self, rank: int, draws: torch.Generator) -> LowRank:
        """A LoRA on the network's attention, given the words for each view and, where views are seen together, their cameras."""
        denoiser = self.model.denoiser
        return LowRank(denoiser.network, denoiser.lora_layers, rank, draws, self._answer_of)

    def _answer_of(self, network: nn.Module, noisy: Tensor, t: Tensor, views: Views) -> Answers:
        texts, shares = self._texts(views)
        question = self.model.question(noisy, t, texts.blended(shares), self._cameras(views), self._size)
        predicted = self.model.denoiser.call(network, *self.model.denoiser.given(question), views=self.together)
        return Answers(self.model.prediction, predicted[:, : noisy.shape[1]].to(noisy.dtype))

    @property
    def _size(self) -> int:
        return self.settings.image_size or self.model.size

    def _cameras(self, views: Views) -> Tensor | None:
        """What the network is told of the cameras of views that it sees together."""
        return self.model.denoiser.camera_numbers(views.cameras) if self.together > 1 else None

    def _texts(self, views: Views) -> tuple[TextCondition, Tensor]:
        """Each view's texts, [B, 4] of them, a row for each of VIEW_SUFFIXES, and how much of each it is given, [B, 4]."""
        settings, azimuth, elevation = self.settings, views.cameras.azimuth, views.cameras.elevation
        texts = self.text[textureless_rows(views)[:, None] + torch.arange(len(VIEW_SUFFIXES), device=self.text.states.device)]
        if settings.blend_view_words:
            return texts, view_weights(azimuth, elevation, settings.overhead_degrees).to(texts.states)
        rows = view_words(azimuth, elevation, settings.front_degrees, settings.overhead_degrees)
        return texts, functional.one_hot(rows, len(VIEW_SUFFIXES)).to(texts.states)

    def _contrast(self, texts: TextCondition, shares: Tensor, camera: Tensor | None, t: Tensor) -> tuple[TextCondition, Tensor | None]:
        """Text and camera of a contrast view: another one of the group that is seen together, or else another one in the text alone."""
        if camera is not None:
            order = contrast_view_in_group(t, self.together)
            return texts.blended(shares[order]), camera[order]
        blend = self.settings.blend_view_words
        rows = contrast_view_of_blend(shares, t) if blend else contrast_view(shares.argmax(1), t, len(VIEW_SUFFIXES))
        return texts.at(rows), None

    def _predict(self, noisy: Tensor, t: Tensor, conditions: Sequence[tuple[TextCondition, Tensor | None]]) -> tuple[Tensor, ...]:
        """The network's predictions at `noisy` [B, C, h, h], t [B], each with one text, or B, and cameras [B, N], by one call of it."""
        branches = len(conditions)
        text = joined([text.expand(len(noisy)) for text, _ in conditions])
        cameras = [camera for _, camera in conditions if camera is not None]
        question = self.model.question(
            noisy.repeat(branches, 1, 1, 1), t.repeat(branches), text, torch.cat(cameras) if cameras else None, self._size
        )
        return self.model.predict(question, self.together).chunk(branches)
