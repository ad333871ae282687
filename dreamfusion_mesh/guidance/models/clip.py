"""A CLIP (Radford et al., arXiv:2103.00020), whatever its layout: how well pictures and words fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.models.clip_folder import Networks, load_networks, open_clip_folder
from dreamfusion_mesh.guidance.models.clip_pixels import Pixels, read_pixels
from dreamfusion_mesh.guidance.models.pretrained import word_count
from dreamfusion_mesh.guidance.models.tokenizers import load_tokenizer
from dreamfusion_mesh.guidance.weights.folder import Source
from dreamfusion_mesh.guidance.weights.model_files import ModelFiles
from dreamfusion_mesh.terminal import cut

_TEXTS_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class Clip:
    """An ImageTextModel: frozen weights in float32; `load_clip` makes it.

    limit  tokens a text may have, the start and end marks included
    """

    files: ModelFiles
    networks: Networks
    pixels: Pixels
    tokenizer: Any
    limit: int
    device: torch.device

    @property
    def width(self) -> int:
        """D, how many numbers a vector has."""
        return self.networks.width

    @property
    def size(self) -> int:
        """Pixels a side of the images that it was made for."""
        return self.pixels.side

    def images(self, images: Tensor) -> Tensor:
        """Unit vectors [B, D] of images [B, H, H, 3] in [0, 1] of any size; differentiable.

        Raises ValueError where the images are not square RGB.
        """
        return functional.normalize(self.networks.image(self.pixels(images)), dim=1)

    @torch.no_grad()
    def texts(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors [len(texts), D] of one text or more. Raises BadInput where a text has more tokens than the model reads."""
        rows = [self._token_ids(text) for text in texts]
        parts = [rows[start : start + _TEXTS_AT_ONCE] for start in range(0, len(rows), _TEXTS_AT_ONCE)]
        return functional.normalize(torch.cat([self.networks.words(self._padded(part)) for part in parts]), dim=1)

    def provenance(self) -> dict[str, Any]:
        """The model's name, the licence of each component, SHA-256 of each weight file."""
        return self.files.provenance()

    def text_fingerprint(self) -> str:
        """What the vectors of texts depend on beside the texts: the tower's files and the device."""
        return self.files.text_fingerprint((self.networks.text_part,), [self.limit], self.device)

    def _token_ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, padding=False, truncation=False).input_ids
        if len(ids) > self.limit:
            raise BadInput(
                f"{self.files.source}: the text {cut(text)!r} has {len(ids)} tokens with both marks, at most {self.limit} are read; "
                f"shorten it by {len(ids) - self.limit}"
            )
        return ids

    def _padded(self, rows: list[list[int]]) -> Tensor:
        """[len(rows), L] int64: what follows a text's end mark is not read, since the towers look backwards alone."""
        longest = max(map(len, rows))
        return torch.tensor([row + [self.tokenizer.pad_token_id] * (longest - len(row)) for row in rows], device=self.device)


def load_clip(source: Source, device: torch.device | str) -> Clip:
    """The CLIP that `source` names: any of transformers' model_type "clip", or small towers in image/ and text/; frozen, float32.

    Only local safetensors are read and no code from the folder is run. Raises BadInput in one line where anything is missing, broken, of
    the wrong size or kind, or leads out of the folder.
    """
    device = torch.device(device)
    folder, layout = open_clip_folder(source)
    networks = load_networks(source, folder, layout, device)
    pixels = read_pixels(source, folder, networks.image_part, networks.side, device)
    tokenizer = load_tokenizer(source, folder, networks.text_part)
    _check_words(source, networks, tokenizer)
    limit = int(min(networks.text.max_position_embeddings, tokenizer.model_max_length))
    clip = Clip(ModelFiles(source, folder, layout), networks, pixels, tokenizer, limit, device)
    _check_vectors(source, clip)
    return clip


@torch.no_grad()
def _check_vectors(source: Source, clip: Clip) -> None:
    """Whether both towers make vectors; of weights that are NaN or all zero, any prompt would fit any picture best."""
    grey = torch.full((1, clip.size, clip.size, 3), 0.5, device=clip.device)
    for tower, vector in (("image", clip.images(grey)), ("text", clip.texts(["a"]))):
        if not (vector.norm() - 1).abs() < 1e-3:  # NaN, too
            raise BadInput(f"{source}: its weights make no {tower} vectors: they are zero or not finite; download the model again")


def _check_words(source: Source, networks: Networks, tokenizer: Any) -> None:
    """Whether the text tower knows the tokenizer's words, and finds the end mark from which it makes a text's vector."""
    where = Path(networks.text_part, "tokenizer_config.json").as_posix()
    end, wanted, known = tokenizer.eos_token_id, networks.text.eos_token_id, networks.text.vocab_size
    if (words := word_count(tokenizer)) > known:
        raise BadInput(f"{source}: the tokenizer has {words} words, the text tower {known}; they belong to different models")
    if end is None or tokenizer("").input_ids[-1:] != [end]:
        raise BadInput(f"{source}: {where}: the tokenizer puts no eos_token at a text's end; get tokenizer.json of the same model")
    if wanted not in (end, 2):  # 2: written by older libraries, which look for the highest id instead
        raise BadInput(f"{source}: {where}: eos_token is {end}, for the text tower {wanted}; they belong to different models")
