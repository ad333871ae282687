"""Tables as people and spreadsheets write them: UTF-8 with or without a mark, comma, semicolon or tab, quotes, comments, any line ends.

A record is a line, or several where a quoted cell holds line breaks. Lines that begin with # between two records are comments, and blank
lines and records of empty cells are passed over. Source: RFC 4180, and what LibreOffice and Excel save as CSV.
"""

from __future__ import annotations

import csv
import io
import itertools
import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from dreamfusion_mesh.config.messages import plain
from dreamfusion_mesh.errors import BadInput, reason
from dreamfusion_mesh.files import open_file, shown

KEY = "prompt"  # the column that every table has
LARGEST_FILE = 512 * 2**20  # bytes; a million rows with prompts of 500 letters
LONGEST_LINE = 1 << 22  # characters
MOST_COLUMNS = 1000

_DELIMITERS = (",", ";", "\t")
_EMPTY = " ,;\t\r\n"
_SEPARATOR = re.compile(r'"?sep=(.)"?', re.IGNORECASE)  # Excel's, in the first line
_SAVE, _SAVE_TEXT = "save the table as CSV UTF-8", "save it as UTF-8 text"
_FOREIGN = {
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
    b"PK\x03\x04": "a spreadsheet's own file, or another zip",
    b"\xd0\xcf\x11\xe0": "a spreadsheet's own file",
}
_BLOCK = 1 << 20  # bytes that are read at once


class Row(NamedTuple):
    """A record, and the line of the file, from 1, in which it begins. There may be fewer cells than columns, or more."""

    line: int
    cells: list[str]


@dataclass(frozen=True)
class Table:
    """Columns' names, in lower case and without space around them, and the rows, read as they are asked for.

    columns  empty where a column in the midst has no name; those after the last name are left out
    line     in which they are named
    rows     raises BadInput where the file cannot be read on
    """

    columns: tuple[str, ...]
    line: int
    rows: Iterator[Row]


def read_table(path: str | os.PathLike[str]) -> Table:
    """The table in a file. Raises BadInput, in a line for each fault, where there is none, or it has no column `prompt`."""
    rows = _rows(path)
    line, cells = next(rows)
    columns = [cell.strip().lower() for cell in cells]
    while columns and not columns[-1]:
        columns.pop()
    where = f"{shown(path)}, line {line}"
    if len(columns) > MOST_COLUMNS:
        raise BadInput(f"{where}: {len(columns)} columns, at most {MOST_COLUMNS} are read")
    if KEY not in columns:
        found = plain(", ".join(name for name in columns if name))
        raise BadInput(f"{where}: no column is called {KEY} (given {found}); the first row names the columns, such as {KEY},name,seed")
    twice = [name for name, times in Counter(columns).items() if name and times > 1]
    if twice:
        raise BadInput(*(f"{where}, {plain(name)}: more than one column has this name; keep one" for name in twice))
    return Table(tuple(columns), line, rows)


def read_lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, str]]:
    """The lines of a text, with their numbers from 1 and without the space around them, but for comments and blank lines.

    Raises BadInput where the file cannot be read, or on.
    """
    with _opened_lines(path, _SAVE_TEXT) as lines:
        for line in lines:
            if line.strip() and not line.startswith("#"):
                yield lines.number, line.strip()


def _rows(path: str | os.PathLike[str]) -> Iterator[Row]:
    """The header, then the rows."""
    with _opened_lines(path, _SAVE) as lines:
        yield from _Records(lines).rows()


@contextmanager
def _opened_lines(path: str | os.PathLike[str], remedy: str) -> Iterator[_Lines]:
    with open_file(path) as descriptor:
        size = os.fstat(descriptor).st_size
        if size > LARGEST_FILE:
            raise BadInput(f"{shown(path)}: {size} bytes, more than the {LARGEST_FILE} that are read; split it")
        yield _Lines(descriptor, shown(path), remedy)


