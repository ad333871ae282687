"""How costs grow: steps with resolution, the delivery with triangles, marching with cells, a batch with rows; plots of the page."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from dreamfusion_mesh.asset.lod.levels import make_lods
from dreamfusion_mesh.asset.uv.unwrap import unwrap
from dreamfusion_mesh.config import TextureSettings, load_config
from dreamfusion_mesh.errors import RunFailed
from dreamfusion_mesh.guidance.models.load import load_guidance
from dreamfusion_mesh.pipeline import fit
from dreamfusion_mesh.records import Mesh
from dreamfusion_mesh.shape.tets.grid import tet_lattice
from tools.bench.bake import Bakes, bumpy_ball, reduced
from tools.bench.batch import scheduled
from tools.bench.kernels import tets, timings
from tools.bench.records import Figure, at
from tools.bench.stages import read_lines, step_figures

SIZES = ((32, 64), (64, 128), (96, 256), (128, 512))  # coarse.size and fine.size of a run
TRIANGLES = (2000, 10_000, 50_000)
CELLS = (32, 48, 64, 96, 128)
ROWS = (100, 1000, 5000)
STEPS, WARM_UP = 12, 4
TEXELS, LEVELS = 1024, 2


def resolution(device: torch.device, prompt: str) -> Iterator[Figure]:
    """Steps of the preset demo with pictures of each size: all of a step, and its part that grows with them."""
    guidance = load_guidance(load_config("demo").guidance, device)
    for coarse, fine in SIZES:
        changes = [f"coarse.size={coarse}", f"fine.size={fine}", f"coarse.steps={STEPS}", f"fine.steps={STEPS}"]
        config = load_config("demo", changes, {"prompt": prompt, "device": device.type})
        with tempfile.TemporaryDirectory() as folder:
            fit(config, Path(folder) / "run", guidance=guidance)
            lines = read_lines(Path(folder) / "run")
        for stage, size in (("coarse", coarse), ("fine", fine)):
            found = [line for line in lines if line["stage"] == stage][WARM_UP:]
            step, _, render, _ = step_figures(f"{stage} step at {size} pixels", found)
            yield at(step, f"{stage}.size", size, "a step")
            yield at(render, f"{stage}.size", size, "rendering in it")


def triangles(device: torch.device, rounds: int) -> Iterator[Figure]:
    """A bumpy ball reduced to so many triangles: unwrapped, baked without occlusion, and with two levels of detail."""
    reference = bumpy_ball()
    bakes, settings = Bakes(device, reference), TextureSettings(size=TEXELS)
    for count in TRIANGLES:
        mesh = reduced(reference, count)
        laid_out = unwrap(mesh, settings).mesh
        material = bakes.bake(laid_out, TEXELS, 0).material
        works: dict[str, Callable[[], object]] = {
            "unwrap": lambda mesh=mesh: unwrap(mesh, settings),
            "bake": lambda laid_out=laid_out: bakes.bake(laid_out, TEXELS, 0),
            "two levels of detail": lambda laid_out=laid_out, material=material: make_lods(laid_out, material, LEVELS, _never_remade),
        }
        for name, work in works.items():
            seconds = tuple(_seconds(work) for _ in range(rounds))
            yield at(Figure(f"{name}, {count:,} triangles", "s", seconds), "triangles", count, name)


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _never_remade(mesh: Mesh, triangles: int) -> None:
    raise RunFailed("a level on an atlas of its own is not what is measured")


def cells(device: torch.device, rounds: int) -> Iterator[Figure]:
    """Marching tetrahedra forward and backward over lattices of more and more cells a side."""
    for side in CELLS:
        ends = torch.ones(3)
        count = len(tet_lattice(-ends, ends, side).grid().tets)
        for name, seconds in timings(tets(device, side).contenders, rounds, device).items():
            figure = Figure(f"{name}, {side} a side, {count:,} tetrahedra", "ms", tuple(1e3 * value for value in seconds))
            yield at(figure, "tetrahedra", count, name)


def rows(rounds: int) -> Iterator[Figure]:
    """Batches of stub rows: scheduling all of them, and finding them done."""
    for count in ROWS:
        found = []
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as folder:
                found.append(scheduled(Path(folder), count))
        yield at(Figure(f"scheduling {count:,} rows", "s", tuple(each.all for each in found)), "rows", count, "scheduling")
        yield at(Figure(f"resuming with {count:,} finished rows", "s", tuple(each.resumed for each in found)), "rows", count, "resuming")
