"""Where an asset comes from: versions, settings, model and rasterizer with their licences, as provenance.json records them."""

from __future__ import annotations

import json
import platform
from importlib import metadata
from typing import Any

import torch

from dreamfusion_mesh import __version__
from dreamfusion_mesh.config import RunConfig
from dreamfusion_mesh.contracts import Rasterizer
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.run.folder import RunFolder
from dreamfusion_mesh.run.schema import KEY, PROVENANCE, check_schema

PARTS = {  # as the package index names them, and as Python imports them
    "torch": "torch",
    "numpy": "numpy",
    "scipy": "scipy",
    "warp-lang": "warp",
    "diffusers": "diffusers",
    "transformers": "transformers",
    "xatlas": "xatlas",
    "fast-simplification": "fast_simplification",
    "manifold3d": "manifold3d",
    "trimesh": "trimesh",
}
UNKNOWN = "unknown"
PROVENANCE_FILE = "provenance.json"


def version_of(part: str) -> str:
    """The version of an installed package, "unknown" where its metadata are missing or broken."""
    try:
        return metadata.version(part) or UNKNOWN
    except (metadata.PackageNotFoundError, KeyError):
        return UNKNOWN


def provenance(config: RunConfig, rasterizer: Rasterizer, device: torch.device) -> dict[str, Any]:
    """What is known before the work begins; the pipeline adds the guidance's own facts, the unwrap's, the seconds and the files' hashes."""
    return {
        KEY: PROVENANCE,
        "prompt": config.prompt,
        "seed": config.seed,
        "settings": config.model_dump(mode="json"),
        "generator": f"dreamfusion_mesh {__version__}",
        "versions": {"python": platform.python_version(), **{part: version_of(part) for part in PARTS}},
        "device": str(device),
        "rasterizer": {"name": rasterizer.name, "licence": rasterizer.licence, "terms": rasterizer.terms},
    }


def fit_notes(run: RunFolder, config: RunConfig) -> dict[str, Any]:
    """What a run recorded when its surface was fitted: the guidance's provenance, its warnings, and the seconds of each stage.

    Read from the fine checkpoint, or from provenance.json where that checkpoint is of schema 0. Raises BadInput where it is broken.
    """
    notes = run.load_notes("fine")
    if "guidance" not in notes:
        earlier = _read_provenance(run)
        notes |= {key: earlier[key] for key in ("guidance", "seconds") if key in earlier}
    return {"guidance": {"model": config.guidance.model}, "warnings": [], "seconds": {}, **notes}


def _read_provenance(run: RunFolder) -> dict[str, Any]:
    file = run.path / PROVENANCE_FILE
    try:
        values = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except (OSError, ValueError) as error:
        raise BadInput(f"{file}: cannot be read ({error}); delete it") from None
    check_schema(str(file), values.get(KEY), PROVENANCE, "delete it")
    return values
