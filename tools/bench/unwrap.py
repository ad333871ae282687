"""What each back end of `texture.unwrap` gives on surfaces of this pipeline, and what this package's own repairs and packing add to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
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
from tools.bench.surfaces import made, made_fine, of_run

SIZE, PADDING = 1024, 4
LIBRARIES = {"uvunwrap alone": own_uvunwrap, "xatlas alone": own_xatlas}
CONTENDERS = ("uvunwrap", "uvunwrap alone", "xatlas", "xatlas alone", "box")
_HEAD = f"{'surface':22s}{'back end':16s} seconds  4 5 6  charts  narrow  gap  density   used  seams"


def run(runs: list[Path], contenders: list[str], seconds: float, few: bool) -> None:
    """Print the table, and the means of each contender.

    runs        folders of finished runs, whose refined surfaces come first, at 10,000 triangles
    contenders  of CONTENDERS; all where empty
    seconds     limit of each unwrap
    few         one surface in five alone
    """
    print(f"unwrap    {SIZE} texels, padding {PADDING}, limit {seconds:g} s; seams in roots of the area; '+' passes a row, '-' fails it")
    print(_HEAD)
    found: dict[str, list[list[float]]] = {}
    for index, (name, mesh) in enumerate(_surfaces(runs)):
        for contender in () if few and index % 5 else contenders or CONTENDERS:
            started = time.perf_counter()
            try:
                uvs, face_uvs, method = _unwrapped(contender, mesh, seconds)
            except WorkerFailed as problem:
                print(f"{name:22s}{contender:16s}{time.perf_counter() - started:8.2f}  {problem}", flush=True)
                continue
            took = time.perf_counter() - started
            line, figures = _measured(mesh, uvs, face_uvs)
            print(f"{name:22s}{contender:16s}{took:8.2f}{line}{'' if method in contender else f'  by {method}'}", flush=True)
            found.setdefault(contender, []).append([took, *figures])
    for contender, rows in found.items():
        means = np.array(rows).mean(axis=0)
        passed = " ".join(f"{share:.0%}" for share in means[1:4])
        rest = f"charts {means[4]:.0f}, narrow {means[5]:.1%}, density {means[6]:.2f}, used {means[7]:.3f}, seams {means[8]:.1f}"
        print(f"mean of {len(rows)}: {contender:16s} {means[0]:.2f} s, rows 4 5 6 pass {passed}, {rest}")


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


def _measured(mesh: Mesh, uvs: np.ndarray, face_uvs: np.ndarray) -> tuple[str, list[float]]:
    """A line of the table, and its figures: rows 4 to 6 passed, charts, share of narrow ones, density ratio, utilisation, seams."""
    corners, flat = mesh.vertices.double().numpy()[mesh.faces.numpy()], uvs[face_uvs]
    covered, again = coverage(flat.clip(0, 1), SUBTEXELS * SIZE)
    atlas = Atlas(corners, flat, face_uvs, uv_layout(flat), SIZE, "", covered / (SUBTEXELS * SIZE) ** 2, again)
    settings = AuditSettings()
    rows = [uvs_row(atlas), gaps_row(atlas, settings), texel_density_row(atlas, settings)]
    gaps, density = rows[1].measured, rows[2].measured
    passed = [row.status == "pass" for row in rows]
    narrow = float(gaps["narrow charts"]) if gaps["narrow charts"] != "not measured" else 1.0
    figures = [gaps["charts"], narrow, density["p95/p5"], density["utilisation"], seam_length(mesh, face_uvs)]
    marks = " ".join("+" if one else "-" for one in passed)
    line = f"{marks:>7s}{figures[0]:8d}{narrow:8.1%}{gaps['smallest gap']:5d}{figures[2]:9.2f}{figures[3]:7.3f}{figures[4]:7.2f}"
    return line, [*map(float, passed), *map(float, figures)]


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
