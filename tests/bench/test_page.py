"""The benchmark's page: figures with their spread, targets, plots, and parts that other machines measured."""

from __future__ import annotations

import subprocess
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest

from dreamfusion_mesh.errors import BadInput
from tools.bench import __main__ as bench
from tools.bench.kernels import Row, figures
from tools.bench.machine import whole_process
from tools.bench.page import write_page
from tools.bench.plot import Point, plot
from tools.bench.records import Figure, Machine, Measured, at, line, missing
from tools.bench.store import merged, read_measured, write_measured

CPU = Machine("cpu", "a processor", 2, "", (("torch", "2.0"), ("python", "3.11")))
CARD = replace(CPU, device="cuda", card="a card")
SVG = "{http://www.w3.org/2000/svg}"


def test_a_figure_is_a_median_with_its_quartiles_or_its_ends() -> None:
    assert Figure("a", "s", (5.0, 1.0, 2.0, 3.0, 4.0)).median == 3
    assert Figure("a", "s", (5.0, 1.0, 2.0, 3.0, 4.0)).spread == (2, 4)
    assert Figure("a", "s", (3.0, 1.0, 2.0)).spread == (1, 3)
    assert Figure("a", "s", (3.0,)).spread == (3, 3)


@pytest.mark.parametrize(
    ("values", "at_least", "word"),
    [((3.0,), False, "MISSED"), ((2.0,), False, "reached"), ((3.0,), True, "reached"), ((1.0,), True, "MISSED")],
)
def test_a_target_is_reached_or_missed(values: tuple[float, ...], at_least: bool, word: str) -> None:
    assert line(Figure("a", "s", values, target=2.0, at_least=at_least)).endswith(f"2 s: {word}")


def test_contenders_have_their_times_and_the_ratio_of_each_round() -> None:
    ours, theirs, ratio = figures("row", Row({"ours": print, "theirs": print}, 5.0, True), {"ours": [0.1, 0.2], "theirs": [1.0, 1.0]})
    assert (ours.values, theirs.values, ratio.values) == ((100.0, 200.0), (1000.0, 1000.0), (10.0, 5.0))
    assert (ours.reached, ratio.reached) == (None, True)
    (alone,) = figures("row", Row({"ours": print}, 0.15), {"ours": [0.2]})
    assert (alone.target, alone.reached) == (150.0, False)


def test_a_part_replaces_its_own_figures_on_that_machine_alone(tmp_path: Path) -> None:
    file = tmp_path / "b.json"
    assert read_measured(file) == []
    first = Measured("kernels", "c", CPU, (at(Figure("a", "ms", (1.0, 2.0), target=2.0), "cells", 8, "ours"), missing("b", "no card")))
    card, other = replace(first, machine=CARD), replace(first, part="bake")
    newer = replace(first, machine=replace(CPU, versions=(("torch", "3.0"),)), figures=(Figure("a", "ms", (3.0,)),))
    parts: list[Measured] = []
    for each in (first, card, other, newer):
        parts = merged(parts, each)
    write_measured(file, parts)
    assert read_measured(file) == [card, other, newer]
    for content, reason in (
        ('{"schema": 7}', "schema 7, 1 is wanted"),
        ('{"schema": 1', "Expecting"),
        ("[]", "list indices"),
        ("{}", "schema"),
    ):
        file.write_text(content)
        with pytest.raises(BadInput, match=rf"b.json: holds no figures of these tools \(.*{reason}.*\); remove it"):
            read_measured(file)


def test_the_page_shows_figures_targets_reasons_plots_and_what_is_not_measured(tmp_path: Path) -> None:
    points = [
        at(Figure(f"step at {size}", "ms", (size / 2, size, 2.0 * size), target=50.0), "coarse.size", size, "a step") for size in (32, 64)
    ]
    found = [
        Measured("one", "python -m one", CPU, (*points, missing("card", "no | card\nhere"))),
        Measured("one", "python -m one", CARD, tuple(points)),
    ]
    write_page(tmp_path / "B.md", {"one": "the first", "two": "the second"}, found)
    text = (tmp_path / "B.md").read_text()
    assert "Of 4 targets, 2 are missed:\n\n- one, step at 64: 64 ms, at most 50 ms: MISSED\n" in text
    assert "| step at 32 | 32 ms | 16 to 64 | 3 | at most 50 ms: reached |  |" in text
    assert "| card | not measured | | | | no \\| card here |" in text
    assert f"On {CPU.line()}: `python -m one`" in text
    assert f"On {CARD.line()}: `python -m one`" in text
    assert "Not measured yet: `python -m tools.bench two`." in text
    assert text.count("![coarse.size](benchmarks/coarse-size.svg)") == 1
    drawn = ElementTree.parse(tmp_path / "benchmarks" / "coarse-size.svg").getroot()
    names = [element.text for element in drawn.iter(f"{SVG}text")]
    assert {"a step, a processor", "a step, a card", "32", "64"} <= set(names)


