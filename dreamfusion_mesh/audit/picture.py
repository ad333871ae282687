"""An audit as a picture: the UV layout with overlaps and thin charts marked, the texel density as a heat map, and the rows."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np

from dreamfusion_mesh.audit.atlas import Atlas, measure_atlas
from dreamfusion_mesh.audit.report import Audit
from dreamfusion_mesh.audit.row import Row
from dreamfusion_mesh.audit.rows.gaps import chart_labels, wide_charts
from dreamfusion_mesh.audit.spans import centre_spans, label_image
from dreamfusion_mesh.config import AuditSettings
from dreamfusion_mesh.geometry.areas import uv_areas

MARK = "dreamfusion_mesh audit"  # the PNG's tEXt entry Software, by which a picture is known for one
PANEL = 640  # pixels a side of each of the two squares
_EDGE, _LINE, _HEADING = 24, 19, 22  # pixels: margin, a line of text, of a heading
_BACKGROUND, _SQUARE, _TEXT, _FAINT = (24, 24, 28), (44, 44, 50), (235, 235, 235), (150, 150, 158)
_OVERLAP, _THIN = (255, 40, 40), (255, 170, 0)
_STATUS = {"pass": (110, 200, 120), "fail": (255, 90, 80), "not measured": (230, 190, 90)}
_COLD, _EVEN, _HOT = (50, 90, 230), (235, 235, 235), (225, 60, 40)
_RANGE = 2.0  # powers of two of texel density, to either side of the median, that the heat map's colours span
_CHARACTERS = 190  # of a row's text


def audit_picture(found: Audit) -> bytes:
    """A PNG of an audit. Panels that cannot be drawn, for want of UVs, of a surface or of a texture's size, say why."""
    from PIL import Image, ImageDraw, PngImagePlugin

    width, height = 3 * _EDGE + 2 * PANEL, 2 * _EDGE + _HEADING + PANEL + (len(found.rows) + 3) * _LINE
    image = Image.new("RGB", (width, height), _BACKGROUND)
    pen = _Pen(ImageDraw.Draw(image))
    pen.write((_EDGE, _EDGE // 2), f"{found.file}: {found.summary()}", _TEXT, 17)
    atlas, why = _drawable(found)
    top = _EDGE + _HEADING
    for left, draw in ((_EDGE, _layout_panel), (2 * _EDGE + PANEL, _density_panel)):
        panel = draw(atlas, found.settings) if atlas is not None else _Panel(None, why, [])
        if panel.pixels is None:
            pen.draw.rectangle((left, top, left + PANEL - 1, top + PANEL - 1), fill=_SQUARE)
            pen.write((left + _EDGE, top + PANEL // 2), f"not drawn: {why}", _FAINT, cut=90)
        else:
            image.paste(Image.fromarray(panel.pixels), (left, top))
        pen.write((left, top + PANEL + 4), panel.title, _TEXT)
        pen.legend(left, top + PANEL + 4 + _LINE, panel.legend)
    _write_rows(pen, found.rows, top + PANEL + 3 * _LINE)
    file = io.BytesIO()
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Software", MARK)
    image.save(file, "PNG", pnginfo=notes)
    return file.getvalue()


@dataclass(frozen=True, eq=False)
class _Panel:
    """A square's pixels [PANEL, PANEL, 3], its title, and its legend: colours and words."""

    pixels: np.ndarray | None
    title: str
    legend: list[tuple[tuple[int, int, int], str]]


@dataclass(frozen=True, eq=False)
class _Pen:
    draw: Any  # a PIL ImageDraw

    def write(self, place: tuple[int, int], text: str, color: tuple[int, int, int], size: int = 13, cut: int = _CHARACTERS) -> None:
        from PIL import ImageFont

        shown = "".join(letter if letter.isprintable() else "?" for letter in text)
        shown = shown if len(shown) <= cut else f"{shown[: cut - 3]}..."
        self.draw.text(place, shown, color, ImageFont.load_default(size))

    def legend(self, left: int, top: int, entries: list[tuple[tuple[int, int, int], str]]) -> None:
        for color, words in entries:
            self.draw.rectangle((left, top + 3, left + 11, top + 14), fill=color)
            self.write((left + 17, top), words, _TEXT)
            left += 27 + 8 * len(words)


def is_audit_picture(data: bytes) -> bool:
    """Whether a file's beginning is that of a picture that `audit_picture` made."""
    return data.startswith(b"\x89PNG\r\n\x1a\n") and b"tEXtSoftware\0" + MARK.encode() in data[:200]


def _drawable(found: Audit) -> tuple[Atlas | None, str]:
    """The UVs to draw, or why there are none."""
    written = found.written
    if written is None or not len(written.faces) or "uvs" in written.unread:
        return None, written.unread.get("uvs", "the surface cannot be read") if written else "the file cannot be read"
    atlas = measure_atlas(written)
    return (atlas, "") if atlas is not None else (None, "there are no UVs")


def _layout_panel(atlas: Atlas, settings: AuditSettings) -> _Panel:
    """Charts in different colours, those too narrow and what is covered twice marked."""
    uvs = _near_square(atlas.uvs)
    charts = chart_labels(atlas.split_faces)
    thin, told = _thin(atlas, charts, settings)
    labels = label_image(centre_spans(uvs, PANEL), charts, PANEL)[0][::-1]
    shades = np.random.default_rng(1).integers(70, 150, (charts.max() + 2, 3)).astype(np.uint8)
    shades[0] = _SQUARE
    shades[1:][thin] = _THIN
    pixels = shades[labels]
    edges = (labels != np.roll(labels, 1, axis=0)) | (labels != np.roll(labels, 1, axis=1))
    pixels[edges & (labels > 0)] = (215, 215, 220)
    covered_twice = _times_covered(uvs, PANEL)[::-1] > 1
    pixels[covered_twice] = _OVERLAP
    title = f"UV layout: {charts.max() + 1} charts"
    title += f", {atlas.layout.outside} corners outside the square" if atlas.layout.outside else ""
    return _Panel(pixels, title, [(_OVERLAP, "covered twice"), (_THIN, told)])


def _thin(atlas: Atlas, charts: np.ndarray, settings: AuditSettings) -> tuple[np.ndarray, str]:
    """Which charts are narrower than row 5 asks, and the legend's words for them."""
    nothing = np.zeros(int(charts.max()) + 1, bool)
    if atlas.size is None or atlas.unmeasured:
        return nothing, "narrow charts: not measured"
    inside = label_image(centre_spans(atlas.uvs, atlas.size), charts, atlas.size)[0]
    wide = wide_charts(inside, len(nothing), settings.narrow_texels)
    if wide is None:
        return nothing, "narrow charts: not measured"
    return ~wide, f"narrower than {settings.narrow_texels:g} texels: {int((~wide).sum())}"


def _density_panel(atlas: Atlas, settings: AuditSettings) -> _Panel:
    """Faces coloured by UV area over surface area, against the median of the surface."""
    from trimesh.triangles import area

    density = np.abs(uv_areas(atlas.uvs)) / np.maximum(area(atlas.corners), 1e-300)
    known = np.isfinite(density) & (density > 0)
    if not known.any():
        return _Panel(None, "texel density", [])
    median = float(np.median(density[known]))
    steps = np.clip(np.log2(np.where(known, density / median, 1.0)), -_RANGE, _RANGE)
    labels = label_image(centre_spans(_near_square(atlas.uvs), PANEL), np.arange(len(steps)), PANEL)[0][::-1]
    colors = np.concatenate([np.array([_SQUARE]), heat(steps)]).astype(np.uint8)
    legend = []
    for step in (-2.0, -1.0, 0.0, 1.0, 2.0):
        red, green, blue = heat(np.array([step]))[0].astype(int).tolist()
        legend.append(((red, green, blue), _times(step)))
    texels = "" if atlas.size is None else f", median {median**0.5 * atlas.size:.4g} texels a metre"
    return _Panel(colors[labels], f"texel density{texels}", legend)


def heat(steps: np.ndarray) -> np.ndarray:
    """[N, 3] colours of powers of two [N] about even density: blue where texels are few, red where they are many."""
    share = np.clip(np.abs(steps) / _RANGE, 0, 1)[:, None]
    far = np.where((steps < 0)[:, None], _COLD, _HOT)
    return np.round((1 - share) * _EVEN + share * far)


def _times(step: float) -> str:
    return f"{2**step:g} x" if step >= 0 else f"1/{2**-step:g} x"


def _near_square(uvs: np.ndarray) -> np.ndarray:
    """UVs as they are drawn: those of faces that lie far outside the square, where nothing is shown, go to a corner of it."""
    far = (np.abs(uvs) > 16).any(axis=(1, 2))
    return np.where(far[:, None, None], 0.0, uvs)


def _times_covered(uvs: np.ndarray, grid: int) -> np.ndarray:
    """[grid, grid] how many faces cover each cell's centre; row 0 at v = 0."""
    change = np.zeros(grid * (grid + 1), np.int64)
    for band in centre_spans(uvs, grid):
        change += np.bincount(band.row * (grid + 1) + band.start, minlength=len(change))
        change -= np.bincount(band.row * (grid + 1) + band.stop, minlength=len(change))
    return np.cumsum(change.reshape(grid, grid + 1), axis=1)[:, :grid]


def _write_rows(pen: _Pen, rows: tuple[Row, ...], top: int) -> None:
    for number, row in enumerate(rows):
        line = top + number * _LINE
        pen.write((_EDGE, line), f"{row.number}", _FAINT)
        pen.write((_EDGE + 26, line), row.property, _TEXT)
        pen.write((_EDGE + 150, line), row.status, _STATUS[row.status])
        pen.write((_EDGE + 250, line), row.detail.removeprefix("not measured: "), _FAINT)
