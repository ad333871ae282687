"""Small finished runs and batches, as an evaluation finds them on disk, and a judge that sees colours alone."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize
from written_files import SIZE, box

from dreamfusion_mesh.audit.row import PROPERTIES
from dreamfusion_mesh.batch.entry import Entry, make_entry
from dreamfusion_mesh.batch.manifest import Manifest
from dreamfusion_mesh.batch.records import Attempt, Failure, Job, Outcome
from dreamfusion_mesh.config import RunConfig, dump, load_config
from dreamfusion_mesh.run.result import file_record

COLOURS = {"red": (220, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 220)}
PROMPTS = [f"a {colour} box" for colour in COLOURS]


class ColourJudge:
    """An ImageTextModel in four dimensions: red, green, blue, and what has no colour; of view words it hears "front view" alone."""

    size = 8

    def __init__(self, digest: str = "judge") -> None:
        self._digest = digest

    def images(self, images: Tensor) -> Tensor:
        middle = images[:, 2:-2, 2:-2].mean((1, 2))
        colour = (middle - middle.mean(1, keepdim=True)).clamp_min(0)
        return normalize(torch.cat([colour, torch.full((len(images), 1), 0.02)], dim=1), dim=1)

    def texts(self, texts: Sequence[str]) -> Tensor:
        rows = [[float(colour in text) for colour in COLOURS] + [0.1 + float("grey clay" in text)] for text in texts]
        fronts = torch.tensor([1.0 if text.endswith("front view") else 0.9 for text in texts])[:, None]
        return normalize(torch.tensor(rows), dim=1) * fronts

    def provenance(self) -> dict[str, Any]:
        return {"model": "colours", "licence": "Apache-2.0", "licences": [], "files": {"image/model.safetensors": self._digest}}


@cache
def painted(colour: str) -> bytes:
    """A box of one colour, as GLB."""
    file = io.BytesIO()
    Image.new("RGB", (SIZE, SIZE), COLOURS[colour]).save(file, "PNG")
    draft = box(1)
    draft.image = file.getvalue()
    return draft.glb()


@cache
def settings() -> RunConfig:
    return load_config("smoke", ["device=cpu"])


def make_run(
    folder: Path,
    prompt: str = PROMPTS[0],
    seed: int = 0,
    colour: str = "red",
    audit: Mapping[int, str] | None = None,
    measured: Mapping[str, Any] | None = None,
    **notes: Any,
) -> Path:
    """A finished run whose asset is a box of that colour.

    audit     statuses by the row's number, where it is no pass
    measured  figures of row 2
    notes     what provenance.json says beside its seconds
    """
    (folder / "checkpoints").mkdir(parents=True)
    statuses, figures = audit or {}, measured or {"shells": 1, "cavities": 0, "holes through it": 0}
    rows = [
        {"number": n, "property": name, "status": statuses.get(n, "pass"), "measured": figures if n == 2 else {}, "detail": ""}
        for n, name in PROPERTIES.items()
    ]
    provenance = {"schema": 1, "seconds": {"coarse": 8.0, "audit": 2.0}, "guidance": {"files": {"unet": "model"}}, **notes}
    files = {
        "asset.glb": painted(colour),
        "run.yaml": dump(settings().model_copy(update={"prompt": prompt, "seed": seed})).encode(),
        "audit.json": json.dumps({"schema": 2, "file": "asset.glb", "sha256": "", "rows": rows}).encode(),
        "provenance.json": json.dumps(provenance).encode(),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    record = {"schema": 1, "warnings": [], "files": {name: file_record(content) for name, content in files.items()}}
    (folder / "result.json").write_text(json.dumps(record))
    return folder


def attempt_of(name: str, prompt: str, seed: int = 0) -> Attempt:
    return Attempt(Job(name, prompt, seed, settings(), "key"))


def done(name: str, prompt: str, seed: int = 0) -> Entry:
    return make_entry(attempt_of(name, prompt, seed), "done", Outcome(seconds=10.0))


def failed(name: str, prompt: str, kind: Failure = "empty", message: str = "the field is empty", seed: int = 0) -> Entry:
    return make_entry(attempt_of(name, prompt, seed), "failed", Outcome(kind, message, 5.0))


def started(name: str, prompt: str) -> Entry:
    return make_entry(attempt_of(name, prompt), "started")


def make_batch(folder: Path, *entries: Entry, **colours: str) -> Path:
    """A batch with these rows; of those that are done, the asset is red, or of the colour that is given by the row's name."""
    folder.mkdir(parents=True)
    Manifest(folder / "manifest.jsonl").append(entries)
    for entry in entries:
        if entry.status == "done":
            make_run(folder / entry.name, entry.prompt, entry.seed, colours.get(entry.name, "red"))
    return folder
