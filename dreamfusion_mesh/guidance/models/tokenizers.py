"""Tokenizers from a folder, in whichever of the published forms it has one. Every failure is BadInput in one line."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.files import read_bytes
from dreamfusion_mesh.guidance.models.pretrained import load_error, no_library_output, shown_part
from dreamfusion_mesh.guidance.models.sentencepiece import read_vocabulary
from dreamfusion_mesh.guidance.weights.folder import Source, read_json

_WHOLE, _CLIP, _PIECES = "tokenizer.json", ("vocab.json", "merges.txt"), "spiece.model"
_MARKS = ("bos_token", "eos_token", "unk_token", "pad_token")
_TOO_LONG = "sequence-length-is-longer-than-the-specified-maximum"  # the library's name of a warning that it gives once
_MOST_EXTRA = 1000  # words that a T5 has beside its pieces
_LONGEST_PIECES = 64 << 20  # bytes


def load_tokenizer(source: Source, folder: Path, part: str) -> Any:
    """A fast tokenizer from tokenizer.json, from CLIP's vocab.json and merges.txt, or from T5's spiece.model. Raises BadInput."""
    settings, shown = Path(part, "tokenizer_config.json").as_posix(), shown_part(part)
    config = read_json(source, folder, settings)
    try:
        with no_library_output():
            tokenizer = _read(source, folder / part, shown, config)
    except Exception as error:
        raise load_error(source, shown if part else "the tokenizer", error) from error
    if tokenizer.pad_token_id is None:
        raise BadInput(f"{source}: {settings} names no pad_token that the tokenizer has; add it")
    longest = tokenizer.model_max_length
    if isinstance(longest, bool) or not isinstance(longest, (int, float)) or not longest >= 1:
        raise BadInput(f"{source}: {settings} has model_max_length {longest!r:.60}; expected a number")
    tokenizer.deprecation_warnings[_TOO_LONG] = True  # as said already: callers cut texts themselves, and warn of it
    return tokenizer


def _read(source: Source, part: Path, shown: str, config: dict[str, Any]) -> Any:
    from transformers import CLIPTokenizer, PreTrainedTokenizerFast, T5Tokenizer

    given = {key: config[key] for key in _MARKS if config.get(key) is not None}
    marks = {key: mark["content"] if isinstance(mark, dict) else mark for key, mark in given.items()}
    longest = config.get("model_max_length", math.inf)
    if (part / _WHOLE).is_file():
        side = "left" if config.get("padding_side") == "left" else "right"
        return PreTrainedTokenizerFast(tokenizer_file=str(part / _WHOLE), model_max_length=longest, padding_side=side, **marks)
    if all((part / name).is_file() for name in _CLIP):
        return CLIPTokenizer.from_pretrained(str(part), local_files_only=True)
    if (part / _PIECES).is_file():
        pieces, characters = read_vocabulary(read_bytes(part / _PIECES, _LONGEST_PIECES, f"{source}: {shown}{_PIECES}"))
        extra = config.get("extra_ids", 100)
        if not isinstance(extra, int) or not 0 <= extra <= _MOST_EXTRA:  # each is made, one by one
            raise ValueError(f"extra_ids {extra!r:.60}, expected a whole number up to {_MOST_EXTRA}")
        return T5Tokenizer(vocab=pieces, _spm_precompiled_charsmap=characters, extra_ids=extra, model_max_length=longest, **marks)
    raise BadInput(f"{source}: {shown} has neither {_WHOLE} nor vocab.json and merges.txt, nor {_PIECES}; download the model again")
