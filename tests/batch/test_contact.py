"""The contact sheet: every asset's front, failed jobs marked, of bounded size, whatever the previews hold."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dreamfusion_mesh.asset.export.png import png_bytes
from dreamfusion_mesh.batch import contact
from dreamfusion_mesh.batch.contact import MOST_TILES, Tile, contact_sheet

RED, BLUE = (200, 10, 10), (10, 10, 200)
SIDE = 192 + 4  # of a tile and the space after it


def preview(folder: Path, first: tuple[int, int, int], name: str = "preview.png", size: int = 16) -> Path:
    """A sheet whose first picture has one colour, and all others white."""
    sheet = np.full((4 * size, 4 * size, 3), 255, np.uint8)
    sheet[:size, :size] = first
    (folder / name).write_bytes(png_bytes(sheet))
    return folder / name


def drawn(tiles: list[Tile], left_out: int = 0) -> np.ndarray:
    with Image.open(io.BytesIO(contact_sheet(tiles, left_out))) as image:
        return np.asarray(image.convert("RGB"))


def middle(sheet: np.ndarray, row: int, column: int) -> tuple[int, ...]:
    return tuple(int(value) for value in sheet[4 + row * (SIDE + 16) + 130, 4 + column * SIDE + 150])


def test_tiles_lie_in_their_order_and_show_the_first_picture_alone(tmp_path: Path) -> None:
    red, blue = preview(tmp_path, RED, "red.png"), preview(tmp_path, BLUE, "blue.png")
    sheet = drawn([Tile("a", red), Tile("b", blue), Tile("c", blue), Tile("d", red)])
    assert [middle(sheet, row, column) for row in (0, 1) for column in (0, 1)] == [RED, BLUE, BLUE, RED]


def test_a_failed_job_is_marked_with_and_without_a_picture(tmp_path: Path) -> None:
    blue = preview(tmp_path, BLUE)
    plain, marked, empty = (drawn([tile])[6, 100] for tile in (Tile("a", blue), Tile("a", blue, "audit"), Tile("a", None, "crashed")))
    assert tuple(plain) == BLUE
    assert tuple(marked) == tuple(empty)
    assert marked[0] > 2 * max(marked[1], marked[2])
    assert middle(drawn([Tile("a", blue, "audit")]), 0, 0) == BLUE


def test_names_are_written_and_cut_to_their_tile(tmp_path: Path) -> None:
    blue = preview(tmp_path, BLUE)
    label = slice(4 + 192 + 1, 4 + 192 + 16)
    nameless, short, long = (drawn([Tile(name, blue), Tile("", blue)]) for name in ("", "mug", "W" * 100))
    assert (short[label, 4:196] != nameless[label, 4:196]).any()
    assert (long[label, 4:196] != short[label, 4:196]).any()
    assert (long[label, 197:] == nameless[label, 197:]).all()
    drawn([Tile("läuft 漢字 🍄", blue)])


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, *more: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(more) + chunk(b"IEND", b"")


HOSTILE = {
    "empty": b"",
    "no PNG": b"<html>",
    "a JPEG's head": b"\xff\xd8\xff\xe0",
    "a claim of a billion pixels": png(50_000, 50_000, chunk(b"IDAT", zlib.compress(bytes(1000)))),
    "larger than a preview": png(8193, 8193, chunk(b"IDAT", zlib.compress(bytes(1000)))),
    "smaller than a preview": png(1, 1, chunk(b"IDAT", zlib.compress(bytes(4)))),
    "cut": png(64, 64, chunk(b"IDAT", zlib.compress(bytes(64 * 193))[:10])),
    "text that unpacks to much": png(64, 64, chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(1 << 27)))),
    "not deflated": png(64, 64, chunk(b"IDAT", b"\0" * 100)),
    "no sides": png(0, 0),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_a_preview_that_cannot_be_read_is_a_tile_without_a_picture(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(content)
    sheet = drawn([Tile("a", tmp_path / "x.png"), Tile("b", preview(tmp_path, RED))])
    assert middle(sheet, 0, 0) == middle(drawn([Tile("a", None)]), 0, 0)
    assert middle(sheet, 0, 1) == RED


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "dangling"])
def test_what_is_no_file_is_a_tile_without_a_picture(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    {"missing": lambda: None, "folder": path.mkdir, "pipe": lambda: os.mkfifo(path), "dangling": lambda: path.symlink_to("none")}[kind]()
    assert middle(drawn([Tile("a", path)]), 0, 0) == middle(drawn([Tile("a", None)]), 0, 0)


def test_no_job_at_all_is_a_sheet_too() -> None:
    assert drawn([]).shape[2] == 3


def test_the_sheet_stays_small_and_says_what_it_leaves_out(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    write = contact._write
    monkeypatch.setattr(contact, "_write", lambda draw, at, text, *rest: (written.append(text), write(draw, at, text, *rest)))
    tiles = [Tile(f"{number}", None) for number in range(MOST_TILES)]
    sheet = drawn(tiles, left_out=999_000)
    assert f"the first {MOST_TILES} of 1000000" in written
    assert sheet.shape[0] * sheet.shape[1] < 25_000_000
    assert drawn(tiles[:10]).size < sheet.size
