"""Write the sets of prompts in tools/eval/prompts/ anew: `python -m tools.eval.prompt_sets`.

    new.csv     three prompts as a new user would try them
    all.csv     the 153 held-out prompts and these three: what the judge picks among
    base.csv    a table for `batch`: twelve of the held-out prompts with seed 0, and the three with the seeds that they were tried with

tools/prior/held_out.csv has the held-out prompts alone.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

from dreamfusion_mesh.evaluate.prompts import read_prompts
from tools.eval.runs import spread
from tools.prior import held_out
from tools.prior.asked import asked, table

FOLDER = Path(__file__).with_name("prompts")
NEW = {
    "new-castle": ("a stone castle with red roofs", 3),
    "new-teapot": ("a yellow teapot with a blue handle", 5),
    "new-rabbit": ("a brown rabbit on a green box", 7),
}
_BASE = 12


def sets() -> dict[str, str]:
    """The text of each file, by its name."""
    new = [asked(prompt) for prompt, _ in NEW.values()]
    return {"new.csv": table(new), "all.csv": table([*read_prompts(held_out.FILE), *new]), "base.csv": _base()}


def _base() -> str:
    held = held_out.prompts()
    rows = [(prompt, name, seed) for name, (prompt, seed) in NEW.items()]
    rows += [(held[row], f"held-{row:03d}", 0) for row in spread(len(held), _BASE)]
    lines = io.StringIO()
    csv.writer(lines, lineterminator="\n").writerows([("prompt", "name", "seed"), *rows])
    return lines.getvalue()


def main() -> None:
    """Write the files."""
    for name, text in sets().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
