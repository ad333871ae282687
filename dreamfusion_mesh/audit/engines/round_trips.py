"""The installed engines as row 14 asks them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dreamfusion_mesh.audit.engines.installed import Import, installed_engines
from dreamfusion_mesh.audit.engines.record import EngineFailed
from dreamfusion_mesh.audit.read_back import ReadBack, RoundTrip
from dreamfusion_mesh.errors import BadInput


def engine_round_trips() -> dict[str, RoundTrip]:
    """By the engine's name, of the engines that this machine has. Raises BadInput as `installed_engines` does."""
    return {name: _round_trip(importer) for name, importer in installed_engines().items()}


def _round_trip(importer: Import) -> RoundTrip:
    def read(path: Path) -> ReadBack | str:
        if path.suffix.lower() != ".glb":
            return "it is asked for .glb files alone"
        try:
            found = importer(path)
        except EngineFailed as error:
            raise BadInput(str(error).partition(": ")[2] or str(error)) from None
        textures = tuple(sorted(set(found.images)))
        return ReadBack(found.triangles, len(found.materials), textures, np.array([found.low, found.high], dtype=np.float64))

    return read
