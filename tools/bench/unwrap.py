"""What each back end of `texture.unwrap` gives on surfaces of this pipeline, and what this package's own repairs and packing add to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dreamfusion_mesh.asset.uv.unwrap import unwrap
from dreamfusion_mesh.audit.atlas import SUBTEXELS, Atlas, coverage, uv_layout
from dreamfusion_mesh.audit.rows.gaps import gaps_row
from dreamfusion_mesh.audit.rows.texel_density import texel_density_row
from dreamfusion_mesh.audit.rows.uvs import uvs_row
from dreamfusion_mesh.config import AuditSettings, TextureSettings
from dreamfusion_mesh.records import Mesh
from dreamfusion_mesh.worker import WorkerFailed, run_worker
from tools.bench.libraries import own_uvunwrap, own_xatlas
from tools.bench.records import Figure, missing
from tools.bench.surfaces import made, made_fine, of_run

SIZE, PADDING = 1024, 4
LIBRARIES = {"uvunwrap alone": own_uvunwrap, "xatlas alone": own_xatlas}
CONTENDERS = ("uvunwrap", "uvunwrap alone", "xatlas", "xatlas alone", "box")
ROWS = ("4", "5", "6")  # of the audit


@dataclass(frozen=True)
class Layout:
    """How one surface was laid out: rows 4 to 6 of the audit passed, seams in roots of the area."""

    surface: str
    seconds: float
    passed: tuple[bool, bool, bool]
    charts: int
    narrow: float
    density: float
    used: float
    seams: float


def measure(runs: list[Path], contenders: list[str], seconds: float, every: int) -> Iterator[Figure]:
    """Figures of each contender, whose rounds are the surfaces.

    runs        folders of finished runs, whose refined surfaces come first, at 10,000 triangles
    contenders  of CONTENDERS; all where empty
    seconds     limit of each unwrap
    every       one surface in so many
    """
    asked = contenders or list(CONTENDERS)
    found, failed = {name: list[Layout]() for name in asked}, {name: list[str]() for name in asked}
    for index, (name, mesh) in enumerate(_surfaces(runs)):
        for contender in () if index % every else asked:
            try:
                found[contender].append(_layout(contender, name, mesh, seconds))
            except WorkerFailed as problem:
                failed[contender].append(f"{name}: {problem}")
    for contender in asked:
        yield from _figures(contender, found[contender], failed[contender])


def _figures(contender: str, layouts: list[Layout], failed: list[str]) -> Iterator[Figure]:
    for problem in failed:
        yield missing(f"{contender}: one surface", problem)
    if not layouts:
        return
    yield Figure(f"{contender}: seconds", "s", tuple(each.seconds for each in layouts))
    for index, row in enumerate(ROWS):
        bad = [each.surface for each in layouts if not each.passed[index]]
        share = 100 * (1 - len(bad) / len(layouts))
        yield Figure(f"{contender}: row {row} passes", "%", (share,), note=f"not on {', '.join(bad)}" if bad else "")
    for name, unit in (("charts", ""), ("narrow", "%"), ("density", "p95/p5"), ("used", "%"), ("seams", "lengths")):
        scale = 100 if unit == "%" else 1
        yield Figure(f"{contender}: {name}", unit, tuple(scale * float(getattr(each, name)) for each in layouts))


def _layout(contender: str, name: str, mesh: Mesh, seconds: float) -> Layout:
    """Raises WorkerFailed where the contender does not lay it out in time, or another one did in its place."""
    started = time.perf_counter()
    uvs, face_uvs, method = _unwrapped(contender, mesh, seconds)
    took = time.perf_counter() - started
    if method not in contender:
        raise WorkerFailed(f"laid out by {method}")
    return _measured(name, took, mesh, uvs, face_uvs)


def _surfaces(runs: list[Path]) -> Iterator[tuple[str, Mesh]]:
    for folder in runs:
        yield folder.name, of_run(folder, 10_000)
    yield from made(10_000, 56)
    yield from made_fine(50_000, 112)


def _unwrapped(contender: str, mesh: Mesh, seconds: float) -> tuple[np.ndarray, np.ndarray, str]:
    if contender in LIBRARIES:
        sizes = np.array([SIZE, PADDING])
        work: Callable[..., tuple[np.ndarray, ...]] = LIBRARIES[contender]
        uvs, face_uvs = run_worker(work, (mesh.vertices.double().numpy(), mesh.faces.numpy(), sizes), seconds, contender)
        return uvs, face_uvs, contender
    settings = TextureSettings.model_validate({"size": SIZE, "padding": PADDING, "unwrap": contender, "unwrap_seconds": seconds})
    found = unwrap(mesh, settings)
    assert found.mesh.uvs is not None
    assert found.mesh.face_uvs is not None
    return found.mesh.uvs.double().numpy(), found.mesh.face_uvs.numpy(), found.method


def _measured(name: str, took: float, mesh: Mesh, uvs: np.ndarray, face_uvs: np.ndarray) -> Layout:
    corners, flat = mesh.vertices.double().numpy()[mesh.faces.numpy()], uvs[face_uvs]
    covered, again = coverage(flat.clip(0, 1), SUBTEXELS * SIZE)
    atlas = Atlas(corners, flat, face_uvs, uv_layout(flat), SIZE, "", covered / (SUBTEXELS * SIZE) ** 2, again)
    settings = AuditSettings()
    uv, gap, even = uvs_row(atlas), gaps_row(atlas, settings), texel_density_row(atlas, settings)
    narrow = gap.measured["narrow charts"]
    passed = (uv.status == "pass", gap.status == "pass", even.status == "pass")
    share = float(narrow) if narrow != "not measured" else 1.0
    density, used = float(even.measured["p95/p5"]), float(even.measured["utilisation"])
    return Layout(name, took, passed, int(gap.measured["charts"]), share, density, used, seam_length(mesh, face_uvs))


def seam_length(mesh: Mesh, face_uvs: np.ndarray) -> float:
    """Length of the edges whose two sides have UVs of their own, over the square root of the surface's area."""
    vertices, faces = mesh.vertices.double().numpy(), mesh.faces.numpy()
    edges, rows = (index[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2) for index in (faces, face_uvs))
    turned = edges[:, :1] > edges[:, 1:]
    edges, rows = (np.where(turned, pairs[:, ::-1], pairs) for pairs in (edges, rows))
    order = np.lexsort((edges[:, 1], edges[:, 0]))
    edges, rows = edges[order], rows[order]
    cut = (edges[1:] == edges[:-1]).all(axis=1) & (rows[1:] != rows[:-1]).any(axis=1)
    a, b = vertices[edges[1:][cut]].transpose(1, 0, 2)
    corners = vertices[faces]
    doubled = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    return float(np.linalg.norm(a - b, axis=1).sum() / np.sqrt(doubled.sum() / 2))
