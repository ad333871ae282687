"""The fuzzing: a hundred cases of it, and each of its verdicts on a command with that very fault."""

from __future__ import annotations

import json
import os
import shutil
import struct
import sys
import zlib
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from planted_commands import COMMANDS
from safetensors import SafetensorError
from safetensors.torch import load, save
from written_files import box, png

from tools.fuzz.__main__ import describe, main, numbers_of, summary
from tools.fuzz.corpus import make_corpus
from tools.fuzz.guard import contents
from tools.fuzz.mutate.files import mutate
from tools.fuzz.mutate.safetensors import in_order
from tools.fuzz.mutate.table import random_table
from tools.fuzz.pool import Limits, Outcome, WorkerProcess, run_cases
from tools.fuzz.targets import TARGETS, make_case, target_of
from tools.fuzz.verdict import Ended, faults

CASES, SEED = 100, 1
PLANTED = Limits(seconds=1.0, resident=256 << 20)


@pytest.fixture(scope="module")
def corpus(guidance: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz") / "corpus"
    make_corpus(folder, guidance)
    return folder


def test_a_hundred_cases_end_as_the_readme_says(corpus: Path) -> None:
    outcomes = list(run_cases(range(CASES), SEED, corpus, 1, Limits()))
    failing = [describe(outcome, SEED) for outcome in outcomes if outcome.faults]
    assert (failing, len(outcomes)) == ([], CASES)
    kinds = {Path(name).suffix for outcome in outcomes for name in outcome.changed}
    assert kinds >= {".glb", ".gltf", ".obj", ".mtl", ".ply", ".stl", ".png", ".yaml", ".json", ".jsonl", ".safetensors"}


@pytest.fixture(scope="module")
def meshes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As much of a corpus as planted commands need: the files that one target copies."""
    folder = tmp_path_factory.mktemp("fuzz") / "corpus"
    (folder / "meshes").mkdir(parents=True)
    (folder / "finished").mkdir()
    for name in ("binary.ply", "text.ply", "binary.stl", "text.stl", "asset.off"):
        (folder / "meshes" / name).write_text("OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n")
    return folder


def numbers_for(names: Sequence[str], times: int = 1) -> list[int]:
    """Numbers of cases in which a read-only audit stands for the planted commands, in their order."""
    found = []
    for name in names:
        place = [command.__name__ for command in COMMANDS].index(name)
        suited = (n for n in numbers_of(0, ["audit-mesh"]) if n % len(COMMANDS) == place)
        found += list(islice((n for n in suited if n not in found), times))
    return found


def planted(names: Sequence[str], meshes: Path, times: int = 1, **more: Any) -> list[Outcome]:
    return list(run_cases(numbers_for(names, times), 0, meshes, 1, PLANTED, entry="planted_commands:main", **more))


FAULTS = {  # of planted commands, by how the only or the first one found begins
    "sound": "",
    "raises": "traceback: KeyError at tests/support/planted_commands.py:",
    "hangs": "over 1 s",
    "raises_in_a_thread": "traceback",
    "leaves": "left the process with code 0",
    "logs_a_traceback": "traceback",
    "asks_for_too_much": "traceback: MemoryError at ",
    "waits": "over 1 s",
    "waits_for_a_child": "over 1 s",
    "ends_late": "over 1 s",
    "ends_its_own_child": "",
    "ends_another_process": "outside its folder: os.kill ",
    "exits_130": "exit code 130",
    "two_errors": "2 error lines with exit code 2",
    "crashes": "killed by SIGSEGV",
    "no_error": "0 error lines with exit code 2",
    "error_and_success": "1 error lines with exit code 0",
    "fills_memory": "over 256 MiB of memory",
    "warns": "stray line on standard error: ",
    "writes_to_descriptor_2": "stray line on standard error: a library in C",
    "writes_outside": "outside its folder: open ",
    "removes_outside": "outside its folder: os.remove '../sentinel/secret.txt'",
    "moves_outside": "outside its folder: os.rename '../x'",
    "makes_a_folder_outside": "outside its folder: os.mkdir '../new'",
    "links_outside": "outside its folder: os.symlink '../link'",
    "writes_through_a_link": "outside its folder: open 'inside' for writing",
    "changes_the_sentinel_unseen": "outside its folder: sentinel/secret.txt changed",
    "starts_a_program": "outside its folder: start '/bin/true'",
    "connects": "outside its folder: socket.connect ",
    "changes_what_it_reads": "read-only command changed ",
    "succeeds": "read-only command changed made",
}


@pytest.fixture(scope="module")
def outcomes(meshes: Path) -> dict[str, Outcome]:
    """Every planted command, one after another; workers that are lost in between are replaced."""
    return dict(zip(FAULTS, planted(list(FAULTS), meshes), strict=True))


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found(name: str, outcomes: dict[str, Outcome]) -> None:
    outcome, fault = outcomes[name], FAULTS[name]
    assert any(found.startswith(fault) for found in outcome.faults) if fault else outcome.faults == ()
    assert outcome.target == "audit-mesh"
    assert outcome.command.startswith("audit ")


def test_a_worker_that_died_between_two_cases_is_one(meshes: Path, tmp_path: Path) -> None:
    first, second, third = numbers_for(["sound"], 3)
    with WorkerProcess(tmp_path / "home", meshes, 0, "planted_commands:main", PLANTED) as process:
        assert process.run(first).faults == ()
        assert process.worker is not None
        process.worker.kill()
        os.waitid(os.P_PID, process.worker.pid, os.WEXITED | os.WNOWAIT)
        assert process.run(second).faults == ("killed by SIGKILL",)
        assert process.run(third).faults == ()


def test_every_planted_command_is_run() -> None:
    assert {command.__name__ for command in COMMANDS} == {*FAULTS, "remembers"}


def test_a_case_leaves_nothing_to_the_next(meshes: Path) -> None:
    assert [outcome.code for outcome in planted(["remembers"], meshes, times=3)] == [0, 0, 0]


def test_a_failing_case_is_kept_with_what_it_wrote(meshes: Path, tmp_path: Path) -> None:
    (outcome,) = planted(["two_errors"], meshes, keep=tmp_path / "kept")
    kept = tmp_path / "kept" / f"0-{outcome.number}"
    assert (kept / "stderr.txt").read_text() == "error: one\nerror: and another\n"
    case = json.loads((kept / "case.json").read_text())
    assert (kept / "case" / case["arguments"][1]).is_file()
    assert case["faults"] == list(outcome.faults)


def test_a_seed_and_a_number_make_the_same_case(meshes: Path, tmp_path: Path) -> None:
    number, cases = next(numbers_of(5, ["audit-mesh"])), []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        cases.append((make_case(5, number, meshes, tmp_path / name), contents(tmp_path / name)))
    assert cases[0] == cases[1]
    assert {target_of(0, number) for number in range(2000)} == set(TARGETS)


def test_the_corpus_has_no_times_in_it(corpus: Path) -> None:
    for run in ("finished", "stopped"):
        lines = map(json.loads, (corpus / run / "metrics.jsonl").read_text().splitlines())
        assert {value for line in lines for key, value in line.items() if key.endswith("_ms")} == {1.5}
        files = sorted((corpus / run / "checkpoints").iterdir())
        assert [file.read_bytes() == in_order(file.read_bytes()) for file in files] == [True] * len(files)


def test_every_file_that_a_run_goes_on_from_is_changed(corpus: Path, tmp_path: Path) -> None:
    changed: set[str] = set()
    for number in islice(numbers_of(1, ["go-on-stopped", "answer-finished"]), 200):
        folder = tmp_path / str(number)
        folder.mkdir()
        changed |= set(make_case(1, number, corpus, folder).changed)
        shutil.rmtree(folder)
    read = {file.name for run in ("stopped", "finished") for file in (corpus / run).rglob("*") if file.suffix in (".safetensors", ".yaml")}
    assert changed >= read | {"metrics.jsonl", "result.json", "provenance.json", "audit.json", ".lock", ".staged"}


@pytest.mark.parametrize("suffix", [".glb", ".gltf", ".json", ".jsonl", ".yaml", ".safetensors", ".png", ".ply", ".obj", ".x"])
def test_what_is_no_such_file_is_changed_as_bytes(suffix: str) -> None:
    changed = {mutate(Random(seed), suffix, b"\x00\xff no such file", b"another") for seed in range(50)}
    assert len(changed) > 20


def test_yaml_that_holds_itself_is_changed() -> None:
    assert len({mutate(Random(seed), ".yaml", b"a: &x [*x, 1]\nb: *x\n", b"") for seed in range(50)}) > 20


def test_tables_are_sound_and_hostile() -> None:
    tables = [random_table(Random(seed)) for seed in range(200)]
    assert len(set(tables)) > 190
    sound = [table for table in tables if b"prompt" in table and b"\0" not in table and table.isascii()]
    assert 60 < len(sound) < 180, len(sound)


def test_mutations_by_format_reach_what_reads_the_format() -> None:
    """A GLB's lengths, a PNG's checksums and a safetensors' offsets stay right in most mutations, so that no first check stops them."""
    glb, picture = box(1).glb(), png(16)
    tensors = save({"a": torch.arange(6.0).reshape(2, 3), "b": torch.arange(3)}, {"schema": "2"})
    right = {".glb": 0, ".png": 0, ".safetensors": 0}
    for seed in range(200):
        changed = mutate(Random(seed), ".glb", glb, picture)
        right[".glb"] += changed != glb and struct.unpack_from("<4sII", changed.ljust(12)) == (b"glTF", 2, len(changed))
        right[".png"] += _checksums_are_right(mutate(Random(seed), ".png", picture, glb))
        right[".safetensors"] += _is_read(mutate(Random(seed), ".safetensors", tensors, glb))
    assert min(right.values()) > 60, right


def _checksums_are_right(data: bytes) -> bool:
    at = 8
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4])
        if data[end : end + 4] != zlib.crc32(data[at + 4 : end]).to_bytes(4):
            return False
        at = end + 4
    return at == len(data)


