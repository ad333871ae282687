"""Train the judge: `python -m tools.prior.judge RUN --data FOLDER [--config full|tiny] [--minutes M] [--steps N] [--device auto]`.

A small CLIP (Radford et al., arXiv:2103.00020) that tells how well pictures and captions fit. It shares the world and its words with the
prior and nothing else: other shards (drawn with held-out looks too, since it has to know what it judges), spoilt pictures, own weights. It
is never guidance. Goes on where RUN left off (see runs.py); RUN/judge is the folder that transformers reads.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tools.prior import tokens
from tools.prior.data import Pictures
from tools.prior.degrade import degrade
from tools.prior.runs import Loss, Pace, Run, train

_NAMING = 0.2  # weight of the naming of words beside the contrastive loss
SHIPPED = Path(__file__).with_name("judge_model")  # its weights and card
FIRST_SHARD = 50_000  # the judge's shards are numbered from here, the prior's from 0


@dataclass(frozen=True)
class JudgeRecipe:
    """width and layers of both towers; patch: pixels a side that the image tower takes as one token."""

    width: int
    layers: int
    patch: int
    pace: Pace


JUDGES = {
    "full": JudgeRecipe(224, 5, 8, Pace(batch=1024, rate=8e-4, steps=8000, keep=0.999, together=4)),
    "small": JudgeRecipe(128, 5, 8, Pace(batch=256, rate=2e-3, steps=2800, warm=100, cool=0.5, keep=0.995, together=4)),
    "tiny": JudgeRecipe(32, 1, 16, Pace(batch=16, rate=1e-2, steps=60, warm=5, keep=0.9, together=2)),
}


class Judge(nn.Module):
    """transformers' CLIPModel for 64 x 64 images and the grammar's words."""

    def __init__(self, width: int, layers: int, patch: int) -> None:
        super().__init__()
        from transformers import CLIPConfig, CLIPModel

        tower = {"hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": layers, "num_attention_heads": 4}
        text = {
            **tower,
            "vocab_size": len(tokens.word_ids()),
            "max_position_embeddings": tokens.LENGTH,
            "pad_token_id": tokens.PAD,
            "bos_token_id": tokens.START,
            "eos_token_id": tokens.END,
        }
        vision = {**tower, "image_size": 64, "patch_size": patch}
        self.clip: Any = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=width))
        self.words = nn.Linear(width, len(tokens.word_ids()))  # for training alone
        nn.init.constant_(self.words.bias, -4.0)  # most words are in few captions

    def see(self, images: Tensor) -> Tensor:
        """What the image tower makes [B, D] of images [B, 64, 64, 3] in [0, 1]."""
        seen: Tensor = self.clip.vision_model(pixel_values=2 * images.permute(0, 3, 1, 2) - 1).pooler_output
        return seen

    def project(self, seen: Tensor) -> Tensor:
        """Unit vectors [B, D] of what was seen."""
        return functional.normalize(self.clip.visual_projection(seen).float(), dim=1)

    def pictures(self, images: Tensor) -> Tensor:
        """Unit vectors [B, D] of images [B, 64, 64, 3] in [0, 1]."""
        return self.project(self.see(images))

    def texts(self, ids: Tensor) -> Tensor:
        """Unit vectors [B, D] of token ids [B, L]."""
        read = self.clip.text_model(input_ids=ids).pooler_output
        return functional.normalize(self.clip.text_projection(read).float(), dim=1)


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
    place = torch.arange(ids.shape[1], device=ids.device)
    rest = (place[None] > at[:, None]) & (ids == comma).any(1, keepdim=True) & cut[:, None]
    shorter = ids.masked_fill(rest, tokens.PAD)
    ends = (place[None] == at[:, None]) & (ids == comma).any(1, keepdim=True) & cut[:, None]
    return shorter.masked_fill(ends, tokens.END)


def naming(guessed: Tensor, ids: Tensor) -> Tensor:
    """Scalar: how badly logits [B, words] tell which words captions [B, L] hold, in whatever order.

    Every picture answers for every word alone, which teaches the tower long before it can tell a batch's captions apart. Source: Joulin
    et al., arXiv:1511.02251.
    """
    holds = torch.zeros_like(guessed, dtype=torch.float32).scatter_(1, ids, 1.0)
    return functional.binary_cross_entropy_with_logits(guessed.float(), holds, reduction="none").sum(1).mean()


def judging_loss(judge: Judge) -> Loss:
    """The contrastive loss of spoilt pictures, and the naming of their words.

    Every other batch's captions are without their views: all or none, or a picture's own words with and without its view would both be
    right and count as each other's wrong answer.
    """

    def loss(images: Tensor, ids: Tensor, draws: torch.Generator) -> Tensor:
        spoilt = degrade(images.float() / 255, draws)
        said = cut_views(ids, (torch.rand(1, generator=draws, device=ids.device) < 0.5).expand(len(ids)))
        scale = judge.clip.logit_scale.exp().clamp_max(100)
        seen = judge.see(spoilt)
        return contrastive(judge.project(seen), judge.texts(said), said, scale) + _NAMING * naming(judge.words(seen), ids)

    return loss


@torch.no_grad()
def choose(judge: Judge, images: Tensor, texts: Sequence[str], batch: int = 512) -> Tensor:
    """Row of the best fitting of `texts` for each of images [B, 64, 64, 3] in [0, 1]; [B] int64 on the CPU."""
    device = next(judge.parameters()).device
    said = judge.texts(tokens.encode(texts).to(device))
    return torch.cat([(judge.pictures(part.to(device)) @ said.T).argmax(1).cpu() for part in images.split(batch)])


def export(judge: Judge, folder: Path) -> None:
    """A CLIPModel's folder in half precision, with the tokenizer and how images become its pixels."""
    import copy

    copy.deepcopy(judge.clip).cpu().half().save_pretrained(str(folder))
    tokens.write(folder)
    half = [0.5, 0.5, 0.5]
    shape = {"image_processor_type": "CLIPImageProcessor", "do_center_crop": False, "size": {"height": 64, "width": 64}}
    text = json.dumps({**shape, "image_mean": half, "image_std": half}, indent=2)
    (folder / "preprocessor_config.json").write_text(text + "\n", encoding="utf-8")


