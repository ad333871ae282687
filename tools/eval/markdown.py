"""An evaluation's JSON as tables in Markdown: `python -m tools.eval.markdown FILE.json [--runs]`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dreamfusion_mesh.evaluate.measures import MEASURES, Measure, mean_text, write
from dreamfusion_mesh.evaluate.statistics import Mean

_UNITS = {"share": " %", "cosine": "", "seconds": ""}
_SEEN = ("quality", "colour", "textureless", "views")  # of a run


def groups_table(found: Mapping[str, Any]) -> str:
    """A line a group: means over prompts with their standard errors; of those after the first, p of the difference from it."""
    groups = found["groups"]
    shown = [measure for measure in MEASURES if any(measure.name in group["means"] for group in groups)]
    head = ["", "runs", *(f"{measure.short}{_UNITS[measure.unit]}" for measure in shown)]
    rows = [[group["name"], str(group["runs"]), *(_cell(group, measure) for measure in shown)] for group in groups]
    return table(head, rows)


def runs_table(found: Mapping[str, Any]) -> str:
    """A line a run: what the judge makes of it, its solids and holes where the words ask for fewer, rows of the audit that failed."""
    several = len(found["groups"]) > 1
    known = [measure for measure in MEASURES if measure.name in _SEEN]
    head = ["prompt", "seed", *(measure.short + _UNITS[measure.unit] for measure in known), "clay taken for", "fronts", "what is wrong"]
    rows = []
    for run in found["runs"]:
        values = ["-" if measure.name not in run["values"] else write(run["values"][measure.name], measure) for measure in known]
        fronts = run.get("front_sectors")
        seen = [run.get("clay_taken_for", "-"), "-" if fronts is None else str(fronts), ", ".join(_faults(run)) or "-"]
        rows.append([*([run["group"]] if several else []), run["prompt"], str(run["seed"]), *values, *seen])
    return table(["", *head] if several else head, rows)


def _cell(group: Mapping[str, Any], measure: Measure) -> str:
    mean, against = group["means"].get(measure.name), group["against_first"].get(measure.name)
    text = mean_text(None if mean is None else Mean(**mean), measure)
    return text if against is None else f"{text} (p {against['p']:.2f})"


def _faults(run: Mapping[str, Any]) -> Iterable[str]:
    if run["failure"] is not None:
        yield run["failure"]
    for what in ("parts", "holes"):
        found, asked = run[what]["found"], run[what]["asked"]
        if found is not None and asked is not None and found > asked:
            yield f"{what}: {found}, {asked} asked for"
    yield from (f"audit: {name}" for name, status in run["audit"].items() if status == "fail")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown's, with a line end."""
    lines = (head, ["---"] * len(head), *rows)
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n" for cells in lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.eval.markdown", description=__doc__)
    parser.add_argument("file", type=Path, metavar="FILE.json")
    parser.add_argument("--runs", action="store_true", help="a line a run, instead of a line a group")
    arguments = parser.parse_args()
    found = json.loads(arguments.file.read_text(encoding="utf-8"))
    print(runs_table(found) if arguments.runs else groups_table(found), end="")


if __name__ == "__main__":
    main()
