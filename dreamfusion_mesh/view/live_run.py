"""`generate --live`: a run in a browser on this machine while it is fitted: its surface, the views of the last step, and its residual."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from dreamfusion_mesh.errors import reason
from dreamfusion_mesh.geometry.normals import vertex_normals
from dreamfusion_mesh.records.color import srgb_to_linear
from dreamfusion_mesh.render.line_plots import averaged, running_mean
from dreamfusion_mesh.stages.scene import Scene
from dreamfusion_mesh.view.serve import LOOPBACK
from dreamfusion_mesh.view.viser_server import aim, start_server

SHARE = 0.03  # of the run's time that updates may take; the rest of 5 % is for viser's own threads, which no update can measure
_NODE = "/surface"
_HALF_EXTENT = 0.6  # of what cameras begin in front of, scene units
_GAP = 2  # pixels between views
_SHEET = 320  # pixels that views side by side have at least, about as wide as the page shows them
_MOST_POINTS = 300  # of a curve
_LOG = logging.getLogger(__name__)

Curves = dict[str, list[tuple[float, float]]]  # by stage: step and residual


@dataclass(frozen=True, eq=False)
class Surface:
    """A surface as arrays: vertices, normals [V, 3] float, faces [F, 3] int, colors [V, 3] uint8 of linear light."""

    vertices: np.ndarray
    normals: np.ndarray
    faces: np.ndarray
    colors: np.ndarray


@dataclass(frozen=True, eq=False)
class _Update:
    """What one update shows; images are uint8 [B, H, W, 3], and None, as `surface`, in a report that had no scene."""

    status: str
    curves: Curves
    images: np.ndarray | None = None
    surface: Surface | None = None


class LiveRun:
    """A viser server whose `report` shows what a run works on, as often as `share` of the run's time allows and while a browser looks.

    After an update that took c seconds, of the thread that fits and of the one that sends, none is begun for c / share seconds; the first
    one is taken to cost as much as the quickest step so far, and waits likewise.
    What goes wrong in an update is one warning, and the run goes on without it.
    """

    def __init__(self, port: int, share: float = SHARE, clock: Callable[[], float] = time.perf_counter) -> None:
        """Raises BadInput where the port cannot be taken; 0 takes a free one."""
        import trimesh  # noqa: F401  # here, and not in the first update

        self._share, self._clock = share, clock
        self._began: float | None = None  # when the first report came
        self._quickest: float | None = math.inf  # seconds of a step; None once an update was begun
        self._next = 0.0
        self._curves: Curves = {}
        self._ended = False
        self._sending: Future[float] | None = None
        self._server = start_server(port, "--live-port")
        self._page = _Page(self._server)
        self._sender = ThreadPoolExecutor(1, "live")

    @property
    def address(self) -> str:
        """For a browser on this machine."""
        return f"http://{LOOPBACK}:{self._server.get_port()}"

    @property
    def watched(self) -> bool:
        """Whether a browser looks."""
        return bool(self._server.get_clients())

    def report(self, stage: str, done: int, total: int, figures: Mapping[str, float], scene: Scene | None) -> None:
        """A run's `Report`: take note of the residual, and show the scene where that is due. Never raises."""
        if self._ended:
            return
        began = self._clock()
        try:
            if math.isfinite(residual := figures.get("residual", math.nan)):
                self._curves.setdefault(stage, []).append((done, residual))
            self._collect()
            self._expect(began, figures.get("step_ms", 0.0) / 1e3)
            if self._sending is None and (scene is None or (began >= self._next and self.watched)):
                update = _update_of(stage, done, total, self._curves, scene)
                self._sending = self._sender.submit(self._send, update)
                now = self._clock()
                self._quickest, self._next = None, now + (now - began) / self._share
        except Exception as error:
            self._give_up(error)

    def close(self) -> None:
        """Close all connections; never raises."""
        try:
            self._sender.shutdown(wait=True, cancel_futures=True)
            self._collect()
            self._server.stop()
        except Exception as error:
            self._give_up(error)

    def _expect(self, now: float, step: float) -> None:
        """Say when the first update is due, by what is known so far: a first step may be slow."""
        if self._quickest is not None:
            self._began = now if self._began is None else self._began
            self._quickest = min(self._quickest, step)
            self._next = self._began + self._quickest / self._share

    def _collect(self) -> None:
        """Take in what the last update cost its thread, once it is sent. Raises what went wrong there."""
        if self._sending is not None and self._sending.done():
            sent, self._sending = self._sending, None
            if not sent.cancelled():
                self._next += sent.result() / self._share

    def _send(self, update: _Update) -> float:
        """The seconds that this took."""
        began = self._clock()
        with self._server.atomic():
            self._page.show(update)
        return self._clock() - began

    def _give_up(self, error: Exception) -> None:
        if not self._ended:
            self._ended = True
            _LOG.warning("--live: shows nothing from here on (%s); the run goes on without it", reason(error))


