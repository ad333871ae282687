"""R-Precision: from how many sides the judge picks an asset's own prompt among all. Source: DreamFusion, arXiv:2209.14988, section 4."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dreamfusion_mesh.config import GuidanceSettings
from dreamfusion_mesh.contracts import ImageTextModel
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.evaluate.records import Prompt
from dreamfusion_mesh.guidance.prompts import VIEW_SUFFIXES, textureless_prompt

_BATCH = 256  # images that the judge is given at once


@dataclass(frozen=True, eq=False)
class Pool:
    """The prompts that the judge picks from, read by it once.

    texts   [N, D] unit vectors of the prompts
    clay    [N, D] of what grey clay of each is called
    shapes  what clay has to be taken for; prompts that share it are one
    views   [4, D] of the prompt seen from each of VIEW_SUFFIXES, of those that have a front
    """

    prompts: tuple[Prompt, ...]
    texts: Tensor
    clay: Tensor
    shapes: tuple[str, ...]
    views: dict[str, Tensor]

    def row(self, text: str) -> int:
        """Of the prompt with this text. Raises BadInput where it is none of the pool's."""
        for row, prompt in enumerate(self.prompts):
            if prompt.text == text:
                return row
        raise BadInput(f"prompt {text!r}: is none of the {len(self.prompts)} prompts that the judge picks from; add it to the file")


def encode_pool(judge: ImageTextModel, prompts: Sequence[Prompt]) -> Pool:
    """The pool of prompts, which differ. Raises BadInput where the judge cannot read one of them, or its vectors are not finite."""
    texts = [prompt.text for prompt in prompts]
    clay = clay_texts(texts)
    sided = [text for text, prompt in zip(texts, prompts, strict=True) if prompt.front]
    views = {text: _finite(judge.texts([text + suffix for suffix in VIEW_SUFFIXES])) for text in sided}
    given = {words: prompt.shape for prompt, words in zip(prompts, clay, strict=True) if prompt.shape}
    shapes = tuple(given.get(words, words) for words in clay)
    return Pool(tuple(prompts), _finite(judge.texts(texts)), _finite(judge.texts(clay)), shapes, views)


def clay_texts(texts: Sequence[str]) -> list[str]:
    """What grey clay of each prompt is called in guidance."""
    words = GuidanceSettings().textureless_words
    return [textureless_prompt(words, text) for text in texts]


@torch.no_grad()
def encode_images(judge: ImageTextModel, images: Tensor) -> Tensor:
    """Unit vectors [B, D] of images [B, H, H, 3] in [0, 1], which lie on the judge's device. Raises BadInput where one is not finite."""
    return _finite(torch.cat([judge.images(part) for part in images.split(_BATCH)]))


def _finite(vectors: Tensor) -> Tensor:
    if not vectors.isfinite().all():
        raise BadInput("judge: its vectors are not finite, so its weights are broken; name another with --judge, or get it again")
    return vectors


def choose(judge: ImageTextModel, images: Tensor, texts: Sequence[str]) -> Tensor:
    """Row of the best fitting of `texts` for each of images [B, H, H, 3] in [0, 1]; [B] int64 on the CPU."""
    vectors = judge.texts(texts)
    return pick(encode_images(judge, images.to(vectors.device)), vectors)


def pick(images: Tensor, texts: Tensor) -> Tensor:
    """Row of the vector of texts [N, D] that is nearest to each of images [B, D]; [B] int64 on the CPU; the first of equals."""
    return (images @ texts.T).cpu().argmax(1)


def share(right: Sequence[bool]) -> float:
    """The part of `right` that is true. Raises ZeroDivisionError where there are none."""
    return sum(right) / len(right)


def most_frequent(names: Sequence[str]) -> str:
    """The name that occurs most, the first of those that occur as often."""
    return max(dict.fromkeys(names), key=names.count)
