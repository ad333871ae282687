"""`generate --live`: the run's reports also go to a page for browsers on this machine."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dreamfusion_mesh.cli.options import NAME
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.run.out import operand

if TYPE_CHECKING:
    from dreamfusion_mesh.stages.scene import Scene

    Report = Callable[[str, int, int, Mapping[str, float], Scene | None], None]


@contextmanager
def live_page(live: bool, port: int | None) -> Iterator[Callable[[Report], Report]]:
    """Where `live`, a page that is there until this ends; gives what makes a run's report one that the page hears, too.

    Raises BadInput where viser is missing or the port, None for a free one, cannot be taken.
    """
    if not live:
        if port is not None:
            raise BadInput("--live-port: goes with --live; add that, or leave it out")
        yield lambda report: report
        return
    from dreamfusion_mesh.view.viser_server import check_viser

    check_viser("--live")
    from dreamfusion_mesh.view.live_run import LiveRun

    page = LiveRun(port or 0)
    print(f"live: {page.address}", file=sys.stderr, flush=True)

    def heard(report: Report) -> Report:
        def both(stage: str, done: int, total: int, figures: Mapping[str, float], scene: Scene | None) -> None:
            report(stage, done, total, figures, scene)
            page.report(stage, done, total, figures, scene)

        return both

    try:
        yield heard
    finally:
        page.close()


def view_command(run: Path) -> str:
    """The command that shows the run's asset."""
    return shlex.join([NAME, "view", operand(run)])
