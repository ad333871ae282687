"""What a whole run costs, stage by stage."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tools.bench.machine import whole_process
from tools.bench.records import Figure

WARM_UP = 5  # steps left out: kernels compile, the occupancy grid is still full
PARTS = {"guidance": "guidance_ms", "render": "render_ms"}
MEMORY = {"resident": "most memory", "card": "most memory of tensors on the card"}

_RUN = """
import json, sys
from pathlib import Path
from dreamfusion_mesh.config import load_config
from dreamfusion_mesh.pipeline import generate
preset, changes, values, folder = json.loads(sys.argv[1])
generate(load_config(preset, changes, values), Path(folder))
"""


def measure(preset: str, device: str, prompt: str, steps: int | None) -> Iterator[Figure]:
    """A preset's run in a process of its own; `steps` replaces those of both stages."""
    changes = [f"{stage}.steps={steps}" for stage in ("coarse", "fine")] if steps else []
    with tempfile.TemporaryDirectory() as folder:
        asked = json.dumps([preset, changes, {"prompt": prompt, "device": device}, f"{folder}/run"])
        ended = whole_process(["-c", _RUN, asked])
        lines = read_lines(Path(folder) / "run")
        notes = json.loads((Path(folder) / "run" / "provenance.json").read_text())
    for stage in ("coarse", "fine"):
        found = [line for line in lines if line["stage"] == stage]
        yield from step_figures(f"{stage} step", found[WARM_UP:] or found)
    seconds = {**notes["seconds"], "the whole process": ended.seconds}
    told = f"of {steps} steps" if steps else ""
    for name, value in seconds.items():
        yield Figure(f"seconds: {name}", "s", (value,), note=told if name in ("coarse", "fine") else "")
    for kind, name in MEMORY.items():
        if kind in notes["memory"]:
            yield Figure(name, "MiB", (notes["memory"][kind] / 2**20,))


def read_lines(run: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics.jsonl, a step each."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def step_figures(name: str, lines: Sequence[dict[str, Any]]) -> list[Figure]:
    """Milliseconds of the steps: all, guidance, render and rest."""
    rest = [line["step_ms"] - line["render_ms"] - line["guidance_ms"] for line in lines]
    split = {part: [line[key] for line in lines] for part, key in PARTS.items()} | {"rest": rest}
    whole = Figure(name, "ms", tuple(line["step_ms"] for line in lines))
    return [whole, *(Figure(f"{name}: {part}", "ms", tuple(values)) for part, values in split.items())]
