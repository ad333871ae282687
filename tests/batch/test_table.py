"""Tables are read back as they were written, by Python's csv module and as spreadsheets do; what is no table is refused in one line."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest
from privileges import permissions_hold

from dreamfusion_mesh.batch.table import LARGEST_FILE, LONGEST_LINE, Row, read_table
from dreamfusion_mesh.errors import BadInput

PIECES = [*"ab cé茶🍄", ",", ";", "\t", '"', '""', "'", "\n", "\r\n", "\r", "#", "# no comment", "sep=;", "=cmd()", "\ufeff", " ", ""]
COLUMNS = ("prompt", "name", "seed")


def written(tmp_path: Path, content: bytes | str) -> Path:
    path = tmp_path / "prompts.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def rows(path: Path) -> list[Row]:
    return list(read_table(path).rows)


def refused(path: Path | str) -> str:
    with pytest.raises(BadInput) as caught:
        rows(Path(path))
    (line,) = caught.value.lines
    assert line.isprintable()
    return line.removeprefix(f"{path}")


def random_cells(rng: Random, width: int = len(COLUMNS)) -> list[str]:
    return ["".join(rng.choices(PIECES, k=rng.choice((0, 1, 3, 8)))) for _ in range(width)]


def spreadsheet_line(rng: Random, cells: Sequence[str], delimiter: str, quote_all: bool) -> str:
    """A record as spreadsheets write it: quotes where they must be, or everywhere."""
    quoted = []
    for place, cell in enumerate(cells):
        needed = any(letter in cell for letter in f'{delimiter}"\r\n') or (place == 0 and cell.startswith(("#", "sep=")))
        text = cell.replace('"', '""')
        quoted.append(f'"{text}"' if needed or quote_all or rng.random() < 0.1 else cell)
    return delimiter.join(quoted)


def write_spreadsheet(rng: Random, table: Sequence[Sequence[str]]) -> tuple[str, list[int]]:
    """The text of a file with comments and blank lines between the records, and the line in which each begins."""
    delimiter, ends, quote_all = rng.choice(",;\t"), rng.choice(("\n", "\r\n", "\r")), rng.random() < 0.3
    text, begun = (f"sep={delimiter}{ends}", []) if rng.random() < 0.3 else ("", [])
    for cells in table:
        for _ in range(rng.choice((0, 0, 1, 2))):
            text += rng.choice(("", "  ", '# a "comment', "#", f"# prompt{delimiter}x", delimiter * 2)) + ends
        begun.append(text.count("\r" if ends == "\r" else "\n") + 1)
        text += spreadsheet_line(rng, cells, delimiter, quote_all) + ends
    return (text.removesuffix(ends) if rng.random() < 0.3 else text), begun


def expected(table: Sequence[Sequence[str]], begun: Sequence[int]) -> list[Row]:
    return [Row(line, list(cells)) for line, cells in zip(begun, table, strict=True) if any(cell.strip() for cell in cells)]


@pytest.mark.parametrize("seed", range(200))
def test_what_a_spreadsheet_writes_is_read_back_with_its_lines(seed: int, tmp_path: Path) -> None:
    rng = Random(seed)
    names = [rng.choice((name, name.upper(), f" {name.title()} ")) for name in COLUMNS]
    table = [random_cells(rng) for _ in range(rng.randrange(8))]
    text, begun = write_spreadsheet(rng, [names, *table])
    found = read_table(written(tmp_path, rng.choice((b"", b"\xef\xbb\xbf")) + text.encode()))
    assert (found.columns, found.line) == (COLUMNS, begun[0])
    assert list(found.rows) == expected(table, begun[1:])


@pytest.mark.parametrize("seed", range(100))
def test_what_pythons_csv_module_writes_is_read_back_with_its_lines(seed: int, tmp_path: Path) -> None:
    rng = Random(seed)
    table = [random_cells(rng) for _ in range(rng.randrange(8))]
    table = [["a" + cells[0], *cells[1:]] for cells in table]  # the module puts no quotes around a first cell with #
    file, begun = io.StringIO(newline=""), []
    quoting = rng.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC))
    writer = csv.writer(file, delimiter=rng.choice(",;\t"), quoting=quoting)
    for cells in (COLUMNS, *table):
        begun.append(file.getvalue().count("\n") + 1)
        writer.writerow(cells)
    assert rows(written(tmp_path, file.getvalue())) == expected(table, begun[1:])


@pytest.mark.parametrize(
    ("text", "columns", "cells"),
    [
        ("prompt\na\n", ("prompt",), ["a"]),
        ("prompt;a,b\nx, y;z\n", ("prompt", "a,b"), ["x, y", "z"]),
        ("a;b,prompt\nx;y,z", ("a;b", "prompt"), ["x;y", "z"]),
        ('"prompt"\t"a;b"\nx\ty', ("prompt", "a;b"), ["x", "y"]),
        ('"a\nb",prompt\nx,y', ("a\nb", "prompt"), ["x", "y"]),
        ('"sep=;"\nprompt;a\nx,1;y', ("prompt", "a"), ["x,1", "y"]),
        ("SEP=,\nprompt,a;b\nx,y", ("prompt", "a;b"), ["x", "y"]),
        ("\n\n# c\n\nprompt,,a,,\n,,,,\nx,y", ("prompt", "", "a"), ["x", "y"]),
        ('prompt\n5" pipe', ("prompt",), ['5" pipe']),
        ("prompt\na,,", ("prompt",), ["a", "", ""]),
        ('prompt\n"# a"', ("prompt",), ["# a"]),
        ("prompt\n # a", ("prompt",), [" # a"]),
    ],
)
def test_the_delimiter_is_that_by_which_a_column_is_called_prompt(
    text: str, columns: tuple[str, ...], cells: list[str], tmp_path: Path
) -> None:
    table = read_table(written(tmp_path, text))
    assert table.columns == columns
    assert [row.cells for row in table.rows] == [cells]


def test_rows_of_a_table_are_not_held_together(tmp_path: Path) -> None:
    path = written(tmp_path, "prompt\na\nb\n")
    table = read_table(path)
    assert next(table.rows) == Row(2, ["a"])
    assert next(table.rows) == Row(3, ["b"])
    assert next(table.rows, None) is None


SAVE = "save the table as CSV UTF-8"
FIRST_ROW = "the first row names the columns, such as prompt,name,seed"
NO_TABLES = {
    b"": ": is empty; its first row names the columns, such as prompt,name,seed, and below stand prompts",
    b"\xef\xbb\xbf": ": is empty; its first row names the columns, such as prompt,name,seed, and below stand prompts",
    b"# a\n\n  \n": ": is empty; its first row names the columns, such as prompt,name,seed, and below stand prompts",
    b"sep=;\n": ": is empty; its first row names the columns, such as prompt,name,seed, and below stand prompts",
    "prompt\na".encode("utf-16"): f": is UTF-16 text; {SAVE}",
    "prompt\na".encode("utf-16-be"): f", line 1: holds a NUL byte, so it is no text, or UTF-16; {SAVE}",
    b"prompt\na\0b": f", line 2: holds a NUL byte, so it is no text, or UTF-16; {SAVE}",
    b"PK\x03\x04\x14\0": f": is a spreadsheet's own file, or another zip; {SAVE}",
    b"prompt\na\n\nth\xe9i\xe8re": f", line 4: the byte 0xE9 is not UTF-8 text; {SAVE}",
    b"prompt\n\xed\xa0\x80": f", line 2: the byte 0xED is not UTF-8 text; {SAVE}",
    b"sep=|\nprompt": ", line 1: sep=|: cells are separated by comma, semicolon or tab",
    b"a red mug\na blue mug": f", line 1: no column is called prompt (given a red mug); {FIRST_ROW}",
    b"# c\nname;Promt\n": f", line 2: no column is called prompt (given name, promt); {FIRST_ROW}",
    b"prompt,seed, Seed\n": ", line 1, seed: more than one column has this name; keep one",
    b'"prompt\na': ", line 1: a quote is not closed, a cell goes on after it, or has more than 131072 characters",
    b"prompt," + b"a" * 200_000: ", line 1: a quote is not closed, a cell goes on after it, or has more than 131072 characters",
    b'prompt,name\na,b\n\n"a\nb,c\nd': ", line 4: a quoted cell begins and is never closed; close it, and write quotes in it twice",
    b'prompt\n"a\nb"c\n': ", line 2: a quoted cell goes on after its closing quote; write quotes in it twice",
    b'prompt\na\n"b\n' + b"c\n" * 100_000: ", line 3: a cell of more than 131072 characters; is a quote not closed?",
    b"prompt\na\nb\rc\n": ", line 3: a lone carriage return outside quotes; take it out, or put quotes around the cell",
    b"prompt" + b",a" * 1000 + b"\nb": ", line 1: 1001 columns, at most 1000 are read",
    b"prompt\n" + b"a" * LONGEST_LINE: f", line 2: more than {LONGEST_LINE} characters; is it a table?",
}


@pytest.mark.parametrize("content", NO_TABLES, ids=lambda content: repr(content[:20]))
def test_what_is_no_table_is_refused_in_one_line(content: bytes, tmp_path: Path) -> None:
    assert refused(written(tmp_path, content)) == NO_TABLES[content]


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "closed").mkdir(0o600)
    assert refused(tmp_path) == ": is a folder; name a regular file"
    assert refused(tmp_path / "pipe.csv") == ": is a pipe; name a regular file"
    assert refused("/dev/zero") == ": is a device; name a regular file"
    assert refused(tmp_path / "none.csv") == ": cannot be read (No such file or directory); check the path"
    with permissions_hold():
        assert "you may not enter the folder" in refused(tmp_path / "closed" / "a.csv")


def test_a_file_that_is_too_large_is_refused_by_its_size(tmp_path: Path) -> None:
    path = written(tmp_path, "prompt\na\n")
    os.truncate(path, LARGEST_FILE)
    assert "holds a NUL byte" in refused(path)
    os.truncate(path, 10**9)
    assert refused(path) == f": {10**9} bytes, more than the {LARGEST_FILE} that are read; split it"


def test_all_columns_that_are_there_twice_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        read_table(written(tmp_path, "prompt,seed,name,SEED,Name\n"))
    assert [line.split(", ")[2].partition(":")[0] for line in caught.value.lines] == ["seed", "name"]
