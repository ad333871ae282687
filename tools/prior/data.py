"""Captioned renders in shards: `python -m tools.prior.data FOLDER --images N [--first I] [--workers W] [--device cpu|cuda] [--everything]`.

A shard is the work of its number alone, so any number of workers may fill a folder, stop, and go on; training takes up shards as they come.
--everything draws held-out looks too: for the judge, which has to know what it judges; never for the prior.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dreamfusion_mesh.config import MULTIVIEW
from tools.prior.files import write_tensors
from tools.prior.parts import Draw

SCENES, VIEWS_EACH = 256, 8  # views in groups that stand evenly around the object, as a step of SDS draws them
SHARD = SCENES * VIEWS_EACH  # images
_AT_ONCE = 8  # scenes a call of the rasterizer


@dataclass(frozen=True, eq=False)
class Shard:
    """images [N, 64, 64, 3] uint8; angles [N, 2] azimuth and elevation in radians; N captions. Each 4 in a row are a group of one scene."""

    images: Tensor
    angles: Tensor
    captions: list[str]


def make_shard(number: int, device: str, everything: bool = False, scenes: int = SCENES, supersample: int = 2) -> Shard:
    """The views of `scenes` scenes, drawn from the shard's number."""
    from dreamfusion_mesh.render.raster.resolve import resolve_rasterizer
    from tools.prior.renders import photograph
    from tools.prior.world import build, draw_scene

    draw = Draw(torch.Generator().manual_seed(1_000_003 * (number + 1) + everything))
    rasterizer, images, angles, captions = resolve_rasterizer("auto", device), [], [], []
    for first in range(0, scenes, _AT_ONCE):
        built = [build(draw_scene(draw, everything), draw) for _ in range(min(_AT_ONCE, scenes - first))]
        twice = [each for each in built for _ in range(VIEWS_EACH // MULTIVIEW)]
        made = photograph(twice, MULTIVIEW, rasterizer, draw.generator, device, supersample)
        cameras = made.views.cameras
        images.append((made.rgb * 255).round().to(torch.uint8).cpu())
        angles.append(torch.stack((cameras.azimuth, cameras.elevation), 1).cpu())
        captions += made.captions
    return Shard(torch.cat(images), torch.cat(angles), captions)


def write_shard(shard: Shard, file: Path) -> None:
    """The captions as the bytes of their lines."""
    text = torch.frombuffer(bytearray("\n".join(shard.captions).encode()), dtype=torch.uint8)
    write_tensors({"images": shard.images, "angles": shard.angles, "captions": text}, file)


def read_shard(file: Path) -> Shard:
    """What `write_shard` wrote."""
    from safetensors.torch import load_file

    held = load_file(str(file))
    return Shard(held["images"], held["angles"], held["captions"].numpy().tobytes().decode().split("\n"))


def shard_file(folder: Path, number: int) -> Path:
    """Where a shard lies."""
    return folder / f"shard-{number:05d}.safetensors"


class Pictures:
    """All shards of a folder in memory, images and angles on `device`; `refresh` takes up new ones."""

    def __init__(self, folder: Path, device: torch.device | str, most: int | None = None) -> None:
        self.folder, self.device, self.most = folder, device, most
        self.images = torch.empty(0, 64, 64, 3, dtype=torch.uint8, device=device)
        self.angles = torch.empty(0, 2, device=device)
        self.captions: list[str] = []
        self._taken: set[str] = set()

    def refresh(self) -> bool:
        """Read shards that were not there before, in the order of their numbers; whether there were any."""
        fresh = [file for file in sorted(self.folder.glob("shard-*.safetensors")) if file.name not in self._taken]
        if self.most is not None:
            fresh = fresh[: max(0, self.most - len(self._taken))]
        read = [read_shard(file) for file in fresh]
        self._taken |= {file.name for file in fresh}
        if read:
            self.images = torch.cat((self.images, *(shard.images.to(self.device) for shard in read)))
            self.angles = torch.cat((self.angles, *(shard.angles.to(self.device) for shard in read)))
            self.captions += [caption for shard in read for caption in shard.captions]
        return bool(read)

    def __len__(self) -> int:
        return len(self.captions)


def _work(worker: int, workers: int, first: int, shards: int, folder: Path, device: str, everything: bool) -> None:
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[worker % len(cores)]})  # Warp takes a thread a core that it may use
    torch.set_num_threads(1)
    for number in range(first + worker, first + shards, workers):
        file = shard_file(folder, number)
        if not file.exists():
            write_shard(make_shard(number, device, everything), file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, required=True)
    parser.add_argument("--first", type=int, default=0, help="number of the first shard")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--everything", action="store_true")
    arguments = parser.parse_args()
    started, shards = time.perf_counter(), -(-arguments.images // SHARD)
    context = multiprocessing.get_context("spawn")
    common = (arguments.workers, arguments.first, shards, arguments.folder, arguments.device, arguments.everything)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the workers, which are daemons, end with their parent
    team = [context.Process(target=_work, args=(worker, *common), daemon=True) for worker in range(arguments.workers)]
    for process in team:
        process.start()
    for process in team:
        process.join()
    if any(process.exitcode for process in team):
        raise SystemExit("a worker failed; its message is above")
    seconds = time.perf_counter() - started
    print(f"{shards * SHARD} images in {arguments.folder}, {seconds:.0f} s, {shards * SHARD / seconds:.0f} a second")


if __name__ == "__main__":
    main()
