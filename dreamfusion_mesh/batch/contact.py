"""contact.png: a picture of every asset of a batch with its name, failed jobs marked; of bounded size, however many there are."""

from __future__ import annotations

import io
import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dreamfusion_mesh.files import open_file

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

MOST_TILES = 1000
_SIZES = ((200, 192), (MOST_TILES, 128))  # up to so many tiles, pixels a side of each
_LABEL, _GAP, _NOTE = 16, 4, 24  # pixels: height of a name, space between tiles, height of the line about tiles that were left out
_SHEET = 4  # pictures a side of a preview, the first of which is the asset's front, textured
_LARGEST_PREVIEW = 4 * 2048  # pixels a side, at the largest asset.preview_size
_PAPER, _INK, _EMPTY, _MARK = (32, 32, 32), (230, 230, 230), (69, 69, 69), (176, 32, 32)


@dataclass(frozen=True, slots=True)
class Tile:
    """What a sheet shows of a job.

    preview  its preview.png; None where it has none
    note     what is wrong, which marks the tile; empty where nothing is
    """

    name: str
    preview: Path | None
    note: str = ""


def contact_sheet(tiles: Sequence[Tile], left_out: int = 0) -> bytes:
    """PNG of a grid of tiles, in their order, row by row; at least one tile wide and high.

    left_out  tiles beyond the first MOST_TILES, which are not given; a line at the top tells their number
    Previews that cannot be read are tiles without a picture.
    """
    from PIL import Image, ImageDraw, ImageFont

    size = next(size for most, size in _SIZES if len(tiles) <= most)
    columns = max(1, math.ceil(math.sqrt(len(tiles))))
    rows = max(1, math.ceil(len(tiles) / columns))
    top = _NOTE if left_out else 0
    sheet = Image.new("RGB", (columns * (size + _GAP) + _GAP, top + rows * (size + _LABEL + _GAP) + _GAP), _PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default()
    if left_out:
        _write(draw, (_GAP, _GAP), f"the first {len(tiles)} of {len(tiles) + left_out}", font, sheet.width - 2 * _GAP)
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        at = (_GAP + column * (size + _GAP), top + _GAP + row * (size + _LABEL + _GAP))
        _draw_tile(sheet, draw, font, tile, at, size)
    file = io.BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue()


def _draw_tile(sheet: Image, draw: ImageDraw, font: FreeTypeFont | ImageFont, tile: Tile, at: tuple[int, int], size: int) -> None:
    x, y = at
    picture = _first_picture(tile.preview, size) if tile.preview else None
    if picture is not None:
        sheet.paste(picture, at)
    else:
        draw.rectangle((x, y, x + size - 1, y + size - 1), _EMPTY)
        _write(draw, (x + _GAP, y + size // 2), "no picture", font, size - 2 * _GAP)
    if tile.note:
        draw.rectangle((x, y, x + size - 1, y + size - 1), outline=_MARK, width=3)
        draw.rectangle((x, y, x + size - 1, y + _LABEL), _MARK)
        _write(draw, (x + _GAP, y + 2), tile.note, font, size - 2 * _GAP)
    _write(draw, (x, y + size + 2), tile.name, font, size)


def _first_picture(file: Path, size: int) -> Image | None:
    """The first picture of a preview at `size` pixels a side; None where the file is no PNG of a preview's size."""
    from PIL import Image

    try:
        with (
            open_file(file) as descriptor,
            os.fdopen(descriptor, "rb", closefd=False) as opened,
            warnings.catch_warnings(action="ignore"),
            Image.open(opened, formats=("PNG",)) as image,
        ):
            if not _SHEET <= min(image.size) <= max(image.size) <= _LARGEST_PREVIEW:
                return None
            first = image.crop((0, 0, image.width // _SHEET, image.height // _SHEET)).convert("RGB")
            return first.resize((size, size), Image.Resampling.LANCZOS)
    except Exception:  # Pillow raises whatever a broken file leads it to
        return None


def _write(draw: ImageDraw, at: tuple[int, int], text: str, font: FreeTypeFont | ImageFont, width: int) -> None:
    """A line of text, cut to `width` pixels; letters that the font lacks are question marks."""
    plain = text.encode("ascii", "replace").decode()
    short = plain
    while short and draw.textlength(short if short == plain else f"{short}...", font=font) > width:
        short = short[:-1]
    draw.text(at, short if short == plain else f"{short}...", _INK, font=font)
