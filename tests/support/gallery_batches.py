"""A batch to make a gallery of: rows that are done and one that failed, boxes for assets, hostile text."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from evaluated_runs import COLOURS, done, failed, make_run, painted
from PIL import Image

from dreamfusion_mesh.asset.export.animation import webp_bytes
from dreamfusion_mesh.batch.folder import BatchFolder
from dreamfusion_mesh.batch.manifest import Manifest

HOSTILE = "</script><img src=x onerror=\"document.title='owned'\"><b>'&"
TAGS = {"red": ("warm",), "green": ("cold", HOSTILE), "blue": ("cold",)}
FAILED_ROWS = {"blue": {11: "fail"}, "green": {1: "not measured"}, "red": {}}


def preview() -> bytes:
    """Sixteen pictures of 16 pixels, the first one red."""
    sheet = Image.new("RGB", (64, 64), (70, 70, 70))
    sheet.paste((200, 40, 40), (0, 0, 16, 16))
    file = io.BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue()


def turntable() -> bytes:
    """Two frames of 16 pixels, blue and white."""
    return webp_bytes([np.full((16, 16, 3), colour, np.uint8) for colour in ((40, 40, 200), (255, 255, 255))])


def gallery_batch(path: Path) -> BatchFolder:
    """`box-COLOUR` with a level of detail and hulls, of 12, 13 and 14 triangles, and `bad`, which failed."""
    path.mkdir(parents=True, exist_ok=True)
    rows = [replace(done(f"box-{colour}", f"a {colour} box"), tags=TAGS[colour]) for colour in COLOURS]
    Manifest(path / "manifest.jsonl").append([*rows, failed("bad", f"a mug {HOSTILE}", "error", HOSTILE)])
    for at, colour in enumerate(COLOURS):
        folder = make_run(path / f"box-{colour}", f"a {colour} box", colour=colour, audit=FAILED_ROWS[colour])
        audit = json.loads((folder / "audit.json").read_text(encoding="utf-8"))
        audit["rows"][2]["measured"] = {"triangles": 12 + at}
        (folder / "audit.json").write_text(json.dumps(audit), encoding="utf-8")
        (folder / "preview.png").write_bytes(preview())
        (folder / "turntable.webp").write_bytes(turntable())
        for name in ("asset_LOD1.glb", "asset_collision.glb"):
            (folder / name).write_bytes(painted(colour))
    return BatchFolder(path)
