"""Where an asset comes from: versions, settings, model and rasterizer with their licences, as provenance.json records them."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Any

import torch

from dreamfusion_mesh import __version__
from dreamfusion_mesh.config import RunConfig
from dreamfusion_mesh.config.schema import KEY
from dreamfusion_mesh.contracts import Rasterizer
from dreamfusion_mesh.geometry.meshlab import meshlab_notes
from dreamfusion_mesh.run.folder import RunFolder
from dreamfusion_mesh.run.schema import PROVENANCE

PACKAGES = {  # as the package index names them, and as Python imports them
    "torch": "torch",
    "numpy": "numpy",
    "scipy": "scipy",
    "warp-lang": "warp",
    "diffusers": "diffusers",
    "transformers": "transformers",
    "xatlas": "xatlas",
    "uvunwrap": "uvunwrap",
    "fast-simplification": "fast_simplification",
    "manifold3d": "manifold3d",
    "coacd": "coacd",
    "trimesh": "trimesh",
}
UNKNOWN = "unknown"


def version_of(part: str) -> str:
    """The version of an installed package, "unknown" where its metadata are missing or broken."""
    try:
        return metadata.version(part) or UNKNOWN
    except (metadata.PackageNotFoundError, KeyError):
        return UNKNOWN


def provenance(config: RunConfig, rasterizer: Rasterizer, device: torch.device) -> dict[str, Any]:
    """What is known before the work begins; the pipeline adds the guidance's own facts, the unwrap's, the seconds and the files' hashes."""
    meshlab = meshlab_notes(config.mesh)
    return {
        KEY: PROVENANCE,
        "prompt": config.prompt,
        "seed": config.seed,
        "settings": config.model_dump(mode="json"),
        "generator": f"dreamfusion_mesh {__version__}",
        "versions": {"python": platform.python_version(), **{part: version_of(part) for part in _parts_of(config)}},
        "device": str(device),
        "rasterizer": {"name": rasterizer.name, "licence": rasterizer.licence, "terms": rasterizer.terms},
        **({"meshlab": meshlab} if meshlab else {}),
    }


def _parts_of(config: RunConfig) -> list[str]:
    return [*PACKAGES, "peft"] if config.guidance.loss == "vsd" else [*PACKAGES]


def fit_notes(run: RunFolder, config: RunConfig) -> dict[str, Any]:
    """What a run recorded with its fitted surface: the guidance's provenance, its warnings, the seconds of each stage, and peak_memory."""
    return {"guidance": {"model": config.guidance.loaded_model}, "warnings": [], "seconds": {}, "memory": {}, **run.load_notes("fine")}
