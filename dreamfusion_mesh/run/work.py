"""What a run works with: its folder, settings, device and rasterizer, resolved before the work begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from dreamfusion_mesh.audit.khronos import find_validator
from dreamfusion_mesh.config import RunConfig
from dreamfusion_mesh.contracts import Rasterizer
from dreamfusion_mesh.render.raster.resolve import resolve_rasterizer
from dreamfusion_mesh.run.device import resolve_device
from dreamfusion_mesh.run.folder import RunFolder
from dreamfusion_mesh.run.provenance import provenance
from dreamfusion_mesh.stages.fit import Report


@dataclass(frozen=True)
class Work:
    """One run and what its parts share.

    origin  the provenance that is known before they begin
    """

    run: RunFolder
    config: RunConfig
    device: torch.device
    rasterizer: Rasterizer
    origin: dict[str, Any]
    report: Report


def prepare(run: RunFolder, config: RunConfig, report: Report) -> Work:
    """Resolve the device and the rasterizer of `config`.

    Raises BadInput where one of them, or the glTF validator that the environment names, is missing or may not be used.
    """
    device = resolve_device(config.device)
    rasterizer = resolve_rasterizer(config.raster.backend, device, config.commercial)
    find_validator()  # a wrong DREAMFUSION_MESH_GLTF_VALIDATOR is named now, not when the work is done
    return Work(run, config, device, rasterizer, provenance(config, rasterizer, device), report)
