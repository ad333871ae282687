"""What baking a material costs, map by map: a noisy surface of 50,000 triangles, coloured by a hash-grid field, into textures of 2048."""

from __future__ import annotations

import time

import torch
import trimesh

from dreamfusion_mesh.asset.bake.material import bake_material
from dreamfusion_mesh.asset.finishes import finishes_of
from dreamfusion_mesh.asset.uv.unwrap import unwrap
from dreamfusion_mesh.config import TextureSettings, load_config
from dreamfusion_mesh.records import Mesh
from dreamfusion_mesh.render.raster.resolve import resolve_rasterizer
from dreamfusion_mesh.run.device import resolve_device
from dreamfusion_mesh.shape.field import HashField
from dreamfusion_mesh.shape.simplify import decimate
from tools.bench.kernels import wait

TRIANGLES, SIZE = 50_000, 2048
TARGETS = {"without occlusion": 10.0, "with 64 rays": 30.0}  # seconds on two cores
PROMPT = "a wooden ball with golden parts"


def run(device: str) -> None:
    """Measure and print the seconds of each part, and what the process itself computed, which a busy machine does not stretch."""
    chosen = resolve_device(device)
    mesh, reference = _surfaces(chosen)
    field = HashField(load_config("default").coarse.field, torch.Generator().manual_seed(0)).to(chosen)
    with torch.no_grad():
        field.table.mul_(3e3)  # its first values are near zero, one grey everywhere
    rasterizer = resolve_rasterizer("warp", chosen)
    print(f"bake      {len(reference.faces)} to {len(mesh.faces)} triangles, {SIZE} x {SIZE} texels, on {chosen}")
    small = TextureSettings(size=64, padding=1, occlusion_rays=4)
    bake_material(mesh, reference, rasterizer, small, field.albedo, finishes_of(PROMPT, small))  # compiles the kernels
    for name, rays in zip(TARGETS, (0, 64), strict=True):
        settings = TextureSettings(size=SIZE, padding=8, occlusion_rays=rays)
        wait(chosen)
        started, computed = time.perf_counter(), time.process_time()
        seconds = bake_material(mesh, reference, rasterizer, settings, field.albedo, finishes_of(PROMPT, settings)).seconds
        taken, computed = time.perf_counter() - started, time.process_time() - computed
        split = ", ".join(f"{part} {value:.2f}" for part, value in seconds.items())
        word = "reached" if taken <= TARGETS[name] else "MISSED"
        print(f"{name:<20} {taken:.1f} s ({computed:.1f} s of processor time); at most {TARGETS[name]:g} s wanted: {word}; {split}")


def _surfaces(device: torch.device) -> tuple[Mesh, Mesh]:
    """The mesh that is baked to, laid out by box projection, which is quick, and the one that is baked from."""
    ball = trimesh.creation.icosphere(subdivisions=7)
    points, faces = torch.tensor(ball.vertices), torch.tensor(ball.faces)
    bumps = (9 * points).sin().prod(dim=1, keepdim=True)
    reference = Mesh((points * (0.7 + 0.05 * bumps)).float(), faces)
    mesh = unwrap(decimate(reference, TRIANGLES, 1.0).mesh, TextureSettings(size=SIZE, padding=8, unwrap="box", unwrap_seconds=0)).mesh
    return mesh.to(device), reference.to(device)