def _is_read(data: bytes) -> bool:
    try:
        return bool(load(data))
    except SafetensorError:
        return False


@pytest.mark.parametrize(
    ("ended", "found"),
    [
        (Ended(0, "written", "coarse 12/12\nfine 1/4, residual 0.1, 5 s left\nwarning: x\n"), []),
        (Ended(1, "1  valid glTF  fail", ""), []),
        (Ended(1, "", "error: no surface\n"), []),
        (Ended(1, "", ""), ["0 error lines with exit code 1"]),
        (Ended("text", "", ""), ["exit code text"]),
        (Ended(2, "", "error: a.csv, line 2, seed: x\nerror: a.csv, line 3: y\nerror: a.csv: and 4 more faults\n"), []),
        (Ended(2, "", "error: a.csv, line 2, seed: x\nerror: y\n"), ["2 error lines with exit code 2"]),
        (Ended(2, "", "error: a.csv, line 2, seed: x\n" * 52), ["52 error lines with exit code 2"]),
        (Ended(1, "", "error: a.csv, line 2, seed: x\n" * 2), ["2 error lines with exit code 1"]),
        (Ended(2, "", "Usage: x\nerror: y\n"), ["stray line on standard error: Usage: x"]),
        (Ended(0, "", "Exception in thread\nTraceback (most recent call last):\n"), ["traceback"]),
    ],
)
def test_verdicts(ended: Ended, found: list[str]) -> None:
    assert faults(ended) == found


def test_the_summary_counts() -> None:
    outcomes = [Outcome(4, "export", "export run", 0, (), 2.5), Outcome(7, "doctor", "doctor", None, ("traceback", "x"), 0.1)]
    lines = summary(outcomes, 4.0)
    assert lines[0] == "2 cases in 4 s, 0.5 a second"
    assert "exit codes: 0 in 1, None in 1" in lines
    assert "slowest: 2.5 s, export 4" in lines
    assert lines[-1] == "1 failing"
    assert describe(outcomes[1], 3) == "doctor  3/7  doctor  ->  traceback; x"


@pytest.mark.parametrize(("name", "code"), [("sound", 0), ("no_error", 1)])
def test_the_tool_fails_where_a_case_does(
    name: str, code: int, meshes: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (number,) = numbers_for([name])
    monkeypatch.setattr(sys, "argv", ["fuzz", "--case", str(number), "--jobs", "1", "--corpus", str(meshes)])
    with pytest.raises(SystemExit) as ended:
        main("planted_commands:main")
    lines = capsys.readouterr().out.splitlines()
    assert ended.value.code == code
    assert lines[-1] == f"{code} failing"
    assert lines[0].startswith(f"audit-mesh  0/{number}  audit " if code else "1 cases in ")
