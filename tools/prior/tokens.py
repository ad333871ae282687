"""The word-level tokenizer of the grammar's vocabulary: lower case, one id a word, "," a word of its own."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from dreamfusion_mesh.guidance.prompts import VIEW_SUFFIXES
from tools.prior.captions import vocabulary

LENGTH = 24  # tokens a text is padded to, marks included
PAD, UNKNOWN, START, END = range(4)
_MARKS = ("<pad>", "<unk>", "<s>", "</s>")


@functools.cache
def word_ids() -> dict[str, int]:
    """Every token's id: the marks first, then the vocabulary in order."""
    return {word: row for row, word in enumerate((*_MARKS, *vocabulary()))}


def encode(texts: Sequence[str]) -> Tensor:
    """[len(texts), LENGTH] int64, as the written tokenizer gives them. Raises ValueError where a text is too long."""
    known, rows = word_ids(), []
    for text in texts:
        words = [known.get(word, UNKNOWN) for word in re.findall(r"\w+|[^\w\s]+", text.lower())]
        if len(words) + 2 > LENGTH:
            raise ValueError(f"{text!r}: {len(words)} words, at most {LENGTH - 2} fit")
        rows.append([START, *words, END] + [PAD] * (LENGTH - 2 - len(words)))
    return torch.tensor(rows, dtype=torch.int64).reshape(-1, LENGTH)


def blank_one(ids: Tensor, chosen: Tensor, draws: torch.Generator) -> Tensor:
    """Token ids [B, L] with one word of each text that is `chosen` [B] made unknown."""
    words = ids > END
    first = torch.where(words, torch.rand(ids.shape, generator=draws, device=ids.device), 0.0).argmax(1, keepdim=True)
    at = torch.arange(ids.shape[1], device=ids.device) == first
    return torch.where(at & words & chosen[:, None], UNKNOWN, ids)


def turn_views(ids: Tensor) -> tuple[Tensor, Tensor]:
    """Captions [B, L] that name their views, as from every view: token ids [B, 4, L], and the row [B] of the one that each has."""
    known = word_ids()
    names = torch.tensor([known[suffix.split()[1]] for suffix in VIEW_SUFFIXES], device=ids.device)
    at = (ids == known[","]).float().argmax(1, keepdim=True) + 1
    here = torch.arange(ids.shape[1], device=ids.device) == at
    return torch.where(here[:, None], names[None, :, None], ids[:, None]), (ids.gather(1, at) == names).float().argmax(1)


def write(folder: Path) -> None:
    """tokenizer.json and tokenizer_config.json, as the tokenizers library reads them."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    made = Tokenizer(models.WordLevel(word_ids(), unk_token=_MARKS[UNKNOWN]))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    start, end = _MARKS[START], _MARKS[END]
    made.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}", pair=f"{start} $A {end} $B {end}", special_tokens=[(start, START), (end, END)]
    )
    made.add_special_tokens(list(_MARKS))
    made.enable_padding(pad_id=PAD, pad_token=_MARKS[PAD], length=LENGTH)
    folder.mkdir(parents=True, exist_ok=True)
    made.save(str(folder / "tokenizer.json"))
    names = dict(zip(("pad_token", "unk_token", "bos_token", "eos_token"), _MARKS, strict=True))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": LENGTH, **names}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
