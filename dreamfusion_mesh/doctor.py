"""What this machine has: devices, back ends, models; found, or missing and why."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.geometry import meshlab
from dreamfusion_mesh.run.device import cuda_missing
from dreamfusion_mesh.run.provenance import PACKAGES, version_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from dreamfusion_mesh.guidance.weights.folder import Source
    from dreamfusion_mesh.guidance.weights.model_files import ModelFiles


_OPTIONAL_PARTS = (  # package, how Python imports it, extra, what for
    (meshlab.PACKAGE, meshlab.PACKAGE, "meshlab", f"for mesh.repair and mesh.remesh; {meshlab.TERMS}"),
    ("peft", "peft", "vsd", "for guidance.loss=vsd"),
    ("usd-core", "pxr", "usd", "for asset.usdz"),
    ("imageio-ffmpeg", "imageio_ffmpeg", "video", "for asset.video; its ffmpeg is GPL-3, a program of its own"),
    ("viser", "viser", "view", "for `view` and `generate --live`"),
    ("ray", "ray", "ray", "for batch --ray"),
    ("DracoPy", "DracoPy", "draco", "for the audit of meshes that Draco compressed"),
)


@dataclass(frozen=True)
class Finding:
    """One part that a run may use. The default path needs those that are `needed`; the others are optional."""

    group: str
    name: str
    found: bool
    needed: bool
    detail: str


def examine() -> list[Finding]:
    """Check everything the pipeline may use; raises nothing for what is missing."""
    return [*_devices(), *_parts(), *_back_ends(), *_models(), *_validators()]


def _devices() -> list[Finding]:
    import psutil
    import torch

    from dreamfusion_mesh.kernels.launch import threads

    memory = psutil.virtual_memory()
    cpu = f"{threads()} cores, {memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB free, {platform.machine()}"
    findings = [Finding("device", "cpu", True, True, cpu)]
    if not torch.cuda.is_available():
        return [*findings, Finding("device", "cuda", False, False, f"{cuda_missing()}; runs use the CPU")]
    for index in range(torch.cuda.device_count()):
        card, cause = torch.cuda.get_device_properties(index), cuda_missing(index)
        detail = f"{card.name}, {card.total_memory / 2**30:.0f} GiB"
        findings.append(Finding("device", f"cuda:{index}", cause is None, False, f"{detail}; {cause}" if cause else detail))
    return findings


def _parts() -> list[Finding]:
    needed = [
        Finding("part", part, True, True, version_of(part))
        if find_spec(module) is not None
        else Finding("part", part, False, True, f"not installed; pip install {part}")
        for part, module in PACKAGES.items()
    ]
    return [*needed, *(_optional_part(*part) for part in _OPTIONAL_PARTS)]


def _optional_part(part: str, module: str, extra: str, use: str) -> Finding:
    found = find_spec(module) is not None
    detail = version_of(part) if found else f'not installed; pip install "dreamfusion-mesh[{extra}]"'
    return Finding("part", part, found, False, f"{detail}; {use}")


def _back_ends() -> list[Finding]:
    import torch
    import warp as wp

    from dreamfusion_mesh.kernels import launch  # starts Warp without output

    devices = ", ".join(str(device) for device in wp.get_devices())
    warp = Finding("rasterizer", "warp", launch.threads() > 0, True, f"Warp {wp.config.version} on {devices}; Apache-2.0; the default")
    in_warp = None if torch.cuda.is_available() else launch.warp_missing(torch.device("cuda"))  # else it is part of the first cause
    causes = "; ".join(cause for cause in (cuda_missing(), in_warp) if cause)
    detail = f"needs a CUDA device that both torch and Warp have: {causes}" if causes else "torch and Warp both have it"
    return [warp, _cache(), Finding("rasterizer", "warp on cuda", not causes, False, detail), *_optional_rasterizers()]


def _cache() -> Finding:
    from dreamfusion_mesh.kernels.cache import VARIABLE
    from dreamfusion_mesh.kernels.launch import KERNEL_CACHE

    folder, problem = KERNEL_CACHE.folder, KERNEL_CACHE.problem
    detail = f"{folder}, temporary: {problem}; name a folder that can be written in {VARIABLE}"
    return Finding("kernels", "cache of Warp", True, False, detail if problem else str(folder))


def _optional_rasterizers() -> list[Finding]:
    """What is installed and has a device; whether nvdiffrast compiles is found out when a run first uses it."""
    import torch

    from dreamfusion_mesh.render.raster import kaolin as raster_kaolin
    from dreamfusion_mesh.render.raster import nvdiffrast as raster_nvdiffrast

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    findings = []
    for kind, missing in (
        (raster_nvdiffrast.NvdiffrastRasterizer, raster_nvdiffrast.missing),
        (raster_kaolin.KaolinRasterizer, raster_kaolin.missing),
    ):
        causes = missing(device)
        found = f"{kind.licence}; " + (kind.terms or "commercial use allowed")
        findings.append(Finding("rasterizer", kind.name, not causes, False, "; ".join(map(str, causes)) or found))
    return findings


def _models() -> list[Finding]:
    """The models that come with the package: what the default path needs, and what two of its commands and settings take."""
    from dreamfusion_mesh.evaluate.judges import judge_source
    from dreamfusion_mesh.guidance.models.load import clip_files, clip_source, diffusion_files, diffusion_source
    from dreamfusion_mesh.guidance.weights.folder import EMBEDDED

    return [
        _model("embedded", True, "64x64 pixel model", diffusion_files, diffusion_source(EMBEDDED)),
        _model("embedded CLIP", False, "of guidance.loss=clip", clip_files, clip_source(EMBEDDED)),
        _model("embedded judge", False, "of evaluate", clip_files, judge_source(EMBEDDED)),
    ]


def _model(name: str, needed: bool, what: str, files_of: Callable[[Source], ModelFiles], source: Source) -> Finding:
    try:
        files = files_of(source)
        notes = files.provenance()
        size = sum((files.folder / file).stat().st_size for file in notes["files"])
    except (BadInput, OSError) as error:
        return Finding("model", name, False, needed, f"{error}; install the package again")
    hashes = ", ".join(digest[:12] for digest in notes["files"].values())
    return Finding("model", name, True, needed, f"{what}, {size / 2**20:.1f} MiB, sha256 {hashes}; {notes['licence']}")


def _validators() -> list[Finding]:
    from dreamfusion_mesh.audit.khronos import find_validator

    found = find_validator()
    missing = "node or the npm package gltf-validator not found; row 1 of the audit is not measured"
    detail = "run by row 1 of the audit" if found else missing
    return [Finding("audit", "Khronos glTF validator", found is not None, False, detail)]
