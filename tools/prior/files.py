"""Files written whole or not at all, and the little that training writes: tensors, curves."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from dreamfusion_mesh.files import write_file


def write_tensors(tensors: Mapping[str, Tensor], file: Path, notes: Mapping[str, str] | None = None) -> None:
    """A safetensors file."""
    from safetensors.torch import save

    write_file(file, save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, dict(notes or {})))


def write_rows(rows: Sequence[Mapping[str, float]], file: Path) -> None:
    """A CSV table with a header."""
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, list(rows[0]))
    table.writeheader()
    table.writerows(rows)
    write_file(file, text.getvalue().encode())


def read_rows(file: Path) -> list[dict[str, float]]:
    """The table that `write_rows` wrote; empty where there is none."""
    if not file.is_file():
        return []
    with file.open(newline="", encoding="utf-8") as stream:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(stream)]


def draw_curve(rows: Sequence[Mapping[str, float]], name: str, file: Path, size: tuple[int, int] = (720, 360)) -> None:
    """The column `name` against `step` as a PNG; a logarithmic axis, with its ends and the last value written on it."""
    import numpy as np
    from PIL import Image, ImageDraw

    steps, values = (np.array([row[key] for row in rows], dtype=float) for key in ("step", name))
    keep = np.isfinite(values) & (values > 0)
    steps, values = steps[keep], np.log10(values[keep])
    picture = Image.new("RGB", size, "white")
    if len(steps) > 1:
        pen, (left, top, right, bottom) = ImageDraw.Draw(picture), (60, 12, size[0] - 12, size[1] - 28)
        low, high = values.min(), max(values.max(), values.min() + 1e-6)
        x = left + (steps - steps[0]) / (steps[-1] - steps[0]) * (right - left)
        y = bottom - (values - low) / (high - low) * (bottom - top)
        pen.rectangle((left, top, right, bottom), outline="grey")
        pen.line(list(zip(x.tolist(), y.tolist(), strict=True)), fill="blue", width=2)
        for height, value in ((top, high), (bottom - 10, low)):
            pen.text((4, height), f"{10**value:.4g}", fill="black")
        pen.text((left, bottom + 8), f"{name} by step, to {steps[-1]:.0f}: {10 ** values[-1]:.4g}", fill="black")
    content = io.BytesIO()
    picture.save(content, "PNG")
    write_file(file, content.getvalue())
