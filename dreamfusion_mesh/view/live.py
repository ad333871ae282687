"""`view`: assets in a browser on this machine, by viser (extra [view]): textured, clay, wireframe or with a checker at its UVs."""

from __future__ import annotations

import colorsys
import glob
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dreamfusion_mesh.audit.readers.files import read_bytes
from dreamfusion_mesh.audit.readers.model import read_model
from dreamfusion_mesh.audit.readers.written import Written
from dreamfusion_mesh.batch.folder import BatchFolder
from dreamfusion_mesh.batch.standing import standings
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.files import is_file, shown
from dreamfusion_mesh.geometry.topology import shells
from dreamfusion_mesh.run.out import ASSET, generate_command
from dreamfusion_mesh.run.settings import SETTINGS
from dreamfusion_mesh.view.serve import LOOPBACK
from dreamfusion_mesh.view.viser_server import aim, check_viser, start_server

LOOKS = ("textured", "clay", "wireframe", "UV checker")
MOST_ROWS = 10_000  # a browser's list of more is of no use; the gallery has all
_CLAY, _LINES = (187, 187, 187), (40, 90, 140)
_SQUARES, _TEXELS = 32, 16  # of the checker along a side of the atlas, and of a square
_NODE, _HULLS = "/asset", "_collision"

Models = dict[str, Path]  # by what they are called: the asset first, its levels of detail, its hulls


def rows_of(path: Path) -> dict[str, Models]:
    """The assets at `path`, a .glb, a run's folder or a batch's, by name, each with the files beside it.

    Raises BadInput where there is none.
    """
    if path.suffix.lower() == ".glb":
        return {path.stem: _models(path)}
    if is_file(path / SETTINGS) and not is_file(path / ASSET):
        go_on = generate_command(path, "--live")
        raise BadInput(f"{shown(path)}: has no {ASSET} yet; `{go_on}` goes on with the run and shows it meanwhile")
    if is_file(path / ASSET):
        return {path.resolve().name: _models(path / ASSET)}
    found: dict[str, Models] = {}
    for row in standings(BatchFolder(path))[1]:
        if row.asset and row.folder is not None and len(found) < MOST_ROWS:
            found[row.name] = _models(row.folder / ASSET)
    if not found:
        raise BadInput(f"{shown(path)}: holds no asset yet; let `batch` make one first")
    return found


def _models(asset: Path) -> Models:
    if not is_file(asset):
        raise BadInput(f"{shown(asset)}: is missing; name a .glb, or the folder of a finished run or a batch")
    levels = sorted(asset.parent.glob(f"{glob.escape(asset.stem)}_LOD*.glb"))
    hulls = asset.with_name(f"{asset.stem}{_HULLS}.glb")
    named = {f"LOD {level.stem.rpartition('_LOD')[2]}": level for level in levels}
    return {"full": asset, **named, **({"hulls": hulls} if is_file(hulls) else {})}


def serve_view(path: Path, port: int, ready: Callable[[str], None]) -> None:
    """Show what is at `path` to browsers on this machine until a signal ends this process; port 0 takes a free one.

    ready  is told the address
    Raises BadInput as `rows_of` and `check_viser` do, where the first asset cannot be read, and where the port cannot be taken.
    """
    check_viser("view")
    viewer = Viewer(rows_of(path), port)
    try:
        ready(f"http://{LOOPBACK}:{viewer.port}")
        threading.Event().wait()
    finally:
        viewer.stop()


