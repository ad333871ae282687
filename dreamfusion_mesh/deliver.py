"""From the refined surface to the asset: tidy, decimate, unwrap, bake, stand on the ground.

Returns an Asset and the bytes of its files, and writes none. Unwrapping starts a process for xatlas, and logs a warning where that fails
or padding shrinks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch

from dreamfusion_mesh.asset.bake.material import bake_material
from dreamfusion_mesh.asset.export.files import asset_files
from dreamfusion_mesh.asset.export.png import png_bytes
from dreamfusion_mesh.asset.finishes import finishes_of
from dreamfusion_mesh.asset.placement import stand_on_ground
from dreamfusion_mesh.asset.uv.unwrap import unwrap
from dreamfusion_mesh.config import AssetSettings, MeshSettings, TextureSettings
from dreamfusion_mesh.contracts import Rasterizer
from dreamfusion_mesh.records import Asset, Mesh
from dreamfusion_mesh.render.previews import preview_sheet
from dreamfusion_mesh.shape.simplify import decimate
from dreamfusion_mesh.shape.tidy import tidy
from dreamfusion_mesh.stages.fine import Surface
from dreamfusion_mesh.stages.fit import Report, no_progress

NAME = "asset"
STEPS = ("tidy", "unwrap", "bake")
During = Callable[[str], AbstractContextManager[object]]  # what to hold while a step of that name is under way


@dataclass(frozen=True, eq=False)
class Delivered:
    """An asset, and what its audit and provenance need of how it was made.

    reference  the refined surface before decimation, placed and scaled as the asset is
    unwrap     how the UVs came about: method, reason, charts, padding, utilisation
    seconds    of each of STEPS
    warnings   lines for the user
    """

    asset: Asset
    reference: Mesh
    unwrap: dict[str, Any]
    seconds: dict[str, float]
    warnings: tuple[str, ...]


@torch.no_grad()
def deliver(
    surface: Surface,
    rasterizer: Rasterizer,
    mesh: MeshSettings,
    texture: TextureSettings,
    longest_side: float,
    provenance: dict[str, Any],
    report: Report = no_progress,
    during: During = lambda name: nullcontext(),
) -> Delivered:
    """The asset of `surface`, on the surface's device; `rasterizer` draws there.

    longest_side  of the asset, metres
    provenance    what the asset's files state of where it came from
    Raises RunFailed where the surface cannot be made sound, or cannot be unwrapped or baked.
    """
    steps, device = _Steps(report, during), surface.mesh.vertices.device
    with steps.step("tidy"):
        refined = tidy(surface.mesh, mesh)
        reduced = decimate(refined, mesh.triangles).to(device)
        refined = refined.to(device)
    with steps.step("unwrap"):
        unwrapped = unwrap(reduced, texture)
    with steps.step("bake"):
        finishes = finishes_of(str(provenance.get("prompt", "")), texture)
        material = bake_material(unwrapped.mesh, refined, rasterizer, texture, surface.field.albedo, finishes).material
    placed, scale, offset = stand_on_ground(unwrapped.mesh, longest_side)
    reference = Mesh(refined.vertices * scale + offset, refined.faces)
    notes = {key: getattr(unwrapped, key) for key in ("method", "reason", "charts", "padding", "utilisation")}
    warnings = (*([f"unwrap: {unwrapped.reason}"] if unwrapped.reason else []), *finishes.warnings)
    return Delivered(Asset(NAME, placed, material, provenance), reference, notes, steps.seconds, warnings)


def delivery_files(asset: Asset, rasterizer: Rasterizer, settings: AssetSettings) -> dict[str, bytes]:
    """The files of an asset by name, with its preview, whose pictures have `settings.preview_size` pixels a side."""
    preview = preview_sheet(asset.mesh, asset.material.maps["base_color"].pixels, rasterizer, settings.preview_size)
    return {**asset_files(asset, settings), "preview.png": png_bytes(preview)}


@dataclass
class _Steps:
    """Reports the parts of the delivery as they begin and end, and times them."""

    report: Report
    during: During
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        self.report("deliver", STEPS.index(name), len(STEPS), {})
        started = time.perf_counter()
        with self.during(name):
            yield
        self.seconds[name] = round(time.perf_counter() - started, 3)
        if name == STEPS[-1]:
            self.report("deliver", len(STEPS), len(STEPS), {})
