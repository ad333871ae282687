"""Lines of a CSV file that spreadsheets open as a table, and run nothing of."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence

_BOM = b"\xef\xbb\xbf"  # by which Excel knows UTF-8

# What a spreadsheet takes for a formula: one of these characters, or its full-width form, first in a cell but for spaces and characters
# that are not seen. Where a cell begins depends on the separator that the reader's country has: a semicolon or a tab within quotes, too.
# Source: https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA = re.compile(r"((?:^|[;\t\r\n])[\s\x00-\x1f\x7f-\x9f\u200b-\u200f\u2060\ufeff]*)([=+\-@＝＋－＠])")
_AT_FIRST = ("\t", "\r", "\n")


def safe_text(text: str) -> str:
    """The text with an apostrophe before what a spreadsheet would run as a formula; other texts as they are."""
    safe = _FORMULA.sub(r"\1'\2", text)
    return f"'{safe}" if safe.startswith(_AT_FIRST) else safe


def csv_head(columns: Sequence[str]) -> bytes:
    """The beginning of a file with these columns."""
    return _BOM + csv_line(columns)


def csv_line(cells: Sequence[str | float | int | None]) -> bytes:
    """A line as Python's csv reads it back: texts in quotes and made safe, numbers without, None an empty text."""
    line = io.StringIO()
    made = ["" if cell is None else safe_text(cell) if isinstance(cell, str) else cell for cell in cells]
    csv.writer(line, quoting=csv.QUOTE_NONNUMERIC).writerow(made)
    return line.getvalue().encode("utf-8", "replace")
