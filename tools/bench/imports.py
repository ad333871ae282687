"""What whole processes cost that do next to nothing: each starts Python anew."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from tools.bench.machine import Ended, whole_process
from tools.bench.records import Figure

_MODEL = """
import torch
from dreamfusion_mesh.config import load_config
from dreamfusion_mesh.guidance.models.load import load_guidance
load_guidance(load_config("smoke").guidance, torch.device("cpu"))
"""
PROCESSES = {  # the arguments of Python, and at most how many seconds it should take
    "nothing": (["-c", "pass"], None),
    "import dreamfusion_mesh": (["-c", "import dreamfusion_mesh"], 0.2),
    "dreamfusion-mesh --help": (["-m", "dreamfusion_mesh", "--help"], 1.0),
    "import torch": (["-c", "import torch"], None),
    "import dreamfusion_mesh.pipeline": (["-c", "import dreamfusion_mesh.pipeline"], None),
    "the embedded model loaded": (["-c", _MODEL], None),
}


def measure(rounds: int) -> Iterator[Figure]:
    """Seconds and memory of each; one more round before the others fills the system's cache of files."""
    ended = {name: list[Ended]() for name in PROCESSES}
    for _ in range(rounds + 1):
        for name, (arguments, _target) in PROCESSES.items():
            ended[name].append(whole_process(arguments))
    for name, (_, target) in PROCESSES.items():
        counted = ended[name][1:]
        memory = statistics.median(each.memory for each in counted) / 2**20
        yield Figure(name, "s", tuple(each.seconds for each in counted), target=target, note=f"{memory:.0f} MiB")
