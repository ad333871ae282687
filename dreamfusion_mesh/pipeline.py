"""The whole way, in the order the data flows: prompt, field, surface, mesh, UVs, textures, files, audit."""

from __future__ import annotations

from pathlib import Path

import torch

from dreamfusion_mesh.config import DELIVERY_GROUPS, RunConfig
from dreamfusion_mesh.contracts import GuidanceModel
from dreamfusion_mesh.deliver import deliver, delivery_files
from dreamfusion_mesh.guidance.models.load import check_device, check_views
from dreamfusion_mesh.guidance.prompts import check_prompt
from dreamfusion_mesh.guidance.weights.licences import check_commercial_use
from dreamfusion_mesh.run.find import check_changes
from dreamfusion_mesh.run.fitting import coarse_stage, fine_stage, load_model
from dreamfusion_mesh.run.folder import RunFolder
from dreamfusion_mesh.run.lock import locked
from dreamfusion_mesh.run.out import ASSET
from dreamfusion_mesh.run.peak_memory import largest, peak_memory
from dreamfusion_mesh.run.provenance import fit_notes
from dreamfusion_mesh.run.publish import publish
from dreamfusion_mesh.run.result import Result, read_result
from dreamfusion_mesh.run.work import Work, opened, prepare
from dreamfusion_mesh.stages.fine import load_surface
from dreamfusion_mesh.stages.fit import Report, Stop, never, no_progress


def generate(
    config: RunConfig, out: Path, *, guidance: GuidanceModel | None = None, report: Report = no_progress, patience: float = 0.0
) -> Result:
    """Text to a textured, audited asset in `out`. Goes on where a run with the same settings in the same folder was stopped.

    guidance  one loaded model for many prompts; None loads `config.guidance.model`, which a fitted run does not need
    patience  seconds to wait for another process that holds the folder
    Raises BadInput before anything is written, or where the folder is in use or cannot take the files; RunFailed where the work failed.
    """
    config = config.model_copy(update={"prompt": check_prompt(config.prompt)})
    with opened(out, config, patience) as (run, lock):
        if (finished := read_result(run)) is not None:
            return finished
        work = prepare(run, lock, config, report)
        if not run.has_state("fine"):
            _fit(work, guidance)
        return _deliver(work)


def fit(
    config: RunConfig,
    out: Path,
    *,
    guidance: GuidanceModel | None = None,
    report: Report = no_progress,
    stop: Stop = never,
    patience: float = 0.0,
) -> None:
    """The first half of `generate`, up to the fine checkpoint, from which it delivers; does nothing where that is there.

    stop  asked before each stage and after each step
    Raises as `generate` does, and Halted where `stop` says so: the same call goes on from there.
    """
    config = config.model_copy(update={"prompt": check_prompt(config.prompt)})
    with opened(out, config, patience) as (run, lock):
        if read_result(run) is None and not run.has_state("fine"):
            _fit(prepare(run, lock, config, report, stop), guidance)


def export(folder: Path, config: RunConfig | None = None, *, report: Report = no_progress) -> Result:
    """Redo unwrap, bake and files from a run's last checkpoint alone; `config` replaces its settings for that.

    Raises BadInput, and leaves the run as it is, where the folder is in use or holds no finished surface, where `config` changes more than
    the delivery, or where `config.commercial` and a licence bars that; RunFailed where the work failed.
    """
    run = RunFolder(folder)
    run.config()  # a folder without a run is named before the lock makes a file there
    with locked(folder) as lock:
        found = run.config()
        check_changes(found, config or found, DELIVERY_GROUPS)
        run.remove_leftovers()
        return _deliver(prepare(run, lock, config or found, report))


def _fit(work: Work, guidance: GuidanceModel | None) -> None:
    """Prompt to surface, left in the fine checkpoint with what provenance.json will record of the guidance."""
    run, config = work.run, work.config
    with work.stage("model"):
        guidance = guidance or load_model(work)
        if config.commercial:
            check_commercial_use(guidance.provenance(), config.licence_checked)
        model = guidance.for_prompt(config.prompt, config.guidance)
        check_views(guidance, config.views)
        check_device(model, work.device)
    run.keep_config(config)
    draws = torch.Generator().manual_seed(config.seed)  # on the CPU: the same views on every device
    with work.stage("coarse"):
        coarse = coarse_stage(work, model, draws)
    with work.stage("fine"):
        state, seconds = fine_stage(work, coarse, model, draws)
        before = run.load_notes("coarse")
        spent = {"seconds": {**before.get("seconds", {}), **seconds}, "memory": largest(before.get("memory", {}), peak_memory())}
        run.finish_stage("fine", state, {"guidance": guidance.provenance(), "warnings": [*model.warnings], **spent})


def _deliver(work: Work) -> Result:
    """The fine checkpoint to files: tidy, decimate, unwrap, bake, place, write, audit."""
    run, config, rasterizer = work.run, work.config, work.rasterizer
    work.check_fitted()
    fit = fit_notes(run, config)
    terms = check_commercial_use(fit["guidance"], config.licence_checked) if config.commercial else ()
    origin = {"prompt": config.prompt, "seed": config.seed, "model": fit["guidance"]}
    with work.stage("tidy"):
        surface = run.restore("fine", lambda state: load_surface(state, config.coarse.field, work.device))
    delivered = deliver(surface, rasterizer, config, origin, work.report, work.stage)
    with work.stage("write") as write_seconds:
        files = delivery_files(delivered.asset, rasterizer, config.asset)
    seconds = {**fit["seconds"], **delivered.seconds, "write": write_seconds()}
    notes = {**work.origin, "guidance": fit["guidance"], **delivered.notes, "seconds": seconds, "memory": fit["memory"]}
    with work.stage("audit"):
        return publish(run, config, files, ASSET, delivered.reference, notes, (*fit["warnings"], *terms, *delivered.warnings))
