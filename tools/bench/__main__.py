"""What the library costs on this machine: `python -m tools.bench [kernels | stages] [--device cpu | cuda]`.

kernels  each renderer alone against its target: medians of contenders that take turns in one run, and their ratios
stages   milliseconds a step of each stage of a preset, split into guidance, render and rest; seconds of each stage; peak memory
Neither fails where a target is missed: a busy machine is no reason for a red build. Rows that this machine cannot measure say why.
"""

from __future__ import annotations

import argparse

from tools.bench import kernels, stages
from tools.bench.machine import print_machine


def main() -> None:
    keep_lines = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__, formatter_class=keep_lines)
    parser.add_argument("part", nargs="?", choices=["all", "kernels", "stages"], default="all")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--rounds", type=int, default=9, help="of kernels: turns that each contender has")
    parser.add_argument("--preset", default="demo", help="of stages")
    parser.add_argument("--prompt", default="a red mushroom with white parts", help="of stages")
    parser.add_argument("--steps", type=int, help="of stages: steps of both, instead of the preset's")
    arguments = parser.parse_args()
    print_machine()
    if arguments.part != "stages":
        kernels.run(arguments.device, arguments.rounds)
    if arguments.part != "kernels":
        stages.run(arguments.preset, arguments.device, arguments.prompt, arguments.steps)


if __name__ == "__main__":
    main()
