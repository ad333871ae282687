"""What the library costs on this machine: `python -m tools.bench [PART]`, without one all of them, in about fifteen minutes on two cores.

Figures go to standard output as they come, and into docs/BENCHMARKS.md when their part is done, in the place of those that the part had on
this machine before; other parts, and other machines' figures, stay. No part fails where a target is missed: a busy machine is no reason for
a red build. What this machine cannot measure says why.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.files import check_target, shown
from tools.bench import bake, batch, gallery, guidance, imports, kernels, live, ray, scaling, stages, unwrap
from tools.bench.machine import ROOT, this_machine
from tools.bench.page import write_page
from tools.bench.random_models import SIZES, VIEWS
from tools.bench.records import Figure, Machine, Measured, line
from tools.bench.store import merged, read_measured, write_measured

Options = argparse.Namespace


@dataclass(frozen=True)
class Part:
    """What a part measures, the options that it goes by, and its figures; without `device` no card takes part."""

    about: str
    options: tuple[str, ...]
    measure: Callable[[Options], Iterator[Figure]]

    @property
    def on_device(self) -> bool:
        return "device" in self.options


PARTS = {
    "imports": Part("whole processes that do next to nothing", ("rounds",), lambda o: imports.measure(o.rounds or 5)),
    "kernels": Part(
        "the renderers, forward and backward, each against its reference or its target; contenders take turns",
        ("device", "rounds"),
        lambda o: kernels.measure(o.chosen, o.rounds or (9 if o.thorough else 5)),
    ),
    "stages": Part(
        "milliseconds a step of each stage of a preset, seconds of each stage, and memory, of a run in a process of its own",
        ("device", "preset", "prompt", "steps"),
        lambda o: stages.measure(o.preset, o.chosen.type, o.prompt, o.steps or (None if o.thorough else 30)),
    ),
    "live": Part(
        "a fit by turns with `--live` and without, while a client takes all that it is sent and draws nothing",
        ("device", "preset", "prompt", "steps", "rounds"),
        lambda o: live.measure(o.preset, o.chosen, o.prompt, o.steps or 60, o.rounds or (7 if o.thorough else 3)),
    ),
    "guidance": Part(
        "a step of guidance by a model: milliseconds, counted FLOPs, the device's own rate in one large product, and the ratio",
        ("device", "model", "views", "size", "rounds"),
        lambda o: guidance.measure(o.model, o.chosen, o.views, o.size, o.rounds or (9 if o.thorough else 5)),
    ),
    "unwrap": Part(
        "surfaces as the pipeline makes them, by each back end of `texture.unwrap` and by the libraries alone: seconds, rows 4 to 6 of the "
        "audit, charts and the share of narrow ones, texel density, share of the square, seams in roots of the area; rounds are surfaces",
        ("runs", "back_ends", "seconds"),
        lambda o: unwrap.measure(o.runs, o.back_ends, o.seconds, 1 if o.thorough else 10),
    ),
    "bake": Part(
        "a material of 2048 texels for 50,000 triangles, map by map",
        ("device", "rounds"),
        lambda o: bake.measure(o.chosen, o.rounds or (3 if o.thorough else 1)),
    ),
    "batch": Part(
        "over stub rows, scheduling, resuming and memory; over the preset smoke, what overlapped deliveries save",
        ("rounds",),
        lambda o: batch.measure(o.rounds or (3 if o.thorough else 1), 12 if o.thorough else 6),
    ),
    "ray": Part(
        "stub rows on a local Ray cluster: what a second worker gains, and what a row costs",
        ("rounds",),
        lambda o: ray.measure(o.rounds or (3 if o.thorough else 1)),
    ),
    "gallery": Part(
        "the gallery of a batch of 10,000 rows: to write it, and in a browser to open and to filter it",
        ("rounds",),
        lambda o: gallery.measure(o.rounds or (9 if o.thorough else 3)),
    ),
    "resolution": Part(
        "a step of the preset demo against the size of its pictures", ("device", "prompt"), lambda o: scaling.resolution(o.chosen, o.prompt)
    ),
    "triangles": Part(
        "the delivery of a bumpy ball against its triangles, in maps of 1024 texels",
        ("device", "rounds"),
        lambda o: scaling.triangles(o.chosen, o.rounds or (3 if o.thorough else 1)),
    ),
    "cells": Part(
        "marching tetrahedra, forward and backward, against the tetrahedra; ours looks at those near the surface alone",
        ("device", "rounds"),
        lambda o: scaling.cells(o.chosen, o.rounds or (9 if o.thorough else 5)),
    ),
    "rows": Part("a batch of stub rows against their number", ("rounds",), lambda o: scaling.rows(o.rounds or (3 if o.thorough else 1))),
}


def main() -> None:
    options = _parser().parse_args()
    try:
        _check_page(options)
        code = max([_in_a_process(options, name) for name in PARTS]) if options.part == "all" else _measure_one(options)
    except BadInput as error:
        sys.stderr.write(f"error: {error}\n")
        code = 2
    if code:
        sys.exit(code)


def _check_page(options: Options) -> None:
    """Raises BadInput, before anything is measured, where the page or its store cannot be kept."""
    options.page = options.page.resolve()
    if options.page.suffix != ".md":
        raise BadInput(f"--page {shown(options.page)}: expected a name that ends in .md; the figures are kept beside it, in .json")
    for file in (options.page, _store(options)):
        check_target(file)
    read_measured(_store(options))


def _measure_one(options: Options) -> int:
    from dreamfusion_mesh.run.device import resolve_device

    part = PARTS[options.part]
    options.chosen = resolve_device(options.device)
    machine = this_machine(options.chosen.type if part.on_device else "cpu")
    sys.stdout.write(f"\n{machine.line()}\n")
    if options.resume and _is_measured(options, options.part, machine):
        sys.stdout.write(f"{options.part}: measured already\n")
    else:
        _measure(options, options.part, machine)
    return 0


def _in_a_process(options: Options, name: str) -> int:
    """Measure a part by itself, in memory that no other part has filled; its exit code, as a part that breaks does not end the others."""
    command = [sys.executable, *_words(options, name)[1:], "--page", str(options.page), *(["--resume"] if options.resume else [])]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def _measure(options: Options, name: str, machine: Machine) -> None:
    """Measure a part, and add it to the store and the page."""
    command, figures, started = _command(options, name), list[Figure](), time.perf_counter()
    sys.stdout.write(f"\n{command}\n")
    for figure in PARTS[name].measure(options):
        figures.append(figure)
        sys.stdout.write(f"{line(figure)}\n")
        sys.stdout.flush()
    sys.stdout.write(f"{name}: {time.perf_counter() - started:.0f} s in all\n")
    parts = merged(read_measured(_store(options)), Measured(name, command, machine, tuple(figures)))
    write_measured(_store(options), parts)
    write_page(options.page, {name: part.about for name, part in PARTS.items()}, parts)


def _is_measured(options: Options, name: str, machine: Machine) -> bool:
    """By the same command, on this machine, and with these versions."""
    found = ((each.part, each.command, each.machine) for each in read_measured(_store(options)))
    return (name, _command(options, name), machine) in found


def _store(options: Options) -> Path:
    return options.page.with_suffix(".json")


def _command(options: Options, name: str) -> str:
    return shlex.join(_words(options, name))


def _words(options: Options, name: str) -> list[str]:
    """The command that measures this part alone as these options do."""
    defaults, words = _parser().parse_args([]), ["python", "-m", "tools.bench", name]
    for option in PARTS[name].options:
        value = getattr(options, option)
        if value != getattr(defaults, option):
            words += [f"--{option.replace('_', '-')}", *map(str, value if isinstance(value, list) else [value])]
    return [*words, *(["--thorough"] if options.thorough else [])]


def _parser() -> argparse.ArgumentParser:
    about = "\n".join([__doc__ or "", *(f"{name:<11} {part.about}" for name, part in PARTS.items())])
    keep_lines = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=about, formatter_class=keep_lines)
    parser.add_argument("part", nargs="?", choices=["all", *PARTS], default="all")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument(
        "--page",
        type=Path,
        default=ROOT / "docs" / "BENCHMARKS.md",
        help="a .json of the same name keeps all figures; default: %(default)s",
    )
    parser.add_argument("--resume", action="store_true", help="leave out what this machine measured with the same versions and options")
    parser.add_argument("--thorough", action="store_true", help="more rounds, all surfaces, and the preset's own steps: an hour or more")
    parser.add_argument("--rounds", type=_positive, help="turns that each contender has, instead of the part's own number")
    parser.add_argument("--preset", default="demo", help="of stages and live")
    parser.add_argument("--prompt", default="a red mushroom with white parts", help="of stages, live and resolution")
    steps = "of both stages: of stages, instead of 30, or of the preset's with --thorough; of live, instead of 60"
    parser.add_argument("--steps", type=_positive, help=steps)
    parser.add_argument(
        "--model",
        default="embedded",
        help=f"of guidance: a folder, id or name as guidance.model takes it, or random weights of a size: random-{', random-'.join(SIZES)}",
    )
    parser.add_argument("--views", type=_positive, default=VIEWS, help="of guidance: images in a step")
    parser.add_argument("--size", type=int, default=0, help="of guidance: pixels a side that the model sees, instead of its own")
    parser.add_argument("--runs", type=Path, nargs="*", default=[], help="of unwrap: folders of finished runs, whose surfaces are added")
    parser.add_argument("--back-ends", nargs="*", default=[], choices=unwrap.CONTENDERS, help="of unwrap, instead of all")
    parser.add_argument("--seconds", type=float, default=120.0, help="of unwrap: limit of each")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected a whole number from 1 on")
    return number


if __name__ == "__main__":
    main()