class _Lines:
    """The lines of a file with their ends, which stay as they are, and the number of the last one."""

    def __init__(self, descriptor: int, where: str, remedy: str) -> None:
        self.where = where
        self._remedy = remedy  # for what is no UTF-8 text
        self.number = 0
        content = io.BufferedReader(io.FileIO(descriptor, closefd=False), _BLOCK)
        head = content.peek()
        for mark, kind in _FOREIGN.items():
            if head.startswith(mark):
                raise BadInput(f"{where}: is {kind}; {remedy}")
        end = re.search(rb"\r\n?|\n", head)
        ends = "\r" if end and end[0] == b"\r" else "\n"  # the former of old Macs; where lines end in \n, a lone \r ends none
        self._text = io.TextIOWrapper(content, "utf-8-sig", "surrogateescape", newline=ends)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._text.readline(LONGEST_LINE)
        if not line:
            raise StopIteration
        self.number += 1
        if "\0" in line:
            raise BadInput(f"{self.where}, line {self.number}: holds a NUL byte, so it is no text, or UTF-16; {self._remedy}")
        if len(line) >= LONGEST_LINE:
            raise BadInput(f"{self.where}, line {self.number}: more than {LONGEST_LINE} characters; is it a table?")
        if not line.isascii() and (wrong := re.search("[\udc80-\udcff]", line)):
            byte = ord(wrong[0]) - 0xDC00
            raise BadInput(f"{self.where}, line {self.number}: the byte 0x{byte:02X} is not UTF-8 text; {self._remedy}")
        return line


class _Records:
    """The records of lines. `begun` is the line in which the one under way began; 0 between two."""

    def __init__(self, lines: _Lines) -> None:
        self._lines, self._where, self._begun = lines, lines.where, 0

    def rows(self) -> Iterator[Row]:
        first = next(self._lines, "")
        separator = _SEPARATOR.fullmatch(first.rstrip("\r\n"))
        given = separator[1] if separator else None
        if given and given not in _DELIMITERS:
            raise BadInput(f"{self._where}, line 1: {first.strip()}: cells are separated by comma, semicolon or tab")
        feed = self._feed(self._lines if separator else itertools.chain([first] if first else [], self._lines))
        delimiter, cells = self._header(feed, given)
        yield Row(self._begun, cells)
        reader = csv.reader(feed, delimiter=delimiter, strict=True)
        while (row := self._next(reader)) is not None:
            if any(map(str.strip, row)):
                yield Row(self._begun, row)

    def _feed(self, lines: Iterator[str]) -> Iterator[str]:
        """What the parser is given: all lines of a record, and between two no comment and no blank line."""
        for line in lines:
            if not self._begun:
                if line.startswith("#") or not line.strip():
                    continue
                self._begun = self._lines.number
            yield line

    def _header(self, feed: Iterator[str], given: str | None) -> tuple[str, list[str]]:
        """The delimiter by which one of the first record's cells is the key, and the cells."""
        text, quotes = "", 0
        for line in feed:
            if not text and not line.strip(_EMPTY):  # as spreadsheets write an empty row
                self._begun = 0
                continue
            text, quotes = text + line, quotes + line.count('"')
            if quotes % 2 == 0 or len(text) > LONGEST_LINE:
                break
        if not text:
            raise BadInput(f"{self._where}: is empty; its first row names the columns, such as {KEY},name,seed, and below stand prompts")
        found = [(delimiter, cells) for delimiter in (given or _DELIMITERS) if (cells := self._cells(text, delimiter))]
        if not found:
            longest = csv.field_size_limit()
            raise self._refusal(f"a quote is not closed, a cell goes on after it, or has more than {longest} characters")
        keyed = [each for each in found if KEY in (cell.strip().lower() for cell in each[1])]
        return keyed[0] if keyed else max(found, key=lambda each: len(each[1]))

    def _cells(self, text: str, delimiter: str) -> list[str]:
        try:
            return next(csv.reader([text], delimiter=delimiter, strict=True), [])
        except csv.Error:
            return []

    def _next(self, reader: Iterator[list[str]]) -> list[str] | None:
        self._begun = 0
        try:
            return next(reader, None)
        except csv.Error as error:
            message = str(error)
        if "end of data" in message:
            raise self._refusal("a quoted cell begins and is never closed; close it, and write quotes in it twice")
        if "limit" in message:
            raise self._refusal(f"a cell of more than {csv.field_size_limit()} characters; is a quote not closed?")
        if "expected after" in message:
            raise self._refusal("a quoted cell goes on after its closing quote; write quotes in it twice")
        if "new-line" in message:
            raise self._refusal("a lone carriage return outside quotes; take it out, or put quotes around the cell")
        raise self._refusal(reason(ValueError(message)))

    def _refusal(self, message: str) -> BadInput:
        return BadInput(f"{self._where}, line {self._begun}: {message}")
