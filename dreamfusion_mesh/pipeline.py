"""The whole way, in the order the data flows: prompt, field, surface, mesh, UVs, textures, files, audit."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from dreamfusion_mesh import __version__
from dreamfusion_mesh.asset.export.files import asset_files
from dreamfusion_mesh.asset.export.png import png_bytes
from dreamfusion_mesh.audit.khronos import find_validator
from dreamfusion_mesh.audit.report import Audit, audit
from dreamfusion_mesh.config import RunConfig, change, dump, load_config
from dreamfusion_mesh.contracts import GuidanceModel, Rasterizer, ScoreModel
from dreamfusion_mesh.deliver import NAME, deliver
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.models.load import load_guidance
from dreamfusion_mesh.guidance.prompts import check_prompt
from dreamfusion_mesh.guidance.weights.licences import check_commercial_use
from dreamfusion_mesh.records import Mesh
from dreamfusion_mesh.render.previews import preview_sheet
from dreamfusion_mesh.render.raster.resolve import resolve_rasterizer
from dreamfusion_mesh.run.folder import METRICS, SETTINGS, RunFolder, open_run
from dreamfusion_mesh.stages.coarse import Coarse, fit_field, load_coarse
from dreamfusion_mesh.stages.fine import Surface, fit_surface, load_surface
from dreamfusion_mesh.stages.fit import Hooks, Report, no_progress
from dreamfusion_mesh.stages.start import resumed_surface, start_from_field

PARTS = ("torch", "numpy", "scipy", "warp-lang", "diffusers", "transformers", "xatlas", "fast-simplification", "manifold3d")


@dataclass(frozen=True)
class Result:
    """A finished run: its folder, the files in it, what the audit measured, and what the user should be told."""

    folder: Path
    files: dict[str, Path]
    audit: Audit
    warnings: tuple[str, ...]


def generate(config: RunConfig, out: Path, *, guidance: GuidanceModel | None = None, report: Report = no_progress) -> Result:
    """Text to a textured, audited asset in `out`. Goes on where a run with the same settings in the same folder was stopped.

    guidance  one loaded model for many prompts; None loads `config.guidance.model`
    Raises BadInput before anything is written, or where the folder cannot take the files; RunFailed where the work did not succeed.
    """
    config = config.model_copy(update={"prompt": check_prompt(config.prompt)})
    device = resolve_device(config.device)
    rasterizer = resolve_rasterizer(config.raster.backend, device, config.commercial)
    find_validator()  # a wrong DREAMFUSION_MESH_GLTF_VALIDATOR is told now, not when the work is done
    shared: GuidanceModel = load_guidance(config.guidance, device) if guidance is None else guidance
    terms = check_commercial_use(shared.provenance(), config.guidance.licence_checked) if config.commercial else ()
    model = shared.for_prompt(config.prompt, config.guidance)
    run = open_run(out, config)
    draws = torch.Generator().manual_seed(config.seed)  # on the CPU: the same views on every device
    started = time.perf_counter()
    coarse = _coarse(run, model, config, draws, device, report)
    fitted = time.perf_counter()
    surface = _fine(run, coarse, model, rasterizer, config, draws, report)
    seconds = {"coarse": fitted - started, "fine": time.perf_counter() - fitted}
    warnings = (*model.warnings, *terms)
    return _deliver(run, surface, rasterizer, config, {"guidance": shared.provenance(), "seconds": seconds}, warnings, report)


def export(folder: Path, config: RunConfig | None = None, *, report: Report = no_progress) -> Result:
    """Redo unwrap, bake and files from a run's last checkpoint alone; `config` replaces its settings for that.

    Raises BadInput where the folder holds no finished run, or where `config.commercial` and a licence bars that.
    """
    run = RunFolder(folder)
    config = config or run.config()
    device = resolve_device(config.device)
    state = run.load_state("fine")
    if state is None:
        raise BadInput(f"{folder}: its fine stage is not finished; run `dreamfusion-mesh generate` with --out {folder} to go on")
    known = _read_provenance(run)
    kept = {"guidance": known.get("guidance", {"model": config.guidance.model}), "seconds": known.get("seconds", {})}
    rasterizer = resolve_rasterizer(config.raster.backend, device, config.commercial)
    terms = check_commercial_use(kept["guidance"], config.guidance.licence_checked) if config.commercial else ()
    run.write(SETTINGS, dump(config).encode())
    return _deliver(run, load_surface(state, config.coarse.field, device), rasterizer, config, kept, terms, report)


def audit_file(file: Path, preset: str | None = None, changes: Sequence[str] = ()) -> Audit:
    """Audit any file. One that lies in a run's folder is held against that run's settings and surface, unless `preset` is named."""
    run = RunFolder(file.parent)
    own = preset is None and (run.path / SETTINGS).is_file()
    config = change(run.config(), changes, None, ("mesh", "asset", "audit")) if own else load_config(preset or "default", changes)
    state = run.load_state("reference") if own else None
    reference = Mesh(state["vertices"], state["faces"]) if state else None
    return audit(file, config.audit, config.mesh.triangles, config.asset.longest_side, reference)


def resolve_device(name: str) -> torch.device:
    """'auto' is the GPU where there is one. Raises BadInput where a named device is missing."""
    if name == "cuda" and not torch.cuda.is_available():
        raise BadInput("--device cuda: no CUDA device is to be seen; use --device cpu, or install a CUDA build of torch and its driver")
    return torch.device("cuda" if name == "cuda" or (name == "auto" and torch.cuda.is_available()) else "cpu")


def _hooks(run: RunFolder, stage: str, report: Report) -> Hooks:
    resume = run.load_state(f"{stage}.part")
    run.trim_metrics(stage, int(resume["fit.counts"][0]) if resume else 0)

    def note(stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        run.add_metrics({"stage": stage, "step": done, **{key: round(value, 6) for key, value in figures.items()}})
        report(stage, done, total, figures)

    return Hooks(note, lambda state: run.save_state(f"{stage}.part", state), resume)


def _coarse(run: RunFolder, model: ScoreModel, config: RunConfig, draws: torch.Generator, device: torch.device, report: Report) -> Coarse:
    state = run.load_state("coarse")
    if state is not None:
        draws.set_state(state["fit.draws"])
        return load_coarse(state, config.coarse, device)
    hooks = _hooks(run, "coarse", report)
    coarse, state = fit_field(model, config.coarse, config.views, config.guidance, draws, device, hooks)
    run.save_state("coarse", state)
    run.drop_state("coarse.part")
    return coarse


def _fine(
    run: RunFolder, coarse: Coarse, model: ScoreModel, rasterizer: Rasterizer, config: RunConfig, draws: torch.Generator, report: Report
) -> Surface:
    state, device = run.load_state("fine"), coarse.occupancy.values.device
    if state is not None:
        return load_surface(state, config.coarse.field, device)
    hooks = _hooks(run, "fine", report)
    if hooks.resume is None:
        seen = torch.Generator().manual_seed(config.seed)
        start = start_from_field(coarse, config.coarse.samples, config.fine, config.views, config.mesh.smallest_part, seen)
    else:
        start = resumed_surface(hooks.resume, device)
    surface, state = fit_surface(start, coarse.field, model, rasterizer, config.fine, config.views, config.guidance, draws, hooks)
    run.save_state("fine", state)
    run.drop_state("fine.part")
    return surface


def _deliver(
    run: RunFolder,
    surface: Surface,
    rasterizer: Rasterizer,
    config: RunConfig,
    known: Mapping[str, Any],
    warnings: tuple[str, ...],
    report: Report,
) -> Result:
    """Surface to files: tidy, decimate, unwrap, bake, place, write, audit."""
    origin = {"prompt": config.prompt, "seed": config.seed, "model": known["guidance"]}
    delivered = deliver(surface, rasterizer, config.mesh, config.texture, config.asset.longest_side, origin, report)
    started, asset = time.perf_counter(), delivered.asset
    reference = delivered.reference
    run.save_state("reference", {"vertices": reference.vertices.contiguous(), "faces": reference.faces})
    preview = preview_sheet(asset.mesh, asset.material.maps["base_color"].pixels, rasterizer, config.asset.preview_size)
    files = {**asset_files(asset), "preview.png": png_bytes(preview)}
    written = {name: run.write(name, content) for name, content in files.items()}
    seconds = {"write": round(time.perf_counter() - started, 3)}
    found = audit(written[f"{NAME}.glb"], config.audit, config.mesh.triangles, config.asset.longest_side, reference)
    written["audit.json"] = run.write("audit.json", _json(found.to_json()))
    seconds["audit"] = round(time.perf_counter() - started - seconds["write"], 3)
    notes = _provenance(config, rasterizer, known, files)
    notes["unwrap"] = delivered.unwrap
    notes["seconds"] = {**known["seconds"], **delivered.seconds, **seconds}
    written["provenance.json"] = run.write("provenance.json", _json(notes))
    written |= {name: run.path / name for name in (SETTINGS, METRICS) if (run.path / name).is_file()}
    return Result(run.path, written, found, (*warnings, *delivered.warnings))


def _provenance(config: RunConfig, rasterizer: Rasterizer, known: Mapping[str, Any], files: Mapping[str, bytes]) -> dict[str, Any]:
    return {
        "prompt": config.prompt,
        "seed": config.seed,
        "settings": config.model_dump(mode="json"),
        "generator": f"dreamfusion_mesh {__version__}",
        "versions": {"python": platform.python_version(), **{part: metadata.version(part) for part in PARTS}},
        "guidance": known["guidance"],
        "rasterizer": {"name": rasterizer.name, "licence": rasterizer.licence, "terms": rasterizer.terms},
        "files": {name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)} for name, content in files.items()},
    }


def _read_provenance(run: RunFolder) -> dict[str, Any]:
    file = run.path / "provenance.json"
    try:
        return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except (OSError, ValueError) as error:
        raise BadInput(f"{file}: cannot be read ({error}); delete it") from None


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
