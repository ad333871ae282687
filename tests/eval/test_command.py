"""`python -m tools.eval` as it is called: what is wrong is one line before anything is made, and what is asked for is evaluated."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from evaluated_runs import PROMPTS, ColourJudge, done, make_batch

from dreamfusion_mesh import process
from dreamfusion_mesh.batch.names import made_name
from tools.eval import __main__ as command

RED, GREEN, BLUE = PROMPTS
NINES = "9" * 5000  # digits: more than Python converts


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("prompts.txt").write_text(f"{RED}\n{GREEN}\n")
    return tmp_path


def call(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["tools.eval", "--prompts", "prompts.txt", "--out", "out", "--preset", "smoke", *words])
    try:
        command.main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--settings", "ablatoin"),
            "--settings ablatoin: expected a .yaml file, or one of ablation, baselines, losses, plain; did you mean 'ablation'?",
        ),
        (
            ("--settings", "../settings/plain"),
            "--settings ../settings/plain: expected a .yaml file, or one of ablation, baselines, losses, plain",
        ),
        (("--settings", "nowhere.yaml"), "nowhere.yaml: "),
        (("--settings", "plain", "--seeds", f"0,{NINES}"), "--seeds: a number of 5000 characters, at most 100 are read"),
        (("--settings", "plain", "--seeds", "0,x"), "--seeds: expected a whole number from 0 to 9223372036854775807 (given 'x')"),
        (("--settings", "plain", "--count", NINES), "--count: a number of 5000 characters, at most 100 are read"),
        (("--settings", "plain", "--count", "0"), "--count: expected a whole number from 1 to 100000 (given 0)"),
        (("--settings", "plain", "--workers", "100000"), "--workers: expected a whole number from 1 to 256 (given 100000)"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_made(
    words: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    monkeypatch.setattr(command, "run_settings", lambda *_: pytest.fail("a batch began"))
    assert call(monkeypatch, *words) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"error: {message}")
    assert told.count("\n") == 1
    assert not (here / "out").exists()


@pytest.mark.parametrize("name", ["evaluation.json", "evaluation.html", "evaluation.md"])
def test_files_that_cannot_be_written_are_told_before_the_first_run(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    monkeypatch.setattr(command, "run_settings", lambda *_: pytest.fail("a batch began"))
    (here / "out" / name).mkdir(parents=True)
    assert call(monkeypatch, "--settings", "plain") == 2
    assert capsys.readouterr().err == f"error: out/{name}: is a folder; name a file\n"


def test_rows_of_other_calls_are_not_evaluated(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    """Such as those of a longer list of prompts or seeds, whose settings may have been others; nor does their prompt have to be there."""

    def made(_: object, chosen: list[str], seeds: list[int], out: Path, __: object) -> None:
        asked = [done(made_name(prompt, seed), prompt, seed) for prompt in chosen for seed in seeds]
        make_batch(out / "plain", *asked, done(made_name(RED, 5), RED, 5), done("blue", BLUE))

    monkeypatch.setattr(command, "run_settings", made)
    monkeypatch.setattr("dreamfusion_mesh.evaluate.judges.load_judge", lambda *_: ColourJudge())
    assert call(monkeypatch, "--settings", "plain", "--seeds", "0,1") == 0
    found = json.loads((here / "out" / "evaluation.json").read_text())
    assert sorted((run["prompt"], run["seed"]) for run in found["runs"]) == [(GREEN, 0), (GREEN, 1), (RED, 0), (RED, 1)]


def test_an_interrupt_tells_the_command_that_goes_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    stop = process.Stopped(signal.SIGINT)

    def stopped(*_: object) -> None:
        raise stop

    monkeypatch.setattr(command, "run_settings", stopped)
    monkeypatch.setattr(process, "received", lambda: stop)
    monkeypatch.setattr("dreamfusion_mesh.evaluate.judges.load_judge", lambda *_: ColourJudge())
    assert call(monkeypatch, "--settings", "plain") == 130
    words = "--prompts prompts.txt --out out --preset smoke --settings plain"
    assert capsys.readouterr().err == f"error: interrupted; go on with: python -m tools.eval {words}\n"
