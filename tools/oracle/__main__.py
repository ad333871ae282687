"""How near each of twelve known objects comes out, guided by its own exact score: `python -m tools.oracle [SHAPE ...] --csv FILE`.

A line for each shape: IoU of the volumes, PSNR in dB of silhouette and colour over eight held-out views, and the mean distance between
the surfaces, each after the coarse stage and after the fine one. Shapes that FILE has under the same label are not fitted again.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from PIL import Image

from dreamfusion_mesh.config import load_config
from dreamfusion_mesh.config.messages import nearest, plain
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.files import check_folder, check_target, shown
from dreamfusion_mesh.render.previews import preview_sheet
from dreamfusion_mesh.render.raster.resolve import resolve_rasterizer
from tools.oracle.figures import Figures
from tools.oracle.fit import CPU, Outcome, fit_shape
from tools.oracle.score import check_served
from tools.oracle.shapes import BY_NAME

NAMES = [field.name for field in fields(Figures)]
COLUMNS = ["label", "shape", *(f"{stage}_{name}" for stage in ("coarse", "fine") for name in NAMES), "seconds"]


def main() -> None:
    keep_lines = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m tools.oracle", description=__doc__, formatter_class=keep_lines)
    parser.add_argument("shapes", nargs="*", metavar="SHAPE", help=f"of {', '.join(BY_NAME)}; all, without one")
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--set", dest="changes", action="append", default=[], help="a setting, as generate's")
    parser.add_argument("--label", help="of the settings, in the table; without it, the preset and its changes")
    parser.add_argument("--csv", type=Path, help="where lines are appended to")
    parser.add_argument("--pictures", type=Path, help="a folder for previews after each stage")
    arguments = parser.parse_args()
    label = arguments.label or " ".join([arguments.preset, *arguments.changes])
    try:
        config = load_config(arguments.preset, arguments.changes)
        check_served(config.guidance)
        _check(arguments)
        done = _done(arguments.csv, label)
    except BadInput as error:
        parser.exit(2, "".join(f"error: {each}\n" for each in error.lines))
    for name in arguments.shapes or BY_NAME:
        if name in done:
            continue
        outcome = fit_shape(BY_NAME[name], config)
        print(table_line(name, outcome), flush=True)
        if arguments.csv:
            _append(arguments.csv, label, name, outcome)
        if arguments.pictures:
            _show(arguments.pictures, name, outcome)


def table_line(name: str, outcome: Outcome) -> str:
    pairs = [
        f"{title} {getattr(outcome.coarse, field):{form}} -> {getattr(outcome.fine, field):{form}}{unit}"
        for title, field, form, unit in (
            ("IoU", "iou", ".3f", ""),
            ("silhouette", "silhouette", ".1f", " dB"),
            ("colour", "colour", ".1f", " dB"),
            ("Chamfer", "chamfer", ".4f", ""),
        )
    ]
    return f"{name:7s} {', '.join(pairs)}; {outcome.fine.faces} faces, {outcome.seconds:.0f} s"


def _check(arguments: argparse.Namespace) -> None:
    """Raises BadInput for a shape that there is not, and where nothing could be written."""
    for name in arguments.shapes:
        if name not in BY_NAME:
            raise BadInput(f"{plain(name)}: expected one of {', '.join(BY_NAME)}{nearest(name, list(BY_NAME))}")
    if arguments.csv:
        check_target(arguments.csv)
    if arguments.pictures:
        check_folder(arguments.pictures)


def _done(file: Path | None, label: str) -> set[str]:
    """The shapes that the table has under this label. Raises BadInput for a file that is no such table."""
    if file is None or not file.exists() or not file.stat().st_size:
        return set()
    with file.open(newline="", encoding="utf-8", errors="replace") as lines:
        table = csv.DictReader(lines)
        if table.fieldnames != COLUMNS:
            raise BadInput(f"--csv {shown(file)}: is no table of this command's, which begins with {','.join(COLUMNS)}; name another file")
        return {row["shape"] for row in table if row["label"] == label}


def _append(file: Path, label: str, name: str, outcome: Outcome) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    new = not file.exists() or not file.stat().st_size
    values: Sequence[float] = [getattr(figures, each) for figures in (outcome.coarse, outcome.fine) for each in NAMES]
    with file.open("a", newline="") as lines:
        writer = csv.writer(lines)
        if new:
            writer.writerow(COLUMNS)
        writer.writerow([label, name, *(f"{value:.7g}" for value in values), f"{outcome.seconds:.1f}"])


def _show(folder: Path, name: str, outcome: Outcome) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rasterizer = resolve_rasterizer("auto", CPU)
    sheet = preview_sheet(outcome.surface.mesh, outcome.surface.field.albedo, rasterizer, 192)
    Image.fromarray(sheet).save(folder / f"{name}.png")


if __name__ == "__main__":
    main()
