"""Settings of the diffusion model and of score distillation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from dreamfusion_mesh.config.base import Count, Fraction, Settings, Weight, Words, check_placeholders, rising, times_apart
from dreamfusion_mesh.config.distillation import CfdSettings, CsdSettings, IsmSettings, SdiSettings, VsdSettings

MULTIVIEW = 4  # views that a multi-view model sees together
_LOADED_WITH = ("half_precision", "autoencoder", "offload", "compile", "compile_seconds")
Transmittance = Annotated[float, Field(ge=0, le=0.999)]
Blur = Annotated[float, Field(ge=0, le=0.5)]


class ClipLossSettings(Settings):
    """Dream Fields (Jain et al., arXiv:2112.01455, sections 3.2 and 3.3, and its published settings), with what CLIP-Mesh changes in it."""

    transmittance: Weight = 0.5
    """Weight of the loss against fog and floating pieces: -transmittance * min(target, mean share of the picture that shows the
    background) (Dream Fields, arXiv:2112.01455, section 3.2)."""
    target_transmittance: tuple[Transmittance, Transmittance] = (0.5, 0.9)
    """The target at first, and once `anneal` of the steps is done."""
    anneal: Fraction = 0.05
    """Share of the steps in which the target goes from its first to its last value."""
    random_backgrounds: Fraction = 1.0
    """Share of pictures before noise, a checkerboard or a Fourier texture (Dream Fields, arXiv:2112.01455, section 3.3);
    the others are plain."""
    background_blur: tuple[Blur, Blur] = (0.0, 0.045)
    """Standard deviations to draw from, in sides of the picture."""
    crops: Count = 8
    """Pictures of a view, each cut at random; 1 in CLIP-Mesh (arXiv:2203.13333)."""
    crop_size: Annotated[float, Field(ge=0.25, le=1)] = 0.9
    """Side of a cut in sides of the picture; 1 cuts nothing."""

    @model_validator(mode="after")
    def _spans(self) -> ClipLossSettings:
        rising("background_blur", self.background_blur)
        return self


class GuidanceSettings(Settings):
    """What guides: score distillation from one frozen diffusion model, or the similarity of a CLIP."""

    loss: Literal["sds", "csd", "cfd", "sdi", "ism", "vsd", "clip"] = "sds"
    """What is minimised. sds: score distillation sampling (DreamFusion, arXiv:2209.14988); csd, cfd, sdi, ism and vsd: see their groups
    below; all by `model`. clip: the similarity of `clip`, as the baselines before them have it (Dream Fields, arXiv:2112.01455)."""
    model: Words = "embedded"
    """The diffusion model: embedded, a folder in the diffusers layout, or the name or id of one that `dreamfusion-mesh models` fetched."""
    autoencoder: Words = ""
    """What turns images into a latent model's latents in place of its own vae/: a folder with an autoencoder of diffusers that makes the
    same latents, or the id of one that `dreamfusion-mesh models` fetched. A tiny one (AutoencoderTiny, such as madebyollin/taesd for Stable
    Diffusion) takes a fraction of the time and memory, and its gradients are coarser. Empty: the model's own."""
    clip: Words = "embedded"
    """The CLIP of the loss clip: embedded, or a folder that holds one."""
    clip_loss: ClipLossSettings = ClipLossSettings()
    csd: CsdSettings = CsdSettings()
    cfd: CfdSettings = CfdSettings()
    sdi: SdiSettings = SdiSettings()
    ism: IsmSettings = IsmSettings()
    vsd: VsdSettings = VsdSettings()
    scale: Annotated[float, Field(ge=0, le=200)] = 5.0
    """Classifier-free guidance, uncond + scale (text - uncond) (arXiv:2207.12598); csd, which is the text's part alone, does not use it."""
    perp_neg: Annotated[float, Field(ge=0, le=100)] = 0.0
    """How far to keep from other views' text (Perp-Neg, arXiv:2304.04968); above 0 adds a third evaluation a step."""
    rescale: Fraction = 0.0
    """How far guided predictions go back to the text's own standard deviation (Lin et al., arXiv:2305.08891, section 3.4)."""
    weighting: Literal["one_minus_alpha_bar", "sqrt_one_minus_alpha_bar", "uniform"] = "uniform"
    """w(t) of sds, csd and vsd: the variance of the noise, as in DreamFusion (arXiv:2209.14988); its root, a pull towards the clean image
    that stays bounded at all times; or 1."""
    t_schedule: Literal["auto", "fixed", "linear", "sqrt", "dreamtime", "deterministic"] = "auto"
    """How t_min and t_max go over the steps. fixed: their first values (DreamFusion, arXiv:2209.14988); linear: each from its first to its
    last (ProlificDreamer, arXiv:2305.16213, lowers t_max). One time for all views of a step, t_max from its first to its last value:
    deterministic: linearly (CFD, arXiv:2501.05445; SDI, arXiv:2405.15891); sqrt: by the square root of the progress (HiFA,
    arXiv:2305.18766); dreamtime: longest from 0.8 to 0.5 (DreamTime, arXiv:2306.12422). auto: deterministic for cfd and sdi, linear for
    the others."""
    t_max: tuple[Fraction, Fraction] = (0.98, 0.7)
    """The highest time, as a share of all, at the first and at the last step."""
    t_min: tuple[Fraction, Fraction] = (0.02, 0.02)
    """The lowest time, likewise."""
    textureless_words: Words = "a grey clay {subject}"
    """The prompt of grey clay views; {subject} is the prompt without its colours, {prompt} the whole."""
    prompt_style: Literal["none", "stylised", "realistic", "voxel", "hand-painted"] = "none"
    """Words that are put around the prompt and after the negative prompt, from configs/styles/. A model that does not know all of a style's
    words is given none of them, with a warning: the embedded one, whose words name things, colours and finishes, knows no style."""
    negative_prompt: Words = ""
    """What guidance goes away from, in the place of no words."""
    view_words: bool = True
    """Name the view in the words (DreamFusion, arXiv:2209.14988, section 3.2)."""
    blend_view_words: bool = False
    """Blend the texts of front, side and back linearly by azimuth, each alone in its middle; perp_neg then keeps away from each view as
    often as the blend has little of it, and front_degrees is not used (after Perp-Neg, arXiv:2304.04968)."""
    front_degrees: Annotated[float, Field(ge=0, le=90)] = 45.0
    """Half-width of "front view", and of "back view"; 90 leaves no side view."""
    overhead_degrees: Annotated[float, Field(ge=0, le=90)] = 50.0
    """Elevation above which it is "overhead view"; 90 leaves none."""
    half_precision: bool = True
    """Half precision on a card, inside the model alone: bfloat16 where the card has it, else float16; the embedded model's is float16."""
    image_size: Annotated[int, Field(ge=0, le=4096)] = 0
    """Pixels a side of the images that the model is shown; 0: of those that it was made for, which for FLUX.2 are 1024."""
    checkpoint_encoder: bool = False
    """Encode images one at a time, and each once more for its gradient: of a latent model's autoencoder, which takes most of the memory,
    only one image's activations are there, for a third more of its work. Losses and gradients stay the same."""
    tile_encoder: Literal["auto", "always", "never"] = "auto"
    """Encode each image in overlapping tiles of about 512 pixels, one at a time, and each once more for its gradient: of a latent model's
    autoencoder only one tile's activations are there. Its norms and attention see a tile each, so latents differ a little; tiles are
    blended. auto: images of 1024 pixels or more, on a card with less than 32 GiB, but for a tiny autoencoder."""
    offload: Literal["none", "layers"] = "none"
    """layers: the network's weights, and those of large text encoders, stay in the machine's memory, and are copied to the card layer by
    layer at every call, which takes longer: for cards that do not hold them. On a CPU there is nothing to copy."""
    compile: bool = False
    """Compile the network's repeated blocks by torch.compile, as they are first called; what is compiled is kept for later runs. Where that
    fails, such as without a compiler, the network is called as it is, with a warning. Answers differ by rounding."""
    compile_seconds: Annotated[int, Field(ge=1, le=86_400)] = 300
    """Seconds of compiling, after which no further block is compiled; the one under way is finished."""
    multiview: bool = False
    """Predict a step's four views together, given their cameras (MVDream, arXiv:2308.16512); needs a multi-view model, such as the
    embedded one."""

    @field_validator("textureless_words")
    @classmethod
    def _placeholders(cls, words: str) -> str:
        check_placeholders(words, ("subject", "prompt"))
        return words

    @model_validator(mode="after")
    def _times(self) -> GuidanceSettings:
        times_apart(self.t_min, self.t_max)
        return self

    @property
    def time_schedule(self) -> Literal["fixed", "linear", "sqrt", "dreamtime", "deterministic"]:
        """`t_schedule`, where that is auto the loss's own."""
        if self.t_schedule != "auto":
            return self.t_schedule
        return "deterministic" if self.loss in ("sdi", "cfd") else "linear"

    @property
    def loaded_with(self) -> dict[str, object]:
        """The settings that a diffusion model is loaded with, beside its name: others need it loaded again."""
        return {name: getattr(self, name) for name in _LOADED_WITH}

    @property
    def loaded_kind(self) -> Literal["diffusion model", "CLIP"]:
        """What kind of model the loss evaluates."""
        return "CLIP" if self.loss == "clip" else "diffusion model"

    @property
    def loaded_model(self) -> str:
        """The model that the loss asks for, as `model` or `clip` names it."""
        return self.clip if self.loaded_kind == "CLIP" else self.model

    @model_validator(mode="after")
    def _similarity(self) -> GuidanceSettings:
        if self.loss == "clip" and (self.multiview or self.perp_neg):
            found = "multiview true" if self.multiview else f"perp_neg {self.perp_neg:g}"
            raise ValueError(f"loss clip has no diffusion model that sees other views: set perp_neg=0 and multiview=false (given {found})")
        return self

    @model_validator(mode="after")
    def _learns_beside_the_network(self) -> GuidanceSettings:
        if self.loss == "vsd" and self.offload != "none":
            raise ValueError(f"loss vsd learns through the network, whose weights have to stay: set offload=none (given {self.offload})")
        return self

    @model_validator(mode="after")
    def _compiled_where_it_lies(self) -> GuidanceSettings:
        if self.compile and self.offload != "none":
            raise ValueError(f"compile takes weights that stay where they are: set offload=none, or compile=false (given {self.offload})")
        return self

    @model_validator(mode="after")
    def _nothing_to_rescale(self) -> GuidanceSettings:
        if self.loss == "csd" and self.rescale:
            raise ValueError(f"loss csd has no guided prediction that could be rescaled: set rescale=0 (given rescale {self.rescale:g})")
        return self

    @model_validator(mode="after")
    def _views_in_words(self) -> GuidanceSettings:
        if self.perp_neg and not (self.view_words or self.multiview):
            raise ValueError(f"perp_neg keeps away from other views' words, and view_words is false (given perp_neg {self.perp_neg:g})")
        if self.blend_view_words and (not self.view_words or self.loss == "clip"):
            why = "loss clip has no text that could be blended" if self.view_words else "view_words is false"
            raise ValueError(f"{why}: set blend_view_words=false (given blend_view_words true)")
        return self
