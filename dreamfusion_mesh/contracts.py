"""Every Protocol between packages, once: they meet through these and do not import one another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor, nn

from dreamfusion_mesh.config import GuidanceSettings
from dreamfusion_mesh.records import FieldSample, Fragments, Views
from dreamfusion_mesh.records.diffusion import Answers, PromptEncoding, Schedule


@dataclass(frozen=True)
class Limits:
    """What a back end cannot give of the rasterizer's contract; the defaults are the whole of it.

    precisions       of clip, attributes and images
    edge             pixels; a centre this close to a triangle's edge, or to where triangles cross, may be seen on either side of it
    first_of_equals  of faces at equal depth the first wins, always
    gradient_spread  how far the gradients of two runs over the same input may lie apart, in float32 and as a share of the largest;
                     0: they have the same bits
    """

    precisions: tuple[torch.dtype, ...] = (torch.float32, torch.float64)
    edge: float = 0.0
    first_of_equals: bool = True
    gradient_spread: float = 0.0


class Rasterizer(Protocol):
    """The contract of every back end. Clip space: x right, y up, -w <= z <= w, w the depth along the view; row 0 on top; no culling.

    faces [F, 3] int64 are one mesh seen in all views, [B, F, 3] a mesh for each view; rows of three equal vertices draw nothing, so that
    meshes of different lengths can be padded. What a back end cannot give of the contract is stated in `limits`.
    The same input gives the same fragments and images, bit for bit. Gradients repeat bit for bit on the CPU; on CUDA, where backward adds
    atomically in no fixed order, to `limits.gradient_spread` (1e-5) of the largest.
    All raise ValueError naming the argument where shapes, dtypes or devices do not fit, a face is out of range or a position not finite.

    licence         of the part that draws
    terms           what the user has to know of it, None where it is permissive
    commercial_use  whether the licence allows it
    """

    name: str
    licence: str
    terms: str | None
    commercial_use: bool
    limits: Limits

    def rasterize(self, clip: Tensor, faces: Tensor, size: tuple[int, int]) -> Fragments:
        """What the pixels' centres see of clip [B, V, 4] and `faces` at (H, W), 1 or more each; bary and depth carry gradients to `clip`.

        `Fragments.face` is a row of the view's own faces. A centre on an edge belongs to one of its two faces; of faces at equal depth the
        first wins. Parts of triangles before the near plane or behind the camera are cut off.
        """
        ...

    def interpolate(self, attributes: Tensor, fragments: Fragments, faces: Tensor) -> Tensor:
        """[V, C] or [B, V, C] to [B, H, W, C], zero where no face is; gradients in both, in fragments.bary along its sum of 1."""
        ...

    def antialias(self, image: Tensor, fragments: Fragments, clip: Tensor, faces: Tensor) -> Tensor:
        """`image` [B, H, W, C] with smooth silhouettes; gradients in the image and, through where the silhouettes lie, in `clip`."""
        ...


class ScoreModel(Protocol):
    """A diffusion model bound to one prompt and its settings: what a score distillation loss evaluates.

    schedule   noise by time, on the model's device
    together   images in a row that it sees together, and that therefore share their time
    patch      pixels a side that `encode` folds into the channels of one latent place; 1 where it folds none
    warnings   lines for the user, such as words of the prompt that the model does not know
    """

    @property
    def schedule(self) -> Schedule: ...

    @property
    def together(self) -> int: ...

    @property
    def patch(self) -> int: ...

    @property
    def warnings(self) -> Sequence[str]: ...

    def encode(self, images: Tensor) -> Tensor:
        """Images [B, H, W, 3] in [0, 1] to latents [B, ...], differentiable."""
        ...

    def answer(self, noisy: Tensor, t: Tensor, views: Views) -> Answers:
        """The model's raw predictions, each shaped like `noisy` [B, ...], at times t [B] int64 as seen from `views`.

        Answers.others are given where the settings ask for Perp-Neg, Answers.negative where the loss is csd and there are negative words;
        a model that needs no guidance gives the text's prediction alone.
        """
        ...

    def answer_without_words(self, noisy: Tensor, t: Tensor, views: Views) -> Answers:
        """What `answer` gives as `uncond`, alone and as the text's: half the work. Raises BadInput where the model has none."""
        ...


class MultiviewModel(ScoreModel, Protocol):
    """A ScoreModel that can see four views of one object together, and whose latents can be looked at."""

    def seeing_together(self) -> ScoreModel:
        """The same model, prompt and settings with the views together, to draw from: `answer` gives neither `negative` nor `others`.

        Raises BadInput where the model cannot see them so.
        """
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Latents [B, ...] to images [B, H, H, 3] in [0, 1]."""
        ...

    def nearest_image(self, latents: Tensor) -> Tensor:
        """The latents [B, ...] of an image that are nearest to these: pixels within their range; a VAE's latents are taken as they are."""
        ...


