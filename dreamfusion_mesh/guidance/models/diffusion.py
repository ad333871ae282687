"""A text-to-image diffusion model from a folder, as a score for renders: pixel-space or latent, predicting eps, v or the clean image."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from dreamfusion_mesh.config import MULTIVIEW, GuidanceSettings
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.losses.sds import Prediction, convert, guide, rescale
from dreamfusion_mesh.guidance.models.loading import check_sizes, load_networks, load_schedule, load_tokenizer, sees_together
from dreamfusion_mesh.guidance.models.multiview import CAMERA_NUMBERS, another, another_together, ask, camera_numbers, span_views
from dreamfusion_mesh.guidance.prompts import VIEW_SUFFIXES, check_prompt, textureless_prompt, view_words
from dreamfusion_mesh.guidance.weights.folder import EMBEDDED, fingerprint, licence_of, open_folder, parts_of, weight_files
from dreamfusion_mesh.records import Shading, Views

_SMALL_WORDS = frozenset(
    re.findall(r"\w+", "a an the and or of with in on at to for from by as is are that its part parts photo view front side back overhead")
)
_MOST_WORDS_SHOWN = 200


@dataclass(frozen=True, eq=False)
class DiffusionGuidance:
    """A frozen model, loaded once for any number of prompts; `load_guidance` makes it.

    alpha_bar   [T]   share of signal variance left at each time
    prediction        what the U-Net answers with
    patch             pixels a side that a pixel-space model folds into its channels; 0 for a latent model
    size              pixels a side of the images the model looks at
    limit             tokens a prompt may have, the start and end marks included
    takes_cameras     whether it is a multi-view model, which may be told cameras and see four views together
    """

    settings: GuidanceSettings
    folder: Path
    unet: Any
    text_encoder: Any
    tokenizer: Any
    vae: Any | None
    alpha_bar: Tensor
    prediction: Prediction
    patch: int
    size: int
    limit: int
    takes_cameras: bool

    @property
    def name(self) -> str:
        """ "embedded", or the folder's own name."""
        return EMBEDDED if self.settings.model == EMBEDDED else self.folder.resolve().name

    def for_prompt(self, prompt: str) -> PromptedGuidance:
        """The score of images of `prompt`, its words read once for all views, coloured and as grey clay.

        Raises BadInput where the prompt cannot be used, has more tokens than the model reads, or has no word that it knows.
        """
        clean = check_prompt(prompt)
        clay = textureless_prompt(self.settings.textureless_words, clean)
        warnings = self._unknown_words(clean)
        texts = [words + suffix for words in (clean, clay) for suffix in VIEW_SUFFIXES]
        rows = self._read([*texts, self.settings.negative_prompt])
        return PromptedGuidance(self, rows[:-1], rows[-1:], warnings)

    def provenance(self) -> dict[str, Any]:
        """What an asset has to record: the model's name, licence, kind, and SHA-256 of each weight file."""
        parts = [part for part in parts_of(self.folder) if part not in ("tokenizer", "scheduler")]
        files = [file for part in parts for file in weight_files(self.settings.model, self.folder, part)]
        return {
            "model": self.name,
            "licence": "Apache-2.0" if self.settings.model == EMBEDDED else licence_of(self.folder),
            "prediction": self.prediction,
            "files": {file.relative_to(self.folder).as_posix(): fingerprint(file) for file in files},
        }

    def encode(self, images: Tensor) -> Tensor:
        """Images [B, H, H, 3] in [0, 1] to what the U-Net sees [B, C, h, h]: averaged down or stretched up to `size`, then to [-1, 1].

        Differentiable; the VAE of a latent model gives its mean. Raises ValueError where the images are not square RGB.
        """
        if images.dim() != 4 or images.shape[1] != images.shape[2] or images.shape[3] != 3:
            raise ValueError(f"images: shape {list(images.shape)}, expected [B, H, H, 3]")
        pixels = 2 * _resize(images.permute(0, 3, 1, 2), self.size) - 1
        if self.vae is None:
            return functional.pixel_unshuffle(pixels, self.patch)
        mean = self.vae.encode(pixels).latent_dist.mean
        return (mean - (self.vae.config.shift_factor or 0.0)) * self.vae.config.scaling_factor

    @torch.no_grad()
    def predict(self, noisy: Tensor, t: Tensor, words: Tensor, cameras: Tensor | None = None, views: int = 1) -> Tensor:
        """The U-Net's own prediction [B, C, h, h] at noisy [B, C, h, h], t [B] int64, words [B, L, D]; half precision stays in here.

        cameras [B, 5] and views, for multi-view models, are as in `multiview.ask`; without them each image is seen alone.
        """
        kind = self.unet.dtype
        if self.takes_cameras:
            told = noisy.new_zeros(len(noisy), CAMERA_NUMBERS) if cameras is None else cameras
            answer = ask(self.unet, noisy.to(kind), t, words.to(kind), told.to(kind), views)
        else:
            answer = self.unet(noisy.to(kind), t, encoder_hidden_states=words.to(kind)).sample
        return answer[:, : noisy.shape[1]].to(noisy.dtype)  # the rest, where there is any, is a learned variance

    @torch.no_grad()
    def _read(self, texts: list[str]) -> Tensor:
        rows = []
        for text in texts:
            ids = self.tokenizer(text, padding=False, truncation=False, verbose=False).input_ids
            if len(ids) > self.limit:
                raise BadInput(
                    f"prompt: {text!r} has {len(ids)} tokens with its view's words and both marks, guidance {self.settings.model!r} "
                    f"reads at most {self.limit}; shorten it by {len(ids) - self.limit}"
                )
            rows.append(ids + [self.tokenizer.pad_token_id] * (self.limit - len(ids)))
        # No attention mask: these models are trained with every place visible, and samples fade with one.
        return self.text_encoder(torch.tensor(rows, device=self.alpha_bar.device)).last_hidden_state.float()

    def _unknown_words(self, prompt: str) -> list[str]:
        words = dict.fromkeys(word for word in re.findall(r"[^\W_]+", prompt.lower()) if word not in _SMALL_WORDS)
        unknown = [word for word in words if self.tokenizer.unk_token_id in self.tokenizer(word, add_special_tokens=False).input_ids]
        if not unknown:
            return []
        if len(unknown) == len(words):
            known = [word for word in sorted(self.tokenizer.get_vocab()) if word.isalnum() and word not in _SMALL_WORDS]
            shown = ", ".join(known[:_MOST_WORDS_SHOWN]) + (", ..." if len(known) > _MOST_WORDS_SHOWN else "")
            raise BadInput(f"prompt: guidance {self.settings.model!r} knows none of: {', '.join(unknown)}; it knows: {shown}")
        return [f"guidance {self.settings.model!r} does not know: {', '.join(unknown)}"]


