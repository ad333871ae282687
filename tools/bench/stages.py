"""What a whole run costs, stage by stage."""

from __future__ import annotations

import json
import resource
import statistics
import tempfile
import time
from pathlib import Path

WARM_UP = 5  # steps left out: kernels compile, the occupancy grid is still full


def run(preset: str, device: str, prompt: str, steps: int | None) -> None:
    """Run a preset in a folder of its own and print its figures; `steps` replaces those of both stages."""
    started = time.perf_counter()
    from dreamfusion_mesh.config import load_config
    from dreamfusion_mesh.pipeline import generate

    changes = [f"{stage}.steps={steps}" for stage in ("coarse", "fine")] if steps else []
    config = load_config(preset, changes, {"prompt": prompt, "device": device})
    loaded = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as folder:
        result = generate(config, Path(folder) / "run")
        lines = [json.loads(line) for line in (result.folder / "metrics.jsonl").read_text().splitlines()]
        notes = json.loads((result.folder / "provenance.json").read_text())
    for stage in ("coarse", "fine"):
        _print_stage(stage, [line for line in lines if line["stage"] == stage])
    seconds = {"import": loaded, **notes["seconds"], "all": time.perf_counter() - started}
    print("seconds   " + "  ".join(f"{name} {value:.1f}" for name, value in seconds.items()))
    print(f"memory    peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB resident{_card_memory()}")


def _print_stage(stage: str, lines: list[dict[str, float]]) -> None:
    counted = lines[WARM_UP:] or lines
    if not counted:
        return
    total, render, guidance = (statistics.median(line[key] for line in counted) for key in ("step_ms", "render_ms", "guidance_ms"))
    rest = statistics.median(line["step_ms"] - line["render_ms"] - line["guidance_ms"] for line in counted)
    split = f"guidance {guidance:.0f}, render {render:.0f}, rest {rest:.0f}"
    print(f"{stage:<9} {total:.0f} ms a step: {split} (medians of {len(counted)} steps)")


def _card_memory() -> str:
    import torch

    return f", {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB on the card" if torch.cuda.is_available() else ""
