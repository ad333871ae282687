"""What the library costs on this machine: `python -m tools.bench [kernels | stages | batch | unwrap | bake] [--device cpu | cuda]`.

kernels  each renderer alone against its target: medians of contenders that take turns in one run, and their ratios
stages   milliseconds a step of each stage of a preset, split into guidance, render and rest; seconds of each stage; peak memory
batch    over stub rows, scheduling, resuming and memory of thousands of rows; over the preset smoke, what overlapped deliveries save
unwrap   30 surfaces by each back end of `texture.unwrap`, and by the libraries alone: time, the audit's rows 4 to 6, seams
bake     a material of 2048 texels for 50,000 triangles, part by part, against its targets
None fails where a target is missed: a busy machine is no reason for a red build. Rows that this machine cannot measure say why.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tools.bench import bake, batch, kernels, stages, unwrap
from tools.bench.machine import print_machine

PARTS = ("kernels", "stages", "batch", "unwrap", "bake")


def main() -> None:
    keep_lines = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__, formatter_class=keep_lines)
    parser.add_argument("part", nargs="?", choices=["all", *PARTS], default="all")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--rounds", type=int, help="turns that each contender has: 9 of kernels, 3 of batch")
    parser.add_argument("--preset", default="demo", help="of stages")
    parser.add_argument("--prompt", default="a red mushroom with white parts", help="of stages")
    parser.add_argument("--steps", type=int, help="of stages: steps of both, instead of the preset's")
    parser.add_argument("--runs", type=Path, nargs="*", default=[], help="of unwrap: folders of finished runs, whose surfaces are added")
    parser.add_argument("--back-ends", nargs="*", default=[], choices=unwrap.CONTENDERS, help="of unwrap, instead of all")
    parser.add_argument("--seconds", type=float, default=120.0, help="of unwrap: limit of each")
    parser.add_argument("--few", action="store_true", help="of unwrap: one surface in five")
    arguments = parser.parse_args()
    print_machine()
    chosen = PARTS if arguments.part == "all" else (arguments.part,)
    if "kernels" in chosen:
        kernels.run(arguments.device, arguments.rounds or 9)
    if "stages" in chosen:
        stages.run(arguments.preset, arguments.device, arguments.prompt, arguments.steps)
    if "batch" in chosen:
        batch.run(arguments.rounds or 3)
    if "unwrap" in chosen:
        unwrap.run(arguments.runs, arguments.back_ends, arguments.seconds, arguments.few)
    if "bake" in chosen:
        bake.run(arguments.device)


if __name__ == "__main__":
    main()
