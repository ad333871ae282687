"""Prompts that are encoded ahead of their fits: a window of them in memory, those that leave it on disk, both bounded.

Each is encoded by the call that a run by itself makes, so that its bits are the same.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dreamfusion_mesh.batch.messages import Words
from dreamfusion_mesh.batch.queue import WINDOW
from dreamfusion_mesh.config import GuidanceSettings
from dreamfusion_mesh.contracts import GuidanceModel, PromptedModel
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.files import read_bytes, remove_file, write_file
from dreamfusion_mesh.guidance.encodings import encoding_bytes, encoding_key, prompt_texts, read_encoding
from dreamfusion_mesh.records.diffusion import PromptEncoding

MOST_IN_MEMORY, MOST_ON_DISK = 2**29, 2**30  # bytes
_SUFFIX = ".safetensors"


class Encodings:
    """The prompts' texts as `model` reads them; `folder` takes those that memory does not hold, for any process of the batch."""

    def __init__(self, model: GuidanceModel, folder: Path, memory: int = MOST_IN_MEMORY, disk: int = MOST_ON_DISK) -> None:
        self._model, self._folder = model, folder
        self._memory, self._disk = memory, disk
        self._reader = model.text_fingerprint()
        self._held: OrderedDict[str, PromptEncoding] = OrderedDict()  # the one that was asked for last at the end
        self._bytes = 0
        self._written = disk  # since what is on disk was last counted

    def prepare(self, words: Sequence[Words]) -> None:
        """Encode prompts to come; one that cannot be used is left for its own attempt to fail with, whatever the error."""
        for each in words:
            with suppress(Exception):
                self.get(each.prompt, each.settings)

    def get(self, prompt: str, settings: GuidanceSettings) -> PromptEncoding:
        """The encoding of a prompt, from memory, from disk, or made now. Raises BadInput where the prompt cannot be used."""
        key = encoding_key(self._reader, prompt_texts(prompt, settings))
        if key in self._held:
            self._held.move_to_end(key)
            return self._held[key]
        found = self._read(key) or self._model.encode_prompt(prompt, settings)
        found = found.to("cpu")  # a card has better uses for its memory
        self._held[key] = found
        self._bytes += found.nbytes
        while len(self._held) > WINDOW or (self._bytes > self._memory and len(self._held) > 1):
            self._drop_oldest()
        return found

    def _drop_oldest(self) -> None:
        key, encoding = self._held.popitem(last=False)
        self._bytes -= encoding.nbytes
        file = self._folder / f"{key}{_SUFFIX}"
        if file.exists():
            return
        with suppress(BadInput):  # a full disk is no reason to stop: it can be encoded again
            content = encoding_bytes(encoding)
            write_file(file, content)
            self._written += len(content)
            if self._written > self._disk // 8:
                self._remove_oldest_files()

    def _read(self, key: str) -> PromptEncoding | None:
        """What the disk holds of it; None where that is nothing, or cannot be used."""
        file = self._folder / f"{key}{_SUFFIX}"
        try:
            return read_encoding(read_bytes(file))
        except ValueError:  # BadInput, where there is none, included
            with suppress(BadInput):
                remove_file(file)
            return None

    def _remove_oldest_files(self) -> None:
        """Keep the folder below its bound until as much as an eighth of that is written."""
        self._written = 0
        found = []
        for file in self._folder.glob(f"*{_SUFFIX}"):
            with suppress(OSError):  # another process has removed it
                status = file.stat()
                found.append((status.st_mtime_ns, status.st_size, file))
        total = sum(size for _, size, _ in found)
        for _, size, file in sorted(found):
            if total <= self._disk - self._disk // 8:
                return
            with suppress(BadInput):
                remove_file(file)
            total -= size


@dataclass(frozen=True, eq=False)
class EncodedModel:
    """A GuidanceModel whose prompts are encoded ahead."""

    model: GuidanceModel
    encodings: Encodings

    def for_prompt(self, prompt: str, settings: GuidanceSettings, encoding: PromptEncoding | None = None) -> PromptedModel:
        """See GuidanceModel."""
        return self.model.for_prompt(prompt, settings, self.encodings.get(prompt, settings) if encoding is None else encoding)

    def encode_prompt(self, prompt: str, settings: GuidanceSettings) -> PromptEncoding:
        """See GuidanceModel."""
        return self.encodings.get(prompt, settings)

    def text_fingerprint(self) -> str:
        """See GuidanceModel."""
        return self.model.text_fingerprint()

    def provenance(self) -> dict[str, Any]:
        """See GuidanceModel."""
        return self.model.provenance()
