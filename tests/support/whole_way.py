"""From a surface to a published asset, without guidance: what `export` does, with a field drawn from a seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from dreamfusion_mesh.config import FieldSettings, RunConfig
from dreamfusion_mesh.deliver import Delivered, deliver, delivery_files
from dreamfusion_mesh.records import Mesh
from dreamfusion_mesh.render.raster.resolve import resolve_rasterizer
from dreamfusion_mesh.run.folder import RunFolder
from dreamfusion_mesh.run.provenance import provenance
from dreamfusion_mesh.run.publish import publish
from dreamfusion_mesh.run.result import Result
from dreamfusion_mesh.shape.field import HashField
from dreamfusion_mesh.stages.fine import Surface

GUIDANCE = {"model": "none: a field drawn from a seed", "licence": "Apache-2.0"}


@dataclass(frozen=True, eq=False)
class Published:
    """A delivery and what became of it in a run's folder."""

    delivered: Delivered
    result: Result

    @property
    def missed(self) -> Mapping[int, str]:
        """What the rows that did not pass say, by number."""
        return {row.number: row.detail for row in self.result.audit.rows if row.status != "pass"}

    def glbs(self) -> list[Path]:
        return sorted(path for name, path in self.result.files.items() if name.endswith(".glb"))


@lru_cache(maxsize=1)
def drawn_field() -> HashField:
    made = HashField(FieldSettings(levels=4, table_size_log2=10, coarsest=4, finest=24, hidden=16), torch.Generator().manual_seed(0))
    with torch.no_grad():
        made.table.mul_(2e3)  # its first values are near zero, one grey everywhere
    return made


def published(mesh: Mesh, config: RunConfig, folder: Path) -> Published:
    """Deliver a surface in scene units, write its files to `folder`, and audit them."""
    rasterizer = resolve_rasterizer("warp", "cpu")
    origin = {"prompt": config.prompt, "seed": config.seed, "model": GUIDANCE}
    made = deliver(Surface(mesh, drawn_field()), rasterizer, config, origin)
    known = provenance(config, rasterizer, torch.device("cpu"))
    notes = {**known, "guidance": GUIDANCE, **made.notes, "seconds": made.seconds, "memory": {}}
    files = delivery_files(made.asset, rasterizer, config.asset)
    return Published(made, publish(RunFolder(folder), config, files, "asset.glb", made.reference, notes, made.warnings))
