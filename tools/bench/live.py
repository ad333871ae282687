"""What `generate --live` costs a fit: the same one by turns with and without it, while a client that draws nothing takes all it is sent."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch

from dreamfusion_mesh.config import RunConfig, load_config
from dreamfusion_mesh.contracts import GuidanceModel
from dreamfusion_mesh.guidance.models.load import load_guidance
from dreamfusion_mesh.pipeline import fit
from dreamfusion_mesh.stages.fit import Report, no_progress
from dreamfusion_mesh.view.live_run import SHARE, LiveRun
from tools.bench.machine import ROOT
from tools.bench.records import Figure, missing

SLOWER = 1.05  # target
_CLIENT = ROOT / "tests" / "support" / "viser_clients.py"


def measure(preset: str, device: torch.device, prompt: str, steps: int, rounds: int, share: float = SHARE) -> Iterator[Figure]:
    """A preset's fit with so many steps in each stage; `share` of its time may go into what is shown."""
    try:
        import viser  # noqa: F401
    except ImportError as error:
        yield missing("a fit that is shown: times slower", error)
        return
    changes = [f"{stage}.steps={steps}" for stage in ("coarse", "fine")]
    config = load_config(preset, changes, {"prompt": prompt, "device": device.type})
    guidance = load_guidance(config.guidance, device)
    _fitted(config.model_copy(update={"coarse": config.coarse.model_copy(update={"steps": 2})}), guidance)  # kernels compile
    turns = [(_fitted(config, guidance), *_shown(config, guidance, share)) for _ in range(rounds)]
    name = f"a fit of {preset}, {steps} steps a stage"
    yield Figure(name, "s", tuple(plain.seconds for plain, _, _ in turns))
    sent = max(count for _, _, count in turns) / 2**20
    yield Figure(f"{name}, shown", "s", tuple(shown.seconds for _, shown, _ in turns), note=f"a client was sent up to {sent:.1f} MiB")
    slower = tuple(shown.seconds / plain.seconds for plain, shown, _ in turns)
    yield Figure("a fit that is shown: times slower", "x", slower, target=SLOWER)
    busier = tuple(shown.busy / plain.busy for plain, shown, _ in turns)
    yield Figure(
        "a fit that is shown: times the processor time", "x", busier, note="of all threads, which other processes do not change much"
    )


class _Cost(NamedTuple):
    """Seconds of a fit, and those that a processor worked on it."""

    seconds: float
    busy: float


def _fitted(config: RunConfig, guidance: GuidanceModel, report: Report = no_progress) -> _Cost:
    with tempfile.TemporaryDirectory() as folder:
        started, used = time.perf_counter(), time.process_time()
        fit(config, Path(folder), guidance=guidance, report=report)
        return _Cost(time.perf_counter() - started, time.process_time() - used)


def _shown(config: RunConfig, guidance: GuidanceModel, share: float) -> tuple[_Cost, int]:
    """Its cost, and the bytes that a client was sent. Raises RuntimeError where the client fails."""
    live = LiveRun(0, share)
    command = [sys.executable, str(_CLIENT), live.address.rpartition(":")[2]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
        try:
            while not live.watched:
                if client.poll() is not None:
                    raise RuntimeError(f"{' '.join(command)} ended with {client.returncode}")
                time.sleep(0.05)
            cost = _fitted(config, guidance, live.report)
        finally:
            live.close()
        return cost, int(client.communicate(timeout=60)[0])
