"""Cells of the summary: Python's csv reads them back, and no spreadsheet runs one."""

from __future__ import annotations

import csv
import io
import random

import pytest

from dreamfusion_mesh.batch.safe_csv import csv_head, csv_line, safe_text

HARMLESS = ["a red mug", "x=1", "a-b", "a, -b", "3 + 4", "me@here", "läuft 漢字 🍄", 'say "cheese"', "two\nlines", "a; b", "'=1", ""]


def read(*lines: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(b"".join(lines).decode("utf-8-sig"), newline="")))


@pytest.mark.parametrize("sign", list("=+-@＝＋－＠"))
@pytest.mark.parametrize("before", ["", " ", "\u00a0", "\u3000", "\t", "\r\n", "\ufeff", "\u200b", "\0"])
def test_what_would_be_a_formula_is_not_one(sign: str, before: str) -> None:
    safe = safe_text(f"{before}{sign}cmd()")
    assert safe != f"{before}{sign}cmd()"
    assert safe.replace("'", "") == f"{before}{sign}cmd()"
    assert not safe.lstrip("\u00a0\u3000\u200b\ufeff\0 \t\r\n").startswith(sign)
    assert not safe.startswith(("\t", "\r", "\n"))


@pytest.mark.parametrize("separator", [";", "\t", "; ", "\n", "x;;"])
def test_no_other_separator_makes_a_cell_that_is_a_formula(separator: str) -> None:
    assert safe_text(f"a mug{separator}=cmd()").endswith(f"{separator}'=cmd()")


@pytest.mark.parametrize("text", HARMLESS)
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert safe_text(text) == text


@pytest.mark.parametrize("first", ["\t", "\r", "\n"])
def test_a_tab_or_an_end_of_line_is_not_first(first: str) -> None:
    assert safe_text(f"{first}mug") == f"'{first}mug"


def test_numbers_stay_numbers_and_python_reads_all_back() -> None:
    line = csv_line(["a", -1, 2.5, None, "=1"])
    assert line == b'"a",-1,2.5,"","\'=1"\r\n'
    assert read(csv_head(["name", "n"]), csv_line([HARMLESS[6], 3])) == [["name", "n"], [HARMLESS[6], "3"]]
    draw = random.Random(1)
    letters = "ab ,;\"'\n\r\t=+-@|漢\u2028\x1f"
    for _ in range(300):
        cells = ["".join(draw.choices(letters, k=draw.randrange(8))) for _ in range(4)]
        assert read(csv_line(cells)) == [[safe_text(cell) for cell in cells]]


def test_half_a_surrogate_pair_ends_no_summary() -> None:
    assert csv_line(["a\udc80"]) == b'"a?"\r\n'
