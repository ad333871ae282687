"""What reads a prompt: tokenizers, each with its text encoder, and how a family joins what they make."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dreamfusion_mesh.guidance.models.placement import Placement
from dreamfusion_mesh.guidance.models.text_condition import TextCondition, joined
from dreamfusion_mesh.out_of_memory import describe

_log = logging.getLogger(__name__)
_LARGEST_KEPT = 2**26  # bytes of weights: a larger text encoder is let go of once it has read


class Encoder:
    """A frozen text encoder. A large one is in memory while it reads alone, so that this is left to the other networks."""

    def __init__(self, load: Callable[[], Any], placement: Placement) -> None:
        """load: from the files, on the CPU; called now, so that what is wrong with them shows, and again for each further reading."""
        network = load()
        self.config = network.config
        self._load, self._placement = load, placement
        self._kept = sum(weight.nbytes for weight in network.parameters()) <= _LARGEST_KEPT
        self._network = network.to(placement.device) if self._kept else network

    @property
    def is_loaded(self) -> bool:
        """Whether its weights are in memory."""
        return self._network is not None

    @contextmanager
    def ready(self) -> Iterator[Any]:
        """The network on its device."""
        network = self._load() if self._network is None else self._network
        if not self._kept:
            network, self._network = self._placement.place(network), None
        yield network

    def let_go(self) -> None:
        """Free what has read, once nothing outside refers to it: the hooks of weights that come layer by layer refer to each other."""
        if self._network is None and self._placement.by_layer:
            gc.collect()


@dataclass(frozen=True, eq=False)
class Reader:
    """A tokenizer with its text encoder.

    part       folder of the encoder
    tokens_in  folder of the tokenizer
    limit      tokens that it reads, all marks included
    states     of the encoder's output: [N, L, D]
    pooled     of the encoder's output: [N, P]; None where it gives no vector for the whole text
    masked     whether the encoder passes over padding
    lower      whether it reads lower case alone
    around     what is put before and after each text
    """

    part: str
    tokens_in: str
    tokenizer: Any
    encoder: Encoder
    limit: int
    states: Callable[[Any], Tensor]
    pooled: Callable[[Any], Tensor] | None = None
    masked: bool = False
    lower: bool = False
    around: tuple[str, str] = ("", "")

    @property
    def width(self) -> int:
        """Numbers in a state of the encoder."""
        return int(self.encoder.config.hidden_size)

    def tokens(self, text: str) -> list[int]:
        """Ids of all tokens of a text, however many, with its marks."""
        words = text.lower().strip() if self.lower else text
        ids: list[int] = self.tokenizer(self.around[0] + words + self.around[1], padding=False, truncation=False).input_ids
        return ids

    @torch.no_grad()
    def read(self, texts: Sequence[str], device: torch.device) -> TextCondition:
        """The texts, padded to the limit; of longer ones the first tokens and the end mark. The mask is that of padding.

        Where memory runs out, one half of them after the other.
        """
        found = [self.tokens(text) for text in texts]
        fitted = [ids if len(ids) <= self.limit else [*ids[: self.limit - 1], ids[-1]] for ids in found]
        ids = torch.tensor([_padded(row, self.tokenizer.pad_token_id, self.limit, self._pads_left) for row in fitted], device=device)
        mask = torch.tensor([_padded([1] * len(row), 0, self.limit, self._pads_left) for row in fitted], device=device)
        try:
            return self._read_all(ids, mask)
        finally:
            self.encoder.let_go()

    def _read_all(self, ids: Tensor, mask: Tensor) -> TextCondition:
        with self.encoder.ready() as network:
            try:
                return self._read(network, ids, mask)
            except Exception as error:
                if describe(error) is None or len(ids) < 2:
                    raise
            half = (len(ids) + 1) // 2  # behind the except, whose error holds what the call had made
            _log.warning(
                "guidance: the memory does not hold %d texts in one call of %s/; half of them are read at once", len(ids), self.part
            )
            return joined([self._read(network, *part) for part in zip(ids.split(half), mask.split(half), strict=True)])

    def _read(self, network: Any, ids: Tensor, mask: Tensor) -> TextCondition:
        output = network(input_ids=ids, attention_mask=mask if self.masked else None, output_hidden_states=True)
        return TextCondition(self.states(output).float(), self.pooled(output).float() if self.pooled else None, mask.float())

    @property
    def _pads_left(self) -> bool:
        return bool(self.tokenizer.padding_side == "left")


@dataclass(frozen=True, eq=False)
class TextModel:
    """All that reads for one family of networks.

    readers  the one that reads most last
    join     what the network is given, from what each reader makes
    length   L of the states [N, L, D] that it is given
    width    D
    device   of the states
    blank    whether no words are zeros rather than what the encoders make of them
    """

    readers: tuple[Reader, ...]
    join: Callable[[Sequence[TextCondition]], TextCondition]
    length: int
    width: int
    device: torch.device
    blank: bool = False

    @property
    def tokenizer(self) -> Any:
        """Of the reader that reads most."""
        return self.readers[-1].tokenizer

    @property
    def limit(self) -> int:
        """Tokens that a text may have, all marks included: more no reader reads."""
        return self.readers[-1].limit

    @property
    def made_by(self) -> str:
        """The encoders' folders, as messages name them."""
        return " and ".join(f"{reader.part}/" for reader in self.readers)

    @property
    def parts(self) -> tuple[str, ...]:
        """Folders of all tokenizers and encoders."""
        return tuple(part for reader in self.readers for part in (reader.tokens_in, reader.part))

    def count(self, text: str) -> int:
        """Tokens of a text, all marks included."""
        return len(self.readers[-1].tokens(text))

    def reading_less(self, text: str) -> list[Reader]:
        """Those that do not read all of a text."""
        return [reader for reader in self.readers if len(reader.tokens(text)) > reader.limit]

    def encode(self, texts: Sequence[str]) -> TextCondition:
        """What the network is given for each of `texts`, float32. No more than `limit` tokens of a text are read."""
        made = self.join([reader.read(texts, self.device) for reader in self.readers])
        if not self.blank:
            return made
        worded = torch.tensor([float(bool(text)) for text in texts], device=self.device)
        pooled = None if made.pooled is None else worded[:, None] * made.pooled
        return TextCondition(worded[:, None, None] * made.states, pooled, made.mask)


def _padded(row: list[int], padding: int, length: int, left: bool) -> list[int]:
    rest = [padding] * (length - len(row))
    return rest + row if left else row + rest