class _Page:
    """What browsers see: the scene, and beside it the words, the views and a curve for each stage, put there when there is one."""

    def __init__(self, server: Any) -> None:
        self._gui, self._scene = server.gui, server.scene
        corner = np.full(3, _HALF_EXTENT)
        aim(server, -corner, corner)
        self._status = self._gui.add_markdown("The run has not begun its first step.", order=0)
        self._views: Any = None
        self._plots: dict[str, Any] = {}

    def show(self, update: _Update) -> None:
        self._status.content = update.status
        if update.images is not None:
            self._show_views(tiled(update.images))
        if update.surface is not None:
            self._show_surface(update.surface)
        for number, (stage, points) in enumerate(update.curves.items()):
            if len(points) > 1:
                self._show_curve(stage, curve(points), 2 + number)

    def _show_views(self, picture: np.ndarray) -> None:
        if self._views is None:
            self._views = self._gui.add_image(picture, label="views of the last step", order=1)
        else:
            self._views.image = picture

    def _show_surface(self, surface: Surface) -> None:
        if len(surface.faces):
            self._scene.add_glb(_NODE, glb_of(surface))
        else:
            self._scene.remove_by_name(_NODE)

    def _show_curve(self, stage: str, data: tuple[np.ndarray, ...], order: int) -> None:
        if stage in self._plots:
            self._plots[stage].data = data
            return
        series = ({"label": "step"}, {"label": "residual", "stroke": "#a9c6dc"}, {"label": "mean", "stroke": "#1b6ca8", "width": 2})
        title = f"residual, {stage} stage"
        self._plots[stage] = self._gui.add_uplot(data, series, title=title, scales={"x": {"time": False}}, aspect=1.6, order=order)


def _update_of(stage: str, done: int, total: int, curves: Curves, scene: Scene | None) -> _Update:
    """On the thread that fits, since it asks the scene."""
    copied = {name: list(points) for name, points in curves.items()}
    if scene is None:
        return _Update(f"**{stage}**: {done} of {total}", copied)
    surface = surface_of(scene)
    images = (scene.images().clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
    return _Update(f"**{stage}**: step {done} of {total}, {len(surface.faces):,} triangles", copied, images, surface)


@torch.no_grad()
def surface_of(scene: Scene) -> Surface:
    """The scene's surface as arrays."""
    mesh, colors = scene.surface()
    normals = vertex_normals(mesh.vertices, mesh.faces)
    linear = (srgb_to_linear(colors) * 255).round().to(torch.uint8)
    vertices, normals, faces, linear = (part.cpu() for part in (mesh.vertices, normals, mesh.faces, linear))
    return Surface(vertices.numpy(), normals.numpy(), faces.numpy(), linear.numpy())


def glb_of(surface: Surface) -> bytes:
    """A surface with a colour for each vertex, neither metal nor glossy, as viser loads it."""
    import trimesh

    material = trimesh.visual.material.PBRMaterial(metallicFactor=0.0, roughnessFactor=0.9)
    visual = trimesh.visual.TextureVisuals(material=material)
    opaque = np.full((len(surface.colors), 1), 255, dtype=np.uint8)
    visual.vertex_attributes["color"] = np.concatenate((surface.colors, opaque), axis=1)
    mesh = trimesh.Trimesh(surface.vertices, surface.faces, vertex_normals=surface.normals, visual=visual, process=False)
    content: Any = mesh.export(file_type="glb", include_normals=True)
    return bytes(content)


def tiled(images: np.ndarray) -> np.ndarray:
    """Images [B, H, W, 3] side by side in as many columns as rows, or one more: uint8 with white between them, small ones enlarged."""
    columns = math.ceil(math.sqrt(len(images)))
    times = math.ceil(_SHEET / (columns * images.shape[2]))
    images = images.repeat(times, axis=1).repeat(times, axis=2)
    high, wide = images.shape[1] + _GAP, images.shape[2] + _GAP
    sheet = np.full((math.ceil(len(images) / columns) * high - _GAP, columns * wide - _GAP, 3), 255, dtype=np.uint8)
    for at, image in enumerate(images):
        top, left = at // columns * high, at % columns * wide
        sheet[top : top + images.shape[1], left : left + images.shape[2]] = image
    return sheet


def curve(points: list[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Steps, residuals and their running mean, of every n-th step where there are more than _MOST_POINTS."""
    found = np.array(points)
    mean = np.array(running_mean(points, averaged(len(points))))[:, 1]
    every = slice(None, None, math.ceil(len(points) / _MOST_POINTS))
    return found[every, 0], found[every, 1], mean[every]
