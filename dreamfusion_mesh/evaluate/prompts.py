"""The prompts of an evaluation, which are the pool that the judge picks from: a text file with one a line, or a table."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from dreamfusion_mesh.batch.cells import Columns, read_number
from dreamfusion_mesh.batch.faults import Faults
from dreamfusion_mesh.batch.table import KEY, read_lines, read_table
from dreamfusion_mesh.config.messages import nearest, plain, shown
from dreamfusion_mesh.config.yaml_text import control_character
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.evaluate.precision import clay_texts
from dreamfusion_mesh.evaluate.records import Prompt
from dreamfusion_mesh.files import shown as shown_path
from dreamfusion_mesh.guidance.prompts import check_prompt

COLUMNS = (KEY, "shape", "front", "parts", "holes")
SUFFIXES = (".txt", ".csv")
MOST_PROMPTS = 100_000
_MOST_PARTS = 10_000
_FRONT = {"yes": True, "no": False}


def read_prompts(path: str | os.PathLike[str]) -> list[Prompt]:
    """The prompts of a .txt or .csv file, in its order, their white space collapsed.

    Text: a prompt a line; blank lines and lines that begin with # are passed over. Tables are read as `batch` reads them; their columns are
    COLUMNS, of which `prompt` has to be there and empty cells give nothing. Prompts whose clay is called alike have one shape.
    Raises BadInput with a line for each fault of the whole file, up to 50, and then their number. A prompt may stand there once.
    """
    where = shown_path(path)
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise BadInput(f"{where}: prompts are read from {' and '.join(SUFFIXES)} files; name a text with a prompt a line, or a table")
    faults = Faults(where)
    rows = _text_rows(path) if suffix == ".txt" else _table_rows(path, faults)
    reader, prompts = _Rows(faults), list[Prompt]()
    try:
        for line, cells in rows:
            prompt = reader.prompt(line, cells)
            prompts += [] if prompt is None else [prompt]
    except BadInput as error:  # what follows cannot be read
        for message in error.lines:
            faults.add_whole(message)
    faults.raise_any()
    if not prompts:
        raise BadInput(f"{where}: holds no prompt; write one a line, or below the names of the columns")
    return prompts


def _text_rows(path: str | os.PathLike[str]) -> Iterator[tuple[int, dict[str, str]]]:
    for line, text in read_lines(path):
        yield line, {KEY: text}


def _table_rows(path: str | os.PathLike[str], faults: Faults) -> Iterator[tuple[int, dict[str, str]]]:
    table = read_table(path)
    _check_columns(table.columns, table.line, faults)
    columns = Columns(table.columns, faults)
    for row in table.rows:
        cells = zip(table.columns, columns.cells(row), strict=True)
        yield row.line, {name: cell for name, cell in cells if cell and name in COLUMNS}


def _check_columns(names: Sequence[str], line: int, faults: Faults) -> None:
    for name in names:
        if name and name not in COLUMNS:
            faults.add(line, f"{plain(name)}: unknown column{nearest(name, COLUMNS, '')}; allowed: {', '.join(COLUMNS)}")


class _Rows:
    """Rows to prompts, each of which may stand in one row alone."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._lines: dict[str, int] = {}
        self._shapes: dict[str, tuple[int, str]] = {}  # line and shape, by what grey clay of the prompt is called

    def prompt(self, line: int, cells: dict[str, str]) -> Prompt | None:
        """The row's prompt; None, and its faults added, where it has any. Raises BadInput where there are too many rows."""
        faults, before = self._faults, self._faults.count
        text = faults.catch(line, check_prompt, cells.get(KEY, ""))
        if text is not None and (first := self._lines.setdefault(text, line)) != line:
            faults.add(line, f"{KEY}: {shown(text)} is the prompt of line {first}, too; keep one of them")
        if len(self._lines) > MOST_PROMPTS:
            raise BadInput(f"{faults.where}, line {line}: more than the {MOST_PROMPTS} prompts that a pool may have")
        shape = faults.catch(line, _read_shape, cells["shape"]) if "shape" in cells else None
        if text is not None and shape is not None:
            faults.catch(line, self._check_shape, line, text, shape)
        front = faults.catch(line, _read_front, cells["front"]) if "front" in cells else None
        parts = faults.catch(line, read_number, "parts", cells["parts"], 1, _MOST_PARTS) if "parts" in cells else None
        holes = faults.catch(line, read_number, "holes", cells["holes"], 0, _MOST_PARTS) if "holes" in cells else None
        return None if faults.count > before or text is None else Prompt(text, shape, front, parts, holes)

    def _check_shape(self, line: int, text: str, shape: str) -> None:
        """Raises BadInput where clay that is called alike has another shape: the judge, which reads what it is called, cannot tell them."""
        (clay,) = clay_texts([text])
        first, other = self._shapes.setdefault(clay, (line, shape))
        if other != shape:
            raise BadInput(f"shape: {shown(shape)}, and {shown(other)} in line {first}; both are called {shown(clay)}: give them one shape")


def _read_shape(text: str) -> str:
    if (letter := control_character(text)) is not None:
        raise BadInput(f"shape: has the control character U+{ord(letter):04X}; plain text is allowed: take it out")
    return " ".join(text.split())


def _read_front(text: str) -> bool:
    if text.lower() not in _FRONT:
        raise BadInput(f"front: expected yes or no (given {shown(text)})")
    return _FRONT[text.lower()]
