"""A CLIP as guidance: bound to prompts and settings as a diffusion model is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from dreamfusion_mesh.config import GuidanceSettings
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.encodings import prompt_texts
from dreamfusion_mesh.guidance.models.clip import Clip
from dreamfusion_mesh.guidance.models.vocabulary import known_style, unknown_words
from dreamfusion_mesh.guidance.prompts import VIEW_SUFFIXES, check_prompt, textureless_rows, view_words
from dreamfusion_mesh.records import Views
from dreamfusion_mesh.records.diffusion import PromptEncoding
from dreamfusion_mesh.terminal import cut


@dataclass(frozen=True, eq=False)
class ClipGuidance:
    """A GuidanceModel: a CLIP, loaded once for any number of prompts and of settings; `load_guidance` makes it."""

    clip: Clip

    def for_prompt(self, prompt: str, settings: GuidanceSettings, encoding: PromptEncoding | None = None) -> PromptedClip:
        """The model bound to `prompt` and `settings`, with the texts that `encode_prompt` gives, or gave, for all views.

        Raises BadInput as `encode_prompt` does, ValueError where `encoding` is of other texts or of another model.
        """
        self._check_settings(settings)
        found = self.encode_prompt(prompt, settings) if encoding is None else encoding
        wanted_texts = prompt_texts(prompt, known_style(self.clip.files.source, self.clip.tokenizer, settings)[0])
        if found.texts != wanted_texts or found.states.shape[1:] != (1, self.clip.width):
            shape = [len(found.texts), 1, self.clip.width]
            raise ValueError(f"encoding: {list(found.states.shape)} of {cut(str(found.texts[:1]))}, expected {shape} of this prompt")
        return PromptedClip(self.clip, settings, found.states[: 2 * len(VIEW_SUFFIXES), 0].to(self.clip.device), found.warnings)

    def encode_prompt(self, prompt: str, settings: GuidanceSettings) -> PromptEncoding:
        """The vectors of `prompt` for all views, coloured and textureless, with the warnings about its words.

        Raises BadInput where the settings are for another model, or the prompt cannot be used, has more tokens than the model reads, or has
        no word that it knows.
        """
        self._check_settings(settings)
        known, warnings = known_style(self.clip.files.source, self.clip.tokenizer, settings)
        warnings += unknown_words(self.clip.files.source, self.clip.tokenizer, check_prompt(prompt))
        texts = prompt_texts(prompt, known)
        return PromptEncoding(texts, self.clip.texts(texts)[:, None], tuple(warnings))

    def text_fingerprint(self) -> str:
        """What an encoding depends on beside its texts: the text tower's files and the device."""
        return self.clip.text_fingerprint()

    def provenance(self) -> dict[str, Any]:
        """The model's name, the licence of each component, SHA-256 of each weight file, and that it guides by its similarity."""
        return {**self.clip.provenance(), "loss": "clip"}

    def _check_settings(self, settings: GuidanceSettings) -> None:
        if settings.loaded_kind != "CLIP":
            raise BadInput(f"guidance.loss {settings.loss}: the model that was loaded is a CLIP; load the one that the loss asks for")
        if not self.clip.files.source.same(settings.clip):
            named = self.clip.files.source.name
            raise BadInput(f"guidance.clip {settings.clip!r}: the model that was loaded is {named!r}; load the one that is named")


@dataclass(frozen=True, eq=False)
class PromptedClip:
    """A SimilarityModel: a CLIP bound to one prompt and its settings.

    vectors  [8, D]   the prompt for each row of VIEW_SUFFIXES, then the textureless prompt likewise
    """

    clip: Clip
    settings: GuidanceSettings
    vectors: Tensor
    warnings: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Pixels a side of the images that it was made for."""
        return self.clip.size

    def images(self, images: Tensor) -> Tensor:
        """See Clip.images."""
        return self.clip.images(images)

    def texts(self, views: Views) -> Tensor:
        """Unit vectors [B, D] of the words for each of `views`."""
        cameras, settings = views.cameras, self.settings
        rows = view_words(cameras.azimuth, cameras.elevation, settings.front_degrees, settings.overhead_degrees)
        return self.vectors[rows + textureless_rows(views)]
