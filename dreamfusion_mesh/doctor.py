"""What this machine has: devices, back ends, models; found, or missing and why."""

from __future__ import annotations

import hashlib
import platform
from dataclasses import dataclass
from importlib import metadata, resources

from dreamfusion_mesh.pipeline import PARTS


@dataclass(frozen=True)
class Finding:
    """One thing looked for. `needed` ones make the default path; the others widen it."""

    group: str
    name: str
    found: bool
    needed: bool
    detail: str


def examine() -> list[Finding]:
    """Look at everything the pipeline may use; raises nothing for what is missing."""
    return [*_devices(), *_parts(), *_back_ends(), *_models(), *_validators()]


def _devices() -> list[Finding]:
    import psutil
    import torch

    from dreamfusion_mesh.kernels.launch import threads

    memory = psutil.virtual_memory()
    cpu = f"{threads()} cores, {memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB free, {platform.machine()}"
    findings = [Finding("device", "cpu", True, True, cpu)]
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            card = torch.cuda.get_device_properties(index)
            findings.append(Finding("device", f"cuda:{index}", True, False, f"{card.name}, {card.total_memory / 2**30:.0f} GiB"))
        return findings
    reason = "torch is a CPU build" if torch.version.cuda is None else "torch sees no driver or no card"
    return [*findings, Finding("device", "cuda", False, False, f"{reason}; runs use the CPU")]


def _parts() -> list[Finding]:
    findings = []
    for part in PARTS:
        try:
            findings.append(Finding("part", part, True, True, metadata.version(part)))
        except metadata.PackageNotFoundError:
            findings.append(Finding("part", part, False, True, f"not installed; pip install {part}"))
    return findings


def _back_ends() -> list[Finding]:
    import torch
    import warp as wp

    from dreamfusion_mesh.kernels import launch  # starts Warp in silence

    devices = ", ".join(str(device) for device in wp.get_devices())
    warp = Finding("rasterizer", "warp", launch.threads() > 0, True, f"Warp {wp.config.version} on {devices}; Apache-2.0; the default")
    tried = torch.cuda.is_available() and any(device.is_cuda for device in wp.get_devices())
    card = "Warp and torch both see it" if tried else "needs a CUDA device that both Warp and torch see"
    return [warp, Finding("rasterizer", "warp on cuda", tried, False, card), *_optional_rasterizers()]


def _optional_rasterizers() -> list[Finding]:
    """What is installed and has a device; whether nvdiffrast compiles is told when it is first asked for."""
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
    weights = resources.files("dreamfusion_mesh.guidance") / "prior" / "unet" / "diffusion_pytorch_model.safetensors"
    if not weights.is_file():
        return [Finding("model", "embedded", False, True, "its weights are missing from the package; install it again")]
    content = weights.read_bytes()
    detail = f"64x64 pixel model, {len(content) / 2**20:.1f} MiB, sha256 {hashlib.sha256(content).hexdigest()[:12]}; Apache-2.0"
    return [Finding("model", "embedded", True, True, detail)]


def _validators() -> list[Finding]:
    from dreamfusion_mesh.audit.khronos import find_validator

    found = find_validator()
    missing = "node or the npm package gltf-validator not found; row 1 of the audit uses its own checks"
    detail = "run by row 1 of the audit" if found else missing
    return [Finding("audit", "Khronos glTF validator", found is not None, False, detail)]
