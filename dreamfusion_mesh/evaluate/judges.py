"""The judge: the CLIP that measures, and that must not be the one that guided."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import torch

from dreamfusion_mesh.contracts import ImageTextModel
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.files import shown
from dreamfusion_mesh.guidance.models.clip import load_clip
from dreamfusion_mesh.guidance.weights.folder import Source

SHIPPED = Path(str(resources.files("dreamfusion_mesh.evaluate") / "judge"))


def load_judge(model: str, device: torch.device | str) -> ImageTextModel:
    """The CLIP that `model` names, "embedded" or a folder, on `device`. Raises BadInput in one line where it cannot be used."""
    return load_clip(judge_source(model), device)


def judge_source(model: str) -> Source:
    """The CLIP that `--judge` names."""
    return Source("judge", model, "--judge", SHIPPED)


def refuse_guides(judge: ImageTextModel, guidance: Mapping[str, Mapping[str, Any]], did: str = "guided the run") -> None:
    """Raises BadInput where the judge's weights guided one of the runs, which would be judged by what it was fitted to.

    guidance  what each run's provenance.json records of its guidance, by the run's name; of settings, what their runs will record
    did       what the judge did to it
    """
    own = judge_digests(judge)
    for name, notes in guidance.items():
        files = notes.get("files")
        for file, digest in files.items() if isinstance(files, Mapping) else ():
            if isinstance(digest, str) and digest in own:
                raise BadInput(f"judge: its weights {did} {name} ({shown(file)} is the same file); name another with --judge")


def judge_digests(judge: ImageTextModel) -> set[str]:
    """SHA-256 of the judge's weight files."""
    return set(judge.provenance()["files"].values())
