"""What baking a material costs, map by map: a noisy surface, coloured by a hash-grid field, into square textures."""

from __future__ import annotations

import time
from collections.abc import Iterator

import torch
import trimesh

from dreamfusion_mesh.asset.bake.material import Baked, bake_material
from dreamfusion_mesh.asset.finishes import finishes_of
from dreamfusion_mesh.asset.uv.unwrap import unwrap
from dreamfusion_mesh.config import TextureSettings, load_config
from dreamfusion_mesh.records import Mesh
from dreamfusion_mesh.render.raster.resolve import resolve_rasterizer
from dreamfusion_mesh.shape.field import HashField
from dreamfusion_mesh.shape.simplify import decimate
from tools.bench.kernels import wait
from tools.bench.records import Figure

TRIANGLES, SIZE = 50_000, 2048
TARGETS = {"without occlusion": (0, 10.0), "with 64 rays": (64, 30.0)}  # rays; seconds on two cores
PROMPT = "a wooden ball with golden parts"


def measure(device: torch.device, rounds: int) -> Iterator[Figure]:
    """Seconds of each part, and what the process itself computed, which a busy machine does not stretch."""
    reference = bumpy_ball()
    bakes = Bakes(device, reference)
    mesh = laid_out(reduced(reference, TRIANGLES), SIZE)
    for name, (rays, target) in TARGETS.items():
        taken, computed, parts = list[float](), list[float](), dict[str, list[float]]()
        for _ in range(rounds):
            started, used = time.perf_counter(), time.process_time()
            baked = bakes.bake(mesh, SIZE, rays)
            taken.append(time.perf_counter() - started)
            computed.append(time.process_time() - used)
            for part, seconds in baked.seconds.items():
                parts.setdefault(part, []).append(seconds)
        yield Figure(f"{name}", "s", tuple(taken), target=target)
        yield Figure(f"{name}: of the processor", "s", tuple(computed))
        for part, values in parts.items():
            yield Figure(f"{name}: {part}", "s", tuple(values))


class Bakes:
    """What all bakes share: the surface that is baked from, its field and the rasterizer; the kernels are compiled."""

    def __init__(self, device: torch.device, reference: Mesh) -> None:
        self.device, self.reference = device, reference.to(device)
        self.rasterizer = resolve_rasterizer("warp", device)
        self.field = HashField(load_config("default").coarse.field, torch.Generator().manual_seed(0)).to(device)
        with torch.no_grad():
            self.field.table.mul_(3e3)  # its first values are near zero, one grey everywhere
        self.bake(laid_out(reduced(reference, 1000), 64), 64, 4)

    def bake(self, mesh: Mesh, size: int, rays: int) -> Baked:
        """The material of a mesh with UVs, in maps of `size` texels."""
        settings = TextureSettings(size=size, padding=max(1, size // 256), occlusion_rays=rays)
        wait(self.device)
        mesh, finishes = mesh.to(self.device), finishes_of(PROMPT, settings)
        return bake_material(mesh, self.reference, self.rasterizer, settings, self.field.albedo, finishes)


def bumpy_ball() -> Mesh:
    """A ball of 327,680 triangles with bumps."""
    ball = trimesh.creation.icosphere(subdivisions=7)
    points, faces = torch.tensor(ball.vertices), torch.tensor(ball.faces)
    bumps = (9 * points).sin().prod(dim=1, keepdim=True)
    return Mesh((points * (0.7 + 0.05 * bumps)).float(), faces)


def reduced(reference: Mesh, triangles: int) -> Mesh:
    return decimate(reference, triangles, 1.0).mesh


def laid_out(mesh: Mesh, size: int) -> Mesh:
    """With UVs by box projection, which is quick."""
    return unwrap(mesh, TextureSettings(size=size, padding=max(1, size // 256), unwrap="box", unwrap_seconds=0)).mesh
