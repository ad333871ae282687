"""Contact sheets of the world: `python -m tools.prior.sheet OUT.png [--kinds a,b] [--views 4] [--seeds 2] [--clay] [--zoom 2]`.

A row a kind; within it, each seed seen from around (front, right, back, above by turns), in colour or as grey clay.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch
from torch import Tensor

from dreamfusion_mesh.config import ViewSettings
from dreamfusion_mesh.records import Shading
from dreamfusion_mesh.render.cameras import orbit
from dreamfusion_mesh.render.raster.resolve import resolve_rasterizer
from dreamfusion_mesh.render.views import plain_views
from tools.prior.captions import Scene, Thing
from tools.prior.kinds import KINDS
from tools.prior.parts import Draw
from tools.prior.renders import SIZE, join_views, render
from tools.prior.world import Built, build, draw_scene

_AROUND = ((25.0, 15.0), (115.0, 15.0), (205.0, 20.0), (-40.0, 60.0))  # azimuth, elevation in degrees


def strip(scenes: list[Built], around: int, clay: bool, size: int = SIZE) -> Tensor:
    """[scenes * around, size, size, 3]: each scene seen from the first `around` fixed views."""
    settings, angles = ViewSettings(), torch.tensor(_AROUND[:around]).deg2rad()
    side = size * 3
    cameras = orbit(angles[:, 0], angles[:, 1], torch.full((around,), 2.6), torch.full((around,), math.radians(40)), side, side)
    shading = Shading.TEXTURELESS if clay else Shading.LAMBERTIAN
    one = plain_views(cameras, shading, (0.72, 0.76, 0.8) if not clay else (1.0, 1.0, 1.0), settings.ambient, settings.diffuse)
    which = torch.arange(len(scenes)).repeat_interleave(around)
    return render(scenes, which, join_views([one] * len(scenes)), resolve_rasterizer("auto", "cpu"), 3)[0]


def write_png(images: Tensor, columns: int, file: Path, zoom: int = 1) -> None:
    """Images [B, H, W, 3] in [0, 1] as one picture, row by row, the last row filled with white."""
    from PIL import Image

    count, height, width, _ = images.shape
    rows = math.ceil(count / columns)
    sheet = torch.ones(rows * columns, height, width, 3)
    sheet[:count] = images.cpu().float().clamp(0, 1)
    tiled = sheet.reshape(rows, columns, height, width, 3).permute(0, 2, 1, 3, 4).reshape(rows * height, columns * width, 3)
    picture = Image.fromarray((tiled * 255).round().to(torch.uint8).numpy())
    file.parent.mkdir(parents=True, exist_ok=True)
    picture.resize((picture.width * zoom, picture.height * zoom), Image.Resampling.NEAREST).save(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--kinds", help="by name, with commas; all by default; 'random' draws scenes as training does")
    parser.add_argument("--views", type=int, default=4, choices=range(1, 5))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--columns", type=int, help="pictures a row; by default a kind's")
    parser.add_argument("--clay", action="store_true")
    parser.add_argument("--zoom", type=int, default=1)
    parser.add_argument("--size", type=int, default=SIZE)
    arguments = parser.parse_args()
    names = arguments.kinds.split(",") if arguments.kinds else list(KINDS)
    scenes = []
    for name in names:
        for seed in range(arguments.seeds):
            draw = Draw(torch.Generator().manual_seed(seed))
            scenes.append(build(draw_scene(draw) if name == "random" else Scene(Thing(name)), draw))
    images = torch.cat([strip(scenes[i : i + 8], arguments.views, arguments.clay, arguments.size) for i in range(0, len(scenes), 8)])
    write_png(images, arguments.columns or arguments.seeds * arguments.views, arguments.out, arguments.zoom)
    print(f"{arguments.out}: {len(images)} pictures; " + "; ".join(built.phrase for built in scenes))


if __name__ == "__main__":
    main()
