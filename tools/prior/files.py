"""Files written whole or not at all, and the little that training writes: tensors, curves."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor


def write_tensors(tensors: Mapping[str, Tensor], file: Path, notes: Mapping[str, str] | None = None) -> None:
    """A safetensors file, written beside its place and moved there."""
    from safetensors.torch import save_file

    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, str(beside), dict(notes or {}))
    beside.replace(file)


def write_rows(rows: Sequence[Mapping[str, float]], file: Path) -> None:
    """A CSV table with a header, written beside its place and moved there."""
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    with beside.open("w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    beside.replace(file)


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
    beside = file.with_name(f".{os.getpid()}.{file.name}")
    picture.save(beside)
    beside.replace(file)
