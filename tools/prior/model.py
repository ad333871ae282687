"""The prior's networks, its noise, its loss and its folder.

Pixel-space, patchified (pixel_unshuffle), asked for the clean image. Each time's error is weighed by one over the least that is left of it
(Kendall et al., arXiv:1705.07115, section 3.2), and times are drawn mostly where the words and the view make a difference: of the error at
t = 950 they explain a quarter and a twenty-fifth, at 500 a sixteenth and a hundredth, at 990, where the background cannot be known, a
tenth and a hundredth. Weighed nearly alike, as v-prediction weighs them, what cannot be known drowns the view. For the same reason the
background, three quarters of a render and of a colour that no words name, counts little.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from dreamfusion_mesh.config import MULTIVIEW
from dreamfusion_mesh.guidance.models.multiview import CAMERA_NUMBERS, predict_views, set_multiview_attention
from tools.prior import tokens
from tools.prior.runs import Pace

TIMES = 1000
_MOST_WEIGHT = 5.0
_ERROR_FALLS = 0.4  # a trained prior's mean square error falls as this power of signal to noise: measured, .063 at t = 950, .009 at 500
_BACKGROUND = 0.15  # weight of a pixel there, where the object's weigh 1
_MARGIN = 2  # pixels around the object that count as it does, so that its outline is learnt from both sides
_TIME_KNOTS = ((0.0, 0.0), (0.3, 0.7), (0.95, 0.98), (1.0, 1.0))  # places of a batch, and the share of TIMES that each has


@dataclass(frozen=True)
class Size:
    """How large the networks are. widths: a level's channels, each level half as wide and high as the one before."""

    patch: int
    widths: tuple[int, ...]
    words: int
    text_layers: int
    attends: tuple[bool, ...]
    groups: int = 16
    head: int = 32


@dataclass(frozen=True)
class Recipe:
    """How large, how trained.

    drop   share of texts left out, for guidance without a classifier
    blank  share of texts with one word made unknown, for prompts with a word that the world has not
    joint  share of steps that see four views together and are given their cameras; the others see each image alone
    """

    size: Size
    pace: Pace
    drop: float = 0.1
    blank: float = 0.05
    joint: float = 0.5


RECIPES = {
    # on a GPU: 32 x 32 patches of 2, 13 million parameters, 4.1 GFLOP an image
    "full": Recipe(Size(2, (96, 128, 192), 192, 3, (False, True, True)), Pace(batch=512, rate=6e-4, steps=20_000, together=MULTIVIEW)),
    # on a CPU: 16 x 16 patches of 4
    "small": Recipe(
        Size(4, (64, 128), 128, 2, (False, True)),
        Pace(batch=96, rate=3e-3, steps=18_000, warm=100, cool=0.75, keep=0.998, together=MULTIVIEW),
    ),
    # for tests
    "tiny": Recipe(
        Size(8, (16, 32), 32, 1, (False, True), 8, 16), Pace(batch=8, rate=3e-3, steps=60, warm=5, keep=0.9, together=MULTIVIEW)
    ),
}


class Prior(nn.Module):
    """The U-Net and the text encoder, trained together."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        from diffusers import UNet2DConditionModel
        from transformers import CLIPTextConfig, CLIPTextModel

        self.size = size
        channels = 3 * size.patch**2
        kinds = ["CrossAttn" if attends else "" for attends in size.attends]
        self.unet: Any = UNet2DConditionModel(
            sample_size=64 // size.patch,
            in_channels=channels,
            out_channels=channels,
            block_out_channels=size.widths,
            layers_per_block=1,
            down_block_types=tuple(f"{kind}DownBlock2D" for kind in kinds),
            up_block_types=tuple(f"{kind}UpBlock2D" for kind in reversed(kinds)),
            cross_attention_dim=size.words,
            attention_head_dim=tuple(width // size.head for width in size.widths),  # diffusers reads it as the number of heads
            norm_num_groups=size.groups,
            addition_embed_type="text",
            addition_embed_type_num_heads=4,
            class_embed_type="projection",
            projection_class_embeddings_input_dim=CAMERA_NUMBERS,
        )
        set_multiview_attention(self.unet)
        for value in self.unet.class_embedding.linear_2.parameters():
            nn.init.zeros_(value)  # so that weights without it go on as they were
        text = CLIPTextConfig(
            vocab_size=len(tokens.word_ids()),
            hidden_size=size.words,
            intermediate_size=2 * size.words,
            num_hidden_layers=size.text_layers,
            num_attention_heads=4,
            max_position_embeddings=tokens.LENGTH,
            pad_token_id=tokens.PAD,
            bos_token_id=tokens.START,
            eos_token_id=tokens.END,
        )
        self.text_encoder: Any = CLIPTextModel(text)

    def forward(self, noisy: Tensor, t: Tensor, ids: Tensor, cameras: Tensor | None = None, views: int = 1) -> Tensor:
        """The clean image [B, C, h, h] guessed from `noisy` [B, C, h, h] at t [B] under texts [B, L]; the rest as in predict_views."""
        words = self.text_encoder(ids).last_hidden_state
        no_cameras = noisy.new_zeros(len(noisy), CAMERA_NUMBERS)
        return predict_views(self.unet, noisy, t, words, no_cameras if cameras is None else cameras, views)

    def fold(self, images: Tensor) -> Tensor:
        """Images [B, 64, 64, 3], uint8 or float in [0, 1], to [B, C, h, h] in [-1, 1]."""
        pixels = images.permute(0, 3, 1, 2)
        pixels = pixels.float() / 127.5 - 1 if images.dtype == torch.uint8 else 2 * pixels - 1
        return functional.pixel_unshuffle(pixels, self.size.patch)

    def unfold(self, folded: Tensor) -> Tensor:
        """Back to images [B, 64, 64, 3] in [0, 1]."""
        return ((functional.pixel_shuffle(folded.float(), self.size.patch) + 1) / 2).clamp(0, 1).permute(0, 2, 3, 1)


def scheduler() -> Any:
    """The noise: 1000 times, cosine betas, the clean image predicted."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(num_train_timesteps=TIMES, beta_schedule="squaredcos_cap_v2", prediction_type="sample", clip_sample=False)


