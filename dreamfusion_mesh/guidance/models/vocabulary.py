"""Which words of a prompt a model's tokenizer knows."""

from __future__ import annotations

import re
from typing import Any

from dreamfusion_mesh.config import GuidanceSettings
from dreamfusion_mesh.config.styles import read_style
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.weights.folder import Source
from dreamfusion_mesh.terminal import cut

_STOP_WORDS = frozenset(
    re.findall(r"\w+", "a an the and or of with in on at to for from by as is are that its part parts photo view front side back overhead")
)
_MAX_WORDS_SHOWN = 200  # of those that a model knows
_MAX_UNKNOWN_SHOWN = 10


def unknown_words(source: Source, tokenizer: Any, prompt: str) -> list[str]:
    """A line for the user where the model does not know some words of the prompt.

    Raises BadInput, with words that it knows, where it knows none of them.
    """
    words, unknown = _words(tokenizer, prompt)
    if not unknown:
        return []
    named = _listed(unknown, _MAX_UNKNOWN_SHOWN)
    if len(unknown) == len(words):
        known = [word for word in sorted(tokenizer.get_vocab()) if word.isalnum() and word not in _STOP_WORDS]
        raise BadInput(f"prompt: {source} knows none of: {named}; it knows: {_listed(known, _MAX_WORDS_SHOWN)}")
    return [f"{source} does not know: {named}"]


def known_style(source: Source, tokenizer: Any, settings: GuidanceSettings) -> tuple[GuidanceSettings, list[str]]:
    """The settings without their style, and a line for the user, where the model does not know all the style's words; else as they are."""
    _, unknown = _words(tokenizer, read_style(settings.prompt_style).added_words())
    if not unknown:
        return settings, []
    named = _listed(unknown, _MAX_UNKNOWN_SHOWN)
    line = f"guidance.prompt_style {settings.prompt_style}: {source} does not know: {named}; the style is left out"
    return settings.model_copy(update={"prompt_style": "none"}), [line]


def _words(tokenizer: Any, text: str) -> tuple[list[str], list[str]]:
    """The words of a text that say what is in the picture, each once, and those of them that the tokenizer does not know."""
    words = [*dict.fromkeys(word for word in re.findall(r"[^\W_]+", text.lower()) if word not in _STOP_WORDS)]
    return words, [word for word in words if tokenizer.unk_token_id in tokenizer(word, add_special_tokens=False).input_ids]


def _listed(words: list[str], most: int) -> str:
    """The first `most` words, each cut to a readable length."""
    return ", ".join([*map(cut, words[:most]), *(["..."] if len(words) > most else [])])
