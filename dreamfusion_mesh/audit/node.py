"""Packages of node that are installed on this machine."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.files import kind_of, shown


def find_package(package: str, variable: str) -> Path | None:
    """The folder of an npm package, None where it, or node, is not installed.

    Looked for in node_modules of the folder that the environment's `variable` names, and nowhere else where that is set; otherwise in
    node's global folders, never in the working folder, which is not trusted: absolute folders of NODE_PATH, then the global packages of
    node's prefix (where `npm install -g` puts them unless npm has another prefix).
    Sources: https://nodejs.org/api/modules.html (NODE_PATH), https://docs.npmjs.com/cli/configuring-npm/folders (prefix).
    Raises BadInput where the environment names a folder without it.
    """
    node, named = shutil.which("node"), os.environ.get(variable)
    if named:
        kind_of(Path(named), f"{variable}: {shown(named)}")  # a folder that may not be entered is not one without it
    folders = [Path(named) / "node_modules"] if named else _node_folders(node)
    found = [folder / package for folder in folders if os.path.isfile(folder / package / "package.json")]
    if node and found:
        return found[0].resolve()
    if named:
        raise BadInput(f"{variable}: {shown(named)} has no node_modules/{package}, or node is missing; npm install {package} there")
    return None


def _node_folders(node: str | None) -> list[Path]:
    listed = [Path(entry) for entry in os.environ.get("NODE_PATH", "").split(os.pathsep) if os.path.isabs(entry)]
    if node is None:
        return listed
    beside = Path(node).resolve().parent
    return [*listed, beside / "node_modules" if os.name == "nt" else beside.parent / "lib" / "node_modules"]
