"""The surface laid out in one square texture: by uvunwrap or xatlas where they answer in time, by box projection where they do not."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from dreamfusion_mesh.asset.deadline import Deadline
from dreamfusion_mesh.asset.uv.box import box_charts
from dreamfusion_mesh.asset.uv.charts import Charts, equalize_density, isolate_faces, regroup
from dreamfusion_mesh.asset.uv.pack import pack
from dreamfusion_mesh.asset.uv.repair import absorb_narrow, repair, split_sprawling
from dreamfusion_mesh.asset.uv.segment import segment
from dreamfusion_mesh.asset.uv.shelves import DoesNotFit
from dreamfusion_mesh.config import TextureSettings
from dreamfusion_mesh.errors import RunFailed
from dreamfusion_mesh.geometry.areas import uv_areas
from dreamfusion_mesh.geometry.topology import weld
from dreamfusion_mesh.records import Mesh
from dreamfusion_mesh.worker import WorkerFailed

Method = Literal["uvunwrap", "xatlas", "box"]

_log = logging.getLogger(__name__)

_ORDER: dict[str, tuple[Method, ...]] = {  # box projection, which cannot fail, comes after all; `python -m tools.bench unwrap` says why
    "auto": ("uvunwrap", "xatlas"),
    "uvunwrap": ("uvunwrap",),
    "xatlas": ("xatlas",),
    "box": (),
}
_TIME_SHARE = 0.5  # of the time left, that a library may take; repairs and packing follow
_LEAST_FILLED = (0.4, 0.5)  # of their boxes: what charts are split at, one after the other, while the square is used too little
_WELL_USED = 0.5  # of the square
_REPAIRS = 3
_MIN_HEIGHT = 2.0**-22  # in the square, of faces that rounding to float32 cannot flatten


@dataclass(frozen=True, eq=False)
class Unwrapped:
    """A mesh with UVs, and how it came by them.

    mesh         the same vertices and faces, with uvs and face_uvs; every face counter-clockwise, none over another
    method       what cut and flattened the surface
    reason       what differs from the settings, and why (a library that failed, less padding, no time); empty where nothing does
    padding      texels kept around each chart; less than the setting only where the charts would not fit otherwise
    utilisation  share of the square that charts cover
    """

    mesh: Mesh
    method: Method
    reason: str
    charts: int
    padding: int
    utilisation: float


@dataclass(frozen=True, eq=False)
class _Layout:
    """Charts, their UVs [U, 2] float32 in the square, and the padding that they were packed with."""

    charts: Charts
    uvs: np.ndarray
    padding: int

    @property
    def covered(self) -> float:
        return float(uv_areas(self.uvs.astype(np.float64)[self.charts.face_uvs]).sum())


def unwrap(mesh: Mesh, settings: TextureSettings, deadline: Deadline | None = None) -> Unwrapped:
    """Give a mesh UVs in one square of `settings.size` texels, with gaps of at least twice `settings.padding` between charts.

    A library cuts and flattens, in a process of its own that is killed when half of the time left is over; where it fails, the next
    one does ("auto"), at last box projection. All charts come out unflipped, without overlaps, at one mean texel density, packed as
    large as they fit. At the deadline, after `settings.unwrap_seconds` if none is given, what can be left out is: narrow charts stay,
    and charts are packed loosely; that takes up to 2 seconds at 50,000 faces.
    Raises ValueError for a mesh without faces or with coordinates that are not finite, RunFailed where the charts fit at no padding.
    """
    deadline = deadline or Deadline.after(settings.unwrap_seconds)
    vertices, faces = _unit_sized(mesh)
    charts, method, reasons = _cut(vertices, faces, settings, deadline)
    charts = absorb_narrow(repair(charts, vertices, faces), vertices, faces, settings.size, deadline)
    layout = _well_used(_lay_out(charts, vertices, faces, settings, deadline), vertices, faces, settings, deadline)
    if deadline.passed:
        reasons.append(f"time was up after {settings.unwrap_seconds:g} s: charts may be narrow or packed loosely")
    if layout.padding < settings.padding:
        reasons.append(f"{layout.charts.count} charts do not fit with padding {settings.padding}, {layout.padding} instead")
    reason = "; ".join(reasons)
    if reason:
        _log.warning("unwrap: %s", reason)
    uvs, face_uvs = torch.from_numpy(layout.uvs), torch.from_numpy(layout.charts.face_uvs)
    mapped = Mesh(mesh.vertices, mesh.faces, uvs.to(mesh.vertices), face_uvs.to(mesh.vertices.device))
    return Unwrapped(mapped, method, reason, layout.charts.count, layout.padding, layout.covered)


def _unit_sized(mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """Vertices float64, those at bit-equal positions made one, the box round them centred and with a longest side of 1; and faces."""
    if len(mesh.faces) == 0:
        raise ValueError("unwrap: mesh has no faces")
    if not bool(mesh.vertices.isfinite().all()):
        raise ValueError("unwrap: mesh.vertices holds values that are not finite")
    welded = weld(Mesh(mesh.vertices.detach().cpu().double(), mesh.faces.cpu()))
    vertices, faces = welded.vertices.numpy(), welded.faces.numpy()
    vertices = vertices / (np.abs(vertices).max() or 1.0)  # first, so that no difference overflows
    low, high = vertices[faces].min(axis=(0, 1)), vertices[faces].max(axis=(0, 1))
    return (vertices - (low + high) / 2) / ((high - low).max() or 1.0), faces


def _cut(vertices: np.ndarray, faces: np.ndarray, settings: TextureSettings, deadline: Deadline) -> tuple[Charts, Method, list[str]]:
    """Charts by the first method that answers, which one, and why those before it did not."""
    failures = []
    for library in _ORDER[settings.unwrap]:
        try:
            uvs, face_uvs, chart = segment(library, vertices, faces, round(_TIME_SHARE * deadline.left, 2))
        except WorkerFailed as problem:
            failures.append(str(problem))
            continue
        chart = np.where(chart < 0, chart.max() + 1 + np.arange(len(chart)), chart)
        return regroup(uvs, face_uvs, chart), library, [f"{failure}; {library} instead" for failure in failures]
    reasons = [f"{'; '.join(failures)}; box projection instead"] if failures else []
    return box_charts(vertices, faces), "box", reasons


def _well_used(layout: _Layout, vertices: np.ndarray, faces: np.ndarray, settings: TextureSettings, deadline: Deadline) -> _Layout:
    """Where charts cover too little of the square: the best layout of those split further."""
    charts = layout.charts
    for least in _LEAST_FILLED:
        if layout.covered >= _WELL_USED or deadline.passed:
            break
        charts = split_sprawling(charts, least)
        if charts.count > layout.charts.count:
            layout = max(layout, _lay_out(charts, vertices, faces, settings, deadline), key=lambda found: (found.padding, found.covered))
    return layout


def _lay_out(charts: Charts, vertices: np.ndarray, faces: np.ndarray, settings: TextureSettings, deadline: Deadline) -> _Layout:
    """Pack, with less padding where need be; faces too thin to survive rounding to float32 are cut out, thickened and packed again."""
    padding = settings.padding
    for round_ in range(_REPAIRS + 1):
        while True:
            try:
                packed = pack(charts, settings.size, padding, deadline)
                break
            except DoesNotFit as problem:
                if padding == 0:
                    raise RunFailed(f"unwrap: {problem}") from None
                padding //= 2
        uvs = packed.astype(np.float32)
        corners = uvs.astype(np.float64)[charts.face_uvs]
        areas = uv_areas(corners)
        lost = areas <= 0
        if not lost.any() or round_ == _REPAIRS:
            break
        thin = areas <= _MIN_HEIGHT * np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(axis=1)  # lost the next time
        charts = equalize_density(isolate_faces(charts, lost | thin, vertices, faces), vertices, faces)
    if lost.any():
        raise RunFailed(f"unwrap: {int(lost.sum())} faces have no area in {settings.size} texels; use a larger texture or fewer triangles")
    return _Layout(charts, uvs, padding)