def test_a_plot_is_logarithmic() -> None:
    curves = {"<ours>": [Point(place, value, value / 2, value * 2) for place, value in ((10, 1), (100, 10), (1000, 100))]}
    dots = [
        (float(dot.get("cx", "")), float(dot.get("cy", "")))
        for dot in ElementTree.fromstring(plot("t", "x", "s", curves)).iter(f"{SVG}circle")
    ]
    (x0, y0), (x1, y1), (x2, y2) = dots
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert y0 - y1 == pytest.approx(y1 - y2, abs=0.2)
    assert y0 > y1  # more is up
    with pytest.raises(ValueError, match="no place for 0"):
        plot("t", "x", "s", {"a": [Point(1, 0.0, 0.0, 1.0)]})


def test_a_part_is_measured_into_the_page_and_left_out_by_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    part = bench.Part("a stub", ("rounds",), lambda options: iter([Figure("stub", "s", (float(options.rounds or 1),))]))
    monkeypatch.setattr(bench, "PARTS", {"rows": part})
    for more, wanted in (([], "1 s"), (["--rounds", "2"], "2 s"), (["--rounds", "2", "--resume"], "measured already")):
        monkeypatch.setattr("sys.argv", ["bench", "rows", "--page", str(tmp_path / "B.md"), "--device", "cpu", *more])
        bench.main()
        assert wanted in capsys.readouterr().out
    assert "`python -m tools.bench rows --rounds 2`" in (tmp_path / "B.md").read_text()
    assert len(read_measured(tmp_path / "B.json")) == 1


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--page", "{folder}/B.txt"], "B.txt: expected a name that ends in .md"),
        (["--page", "{folder}/B.json"], "B.json: expected a name that ends in .md"),
        (["--page", "{folder}/file/B.md"], "B.md: "),
        (["--page", "{folder}/broken.md"], "broken.json: holds no figures of these tools"),
        (["--rounds", "0"], "argument --rounds: 0: expected a whole number from 1 on"),
        (["--steps", "-1"], "argument --steps: -1: expected a whole number from 1 on"),
    ],
)
@pytest.mark.parametrize("part", ["all", "rows"])
def test_what_could_not_be_kept_is_refused_before_it_is_measured(
    part: str, words: list[str], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "broken.json").write_text("no figures")
    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr("sys.argv", ["bench", part, *(word.format(folder=tmp_path) for word in words)])
    with pytest.raises(SystemExit) as ended:
        bench.main()
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert reason in err
    assert sorted(tmp_path.iterdir()) == before


def test_all_parts_are_measured_in_processes_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        started.append(command)
        return subprocess.CompletedProcess(command, int("bake" in command))

    monkeypatch.setattr(bench.subprocess, "run", run)
    monkeypatch.setattr("sys.argv", ["bench", "all", "--steps", "7", "--rounds", "2", "--resume", "--page", str(tmp_path / "B.md")])
    with pytest.raises(SystemExit, match="1"):
        bench.main()
    assert [command[3] for command in started] == list(bench.PARTS)
    page = ["--page", str(tmp_path / "B.md"), "--resume"]
    assert {command[3]: command[4:] for command in started}["stages"] == ["--steps", "7", *page]
    assert {command[3]: command[4:] for command in started}["bake"] == ["--rounds", "2", *page]


def test_a_whole_process_is_timed_and_its_failure_is_none_of_its_figures() -> None:
    small, large = (whole_process(["-c", f"held = b'x' * {size}; print(len(held))"]) for size in (1, 10**8))
    assert (small.output, large.output) == ("1\n", "100000000\n")
    assert small.memory < 5 * 10**7  # of itself, not of this process, which holds torch
    assert large.memory - small.memory > 8 * 10**7
    with pytest.raises(RuntimeError, match="ended with 3"):
        whole_process(["-c", "raise SystemExit(3)"])
