"""Tables in Markdown from an evaluation's JSON, and the page in docs/ that holds them."""

import json

from tools.eval.markdown import groups_table, runs_table
from tools.eval.page import MISSING, PAGE, RESULTS, filled


def group(name, colour, against=None):
    means = {"colour": {"value": colour, "error": 0.0625, "count": 2}, "seconds": {"value": 61.4, "error": None, "count": 1}}
    return {"name": name, "runs": 2, "means": means, "against_first": against or {}}


def run(name, prompt, **changes):
    values = {"quality": 0.625, "colour": 1.0, "textureless": 0.25}
    none = {"found": None, "asked": 1}
    plain = {"group": "one", "name": name, "prompt": prompt, "seed": 3, "failure": None, "values": values, "parts": none, "holes": none}
    return {**plain, "audit": {"UVs": "pass"}, "clay_taken_for": "a grey clay mug", "front_sectors": 1, **changes}


WORSE = {
    "parts": {"found": 3, "asked": 1},
    "holes": {"found": 1, "asked": 1},
    "audit": {"UVs": "pass", "LODs": "fail", "seams": "not measured"},
}
EMPTY = {"failure": "empty", "values": {"quality": 0.0, "colour": 0.0, "textureless": 0.0}, "audit": {}}
RUNS = [run("new-a", "a red mug"), run("new-b", "a red | mug", front_sectors=None, **WORSE), run("held", "a hat", **EMPTY)]
del RUNS[2]["clay_taken_for"], RUNS[2]["front_sectors"]
COMPARED = {"colour": {"difference": -0.25, "low": -1.0, "high": 0.5, "p": 0.125, "count": 2, "exact": True}}
FOUND = {"groups": [group("one", 0.75)], "runs": RUNS}
BOTH = {"groups": [group("one", 0.75), group("two", 0.5, COMPARED)], "runs": [{**each, "group": "two"} for each in RUNS]}


def cells(text):
    assert text.endswith("|\n")
    return [[cell.strip() for cell in line.strip("|").replace(r"\|", "/").split("|")] for line in text.splitlines()]


def test_a_line_a_group_with_standard_errors_and_the_difference_from_the_first():
    head, _, first, second = cells(groups_table(BOTH))
    assert head == ["", "runs", "colour %", "seconds"], "and nothing that no group has"
    assert first == ["one", "2", "75.0 ± 6.2", "61"]
    assert second == ["two", "2", "50.0 ± 6.2 (p 0.12)", "61"]


def test_a_line_a_run_says_what_is_wrong_with_it():
    head, _, fine, poor, failed = cells(runs_table(FOUND))
    assert head == ["prompt", "seed", "quality %", "colour %", "textureless %", "views %", "clay taken for", "fronts", "what is wrong"]
    assert fine == ["a red mug", "3", "62.5", "100.0", "25.0", "-", "a grey clay mug", "1", "-"]
    assert poor == ["a red / mug", "3", "62.5", "100.0", "25.0", "-", "a grey clay mug", "-", "parts: 3, 1 asked for, audit: LODs"]
    assert failed == ["a hat", "3", "0.0", "0.0", "0.0", "-", "-", "-", "empty"]
    assert [line[0] for line in cells(runs_table(BOTH))] == ["", "---", "two", "two", "two"]


def test_tables_are_filled_in_where_they_were_measured(tmp_path):
    (tmp_path / "base.json").write_text(json.dumps(FOUND))
    (tmp_path / "oracle.csv").write_text('shape,IoU\nball,"0.9"\n')
    marks = ("groups base", "runs base new-*", "groups later", "csv oracle")
    made = filled("".join(f"before\n<!-- {mark} -->\nold\n<!-- end -->\nafter\n" for mark in marks), tmp_path)
    tables = made.split("after\n")
    assert groups_table(FOUND) in tables[0]
    assert runs_table({**FOUND, "runs": RUNS[:2]}) in tables[1]
    assert MISSING in tables[2]
    assert "| shape | IoU |\n| --- | --- |\n| ball | 0.9 |\n" in tables[3]
    assert "old" not in made
    assert made.count("before\n<!-- ") == 4
    assert filled(made, tmp_path) == made


def test_the_page_holds_the_figures_of_its_files():
    text = PAGE.read_text(encoding="utf-8")
    assert filled(text, RESULTS) == text
    assert [file.name for file in sorted(RESULTS.glob("*")) if f"{file.stem} -->" not in text] == [], "files that no table is made of"
