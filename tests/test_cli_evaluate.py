"""`evaluate` as it is called: what it prints and writes, and one clear line for each bad input before any work."""

from __future__ import annotations

import hashlib
import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import Ended, caller, check_refused
from evaluated_runs import PROMPTS, ColourJudge, done, failed, make_batch, make_run, started

from dreamfusion_mesh import process
from dreamfusion_mesh.evaluate import judges
from dreamfusion_mesh.evaluate.page import MARK
from dreamfusion_mesh.run.result import Result

RED, GREEN, BLUE = PROMPTS


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., Ended]:
    """The command in this process, in a folder with prompts and two batches; the embedded judge sees colours alone."""
    load = judges.load_judge
    monkeypatch.setattr(judges, "load_judge", lambda model, device: ColourJudge() if model == "embedded" else load(model, device))
    (tmp_path / "prompts.txt").write_text("".join(f"{prompt}\n" for prompt in PROMPTS))
    make_batch(tmp_path / "base", done("r", RED), failed("b", BLUE))
    make_batch(tmp_path / "other", done("r", RED))
    return caller(monkeypatch, capfd, tmp_path)


def contents(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_the_table_is_on_standard_output_and_the_files_are_where_they_were_asked_for(command: Callable[..., Ended], tmp_path: Path) -> None:
    before = contents(tmp_path)
    words = ("evaluate", "base", "other", "--prompts", "prompts.txt", "--device", "cpu")
    words += ("--json", "new/found.json", "--report", "found.html")
    first = command(*words)
    assert first.returncode == 0
    assert "base: 2 runs of 2 prompts; failed: empty 1" in first.stdout.splitlines()
    assert [line.partition(",")[0] for line in first.stderr.splitlines()] == [f"evaluate {at}/3" for at in (1, 2, 3)]
    after = contents(tmp_path)
    assert after.keys() - before.keys() == {"new/found.json", "found.html"}
    assert {name: after[name] for name in before} == before
    assert json.loads(after["new/found.json"])["groups"][0]["failures"] == {"empty": 1}
    assert after["found.html"].startswith(MARK)
    assert command(*words).stdout == first.stdout  # which replaces the files that it wrote
    assert contents(tmp_path) == after


def test_rows_that_are_not_done_are_told_and_left_out(command: Callable[..., Ended], tmp_path: Path) -> None:
    make_batch(tmp_path / "running", done("r", RED), *(started(f"later-{at}", BLUE) for at in range(5)))
    ended = command("evaluate", "running", "--prompts", "prompts.txt")
    told = "running: 5 rows are under way or left by a stop (later-0, later-1, later-2 and more), and left out"
    assert ended.returncode == 0
    assert f"warning: {told}" in ended.stderr.splitlines()
    assert "running: 1 run of 1 prompt; 5 not done and left out" in ended.stdout.splitlines()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("base",), "--prompts"),
        (("--prompts", "prompts.txt"), "RUNS"),
        (("base", "--prompts", "no.txt"), "no.txt: cannot be read"),
        (("base", "--prompts", "base"), "base: "),
        (("base", "--prompts", "base/manifest.jsonl"), "base/manifest.jsonl: prompts are read from .txt and .csv files"),
        (("base", "--prompts", "short.txt"), "short.txt: lacks 1 prompt that runs were made for ('a blue box'); add it"),
        (("base", "base", "--prompts", "prompts.txt"), "base: is given twice, by base and by base; name it once"),
        (("nowhere", "--prompts", "prompts.txt"), "nowhere: is missing; name a folder that `generate` or `batch` wrote"),
        (("base/r/asset.glb", "--prompts", "prompts.txt"), "base/r/asset.glb: is a file, not a folder"),
        (("base", "--prompts", "prompts.txt", "--judge", "nowhere"), "judge 'nowhere': "),
        (("base", "--prompts", "prompts.txt", "--judge", "base"), "judge 'base': "),
        (("base", "--prompts", "prompts.txt", "--device", "abacus"), "device: expected one of auto, cpu, cuda (given 'abacus')"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    words: tuple[str, ...], message: str, command: Callable[..., Ended], tmp_path: Path
) -> None:
    (tmp_path / "short.txt").write_text(f"{RED}\n{GREEN}\n")
    before = contents(tmp_path)
    check_refused(command("evaluate", *words, "--json", "found.json"), message)
    assert contents(tmp_path) == before


def test_a_table_with_several_faults_has_a_line_for_each(command: Callable[..., Ended], tmp_path: Path) -> None:
    (tmp_path / "prompts.csv").write_text(f"prompt,front\n{RED},maybe\n{RED},\n")
    ended = command("evaluate", "base", "--prompts", "prompts.csv")
    assert (ended.returncode, len(ended.stderr.splitlines()), ended.stdout) == (2, 2, "")


def test_a_judge_that_guided_a_run_is_refused(command: Callable[..., Ended], tmp_path: Path) -> None:
    make_run(tmp_path / "out" / "mug", guidance={"files": {"image/model.safetensors": "judge"}})
    refused = command("evaluate", "base", "out/mug", "--prompts", "prompts.txt", "--json", "found.json")
    check_refused(refused, "judge: its weights guided the run out/mug (image/model.safetensors is the same file); name another")
    assert not (tmp_path / "found.json").exists()


