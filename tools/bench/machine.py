"""Which machine the figures are of."""

from __future__ import annotations

import platform
from pathlib import Path


def print_machine() -> None:
    """One line: processor, cores, card, versions."""
    import torch
    import warp

    from dreamfusion_mesh.kernels.launch import threads

    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else "no CUDA device"
    processor = names[0] if names else platform.processor()
    print(f"machine   {processor}, {threads()} cores, {card}, torch {torch.__version__}, warp {warp.config.version}")
