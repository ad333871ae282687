"""Train the judge: `python -m tools.prior.judge RUN --data FOLDER [--config full|small|tiny] [--minutes M] [--steps N] [--seed 1]
[--device auto]`.

A small CLIP (Radford et al., arXiv:2103.00020) that measures how well pictures and captions fit. It shares the world and its words with the
prior and nothing else: other shards (drawn with held-out looks too, since it has to know what it judges), spoilt pictures, own weights. It
is never guidance. Its image tower is a ResNet (He et al., arXiv:1512.03385), which learns from so few pictures what a transformer cannot.
Goes on where RUN left off (see runs.py); RUN/judge holds the towers as transformers reads them.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from dreamfusion_mesh.run.device import resolve_device
from tools.prior import tokens
from tools.prior.captions import kind_words
from tools.prior.data import Pictures
from tools.prior.degrade import degrade
from tools.prior.kinds import KINDS
from tools.prior.runs import Batch, Loss, Pace, Run, train

_NAMING = 0.2  # weight of the naming of words beside the other losses
_ASKED_VIEWS = 2  # one picture of so many is asked for its view, which takes four texts


@dataclass(frozen=True)
class JudgeRecipe:
    """channels: of the image tower's stages, each half as wide and high as the one before; width and layers: of the text tower."""

    channels: tuple[int, ...]
    width: int
    layers: int
    pace: Pace


JUDGES = {
    "full": JudgeRecipe((64, 128, 256), 192, 3, Pace(batch=512, rate=2e-3, steps=8000, keep=0.999)),
    "small": JudgeRecipe((64, 128, 256), 128, 2, Pace(batch=256, rate=2e-3, steps=4000, warm=100, cool=0.5, keep=0.995)),
    "tiny": JudgeRecipe((8, 16, 32), 32, 1, Pace(batch=16, rate=1e-2, steps=60, warm=5, keep=0.9)),
}


class Judge(nn.Module):
    """An image tower, a ResNet whose classifier is the projection, and CLIP's text tower with its own."""

    def __init__(self, channels: Sequence[int], width: int, layers: int) -> None:
        super().__init__()
        from transformers import CLIPTextConfig, CLIPTextModelWithProjection, ResNetConfig, ResNetForImageClassification

        stages = {"embedding_size": channels[0], "hidden_sizes": list(channels), "depths": [2] * len(channels), "layer_type": "basic"}
        text = CLIPTextConfig(
            hidden_size=width,
            intermediate_size=2 * width,
            num_hidden_layers=layers,
            num_attention_heads=4,
            projection_dim=width,
            vocab_size=len(tokens.word_ids()),
            max_position_embeddings=tokens.LENGTH,
            pad_token_id=tokens.PAD,
            bos_token_id=tokens.START,
            eos_token_id=tokens.END,
        )
        self.image: Any = ResNetForImageClassification(ResNetConfig(num_labels=width, **stages))
        self.text: Any = CLIPTextModelWithProjection(text)
        # for training alone
        self.log_scale = nn.Parameter(torch.tensor(2.7))
        self.words = nn.Linear(channels[-1], len(tokens.word_ids()))
        nn.init.constant_(self.words.bias, -4.0)  # most words are in few captions

    def see(self, images: Tensor) -> Tensor:
        """What the image tower makes [B, C] of images [B, 64, 64, 3] in [0, 1]."""
        pixels = (2 * images.permute(0, 3, 1, 2) - 1).contiguous(memory_format=torch.channels_last)
        seen: Tensor = self.image.resnet(pixels).pooler_output.flatten(1)
        return seen

    def project(self, seen: Tensor) -> Tensor:
        """Unit vectors [B, D] of what was seen."""
        return functional.normalize(self.image.classifier(seen).float(), dim=1)

    def pictures(self, images: Tensor) -> Tensor:
        """Unit vectors [B, D] of images [B, 64, 64, 3] in [0, 1]."""
        return self.project(self.see(images))

    def texts(self, ids: Tensor) -> Tensor:
        """Unit vectors [B, D] of token ids [B, L]. Places that none of them fills are left out: what follows a text's end is not read."""
        ids = ids[:, : int((ids != tokens.PAD).sum(1).max())]
        return functional.normalize(self.text(input_ids=ids).text_embeds.float(), dim=1)


def contrastive(pictures: Tensor, texts: Tensor, ids: Tensor, scale: Tensor) -> Tensor:
    """Scalar: how badly each picture finds its text among the batch's and each text its picture; the same words are never a wrong answer.

    pictures, texts [B, D] unit; ids [B, L]; scale multiplies their cosines. Source: arXiv:2103.00020, figure 3.
    """
    alike = scale * pictures @ texts.T
    twins = (ids[:, None] == ids[None]).all(-1) & ~torch.eye(len(ids), dtype=torch.bool, device=ids.device)
    alike = alike.masked_fill(twins, -torch.inf)
    own = torch.arange(len(ids), device=ids.device)
    return (functional.cross_entropy(alike, own) + functional.cross_entropy(alike.T, own)) / 2


