"""A known object through both stages of a preset, guided by its own exact score."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from dreamfusion_mesh.config import RunConfig
from dreamfusion_mesh.render.raster.resolve import resolve_rasterizer
from dreamfusion_mesh.stages.coarse import fit_field
from dreamfusion_mesh.stages.fine import Surface, fit_surface
from dreamfusion_mesh.stages.start import start_from_field
from tools.oracle.figures import Figures, measure
from tools.oracle.score import OracleScore
from tools.oracle.shapes import Shape

CPU = torch.device("cpu")


@dataclass(frozen=True, eq=False)
class Outcome:
    """The surface that the fine stage starts from, the one it ends with, how near each is, and the seconds of both stages."""

    start: Surface
    surface: Surface
    coarse: Figures
    fine: Figures
    seconds: float


def fit_shape(shape: Shape, config: RunConfig) -> Outcome:
    """As `pipeline.generate` fits a prompt, with the views, losses and rates of `config` and no model but the oracle."""
    began = time.perf_counter()
    draws, looks = (torch.Generator().manual_seed(config.seed) for _ in range(2))
    model, rasterizer = OracleScore(shape), resolve_rasterizer(config.raster.backend, CPU)
    coarse, _ = fit_field(model, config.coarse, config.views, config.guidance, draws, CPU)
    tets = start_from_field(coarse, config.coarse.samples, config.fine, config.views, config.mesh.smallest_part, looks)
    start = Surface(tets.mesh().detach(), coarse.field)
    before = measure(start, shape, rasterizer)  # now: the fine stage changes the field in place
    surface, _ = fit_surface(tets, coarse.field, model, rasterizer, config.fine, config.views, config.guidance, draws)
    seconds = time.perf_counter() - began
    return Outcome(start, surface, before, measure(surface, shape, rasterizer), seconds)
