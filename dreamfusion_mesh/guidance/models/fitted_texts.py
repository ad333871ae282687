"""A prompt's texts, shortened to what a model reads: never in silence, and never by the words that name the view."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dreamfusion_mesh.config import GuidanceSettings
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.encodings import prompt_texts
from dreamfusion_mesh.guidance.models.text_encoder import TextModel
from dreamfusion_mesh.guidance.prompts import VIEW_SUFFIXES, check_prompt
from dreamfusion_mesh.guidance.weights.folder import EMBEDDED, Source
from dreamfusion_mesh.terminal import cut

_VIEWS = 2 * len(VIEW_SUFFIXES)


def fitted_texts(source: Source, text: TextModel, prompt: str, settings: GuidanceSettings) -> tuple[tuple[str, ...], list[str]]:
    """What `prompt_texts` gives, of a prompt without the last words where these are too many, and lines for the user that name them.

    Raises BadInput where the prompt cannot be used, or no word of it fits; of the embedded model, which reads little, where one does not.
    """
    words, texts = check_prompt(prompt).split(), prompt_texts(prompt, settings)
    kept = _most(words, lambda some: _fit(text, prompt_texts(some, settings)[:_VIEWS]))
    if kept < len(words) and (source.name == EMBEDDED or not kept):
        raise _too_long(source, text, next(each for each in texts if text.count(each) > text.limit))
    lines = []
    if kept < len(words):
        texts = prompt_texts(" ".join(words[:kept]), settings)
        lines.append(_line(source, text, "prompt", words[kept:]))
    negative = texts[_VIEWS].split()
    left = _most(negative, lambda some: _fit(text, (some,)))
    if left < len(negative):
        texts = (*texts[:_VIEWS], " ".join(negative[:left]), *texts[_VIEWS + 1 :])
        lines.append(_line(source, text, "guidance.negative_prompt", negative[left:]))
    return texts, lines + _shorter_readers(source, text, texts)


def _most(words: list[str], fits: Callable[[str], bool]) -> int:
    """How many of the first words fit; all are tried first, since they nearly always do."""
    if fits(" ".join(words)):
        return len(words)
    low, high = 0, len(words)  # low fits, high does not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(" ".join(words[:middle])) else (low, middle)
    return low


def _fit(text: TextModel, texts: Sequence[str]) -> bool:
    return all(text.count(each) <= text.limit for each in texts)


def _line(source: Source, text: TextModel, what: str, words: Sequence[str]) -> str:
    return f"{what}: {source} reads at most {text.limit} tokens, the view's words among them; cut were: {cut(' '.join(words))}"


def _shorter_readers(source: Source, text: TextModel, texts: Sequence[str]) -> list[str]:
    """A line for each encoder that reads less than the one that reads most, where that cuts a text for it."""
    found = {reader.part: reader.limit for each in texts for reader in text.reading_less(each)}
    most = text.readers[-1].part
    return [f"prompt: {source} reads the first {limit} tokens alone in {part}/, the rest in {most}/" for part, limit in found.items()]


def _too_long(source: Source, text: TextModel, words: str) -> BadInput:
    count = text.count(words)
    return BadInput(
        f"prompt: {cut(words)!r} has {count} tokens with its view's words and both marks, {source} reads at most {text.limit}; "
        f"shorten it by {count - text.limit}"
    )
