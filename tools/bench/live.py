"""What `generate --live` costs a fit: the same one by turns with and without it, while a client that draws nothing takes all it is sent."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from dreamfusion_mesh.config import RunConfig, load_config
from dreamfusion_mesh.contracts import GuidanceModel
from dreamfusion_mesh.guidance.models.load import load_guidance
from dreamfusion_mesh.pipeline import fit
from tools.bench.machine import ROOT
from tools.bench.records import Figure, missing

SLOWER = 1.05  # target
_CLIENT = ROOT / "tests" / "support" / "viser_clients.py"


def measure(preset: str, device: torch.device, prompt: str, steps: int, rounds: int) -> Iterator[Figure]:
    """A preset's fit with so many steps in each stage."""
    try:
        import viser  # noqa: F401
    except ImportError as error:
        yield missing("a fit that is shown: times slower", error)
        return
    changes = [f"{stage}.steps={steps}" for stage in ("coarse", "fine")]
    config = load_config(preset, changes, {"prompt": prompt, "device": device.type})
    guidance = load_guidance(config.guidance, device)
    _plain(config.model_copy(update={"coarse": config.coarse.model_copy(update={"steps": 2})}), guidance)  # kernels compile
    turns = [(_plain(config, guidance), *_shown(config, guidance)) for _ in range(rounds)]
    name = f"a fit of {preset}, {steps} steps a stage"
    yield Figure(name, "s", tuple(plain for plain, _, _ in turns))
    sent = max(count for _, _, count in turns) / 2**20
    yield Figure(f"{name}, shown", "s", tuple(shown for _, shown, _ in turns), note=f"a client was sent up to {sent:.1f} MiB")
    yield Figure("a fit that is shown: times slower", "x", tuple(shown / plain for plain, shown, _ in turns), target=SLOWER)


def _plain(config: RunConfig, guidance: GuidanceModel) -> float:
    """Seconds."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        fit(config, Path(folder), guidance=guidance)
        return time.perf_counter() - started


def _shown(config: RunConfig, guidance: GuidanceModel) -> tuple[float, int]:
    """Seconds, and the bytes that a client was sent. Raises RuntimeError where the client fails."""
    from dreamfusion_mesh.view.live_run import LiveRun

    live = LiveRun(0)
    command = [sys.executable, str(_CLIENT), live.address.rpartition(":")[2]]
    with tempfile.TemporaryDirectory() as folder, subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
        try:
            while not live.watched:
                if client.poll() is not None:
                    raise RuntimeError(f"{' '.join(command)} ended with {client.returncode}")
                time.sleep(0.05)
            started = time.perf_counter()
            fit(config, Path(folder), guidance=guidance, report=live.report)
            seconds = time.perf_counter() - started
        finally:
            live.close()
        return seconds, int(client.communicate(timeout=60)[0])