def cut_views(ids: Tensor, cut: Tensor) -> Tensor:
    """Token ids [B, L] without the words of the view where cut [B] is true: everything from the comma on."""
    comma = tokens.word_ids()[","]
    at = (ids == comma).float().argmax(1)
    position = torch.arange(ids.shape[1], device=ids.device)
    rest = (position[None] > at[:, None]) & (ids == comma).any(1, keepdim=True) & cut[:, None]
    shorter = ids.masked_fill(rest, tokens.PAD)
    ends = (position[None] == at[:, None]) & (ids == comma).any(1, keepdim=True) & cut[:, None]
    return shorter.masked_fill(ends, tokens.END)


def kind_rows(ids: Tensor) -> Tensor:
    """[B] row in the world's table of kinds of the first kind that captions [B, L] name."""
    known = tokens.word_ids()
    table = [-1] * len(known)
    for word, row in kind_words().items():
        table[known[word]] = row
    rows = torch.tensor(table, device=ids.device)[ids]
    return rows.gather(1, (rows >= 0).float().argmax(1, keepdim=True))[:, 0]


def naming(guessed: Tensor, ids: Tensor) -> Tensor:
    """Scalar: how badly logits [B, words] predict which words captions [B, L] hold, in whatever order.

    Every picture answers for every word alone, which teaches the tower long before it can distinguish a batch's captions. Source: Joulin
    et al., arXiv:1511.02251.
    """
    holds = torch.zeros_like(guessed, dtype=torch.float32).scatter_(1, ids, 1.0)
    return functional.binary_cross_entropy_with_logits(guessed.float(), holds, reduction="none").sum(1).mean()


def judging_loss(judge: Judge) -> Loss:
    """The contrastive loss of spoilt pictures, the choice of the kind among all and of the view among four, and the naming of words.

    Every other batch's captions are without their views: all or none, or a picture's own words with and without its view would both be
    right and count as each other's wrong answer. The choices are between captions that differ by one word (Yuksekgonul et al.,
    arXiv:2210.01936), of which a batch has few.
    """
    kind_texts = tokens.encode([f"{words} {kind.words[0]}" for words in ("a", "a grey clay") for kind in KINDS.values()])
    clay = tokens.word_ids()["clay"]

    def loss(batch: Batch, draws: torch.Generator) -> Tensor:
        ids, spoilt = batch.ids, degrade(batch.images.float() / 255, draws)
        texts = cut_views(ids, (torch.rand(1, generator=draws, device=ids.device) < 0.5).expand(len(ids)))
        scale = judge.log_scale.exp().clamp_max(100)
        seen = judge.see(spoilt)
        pictures = judge.project(seen)
        coloured, grey = (scale * pictures @ part.T for part in judge.texts(kind_texts.to(ids.device)).chunk(2))
        kinds = torch.where((ids == clay).any(1, keepdim=True), grey, coloured)
        turned, own_view = tokens.turn_views(ids[::_ASKED_VIEWS])
        views = scale * (pictures[::_ASKED_VIEWS, None] * judge.texts(turned.flatten(0, 1)).unflatten(0, turned.shape[:2])).sum(2)
        chosen = functional.cross_entropy(kinds, kind_rows(ids)) + functional.cross_entropy(views, own_view)
        return contrastive(pictures, judge.texts(texts), texts, scale) + chosen + _NAMING * naming(judge.words(seen), ids)

    return loss


def export(judge: Judge, folder: Path) -> None:
    """image/ and text/ in half precision, the tokenizer beside the one, how images become pixels beside the other."""
    held = copy.deepcopy(judge).cpu().half()
    held.image.save_pretrained(str(folder / "image"))
    held.text.save_pretrained(str(folder / "text"))
    tokens.write(folder / "text")
    half = [0.5, 0.5, 0.5]
    shape = {"image_processor_type": "CLIPImageProcessor", "do_center_crop": False, "size": {"height": 64, "width": 64}}
    text = json.dumps({**shape, "image_mean": half, "image_std": half}, indent=2)
    (folder / "image" / "preprocessor_config.json").write_text(text + "\n", encoding="utf-8")


def start_run(folder: Path, recipe: JudgeRecipe, device: torch.device, dtype: torch.dtype | None = None, seed: int = 1) -> Run[Judge]:
    """A run of the recipe in `folder`, begun or gone on with; dtype as in `Run`; `seed` gives the first weights."""
    torch.manual_seed(seed)
    judge = Judge(recipe.channels, recipe.width, recipe.layers)
    judge.image.to(memory_format=torch.channels_last)
    return Run(folder, judge, judging_loss(judge), recipe.pace, device, dtype)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--config", choices=sorted(JUDGES), default="full")
    parser.add_argument("--minutes", type=float, default=1e9)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--seed", type=int, default=1, help="of the first weights; the shipped judge has 1")
    parser.add_argument("--least", type=int, default=1, help="images to wait for before the first step")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    arguments = parser.parse_args()
    recipe, asked = JUDGES[arguments.config], {name: getattr(arguments, name) for name in ("steps", "batch")}
    pace = dataclasses.replace(recipe.pace, **{name: value for name, value in asked.items() if value is not None})
    name = str(resolve_device(arguments.device))
    torch.set_float32_matmul_precision("high")
    run = start_run(arguments.run, dataclasses.replace(recipe, pace=pace), torch.device(name), seed=arguments.seed)
    began = run.step
    train(run, Pictures(arguments.data, name), arguments.minutes, arguments.least)
    export(run.averaged(), arguments.run / "judge")
    print(f"steps {began} to {run.step} of {pace.steps} on {name}; the judge is in {arguments.run / 'judge'}")


if __name__ == "__main__":
    main()