class Viewer:
    """A viser server with one asset in its scene, and lists to choose another one, one of its files, and its look from."""

    def __init__(self, rows: dict[str, Models], port: int) -> None:
        """Raises BadInput where the first asset cannot be read, or the port cannot be taken."""
        self._rows, self._lock = rows, threading.Lock()
        first = next(iter(rows))
        surface = _read(rows[first]["full"])
        self._server = start_server(port, "--port")
        self.port = self._server.get_port()
        points = surface.vertices[surface.faces].reshape(-1, 3)
        aim(self._server, points.min(0), points.max(0))
        gui = self._server.gui
        self._row = gui.add_dropdown("asset", [*rows], initial_value=first, visible=len(rows) > 1)
        self._model = gui.add_dropdown("file", [*rows[first]], initial_value="full")
        self._look = gui.add_dropdown("look", LOOKS, initial_value=LOOKS[0])
        self._about = gui.add_markdown("")
        self._row.on_update(lambda _: self._turn_to())
        for each in (self._model, self._look):
            each.on_update(lambda _: self._show_chosen())
        self._show_chosen()

    def show(self, row: str, model: str, look: str) -> str:
        """Put a file of an asset into the scene, by its name and one of LOOKS; what there is to say of it, or why it cannot be shown."""
        file = self._rows[row][model]
        try:
            written = _read(file)
            self._server.scene.remove_by_name(_NODE)
            _draw(self._server.scene, file, written, look)
        except BadInput as error:
            return str(error)
        return f"{shown(file)}: {len(written.faces):,} triangles"

    def stop(self) -> None:
        """Close all connections."""
        self._server.stop()

    def _show_chosen(self) -> None:
        with self._lock:
            row, model = self._row.value, self._model.value
            if model in self._rows[row]:  # and not of the row before, whose list is just being replaced
                self._about.content = self.show(row, model, self._look.value)

    def _turn_to(self) -> None:
        self._model.options = [*self._rows[self._row.value]]
        self._model.value = "full"
        self._show_chosen()


def _read(file: Path) -> Written:
    """A model's surface. Raises BadInput in one line where it cannot be shown."""
    try:
        written = read_model(read_bytes(file), file)
        if not len(written.faces):
            raise BadInput("has no triangles")
    except BadInput as error:
        text = str(error)
        raise BadInput(text if text.startswith(shown(file)) else f"{shown(file)}: {text}") from None
    return written


def _draw(scene: Any, file: Path, written: Written, look: str) -> None:
    if file.stem.endswith(_HULLS):
        number = shells(torch.from_numpy(written.faces)).numpy()
        for at in range(number.max() + 1):
            hue = tuple(round(255 * part) for part in colorsys.hsv_to_rgb((0.618034 * at) % 1, 0.55, 0.9))
            lines, faces = look == "wireframe", written.faces[number == at]
            scene.add_mesh_simple(f"{_NODE}/{at}", written.vertices, faces, color=hue, flat_shading=not lines, wireframe=lines)
    elif look == "textured":
        scene.add_glb(_NODE, read_bytes(file))
    elif look == "UV checker":
        scene.add_mesh_trimesh(_NODE, checkered(written))
    else:
        color = _CLAY if look == "clay" else _LINES
        scene.add_mesh_simple(_NODE, written.vertices, written.faces, color=color, wireframe=look == "wireframe")


def checkered(written: Written) -> Any:
    """The surface as a trimesh with a checker at its UVs: squares are alike where texels are. Raises BadInput where it has no UVs."""
    import trimesh
    from PIL import Image

    if written.corner_uvs is None:
        raise BadInput("it has no UVs, so no checker lies on it")
    squares = np.indices((_SQUARES, _SQUARES)).sum(0) % 2 * 150 + 80
    image = Image.fromarray(np.kron(squares, np.ones((_TEXELS, _TEXELS))).astype(np.uint8)).convert("RGB")
    material = trimesh.visual.material.PBRMaterial(baseColorTexture=image, metallicFactor=0.0, roughnessFactor=0.9)
    visual = trimesh.visual.TextureVisuals(uv=written.corner_uvs.reshape(-1, 2), material=material)
    corners, normals = written.vertices[written.faces].reshape(-1, 3), written.corner_normals
    return trimesh.Trimesh(
        corners,
        np.arange(len(corners)).reshape(-1, 3),
        vertex_normals=None if normals is None else normals.reshape(-1, 3),
        visual=visual,
        process=False,
    )
