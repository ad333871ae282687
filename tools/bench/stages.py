"""What a run costs on this machine: `python -m tools.bench [--preset demo] [--steps N]`.

Milliseconds a step of each stage, split into guidance, render (forward) and rest (backward, optimiser, bookkeeping), as medians; peak
memory of the process; seconds of each stage of `make demo` (the preset's own number of steps, unless --steps shortens it).
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import tempfile
import time
from pathlib import Path

WARM_UP = 5  # steps left out: kernels compile, the occupancy grid is still full


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--prompt", default="a red mushroom with white parts")
    parser.add_argument("--steps", type=int, help="steps of both stages, instead of the preset's")
    arguments = parser.parse_args()
    started = time.perf_counter()
    from dreamfusion_mesh.config import load_config
    from dreamfusion_mesh.pipeline import generate

    changes = [f"{stage}.steps={arguments.steps}" for stage in ("coarse", "fine")] if arguments.steps else []
    config = load_config(arguments.preset, changes, {"prompt": arguments.prompt, "device": arguments.device})
    loaded = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as folder:
        result = generate(config, Path(folder) / "run")
        lines = [json.loads(line) for line in (result.folder / "metrics.jsonl").read_text().splitlines()]
        notes = json.loads((result.folder / "provenance.json").read_text())
    _print_machine()
    for stage in ("coarse", "fine"):
        _print_stage(stage, [line for line in lines if line["stage"] == stage])
    seconds = {"import": loaded, **notes["seconds"], "all": time.perf_counter() - started}
    print("seconds   " + "  ".join(f"{name} {value:.1f}" for name, value in seconds.items()))
    print(f"memory    peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB resident{_card_memory()}")


def _print_machine() -> None:
    import torch

    from dreamfusion_mesh.kernels.launch import threads

    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else "no CUDA device"
    print(f"machine   {names[0] if names else platform.processor()}, {threads()} cores, {card}, torch {torch.__version__}")


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


if __name__ == "__main__":
    main()