@pytest.mark.parametrize(("at", "left"), [(0, "nothing was written"), (1, "--json a.json may be written, and nothing else")])
def test_an_interruption_tells_what_was_written(
    at: int, left: str, command: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def interrupted(*_: object) -> None:
        monkeypatch.setattr(process, "_received", [process.Stopped(signal.SIGINT)])
        raise process.received()

    where = ("dreamfusion_mesh.evaluate.document.document_bytes", "dreamfusion_mesh.evaluate.page.page_bytes")[at]
    monkeypatch.setattr(where, interrupted)
    words = ("evaluate", "base", "--prompts", "prompts.txt", "--json", "a.json", "--report", "a.html")
    ended = command(*words)
    again = f"dreamfusion-mesh {' '.join(words)}"
    assert (ended.returncode, ended.stderr.splitlines()[-1]) == (130, f"error: interrupted; {left}; again with: {again}")
    assert ((tmp_path / "a.json").exists(), (tmp_path / "a.html").exists()) == (bool(at), False)


@pytest.mark.parametrize("option", ["--json", "--report"])
@pytest.mark.parametrize("name", ["manifest.jsonl", "summary.csv"])
def test_files_of_a_batch_are_not_replaced_where_one_of_its_runs_is_evaluated(
    option: str, name: str, command: Callable[..., Ended], tmp_path: Path
) -> None:
    (tmp_path / "base" / "summary.csv").write_text("")  # an empty file is no page's and may be replaced elsewhere
    before = contents(tmp_path)
    for runs in ("base/r", "other"):  # the batch around the run, and one that is not evaluated
        ended = command("evaluate", runs, "--prompts", "prompts.txt", option, f"base/{name}")
        check_refused(ended, f"{option} base/{name}: is a file of the batch in ")
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("option", "target", "message"),
    [
        ("--json", "prompts.txt", "is the file of the prompts, which the report would replace"),
        ("--report", "prompts.txt", "is the file of the prompts, which the page would replace"),
        ("--json", "base/manifest.jsonl", "is a file of the batch in base, which the report would replace"),
        ("--json", "base/r/run.yaml", "is a file of the run in "),
        ("--report", "base/r/result.json", "is a file of the run in "),
        ("--json", "model.glb", "is a model that is there already, which the report would replace"),
        ("--json", "data.bin", "is there already and holds data, not text, which the report would replace"),
        ("--report", "notes.html", "is there already and is no evaluation's page, which this one would replace"),
        ("--json", "judge/config.json", "is a file of the judge, which the report would replace"),
        ("--json", "base", "is a folder; name a file"),
        ("--report", "notes.html/x", "cannot be written"),
        ("--report", "found.json", "is where --json puts the report"),
    ],
)
def test_a_target_that_cannot_be_written_or_would_destroy_something_is_refused_before_the_work(
    option: str, target: str, message: str, command: Callable[..., Ended], tmp_path: Path
) -> None:
    (tmp_path / "model.glb").write_bytes((tmp_path / "base/r/asset.glb").read_bytes())
    (tmp_path / "data.bin").write_bytes(b"\0\1")
    (tmp_path / "notes.html").write_text("<!DOCTYPE html>\n<p>mine</p>")
    (tmp_path / "judge").mkdir()
    (tmp_path / "judge" / "config.json").write_text("{}")
    before = contents(tmp_path)
    other = ("--json", "found.json") if option == "--report" else ()
    ended = command("evaluate", "base", "--prompts", "prompts.txt", "--judge", "judge", option, target, *other)
    check_refused(ended, f"{option} {target}: {message}")
    assert contents(tmp_path) == before


def test_a_real_run_is_judged_by_the_embedded_judge(
    finished: Result, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The whole way: a finished run of the preset `smoke`, beside one that failed, and the box of another group."""
    command = caller(monkeypatch, capfd, tmp_path)
    prompt = json.loads((finished.folder / "result.json").read_text())["prompt"]
    make_batch(tmp_path / "boxes", failed("mushroom", prompt), done("box", "a red box"))
    (tmp_path / "prompts.csv").write_text(f"prompt,front,parts,holes\n{prompt},no,1,0\na red box,no,1,0\na blue chair,yes,1,\n")
    words = ("evaluate", str(finished.folder), "boxes", "--prompts", "prompts.csv", "--device", "cpu", "--json")
    tables, digests = set(), set()
    for name in ("one.json", "two.json"):
        ended = command(*words, name)
        assert ended.returncode == 0, ended.stderr
        tables.add(ended.stdout)
        digests.add(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    assert (len(tables), len(digests)) == (1, 1)
    values = json.loads((tmp_path / "one.json").read_text())
    assert (values["judge"]["model"], values["pool"]["prompts"]) == ("embedded", 3)
    own, box, lost = values["runs"]
    assert own["memory"]["resident"] > 2**27
    assert {0.0} == {lost["values"][name] for name in ("colour", "textureless")}
    assert box["values"]["colour"] > 0.9  # of the three prompts a box of one red is like no other
    assert values["groups"][1]["against_first"]["colour"]["count"] == 1