@dataclass(frozen=True, eq=False)
class PromptedGuidance:
    """A ScoreModel (see guidance/sds.py) of one prompt.

    words     [8, L, D]   the prompt for each row of VIEW_SUFFIXES, then the clay model likewise
    null      [1, L, D]   the negative prompt, or none
    warnings              lines for the user: words the model does not know
    """

    model: DiffusionGuidance
    words: Tensor
    null: Tensor
    warnings: list[str] = field(default_factory=list)

    @property
    def alpha_bar(self) -> Tensor:
        """[T]"""
        return self.model.alpha_bar

    @property
    def size(self) -> int:
        """Pixels a side."""
        return self.model.size

    @property
    def together(self) -> int:
        """Views of one object that are seen together."""
        return MULTIVIEW if self.model.settings.multiview else 1

    def encode(self, images: Tensor) -> Tensor:
        """See DiffusionGuidance.encode."""
        return self.model.encode(images)

    @torch.no_grad()
    def score(self, noisy: Tensor, t: Tensor, views: Views) -> Tensor:
        """Guided eps_hat shaped like `noisy` [B, C, h, h] at t [B] int64, worded for each of `views`; one call of the U-Net for all.

        B is a multiple of `together`. With `perp_neg` the model is asked a third time, about another view: by its words alone, or about
        another of those that are seen together.
        """
        settings, cameras = self.model.settings, views.cameras
        rows = view_words(cameras.azimuth, cameras.elevation, settings.front_degrees, settings.overhead_degrees)
        clay = len(VIEW_SUFFIXES) * (views.shading == Shading.TEXTURELESS)
        text, numbers = self.words[rows + clay], camera_numbers(cameras.azimuth, cameras.elevation)
        said, told = [self.null.expand_as(text), text], [numbers, numbers]
        if settings.perp_neg:
            rows, numbers = _another_view(rows, numbers, t, self.together)
            said.append(self.words[rows + clay])
            told.append(numbers)
        many, told_all = len(said), torch.cat(told) if self.together > 1 else None
        answers = self.model.predict(noisy.repeat(many, 1, 1, 1), t.repeat(many), torch.cat(said), told_all, self.together)
        uncond, worded, *other = answers.chunk(many)
        guided = rescale(guide(uncond, worded, settings.scale, other[0] if other else None, settings.perp_neg), worded, settings.rescale)
        return convert(guided, noisy, self.alpha_bar[t], self.model.prediction, "epsilon")


def _another_view(rows: Tensor, numbers: Tensor, t: Tensor, together: int) -> tuple[Tensor, Tensor]:
    """Rows of VIEW_SUFFIXES [B] and cameras' numbers [B, 5] as another view has them: of those seen together, or else by words alone."""
    if together == 1:
        return another(rows, t, len(VIEW_SUFFIXES)), numbers
    order = another_together(t, together)
    return rows[order], numbers[order]


def load_guidance(settings: GuidanceSettings, device: torch.device | str) -> DiffusionGuidance:
    """The model that `settings.model` names ("embedded" or a folder in the diffusers layout), frozen, on `device`.

    Only local safetensors are read and no code from the folder is run. Raises BadInput in one line where anything is missing, broken, of
    the wrong size or kind, or leads out of the folder.
    """
    model, device = settings.model, torch.device(device)
    folder = open_folder(model)
    alpha_bar, prediction = load_schedule(model, folder)
    tokenizer = load_tokenizer(model, folder)
    half = settings.half_precision and device.type == "cuda"
    unet, text_encoder, vae = load_networks(model, folder, torch.float16 if half else torch.float32)
    takes_cameras = sees_together(model, folder, unet.config)
    if takes_cameras:
        span_views(unet)
    elif settings.multiview:
        raise BadInput(f"guidance {model!r}: is not a multi-view model; set guidance.multiview=false, or name one that is")
    patch, size = check_sizes(model, unet.config, text_encoder.config, tokenizer, None if vae is None else vae.config)
    return DiffusionGuidance(
        settings=settings,
        folder=folder,
        unet=unet.to(device),
        text_encoder=text_encoder.to(device),
        tokenizer=tokenizer,
        vae=None if vae is None else vae.to(device),
        alpha_bar=alpha_bar.to(device),
        prediction=prediction,
        patch=patch,
        size=size,
        limit=min(text_encoder.config.max_position_embeddings, tokenizer.model_max_length),
        takes_cameras=takes_cameras,
    )


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
