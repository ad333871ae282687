"""The rows of a table as jobs: every cell checked, every fault named by its line and column, before anything is loaded or written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache

from dreamfusion_mesh.batch.cells import Columns, read_number, read_tags
from dreamfusion_mesh.batch.faults import Faults
from dreamfusion_mesh.batch.names import check_name, counted_name, folded_name, made_name
from dreamfusion_mesh.batch.records import LARGEST_SEED, MOST_JOBS, Job, count_seed
from dreamfusion_mesh.batch.row_settings import PRESET, Flags, Resolved, RowSettings
from dreamfusion_mesh.batch.table import KEY, Row, Table, read_table
from dreamfusion_mesh.config import setting_schemas
from dreamfusion_mesh.config.messages import nearest, plain, shown
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.files import shown as shown_path
from dreamfusion_mesh.guidance.prompts import check_prompt

OWN_COLUMNS = (KEY, "name", "seed", "count", PRESET, "tags")  # settings' names are columns, too


def read_jobs(path: str | os.PathLike[str], flags: Flags) -> list[Job]:
    """The jobs of a table, in its order.

    A cell beats a flag, a flag beats the preset, and a cell of `preset` replaces the flag. Empty cells give nothing. A row with `count`
    makes that many jobs, with the seeds of `count_seed`.
    Raises BadInput with a line for each fault of the whole file, up to 50, and then their number.
    """
    settings = RowSettings(flags)  # flags that are wrong are named before the table is read
    table = read_table(path)
    faults = Faults(shown_path(path))
    _check_columns(table, faults)
    rows, jobs = _Rows(table.columns, settings, faults), []
    try:
        for row in table.rows:
            jobs += rows.jobs(row)
    except BadInput as error:  # what follows cannot be read
        for line in error.lines:
            faults.add_whole(line)
    if settings.flag_faults:
        raise BadInput(next(iter(settings.flag_faults)))  # the first, as `generate` says it
    faults.raise_any()
    if not jobs:
        raise BadInput(f"{faults.where}: no row stands below the names of the columns; write a prompt there")
    return jobs


def _check_columns(table: Table, faults: Faults) -> None:
    names = _column_names()
    for name in table.columns:
        if name and name not in names:
            others = f"; allowed: {', '.join(OWN_COLUMNS)}, and settings such as coarse.steps"
            faults.add(table.line, f"{plain(name)}: unknown column{nearest(name, names, others)}")


@cache
def _column_names() -> tuple[str, ...]:
    return tuple(dict.fromkeys((*OWN_COLUMNS, *setting_schemas())))


class _Rows:
    """Rows to jobs. What a row takes (names, and its share of the most jobs) is taken from those that follow."""

    def __init__(self, columns: Sequence[str], settings: RowSettings, faults: Faults) -> None:
        self._columns, self._settings, self._faults = Columns(columns, faults), settings, faults
        self._at = {name: columns.index(name) for name in OWN_COLUMNS if name in columns and name != PRESET}
        self._chosen = [(at, name) for at, name in enumerate(columns) if name in _column_names() and name not in self._at]
        self._names, self._count = _Names(faults), 0
        self._tags = cache(read_tags)

    def jobs(self, row: Row) -> list[Job]:
        """The jobs of a row; none, and its faults added, where it has any. Raises BadInput where there are too many jobs."""
        line, faults, before = row.line, self._faults, self._faults.count
        cells = self._columns.cells(row)
        own = {name: cell for name, at in self._at.items() if (cell := cells[at])}
        resolved = self._settings.of(tuple([(name, cells[at]) for at, name in self._chosen if cells[at]]))
        for fault in resolved.faults:
            faults.add(line, fault)
        prompt = faults.catch(line, check_prompt, own.get(KEY, ""))
        seed, count = self._seeds(line, own, resolved)
        name = faults.catch(line, check_name, own["name"], count or 1) if "name" in own else ""
        tags = faults.catch(line, self._tags, own["tags"]) if "tags" in own else ()
        self._add_up(line, count or 1)
        seeds = [] if seed is None else [count_seed(seed, index) for index in range(count or 1)]
        if name:
            names = [counted_name(name, index) for index in range(count or 1)]
        else:
            names = [] if prompt is None or name is None else [made_name(prompt, seed) for seed in seeds]
        self._names.take(line, names, given=bool(name))
        if faults.count > before or resolved.settings is None or prompt is None or tags is None:
            return []
        settings, key = resolved.settings, resolved.key
        return [Job(name, prompt, seed, settings, key(prompt, seed), tags, line) for name, seed in zip(names, seeds, strict=True)]

    def _seeds(self, line: int, own: dict[str, str], resolved: Resolved) -> tuple[int | None, int | None]:
        """The first seed, and how many; None where a cell is wrong."""
        catch = self._faults.catch
        seed = catch(line, read_number, "seed", own["seed"], 0, LARGEST_SEED) if "seed" in own else resolved.seed
        count = catch(line, read_number, "count", own["count"], 1, MOST_JOBS) if "count" in own else 1
        if seed is not None and count is not None and count_seed(seed, count - 1) > LARGEST_SEED:
            self._faults.add(line, f"count: {count} seeds from {seed} on, at most {LARGEST_SEED} is allowed; lower the seed or the count")
            return None, None
        return seed, count

    def _add_up(self, line: int, count: int) -> None:
        self._count += count
        if self._count > MOST_JOBS:
            where = f"{self._faults.where}, line {line}"
            raise BadInput(f"{where}: the rows so far make {self._count} assets, a batch makes at most {MOST_JOBS}; split the table")


class _Names:
    """The names that rows have taken, as they are folded, with the line in which the row begins."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._lines: dict[str, int] = {}
        self._spelled: dict[str, str] = {}  # those that are not as they are folded

    def take(self, line: int, names: Sequence[str], given: bool) -> None:
        """Add a fault, one for a row, where one of its names is taken."""
        found = ""
        for name in names:
            folded = folded_name(name)
            if folded != name and folded not in self._lines:
                self._spelled[folded] = name
            first = self._lines.setdefault(folded, line)
            if first != line and not found:
                found = self._taken(name, self._spelled.get(folded, folded), first, given)
                self._faults.add(line, found)

    def _taken(self, name: str, other: str, first: int, given: bool) -> str:
        if not given:
            remedy = "give one of them a name, or another seed"
            return f"prompt: with its seed it makes the name {shown(name)}, which line {first} has, too; {remedy}"
        if name != other:
            return f"name: {shown(name)} and {shown(other)} of line {first} are alike on disks that ignore case; give another name"
        return f"name: {shown(name)} is the name of line {first}, too; give another name"
