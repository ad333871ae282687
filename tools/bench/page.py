"""The page of all figures, docs/BENCHMARKS.md, and its plots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from dreamfusion_mesh.files.write import write_file
from tools.bench.plot import Point, plot
from tools.bench.records import Figure, Measured, shown, wanted

HEAD = """# What it costs

Medians over rounds, each with its quartiles (of fewer than four rounds, with the smallest and the largest). `make bench` measures all
parts on this machine and writes this page; `python -m tools.bench PART` measures one, and leaves the others as they are. A target is what
this project asks of itself on two cores; one that is missed says so.
"""


def write_page(page: Path, parts: Mapping[str, str], measured: Sequence[Measured]) -> None:
    """Write the page, and its plots into the folder `benchmarks` beside it.

    parts  what each part measures, in the page's order
    """
    page.parent.mkdir(parents=True, exist_ok=True)
    folder = page.parent / "benchmarks"
    lines = [HEAD, *_missed(measured)]
    for part, about in parts.items():
        found = [each for each in measured if each.part == part]
        lines += [f"## {part}", "", f"{about[:1].upper()}{about[1:]}.", ""]
        if not found:
            lines += [f"Not measured yet: `python -m tools.bench {part}`.", ""]
        for each in found:
            lines += [f"On {each.machine.line()}: `{each.command}`", "", *_table(each.figures), ""]
        for axis, picture in _plots(found):
            folder.mkdir(exist_ok=True)
            write_file(folder / f"{_file_name(axis)}.svg", picture.encode())
            lines += [f"![{axis}](benchmarks/{_file_name(axis)}.svg)", ""]
    write_file(page, ("\n".join(lines).rstrip() + "\n").encode())


def _missed(measured: Sequence[Measured]) -> list[str]:
    """Which targets are missed, of how many."""
    held = [(part, figure) for part in measured for figure in part.figures if figure.reached is not None]
    missed = [
        f"- {part.part}, {figure.name}: {shown(figure.median)} {figure.unit}, {wanted(figure)}"
        for part, figure in held
        if not figure.reached
    ]
    verb = "is" if len(missed) == 1 else "are"
    return [f"Of {len(held)} targets, {len(missed)} {verb} missed{':' if missed else '.'}", "", *missed, *([""] if missed else [])]


def _table(figures: Sequence[Figure]) -> Iterator[str]:
    yield "| | median | spread | rounds | target | |"
    yield "|---|---|---|---|---|---|"
    for figure in figures:
        if figure.reason:
            yield f"| {figure.name} | not measured | | | | {_cell(figure.reason)} |"
            continue
        low, high = figure.spread
        many = len(figure.values)
        spread = f"{shown(low)} to {shown(high)}" if many > 1 else ""
        yield f"| {figure.name} | {shown(figure.median)} {figure.unit} | {spread} | {many} | {wanted(figure)} | {_cell(figure.note)} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _plots(found: Sequence[Measured]) -> Iterator[tuple[str, str]]:
    """Each axis of these parts with its plot; the curves of several machines lie in one, and their names tell them apart."""
    curves: dict[tuple[str, str], dict[str, Sequence[Point]]] = {}
    for each in found:
        for figure in each.figures:
            if figure.plot and figure.values:
                axis, place, name = figure.plot
                label = f"{name}, {each.machine.card or each.machine.processor}" if len(found) > 1 else name
                drawn = curves.setdefault((axis, figure.unit), {})
                drawn[label] = [*drawn.get(label, ()), Point(place, figure.median, *figure.spread)]
    for (axis, unit), lines in curves.items():
        yield axis, plot(f"{unit} over {axis}", axis, unit, lines)


def _file_name(axis: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in axis)