def alpha_bar() -> Tensor:
    """[TIMES] float32"""
    values: Tensor = scheduler().alphas_cumprod.float()
    return values


def weight_of(share: Tensor) -> Tensor:
    """The loss's weight where `share` of the signal's variance is left: as one over a trained prior's error there, at most 5."""
    return (share / (1 - share)).pow(_ERROR_FALLS).clamp_max(_MOST_WEIGHT)


def times_of(spread: Tensor) -> Tensor:
    """Times [B] int64 of places [B] in [0, 1) that are spread evenly: two thirds of them where words decide what is seen."""
    places, times = (torch.tensor(knots, device=spread.device) for knots in zip(*_TIME_KNOTS, strict=True))
    piece = (torch.bucketize(spread, places, right=True) - 1).clamp(0, len(places) - 2)
    way = (spread - places[piece]) / (places[piece + 1] - places[piece])
    return (TIMES * torch.lerp(times[piece], times[piece + 1], way)).long().clamp(0, TIMES - 1)


def number_weights(images: Tensor, patch: int) -> Tensor:
    """How much the error of each number of a folded image counts [B, C, h, h], 1 on average, by where in the image it stands.

    images [B, 64, 64, 3] uint8 are renders on plain backgrounds.
    """
    shown = (images != images[:, :1, :1]).any(-1).float()
    near = functional.max_pool2d(shown[:, None], 2 * _MARGIN + 1, stride=1, padding=_MARGIN)
    weights = _BACKGROUND + (1 - _BACKGROUND) * near
    weights = (weights / weights.mean((1, 2, 3), keepdim=True)).expand(-1, 3, -1, -1)
    return functional.pixel_unshuffle(weights, patch)


def loss_of(prior: Callable[[Tensor, Tensor], Tensor], clean: Tensor, weights: Tensor, t: Tensor, noise: Tensor, shares: Tensor) -> Tensor:
    """Scalar: the weighted mean square error of the clean image [B, C, h, h], which `prior` guesses from what is noisy, and t [B].

    weights [B, C, h, h] are the numbers' own, t's come on top; shares is alpha_bar [TIMES].
    """
    left = shares[t][:, None, None, None]
    guess = prior(left.sqrt() * clean + (1 - left).sqrt() * noise, t)
    return (weight_of(shares[t]) * (weights * (guess.float() - clean).square()).mean((1, 2, 3))).mean()


def export(prior: Prior, folder: Path) -> None:
    """A folder in the diffusers layout, weights in half precision, as guidance reads it."""
    import copy

    held = copy.deepcopy(prior).cpu().half()
    held.unet.save_pretrained(str(folder / "unet"))
    held.text_encoder.save_pretrained(str(folder / "text_encoder"))
    scheduler().save_pretrained(str(folder / "scheduler"))
    tokens.write(folder / "tokenizer")
    index = {
        "_class_name": "DiffusionPipeline",
        "multiview": MULTIVIEW,
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "PreTrainedTokenizerFast"],
        "unet": ["diffusers", "UNet2DConditionModel"],
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def load(folder: Path) -> Prior:
    """The networks of a folder that `export` wrote, in single precision."""
    unet = json.loads((folder / "unet" / "config.json").read_text(encoding="utf-8"))
    text = json.loads((folder / "text_encoder" / "config.json").read_text(encoding="utf-8"))
    prior = Prior(
        Size(
            patch=64 // unet["sample_size"],
            widths=tuple(unet["block_out_channels"]),
            words=text["hidden_size"],
            text_layers=text["num_hidden_layers"],
            attends=tuple("CrossAttn" in kind for kind in unet["down_block_types"]),
            groups=unet["norm_num_groups"],
            head=unet["block_out_channels"][0] // unet["attention_head_dim"][0],
        )
    )
    read_weights(prior, folder)
    return prior.eval()


def read_weights(prior: Prior, folder: Path) -> None:
    """Fill the networks from a folder that `export` wrote: to go on from weights alone."""
    from safetensors.torch import load_file

    prior.unet.load_state_dict(load_file(str(folder / "unet" / "diffusion_pytorch_model.safetensors")))
    held = load_file(str(folder / "text_encoder" / "model.safetensors"))
    missing = prior.text_encoder.load_state_dict(held, strict=False).missing_keys
    if [name for name in missing if "position_ids" not in name]:
        raise ValueError(f"{folder}: text_encoder lacks {missing[:3]}")
