"""A fit in a run's folder: the model, then both stages; what is finished is read, what was stopped goes on from its last checkpoint."""

from __future__ import annotations

import torch

from dreamfusion_mesh.contracts import GuidanceModel, PromptedModel
from dreamfusion_mesh.guidance.models.load import check_served, load_guidance
from dreamfusion_mesh.run.peak_memory import peak_memory
from dreamfusion_mesh.run.work import Work
from dreamfusion_mesh.stages.checkpoint import State
from dreamfusion_mesh.stages.coarse import Coarse, fit_field, load_coarse
from dreamfusion_mesh.stages.fine import fit_surface
from dreamfusion_mesh.stages.start import resumed_surface, start_from_field


def load_model(work: Work) -> GuidanceModel:
    """The model that guides. Raises BadInput, before it loads one that cannot serve what is left to do, and as `load_guidance` does."""
    settings = work.config.guidance
    check_served(settings, "sphere" if work.run.has_state("coarse") else work.config.coarse.start)
    return load_guidance(settings, work.device)


def coarse_stage(work: Work, model: PromptedModel, draws: torch.Generator) -> Coarse:
    """The field, finished and left in the coarse checkpoint. Raises as `fit_field` and `RunFolder.restore` do."""
    run, config = work.run, work.config
    if run.has_state("coarse"):
        return run.restore("coarse", lambda state: load_coarse(state, config.coarse, draws, work.device))
    hooks, seconds = run.hooks("coarse", work.report, work.stop)
    coarse, state = fit_field(model, config.coarse, config.views, config.guidance, draws, work.device, hooks)
    run.finish_stage("coarse", state, {"seconds": seconds(), "memory": peak_memory()})
    return coarse


def fine_stage(work: Work, coarse: Coarse, model: PromptedModel, draws: torch.Generator) -> tuple[State, dict[str, float]]:
    """The refined surface's state, and the seconds that it took. Raises as `start_from_field` and `fit_surface` do."""
    config, (hooks, seconds) = work.config, work.run.hooks("fine", work.report, work.stop)
    with work.stage("conversion"):
        if (start := resumed_surface(hooks, work.device)) is None:
            judged = torch.Generator().manual_seed(config.seed)
            start = start_from_field(coarse, config.coarse.samples, config.fine, config.views, config.mesh.smallest_part, judged)
    _, state = fit_surface(start, coarse.field, model, work.rasterizer, config.fine, config.views, config.guidance, draws, hooks)
    return state, seconds()
