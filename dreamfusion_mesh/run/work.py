"""What a run works with: its folder, settings, device and rasterizer, resolved before the work begins; and the stage it is in."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dreamfusion_mesh.asset.export.animation import check_video
from dreamfusion_mesh.asset.export.usd import check_usd
from dreamfusion_mesh.audit.khronos import find_validator
from dreamfusion_mesh.config import RunConfig
from dreamfusion_mesh.contracts import Rasterizer
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.files import shown
from dreamfusion_mesh.geometry.meshlab import check_meshlab
from dreamfusion_mesh.out_of_memory import named_shortage
from dreamfusion_mesh.render.raster.resolve import resolve_rasterizer
from dreamfusion_mesh.run.device import resolve_device
from dreamfusion_mesh.run.find import find_run
from dreamfusion_mesh.run.folder import RunFolder
from dreamfusion_mesh.run.lock import Ended, Lock, locked
from dreamfusion_mesh.run.memory import STAGES, advice, warn_where_memory_is_short
from dreamfusion_mesh.run.out import generate_command
from dreamfusion_mesh.run.provenance import provenance
from dreamfusion_mesh.stages.fit import Halted, Report, Stop, never

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Work:
    """One run and what its parts share.

    origin  the provenance that is known before they begin
    stop    asked before each stage
    """

    run: RunFolder
    lock: Lock
    config: RunConfig
    device: torch.device
    rasterizer: Rasterizer
    origin: dict[str, Any]
    report: Report
    stop: Stop = never

    @contextmanager
    def stage(self, name: str) -> Iterator[Callable[[], float]]:
        """While one of STAGES is under way: should the process be killed, the next one can name it. Gives the stage's stopwatch, seconds.

        Raises RunFailed in the place of an error of any library that says that memory ran out, Halted where `stop` says so beforehand.
        """
        if self.stop():
            raise Halted(f"{name}: stopped as asked, before it began")
        started, outer = time.perf_counter(), self.lock.stage
        self.lock.note_stage(name)
        with named_shortage(name, lambda: advice(name, self.config, self.device)):
            yield lambda: round(time.perf_counter() - started, 3)
        self.lock.note_stage(outer)

    def check_fitted(self) -> None:
        """Raises BadInput where the fine stage is not finished."""
        if not self.run.has_state("fine"):
            go_on = generate_command(self.run.path)
            raise BadInput(f"{shown(self.run.path)}: its fine stage is not finished; `{go_on}` goes on")


@contextmanager
def opened(path: Path, config: RunConfig, patience: float = 0.0) -> Iterator[tuple[RunFolder, Lock]]:
    """A folder that can take a run of `config`, held for this process and rid of what a killed one has left.

    Raises as `locked`, which waits for `patience` seconds, `find_run` and `RunFolder.remove_leftovers` do.
    """
    with locked(path, patience) as lock:
        run = find_run(path, config)
        run.remove_leftovers()
        yield run, lock


def prepare(run: RunFolder, lock: Lock, config: RunConfig, report: Report, stop: Stop = never) -> Work:
    """Resolve the device and the rasterizer of `config`; warn of a process that was killed here before, and where memory may not do.

    Raises BadInput where one of them, a package that the settings ask for, or the glTF validator that the environment names, is missing
    or may not be used.
    """
    if lock.before is not None:
        _LOG.warning("%s: %s", shown(run.path), _how_it_ended(lock.before, config))
    device = resolve_device(config.device)
    rasterizer = resolve_rasterizer(config.raster.backend, device, config.commercial)
    check_usd(config.asset)
    check_video(config.asset)
    check_meshlab(config.mesh)
    find_validator()  # a wrong DREAMFUSION_MESH_GLTF_VALIDATOR is named now, not when the work is done
    done = [stage for stage, states in (("coarse", ("coarse", "fine")), ("fine", ("fine",))) if any(map(run.has_state, states))]
    warn_where_memory_is_short(config, device, done)
    return Work(run, lock, config, device, rasterizer, provenance(config, rasterizer, device), report, stop)


def _how_it_ended(before: Ended, config: RunConfig) -> str:
    who = f"the last process here ({before.process}) was ended by the system or by a kill"
    if before.stage not in STAGES:
        return f"{who} before its first stage"
    return f"{who} in the stage {before.stage}, perhaps for want of memory; should that happen again, {advice(before.stage, config)}"
