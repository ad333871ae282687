"""The cells of a table: those of a row, and what stands in them: numbers and tags. Each fault begins with its column."""

from __future__ import annotations

import re
from collections.abc import Sequence

from dreamfusion_mesh.batch.faults import Faults
from dreamfusion_mesh.batch.table import Row
from dreamfusion_mesh.config.messages import shown
from dreamfusion_mesh.config.yaml_text import control_character, read_yaml
from dreamfusion_mesh.errors import BadInput

MOST_TAGS = 50
LONGEST_TAG = 60  # characters
_DIGITS = re.compile(r"[0-9]{1,18}")


class Columns:
    """A table's columns, by which its rows are read."""

    def __init__(self, names: Sequence[str], faults: Faults) -> None:
        self._width, self._faults = len(names), faults
        self._nameless = [at for at, name in enumerate(names) if not name]

    def cells(self, row: Row) -> list[str]:
        """A cell for each column, without the space around it; a fault is added for what stands in none of them."""
        cells = [cell.strip() for cell in row.cells]
        while len(cells) > self._width and not cells[-1]:
            cells.pop()
        if len(cells) > self._width:
            remedy = "put quotes around a cell that holds what separates cells, or name the column"
            at, given = next((at, cell) for at, cell in enumerate(cells) if at >= self._width and cell)
            self._faults.add(row.line, f"column {at + 1}: the first row names {self._width} columns (given {shown(given)}); {remedy}")
        cells = cells[: self._width] + [""] * (self._width - len(cells))
        for at in self._nameless:
            if cells[at]:
                self._faults.add(row.line, f"column {at + 1}: the first row has no name for it (given {shown(cells[at])}); name it")
        return cells


def read_number(column: str, text: str, least: int, most: int) -> int:
    """A whole number, written as a setting's would be. Raises BadInput."""
    value = int(text) if _DIGITS.fullmatch(text) else read_yaml(text, column)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise BadInput(f"{column}: expected a whole number from {least} to {most} (given {shown(value)})")
    return value


def read_tags(text: str) -> tuple[str, ...]:
    """Words between spaces, commas or semicolons, each once. Raises BadInput."""
    if (letter := control_character(text)) is not None:
        raise BadInput(f"tags: has the control character U+{ord(letter):04X}; plain text is allowed: take it out")
    tags = tuple(dict.fromkeys(tag for tag in re.split(r"[\s,;]+", text) if tag))
    if len(tags) > MOST_TAGS:
        raise BadInput(f"tags: {len(tags)} tags, at most {MOST_TAGS} are allowed")
    for tag in tags:
        if len(tag) > LONGEST_TAG:
            raise BadInput(f"tags: {len(tag)} characters in a tag, at most {LONGEST_TAG} are allowed (given {shown(tag)})")
    return tags
