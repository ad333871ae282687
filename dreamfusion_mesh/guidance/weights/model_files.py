"""What is recorded of a model's files: hashes, licences, and what an encoding of texts depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from dreamfusion_mesh.guidance.weights.folder import EMBEDDED, Layout, Source, fingerprint, parts_of, weight_files
from dreamfusion_mesh.guidance.weights.hub import snapshot_name
from dreamfusion_mesh.guidance.weights.licences import licence_name, read_licences

AUTOENCODER = "autoencoder"  # the component's name
_READ = (".json", ".txt", ".model", ".safetensors")  # a hub's folder has gigabytes of other formats beside


@dataclass(frozen=True, eq=False)
class ModelFiles:
    """A model's folder that `open_folder` has checked.

    autoencoder  of the one that was chosen in place of the model's own; None: there is none
    digests      SHA-256 of the files that it was asked for
    """

    source: Source
    folder: Path
    layout: Layout
    autoencoder: ModelFiles | None = None
    digests: dict[Path, str] = field(default_factory=dict, repr=False)

    def provenance(self) -> dict[str, Any]:
        """What an asset has to record: the model's name (from the hub: id and commit), licences, and SHA-256 of each weight file.

        Of a chosen autoencoder, too, as of one more component.
        """
        licences = read_licences(self.folder, [part for part in parts_of(self.folder, self.layout) if part])
        embedded = self.source.name == EMBEDDED
        own: dict[str, Any] = {
            "model": EMBEDDED if embedded else snapshot_name(self.folder) or self.folder.resolve().name,
            "licence": "Apache-2.0" if embedded else licence_name(licences[0]),
            "licences": licences,
            "files": {self._shown(file): self._fingerprint(file) for file in weight_files(self.source, self.folder, self.layout)},
        }
        if self.autoencoder is None:
            return own
        other = self.autoencoder.provenance()
        more = [{**licence, "component": AUTOENCODER} for licence in other["licences"]]
        files = {f"{AUTOENCODER}/{name}": digest for name, digest in other["files"].items()}
        return own | {AUTOENCODER: other["model"], "licences": licences + more, "files": own["files"] | files}

    def text_fingerprint(self, parts: Sequence[str], how: Sequence[object], device: torch.device) -> str:
        """SHA-256 of what an encoding depends on beside its texts: the files of `parts`, how they are read (JSON's values), the device."""
        card = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
        files = sorted(file for part in parts for file in (self.folder / part).rglob("*") if file.is_file() and file.suffix in _READ)
        digests = [(self._shown(file), self._fingerprint(file)) for file in files]
        return hashlib.sha256(json.dumps([device.type, card, *how, digests]).encode()).hexdigest()

    def _shown(self, file: Path) -> str:
        return file.relative_to(self.folder).as_posix()

    def _fingerprint(self, file: Path) -> str:
        """SHA-256 of a file as it was when this was first asked: of gigabytes it takes seconds, and a batch asks for every asset."""
        if file not in self.digests:
            self.digests[file] = fingerprint(file)
        return self.digests[file]