class AdaptableModel(ScoreModel, Protocol):
    """A ScoreModel that can learn beside itself."""

    def adapter(self, rank: int, draws: torch.Generator) -> nn.Module:
        """A low-rank adapter of the model, which stays as it is; `draws`, on the CPU, give what it begins with.

        Called like `answer` it gives the text's prediction alone, at first the model's own; differentiable in its parameters, which are
        all its state.
        """
        ...


class SimilarityModel(Protocol):
    """A CLIP bound to one prompt and its settings: what a similarity loss evaluates.

    size      pixels a side of the images that it was made for
    warnings  lines for the user, such as words of the prompt that the model does not know
    """

    @property
    def size(self) -> int: ...

    @property
    def warnings(self) -> Sequence[str]: ...

    def images(self, images: Tensor) -> Tensor:
        """Unit vectors [B, D] of images [B, H, H, 3] in [0, 1] of any size; differentiable."""
        ...

    def texts(self, views: Views) -> Tensor:
        """Unit vectors [B, D] of the words for each of `views`."""
        ...


PromptedModel: TypeAlias = ScoreModel | SimilarityModel  # which of them, `guidance.loss` says


class GuidanceModel(Protocol):
    """A loaded diffusion model or CLIP: weights alone, shared by any number of prompts and of settings."""

    def for_prompt(self, prompt: str, settings: GuidanceSettings, encoding: PromptEncoding | None = None) -> PromptedModel:
        """The model bound to `prompt` and `settings`; `encoding` is what `encode_prompt` gave for them, or None to have it made here.

        Raises BadInput where the settings name another model or precision, ValueError where the encoding is of another prompt or model.
        """
        ...

    def encode_prompt(self, prompt: str, settings: GuidanceSettings) -> PromptEncoding:
        """The prompt's texts as the model reads them, on its device. Raises BadInput where they or the settings cannot be used."""
        ...

    def text_fingerprint(self) -> str:
        """What an encoding depends on beside the texts (see guidance/encodings.py's `encoding_key`): the encoder's files and device."""
        ...

    def provenance(self) -> dict[str, Any]:
        """The model's name, the licence of each component (see guidance/weights/licences.py), SHA-256 of each weight file."""
        ...


class ImageTextModel(Protocol):
    """A CLIP (Radford et al., arXiv:2103.00020): how well pictures and words fit, by the cosine of their vectors.

    size  pixels a side of the images that it was made for
    """

    @property
    def size(self) -> int: ...

    def images(self, images: Tensor) -> Tensor:
        """Unit vectors [B, D] of images [B, H, H, 3] in [0, 1] of any size; differentiable."""
        ...

    def texts(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors [len(texts), D]. Raises BadInput where a text is longer than the model reads."""
        ...

    def provenance(self) -> dict[str, Any]:
        """The model's name, the licence of each component, SHA-256 of each weight file, as GuidanceModel.provenance has them."""
        ...


class Probe(Protocol):
    """What is asked of a surface, point by point, for a picture or for one of its maps: albedo, roughness, occlusion."""

    def __call__(self, points: Tensor, /) -> Tensor:
        """[N, C] values in [0, 1] at points [N, 3] of the surface in scene units, on their device; differentiable where it is fitted."""
        ...


class Shader(Protocol):
    """What light makes of the surface's colour in the views it was made for."""

    def __call__(self, albedo: Tensor, normals: Tensor | None, view: Tensor, /) -> Tensor:
        """rgb [N, 3] in [0, 1] of points with this albedo [N, 3] and unit normals [N, 3], each in the view [N] int64 that sees it.

        Raises ValueError where a view is lit and normals are None.
        """
        ...


class FieldQuery(Protocol):
    """What a field gives to whoever renders it."""

    def __call__(self, points: Tensor, normals: bool) -> FieldSample:
        """Density, albedo and, if asked for, normals at points [N, 3] in scene units."""
        ...


class Field(FieldQuery, Protocol):
    """What is at points [N, 3] in scene units; differentiable in whatever parameters it has. Outside its box the density is 0."""

    def density(self, points: Tensor) -> Tensor:
        """[N] >= 0, per scene unit of length."""
        ...

    def head(self, name: str, points: Tensor) -> Tensor:
        """[N, C] in [0, 1]: the output of that name, such as "albedo". Raises ValueError for a name that the field has not."""
        ...
