"""Which engines this machine has to read a file back with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dreamfusion_mesh.audit.engines.blender import NAME as BLENDER
from dreamfusion_mesh.audit.engines.blender import find_blender, import_in_blender
from dreamfusion_mesh.audit.engines.godot import NAME as GODOT
from dreamfusion_mesh.audit.engines.godot import find_godot, import_in_godot
from dreamfusion_mesh.audit.engines.record import Imported
from dreamfusion_mesh.audit.engines.three import NAME as THREE
from dreamfusion_mesh.audit.engines.three import find_three, import_in_three

Import = Callable[[Path], Imported]
ENGINES: dict[str, tuple[Callable[[], object], Import]] = {
    BLENDER: (find_blender, import_in_blender),
    GODOT: (find_godot, import_in_godot),
    THREE: (find_three, import_in_three),
}


def installed_engines() -> dict[str, Import]:
    """Importers by the engine's name, of the engines that are installed. Raises BadInput as `find_three` does."""
    return {name: importer for name, (find, importer) in ENGINES.items() if find() is not None}
