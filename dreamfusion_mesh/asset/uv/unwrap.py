"""The surface laid out in one square texture: xatlas where it answers in time, box projection where it does not."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from dreamfusion_mesh.asset.uv.absorb import absorb
from dreamfusion_mesh.asset.uv.bitmaps import inscribed_diameters
from dreamfusion_mesh.asset.uv.box import box_charts
from dreamfusion_mesh.asset.uv.charts import (
    Charts,
    equalize_density,
    isolate_faces,
    regroup,
    split_overlaps,
    surface_areas,
    unflip_charts,
)
from dreamfusion_mesh.asset.uv.pack import MIN_DIAMETER, DoesNotFit, pack
from dreamfusion_mesh.asset.uv.xatlas_worker import chart_surface
from dreamfusion_mesh.config import TextureSettings
from dreamfusion_mesh.errors import RunFailed
from dreamfusion_mesh.geometry.areas import uv_areas
from dreamfusion_mesh.geometry.topology import weld
from dreamfusion_mesh.records import Mesh
from dreamfusion_mesh.worker import WorkerFailed, run_worker

_log = logging.getLogger(__name__)

_MIN_AREA_SHARE = 1e-3  # of a face's share of its chart's area; one with less is laid flat by itself
_MAX_STRETCH = 2.0  # 95th over 5th percentile of a chart's texel density, in areas
_REPAIRS = 3
_EXPECTED_UTILISATION = 0.6  # gives a texel's size, about, before packing


@dataclass(frozen=True, eq=False)
class Unwrapped:
    """A mesh with UVs, and how it came by them.

    mesh         the same vertices and faces, with uvs and face_uvs; every face counter-clockwise, none over another
    method       "xatlas", or "box" where that failed
    reason       what differs from the settings, and why (no xatlas, less padding); empty where nothing does
    padding      texels kept around each chart; less than the setting only where the charts would not fit otherwise
    utilisation  share of the square that charts cover
    """

    mesh: Mesh
    method: Literal["xatlas", "box"]
    reason: str
    charts: int
    padding: int
    utilisation: float


def unwrap(mesh: Mesh, settings: TextureSettings) -> Unwrapped:
    """Give a mesh UVs in one square of `settings.size` texels, with gaps of at least twice `settings.padding` between charts.

    xatlas cuts and flattens, in a process of its own that is killed after `settings.unwrap_seconds`; then, or where it fails, box
    projection replaces it. All charts come out unflipped, without overlaps, at one mean texel density, packed as large as they fit.
    Raises ValueError for a mesh without faces or with coordinates that are not finite, RunFailed where the charts fit at no padding.
    """
    vertices, faces = _welded(mesh)
    method: Literal["xatlas", "box"] = "xatlas"
    reason = ""
    try:
        charts = _xatlas_charts(vertices, faces, settings.unwrap_seconds)
    except WorkerFailed as problem:
        method, reason = "box", f"{problem}; box projection instead"
        charts = box_charts(vertices, faces)
    charts, uvs, padding = _lay_out(_prepare(charts, vertices, faces, settings.size), vertices, faces, settings)
    if padding < settings.padding:
        reason = "; ".join(filter(None, [reason, f"{charts.count} charts do not fit with padding {settings.padding}, {padding} instead"]))
    if reason:
        _log.warning("unwrap: %s", reason)
    covered = float(uv_areas(uvs.astype(np.float64)[charts.face_uvs]).sum())
    device = mesh.vertices.device
    mapped = Mesh(mesh.vertices, mesh.faces, torch.from_numpy(uvs).to(mesh.vertices), torch.from_numpy(charts.face_uvs).to(device))
    return Unwrapped(mapped, method, reason, charts.count, padding, covered)


def _welded(mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """Vertices float64 and faces, with vertices at bit-equal positions made one."""
    if len(mesh.faces) == 0:
        raise ValueError("unwrap: mesh has no faces")
    if not bool(mesh.vertices.isfinite().all()):
        raise ValueError("unwrap: mesh.vertices holds values that are not finite")
    welded = weld(Mesh(mesh.vertices.detach().cpu().double(), mesh.faces.cpu()))
    return welded.vertices.numpy(), welded.faces.numpy()


def _prepare(charts: Charts, vertices: np.ndarray, faces: np.ndarray, size: int) -> Charts:
    """Charts without a mirrored, empty, overlapping or (where it can be helped) narrow piece, all at the surface's own scale."""
    charts = _box_stretched(unflip_charts(charts), vertices, faces)
    flat, space = uv_areas(charts.uvs[charts.face_uvs]), surface_areas(vertices, faces)
    total_flat, total_space = np.bincount(charts.chart, flat), np.bincount(charts.chart, space)
    expected = space * (total_flat / np.maximum(total_space, 1e-300))[charts.chart]
    charts = isolate_faces(charts, (flat <= _MIN_AREA_SHARE * expected) | (flat <= 0), vertices, faces)
    charts = equalize_density(split_overlaps(charts, vertices, faces), vertices, faces)
    texel = np.sqrt(space.sum() / _EXPECTED_UTILISATION) / size
    return absorb(charts, vertices, faces, inscribed_diameters(charts) < MIN_DIAMETER * texel)


