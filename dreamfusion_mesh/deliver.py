"""From the refined surface to the asset: tidy, decimate, unwrap, bake, levels of detail, collision hulls, stand on the ground.

Returns an Asset and the bytes of its files, and writes none. What differs from the settings is logged, and among the warnings.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dreamfusion_mesh.asset.bake.material import Baked, bake_material
from dreamfusion_mesh.asset.budget import SMALLEST_MAP, within_bytes
from dreamfusion_mesh.asset.collision.hulls import collision_hulls
from dreamfusion_mesh.asset.export.animation import mp4_bytes, webp_bytes
from dreamfusion_mesh.asset.export.files import asset_files
from dreamfusion_mesh.asset.export.glb import glb_bytes
from dreamfusion_mesh.asset.export.png import png_bytes
from dreamfusion_mesh.asset.finishes import finishes_of
from dreamfusion_mesh.asset.lod.levels import make_lods
from dreamfusion_mesh.asset.placement import stand_on_ground
from dreamfusion_mesh.asset.uv.unwrap import unwrap
from dreamfusion_mesh.config import AssetSettings, RunConfig, TextureSettings
from dreamfusion_mesh.contracts import Rasterizer
from dreamfusion_mesh.geometry.meshlab import meshlab_notes
from dreamfusion_mesh.records import Asset, Lod, Mesh
from dreamfusion_mesh.render.inspection import inspection_sheet
from dreamfusion_mesh.render.previews import preview_sheet, turntable_frames
from dreamfusion_mesh.run.out import ASSET, INSPECTION, PREVIEW, TURNTABLE, VIDEO
from dreamfusion_mesh.shape.simplify import decimate
from dreamfusion_mesh.shape.tidy import tidy
from dreamfusion_mesh.stages.fine import Surface
from dreamfusion_mesh.stages.fit import Report, no_progress

LARGEST_TURNTABLE = 256  # pixels a side of its frames
STEPS = ("tidy", "unwrap", "bake", "levels", "collision")
During = Callable[[str], AbstractContextManager[object]]  # what to hold while a step of that name is under way


@dataclass(frozen=True, eq=False)
class Delivered:
    """An asset, and what its audit and provenance need of how it was made.

    reference  the refined surface before decimation, placed and scaled as the asset is
    notes      of each of STEPS, plain values for provenance.json
    seconds    of each of STEPS
    warnings   lines for the user
    """

    asset: Asset
    reference: Mesh
    notes: dict[str, Any]
    seconds: dict[str, float]
    warnings: tuple[str, ...]


@torch.no_grad()
def deliver(
    surface: Surface,
    rasterizer: Rasterizer,
    config: RunConfig,
    provenance: Mapping[str, Any],
    report: Report = no_progress,
    during: During = lambda name: nullcontext(),
) -> Delivered:
    """The asset of `surface`, on the surface's device; `rasterizer` draws there.

    provenance  what the asset's files state of where it came from
    Raises RunFailed where the surface cannot be made sound, or cannot be unwrapped or baked.
    """
    work = _Work(surface, rasterizer, config, _Steps(report, during))
    refined = work.refined()
    origin = dict(provenance)
    made = partial(work.made, refined, origin)
    fitted = within_bytes(
        made(config.mesh.triangles, config.texture.size), config.mesh.max_bytes, partial(glb_bytes, settings=config.asset), made
    )
    work.steps.end()
    told = tuple(dict.fromkeys([*work.warnings, *work.of_asset, *fitted.warnings]))
    return Delivered(fitted.asset, work.placed(refined), work.notes, work.steps.seconds, told)


def delivery_files(asset: Asset, rasterizer: Rasterizer, settings: AssetSettings) -> dict[str, bytes]:
    """The files of an asset by name, with pictures of it whose parts have `settings.preview_size` pixels a side, and a turntable.

    Raises as `asset_files` does, and as `mp4_bytes` where `settings.video`.
    """
    size, color = settings.preview_size, asset.material.maps["base_color"].pixels
    preview, inspection = preview_sheet(asset.mesh, color, rasterizer, size), inspection_sheet(asset, rasterizer, size)
    frames = turntable_frames(asset.mesh, color, rasterizer, min(size, LARGEST_TURNTABLE))
    files = {**asset_files(asset, settings), PREVIEW: png_bytes(preview), INSPECTION: png_bytes(inspection), TURNTABLE: webp_bytes(frames)}
    return {**files, VIDEO: mp4_bytes(frames)} if settings.video else files


@dataclass
class _Work:
    """The parts of a delivery, and what each has to say.

    warnings  of what is done once
    of_asset  of the asset that was made last; one made before it with more triangles is given up, and what it had to say with it
    """

    surface: Surface
    rasterizer: Rasterizer
    config: RunConfig
    steps: _Steps
    notes: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    of_asset: list[str] = field(default_factory=list)
    hulls: tuple[Mesh, ...] | None = None
    scale: float = 1.0
    offset: Tensor | None = None

    def refined(self) -> Mesh:
        """The surface as a sound solid, on its device."""
        with self.steps.step("tidy"):
            tidied = tidy(self.surface.mesh, self.config.mesh)
        self.notes["tidy"] = {**tidied.counts, "meshlab": meshlab_notes(self.config.mesh)}
        self.warnings += tidied.warnings
        return tidied.mesh.to(self.surface.mesh.vertices.device)

    def made(self, refined: Mesh, provenance: dict[str, Any], triangles: int, size: int) -> Asset:
        """The asset with at most so many triangles and maps of `size` texels, standing on the ground."""
        texture, asked, self.of_asset = _of_size(self.config.texture, size), self.config.asset, []
        with self.steps.step("unwrap"):
            mesh, self.notes["unwrap"] = self._unwrapped(refined, triangles, texture)
        with self.steps.step("bake"):
            baked = self._baked(mesh, refined, texture)
            self.notes["bake"] = {"seconds": baked.seconds}
        with self.steps.step("levels"):
            levels = make_lods(mesh, baked.material, asked.lods, partial(self._remade, refined, texture), self.config.audit.lod_pixels)
            self.notes["levels"] = [asdict(note) for note in levels.notes]
            self.of_asset += levels.warnings
        with self.steps.step("collision"):
            self.hulls = self._hulls(mesh) if self.hulls is None else self.hulls
        placed, self.scale, self.offset = stand_on_ground(mesh, asked.longest_side)
        lods = tuple(Lod(self.placed(level.mesh), level.material) for level in levels.lods)
        return Asset(Path(ASSET).stem, placed, baked.material, provenance, lods, tuple(map(self.placed, self.hulls)))

    def placed(self, mesh: Mesh) -> Mesh:
        """A mesh in the surface's space where the asset that was made last stands."""
        assert self.offset is not None
        return Mesh(mesh.vertices * self.scale + self.offset, mesh.faces, mesh.uvs, mesh.face_uvs)

    def _hulls(self, mesh: Mesh) -> tuple[Mesh, ...]:
        """Convex hulls that stand for the mesh in collisions."""
        asked = self.config.asset
        found = collision_hulls(mesh, asked.collision_hulls, asked.collision_seconds)
        self.notes["collision"] = asdict(found.notes)
        self.warnings += found.warnings
        return found.hulls

    def _remade(self, refined: Mesh, asset_texture: TextureSettings, mesh: Mesh, triangles: int) -> Lod:
        """A level of detail with an atlas of its own, at half the size of the asset's."""
        texture = _of_size(asset_texture, max(asset_texture.size // 2, SMALLEST_MAP))
        reduced, _ = self._unwrapped(mesh, triangles, texture)
        return Lod(reduced, self._baked(reduced, refined, texture).material)

    def _unwrapped(self, refined: Mesh, triangles: int, texture: TextureSettings) -> tuple[Mesh, dict[str, Any]]:
        """A mesh of at most so many triangles with UVs, and notes of how it came by them."""
        asked = self.config.mesh
        decimated = decimate(Mesh(refined.vertices, refined.faces), triangles, asked.max_deviation, asked.remesh)
        unwrapped = unwrap(decimated.mesh.to(refined.vertices.device), texture)
        told = {key: getattr(unwrapped, key) for key in ("method", "reason", "charts", "padding", "utilisation")}
        self.of_asset += [*decimated.warnings, *([f"unwrap: {unwrapped.reason}"] if unwrapped.reason else [])]
        return unwrapped.mesh, {**told, "deviation": decimated.deviation}

    def _baked(self, mesh: Mesh, refined: Mesh, texture: TextureSettings) -> Baked:
        finishes = finishes_of(self.config.prompt, texture)
        self.of_asset += finishes.warnings
        return bake_material(mesh, refined, self.rasterizer, texture, self.surface.field.albedo, finishes)


def _of_size(texture: TextureSettings, size: int) -> TextureSettings:
    """The settings of a texture of `size` texels, at most as large: for each half, gaps that survive to one mip less."""
    left: int = texture.size
    padding = texture.padding
    while left > size:
        left, padding = left // 2, min(max(padding // 2, 2), padding)
    return texture.model_copy(update={"size": left, "padding": padding})


@dataclass
class _Steps:
    """Reports the parts of the delivery as they begin and end, and times them."""

    report: Report
    during: During
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        self.report("deliver", STEPS.index(name), len(STEPS), {}, None)
        started = time.perf_counter()
        with self.during(name):
            yield
        self.seconds[name] = round(self.seconds.get(name, 0) + time.perf_counter() - started, 3)

    def end(self) -> None:
        """All are done, however often one was."""
        self.report("deliver", len(STEPS), len(STEPS), {}, None)
