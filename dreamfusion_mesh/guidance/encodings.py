"""Texts of a prompt as a model's text encoder gives them, made ahead or kept on disk, and whether those read back can be used.

The file is safetensors, which hold no code: the texts and warnings are JSON in bytes, the states float32.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np
import torch
from torch import Tensor

from dreamfusion_mesh.config import GuidanceSettings
from dreamfusion_mesh.config.styles import read_style
from dreamfusion_mesh.errors import reason
from dreamfusion_mesh.guidance.prompts import VIEW_SUFFIXES, check_prompt, textureless_prompt
from dreamfusion_mesh.records.diffusion import PromptEncoding

_TENSORS = {"texts", "warnings", "states"}
_OPTIONAL = {"pooled", "mask"}


def prompt_texts(prompt: str, settings: GuidanceSettings) -> tuple[str, ...]:
    """What a model is given to read: the prompt for each of VIEW_SUFFIXES, the textureless prompt likewise, the negative prompt.

    All are in the words of `settings.prompt_style`. After these comes no words at all, where the loss is csd and there are negative ones,
    for it takes both off. Without `settings.view_words` the prompts of all views are the same. Raises BadInput where the prompt cannot be
    used.
    """
    clean = check_prompt(prompt)
    textureless = textureless_prompt(settings.textureless_words, clean)
    suffixes = VIEW_SUFFIXES if settings.view_words else ("",) * len(VIEW_SUFFIXES)
    style = read_style(settings.prompt_style)
    styled = style.words.format(prompt=clean), style.textureless.format(prompt=textureless)
    negative = ", ".join(filter(None, (settings.negative_prompt, style.negative)))
    wordless = ("",) if settings.loss == "csd" and negative else ()
    return (*(words + suffix for words in styled for suffix in suffixes), negative, *wordless)


def encoding_key(reader: str, texts: tuple[str, ...]) -> str:
    """A name for the encoding of `texts` by the model whose `text_fingerprint` is `reader`: 64 hexadecimal digits, always the same."""
    return hashlib.sha256(json.dumps([reader, *texts]).encode()).hexdigest()


def encoding_bytes(encoding: PromptEncoding) -> bytes:
    """A file's content, from which `read_encoding` makes the encoding again, on the CPU."""
    from safetensors.numpy import save

    words = {name: _as_bytes(texts) for name, texts in (("texts", encoding.texts), ("warnings", encoding.warnings))}
    values = {"states": encoding.states, "pooled": encoding.pooled, "mask": encoding.mask}
    return save({**words, **{name: value.cpu().contiguous().numpy() for name, value in values.items() if value is not None}})


def read_encoding(content: bytes) -> PromptEncoding:
    """The encoding that `encoding_bytes` gave. Raises ValueError where `content` is anything else."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        found = load(content)
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"encoding: is not a safetensors file ({reason(error)})") from None
    if not _TENSORS <= found.keys() <= _TENSORS | _OPTIONAL:
        raise ValueError(f"encoding: holds {sorted(found)}, expected {sorted(_TENSORS)} and perhaps {sorted(_OPTIONAL)}")
    for name in ("states", *_OPTIONAL & found.keys()):
        if found[name].dtype != torch.float32 or not bool(found[name].isfinite().all()):
            raise ValueError(f"encoding: {name}: {found[name].dtype}, expected torch.float32, all finite")
    texts, warnings = (_as_texts(name, found[name]) for name in ("texts", "warnings"))
    return PromptEncoding(texts, found["states"], warnings, found.get("pooled"), found.get("mask"))


def _as_bytes(texts: tuple[str, ...]) -> np.ndarray:
    return np.frombuffer(json.dumps(texts).encode(), dtype=np.uint8)


def _as_texts(name: str, values: Tensor) -> tuple[str, ...]:
    if values.dtype != torch.uint8 or values.dim() != 1:
        raise ValueError(f"encoding: {name}: {values.dtype} {list(values.shape)}, expected bytes")
    try:
        texts = json.loads(values.numpy().tobytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"encoding: {name}: is not JSON ({reason(error)})") from None
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"encoding: {name}: expected a list of texts")
    return tuple(texts)