def _box_stretched(charts: Charts, vertices: np.ndarray, faces: np.ndarray) -> Charts:
    """Charts whose texel density varies too much, as on rough surfaces, are replaced by box projection of their faces."""
    density = uv_areas(charts.uvs[charts.face_uvs]) / np.maximum(surface_areas(vertices, faces), 1e-300)
    low, high = np.ones(charts.count), np.ones(charts.count)
    for index in range(charts.count):
        low[index], high[index] = np.percentile(density[charts.chart == index], (5, 95))
    stretched = (high > _MAX_STRETCH * low)[charts.chart]
    if not stretched.any():
        return charts
    boxed = box_charts(vertices, faces)
    face_uvs = np.where(stretched[:, None], boxed.face_uvs + len(charts.uvs), charts.face_uvs)
    return regroup(np.concatenate([charts.uvs, boxed.uvs]), face_uvs, np.where(stretched, boxed.chart + charts.count, charts.chart))


def _lay_out(charts: Charts, vertices: np.ndarray, faces: np.ndarray, settings: TextureSettings) -> tuple[Charts, np.ndarray, int]:
    """Pack, with less padding where need be; faces too thin to survive rounding to float32 are cut out, thickened and packed again."""
    padding = settings.padding
    for repair in range(_REPAIRS + 1):
        while True:
            try:
                packed = pack(charts, settings.size, padding)
                break
            except DoesNotFit as problem:
                if padding == 0:
                    raise RunFailed(f"unwrap: {problem}") from None
                padding //= 2
        uvs = packed.astype(np.float32)
        lost = uv_areas(uvs.astype(np.float64)[charts.face_uvs]) <= 0
        if not lost.any() or repair == _REPAIRS:
            break
        charts = equalize_density(isolate_faces(charts, lost, vertices, faces), vertices, faces)
    if lost.any():
        raise RunFailed(f"unwrap: {int(lost.sum())} faces have no area in {settings.size} texels; use a larger texture or fewer triangles")
    return charts, uvs, padding


def _xatlas_charts(vertices: np.ndarray, faces: np.ndarray, seconds: float) -> Charts:
    extent = max(float(np.ptp(vertices, axis=0).max()), 1e-30)
    unit = np.sqrt(surface_areas(vertices, faces).mean()) or extent  # xatlas drops faces under an absolute area
    positions = ((vertices - vertices.mean(axis=0)) / unit).astype(np.float32)
    uvs, face_uvs, chart = run_worker(chart_surface, (positions, faces.astype(np.uint32)), seconds, "xatlas")
    shapes = uvs.ndim == 2 and uvs.shape[1:] == (2,) and face_uvs.shape == faces.shape and chart.shape == faces.shape[:1]
    kinds = uvs.dtype == np.float64 and face_uvs.dtype == np.int64 and chart.dtype == np.int64
    if not (shapes and kinds and np.isfinite(uvs).all() and face_uvs.min() >= 0 and face_uvs.max() < len(uvs)):
        raise WorkerFailed("xatlas gave values out of range")
    left_out = chart < 0
    chart = np.where(left_out, chart.max() + 1 + np.arange(len(chart)), chart)
    return regroup(uvs, face_uvs, chart)
