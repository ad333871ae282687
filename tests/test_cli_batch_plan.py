"""`batch --dry-run` tells what would be done and what it costs; and a batch that is stopped says how to go on."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import Ended, caller, signals_arrive
from stub_rows import StubRows

from dreamfusion_mesh.batch import run as batch_run

ROOT = Path(__file__).parents[1]
BATCH = ("batch", "a.csv", "--out", "my out", "--preset", "smoke", "--device", "cpu")


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., Ended]:
    """The command in this process; its rows are stubs."""
    monkeypatch.setattr(batch_run, "PipelineRows", lambda strict, encodings, workers: StubRows(tmp_path, strict=strict))
    return caller(monkeypatch, capfd, tmp_path)


def planned(command: Callable[..., Ended], *more: str) -> tuple[dict[str, str], list[str]]:
    """What is to be done for each job by its name, and the lines after the table."""
    ended = command(*BATCH, "--dry-run", *more)
    assert ended.returncode == 0, ended.stderr
    table, _, rest = ended.stdout.partition("\n\n")
    rows = [re.split(r"  +", line) for line in table.splitlines()]
    assert rows[0][:3] == ["name", "what", "seed"]
    return {row[0]: row[1] for row in rows[1:]}, rest.splitlines()


def write(folder: Path, *rows: str) -> None:
    (folder / "a.csv").write_text("\n".join(["prompt,name,seed,count,coarse.steps", *rows]) + "\n")


def test_rows_are_shown_as_they_are_resolved_and_nothing_is_written(command: Callable[..., Ended], tmp_path: Path) -> None:
    write(tmp_path, "a red mug,,,2,", '"a very, very long prompt that goes on and on about a mug and its handle",mug,7,,300')
    ended = command(*BATCH, "--dry-run", "--set", "fine.steps=5")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == [
        "name         what  seed  prompt; settings that differ from smoke",
        "a-red-mug-0  new      0  a red mug; device=cpu, fine.steps=5",
        "a-red-mug-1  new      1  a red mug; device=cpu, fine.steps=5",
        "mug          new      7  a very, very long prompt that goes on and on about a mug and...; "
        "device=cpu, coarse.steps=300, fine.steps=5",
        "",
        "3 assets: 3 new",
        "3 to make, 339 steps; how long that takes is known once the first of this folder are done",
    ]
    assert [file.name for file in tmp_path.iterdir()] == ["a.csv"]


def test_what_is_left_of_a_batch_is_told(command: Callable[..., Ended], tmp_path: Path) -> None:
    write(tmp_path, "a red mug,mug,,,", "fail-fit,bad,,,", "empty 3,vase,,,", "a keg,keg,,,", "a jug,jug,,,")
    assert command(*BATCH).returncode == 1
    shutil.rmtree(tmp_path / "my out" / "jug")
    write(tmp_path, "a red mug,mug,,,", "fail-fit,bad,,,", "empty 3,vase,,,", "a keg,keg,,,9", "a jug,jug,,,", "a pot,pot,,,")
    before = sorted(tmp_path.rglob("*"))
    what, rest = planned(command)
    assert what == {
        "mug": "done",
        "bad": "tried again",
        "vase": "no retry left",
        "keg": "changed",
        "jug": "made again",
        "pot": "new",
    }
    assert rest[0] == "6 assets: 1 tried again, 1 changed, 1 made again, 1 new, 1 done, 1 no retry left"
    assert rest[1].startswith("4 to make, 61 steps")
    assert planned(command, "--retries", "1")[0]["vase"] == "another seed"
    assert sorted(tmp_path.rglob("*")) == before


STUBBED = """
import sys
from pathlib import Path
from dreamfusion_mesh import cli, process
from dreamfusion_mesh.batch import run
from stub_rows import StubRows
run.PipelineRows = lambda strict, encodings, workers: StubRows(Path("."), strict=strict)
process.run(cli.main)
"""


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize(
    ("number", "how"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "ended by SIGTERM"), (signal.SIGHUP, "ended by SIGHUP")]
)
def test_a_signal_has_its_exit_code_and_the_line_says_how_to_go_on(number: signal.Signals, how: str, tmp_path: Path) -> None:
    write(tmp_path, "steps,mug,,,", "a jug,jug,,,")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests" / "support")])}
    command = [sys.executable, "-c", STUBBED, *BATCH, "--log", "json"]
    with (
        signals_arrive(),
        subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            if '"stage"' in line:
                break
        process.send_signal(number)
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    again = "dreamfusion-mesh batch a.csv --out 'my out' --preset smoke --device cpu --log json"
    assert errors.splitlines()[-1] == f"error: {how}; go on with: {again}"
    assert f'"exit": {128 + number}' in output.splitlines()[-1]
    finished = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert finished.returncode == 0, finished.stderr
    assert '"exit": 0, "before": 0, "done": 2, "failed": 0, "left": 0' in finished.stdout.splitlines()[-1]