def load(folder: Path) -> Judge:
    """The judge of a folder that `export` wrote, in single precision."""
    from transformers import CLIPModel

    clip = CLIPModel.from_pretrained(str(folder), use_safetensors=True, local_files_only=True).float().eval()
    vision = clip.config.vision_config
    judge = Judge(vision.hidden_size, vision.num_hidden_layers, vision.patch_size)
    judge.clip = clip
    return judge.eval()


def start_run(folder: Path, recipe: JudgeRecipe, device: torch.device) -> Run[Judge]:
    """A run of the recipe in `folder`, begun or gone on with."""
    torch.manual_seed(1)
    judge = Judge(recipe.width, recipe.layers, recipe.patch)
    return Run(folder, judge, judging_loss(judge), recipe.pace, device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--config", choices=sorted(JUDGES), default="full")
    parser.add_argument("--minutes", type=float, default=1e9)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--least", type=int, default=1, help="images to wait for before the first step")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    recipe, asked = JUDGES[arguments.config], {name: getattr(arguments, name) for name in ("steps", "batch")}
    pace = dataclasses.replace(recipe.pace, **{name: value for name, value in asked.items() if value is not None})
    name = ("cuda" if torch.cuda.is_available() else "cpu") if arguments.device == "auto" else arguments.device
    torch.set_float32_matmul_precision("high")
    run = start_run(arguments.run, dataclasses.replace(recipe, pace=pace), torch.device(name))
    began = run.step
    train(run, Pictures(arguments.data, name), arguments.minutes, arguments.least)
    export(run.averaged(), arguments.run / "judge")
    print(f"steps {began} to {run.step} of {pace.steps} on {name}; the judge is in {arguments.run / 'judge'}")


if __name__ == "__main__":
    main()
