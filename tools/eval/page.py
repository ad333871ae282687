"""Write the tables of docs/EVALUATION.md anew: `python -m tools.eval.page`.

Between `<!-- groups NAME -->` or `<!-- runs NAME PATTERN -->` and `<!-- end -->` stands what tools.eval.markdown makes of
docs/evaluation/NAME.json, which `dreamfusion-mesh evaluate --json` or tools.eval wrote; of runs, those whose name matches the pattern.
After `<!-- csv NAME -->` stands docs/evaluation/NAME.csv. Where there is no such file, it says so.
"""

from __future__ import annotations

import csv
import json
import re
from fnmatch import fnmatch
from pathlib import Path

from tools.eval.markdown import groups_table, runs_table, table

PAGE = Path(__file__).parents[2] / "docs" / "EVALUATION.md"
RESULTS = PAGE.with_name("evaluation")
MISSING = "Not measured yet.\n"
_TABLE = re.compile(r"(<!-- (groups|runs|csv) ([\w-]+)(?: (\S+))? -->\n).*?(<!-- end -->\n)", re.DOTALL)


def filled(text: str, results: Path) -> str:
    """The page with its tables as the JSON files in `results` have them."""

    def fill(found: re.Match[str]) -> str:
        file = results / f"{found[3]}.{'csv' if found[2] == 'csv' else 'json'}"
        return found[1] + (_written(found[2], file, found[4] or "*") if file.is_file() else MISSING) + found[5]

    return _TABLE.sub(fill, text)


def _written(what: str, file: Path, pattern: str) -> str:
    text = file.read_text(encoding="utf-8")
    if what == "csv":
        head, *rows = csv.reader(text.splitlines())
        return table(head, rows)
    found = json.loads(text)
    if what == "groups":
        return groups_table(found)
    return runs_table({**found, "runs": [run for run in found["runs"] if fnmatch(run["name"], pattern)]})


def main() -> None:
    """Write the page."""
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), RESULTS), encoding="utf-8")


if __name__ == "__main__":
    main()
