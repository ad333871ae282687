"""gallery.html of a batch: its rows as one page that a double click opens, made from the manifest and the rows' folders at any time.

Pictures lie beside it. Its assets lie in it while they are few enough to; any others open through `gallery DIR --serve`.
"""

from __future__ import annotations

import base64
import itertools
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

from dreamfusion_mesh import __version__
from dreamfusion_mesh.audit.row import PROPERTIES
from dreamfusion_mesh.batch.folder import BatchFolder
from dreamfusion_mesh.batch.standing import Standing, standings
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.files import read_bytes, shown, write_file
from dreamfusion_mesh.run.out import ASSET, GALLERY
from dreamfusion_mesh.view.three import three_script
from dreamfusion_mesh.web_page import Page, embedded_json

MOST_ROWS = 100_000  # some 50 MB of a page
LARGEST_EMBEDDED = 64 * 2**20  # bytes of all .glb files in a page; a third more as base64
_SOURCES = {"img-src": "'self' file: data: blob:", "connect-src": "'self' blob:"}  # 'self' is nothing in pages from disk
_LISTED = re.compile(r"[\w-][\w.-]*\.(glb|obj|usdz|png|webp|mp4|json|yaml|txt)", re.ASCII)  # files of a row that the page links to
_MODEL = re.compile(rf"{Path(ASSET).stem}(_LOD\d+|_collision)?\.glb")
_BODY = '<p id="count"></p><noscript>This page needs JavaScript.</noscript>'


@dataclass(frozen=True)
class Written:
    """A gallery's rows, and those beyond MOST_ROWS; whether its assets open from the page alone."""

    rows: int
    left_out: int
    embedded: bool


@dataclass(frozen=True)
class _Row:
    """A row as the page's script reads it; its models' files with their bytes, the asset first; the folder that they lie in."""

    values: dict[str, Any]
    models: tuple[tuple[str, int], ...]
    folder: Path | None


def write_gallery(batch: BatchFolder) -> Written:
    """Write the page anew. Raises BadInput where the folder holds no batch or nothing in it, or where it cannot be written."""
    total, jobs = standings(batch)
    if total == 0:
        raise BadInput(f"{shown(batch.path)}: holds no row yet; let `batch` make one first")
    rows = [_row(job, batch.path) for job in itertools.islice(jobs, MOST_ROWS)]
    embedded = _fitting(rows)
    write_file(batch.path / GALLERY, _page().blocks(_body(rows, embedded, batch.path, total - len(rows))))
    return Written(len(rows), total - len(rows), bool(embedded) or not any(row.models for row in rows))


def _page() -> Page:
    style, script = (files("dreamfusion_mesh.view").joinpath(f"gallery.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    return Page("dreamfusion_mesh gallery", "Gallery", style, [three_script(), script], _SOURCES)


def _row(job: Standing, batch: Path) -> _Row:
    found = dict(sorted(_files(job.folder))) if job.folder else {}
    values = {
        "name": job.name,
        "prompt": job.prompt,
        "status": job.status,
        "seconds": job.seconds,
        "triangles": job.triangles,
        "time": job.time,
        "seed": job.seed,
        "failure": job.failure,
        "message": job.message,
        "tags": job.tags,
        "audit": "".join(status[0] for status in job.audit),  # of pass, fail, not measured
        "at": quote_from_bytes(os.fsencode(job.folder.relative_to(batch))) if job.folder else "",
        "files": list(found),
    }
    models = sorted((name for name in found if job.asset and _MODEL.fullmatch(name)), key=lambda name: (len(name), name))
    return _Row(values, tuple((name, found[name]) for name in models), job.folder)


def _files(folder: Path) -> Iterator[tuple[str, int]]:
    """Names and bytes of the files in a row's folder that the page links to; none where it cannot be read."""
    try:
        with os.scandir(folder) as found:
            for entry in found:
                if _LISTED.fullmatch(entry.name) and entry.is_file():
                    yield entry.name, entry.stat().st_size
    except OSError:
        return


def _fitting(rows: Sequence[_Row]) -> list[tuple[int, str]]:
    """The models that lie in the page, by row and file: all assets or none, for a page that is quick, then levels and hulls that fit."""
    assets = [(at, *row.models[0]) for at, row in enumerate(rows) if row.models]
    others = [(at, *model) for at, row in enumerate(rows) for model in row.models[1:]]
    left = LARGEST_EMBEDDED - sum(size for *_, size in assets)
    if left < 0:
        return []
    chosen = [(at, name) for at, name, _ in assets]
    for at, name, size in others:
        if size <= left:
            chosen.append((at, name))
            left -= size
    return chosen


def _body(rows: Sequence[_Row], embedded: Sequence[tuple[int, str]], batch: Path, left_out: int) -> Iterator[str]:
    yield _BODY
    about = {"folder": str(batch), "rows_left_out": left_out, "version": __version__, "properties": list(PROPERTIES.values())}
    yield embedded_json("about", about)
    yield embedded_json("rows", [row.values for row in rows])
    for at, name in embedded:
        if (folder := rows[at].folder) is not None and (content := _model(folder / name)) is not None:
            yield f'<script type="text/plain" id="{at}/{name}">{base64.b64encode(content).decode()}</script>'


def _model(file: Path) -> bytes | None:
    """The file, None where it cannot be read any more, or holds more than fits."""
    try:
        return read_bytes(file, LARGEST_EMBEDDED)
    except BadInput:
        return None
