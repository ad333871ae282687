"""Whatever becomes of standard output and error, the exit code tells of the work and no traceback appears."""

from __future__ import annotations

import logging
import os
import shlex
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from dreamfusion_mesh.terminal import logged_warnings, one_line

ROOT = Path(__file__).parents[1]
STUB = [sys.executable, str(ROOT / "tests" / "support" / "stub_command.py"), "done"]
MODULE = [sys.executable, "-m", "dreamfusion_mesh"]
pytestmark = pytest.mark.skipif(os.name == "nt", reason="a POSIX shell")
ASCII = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def shell(command: list[str], redirection: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """The command with a shell's redirection behind it; the exit code is the command's own, also in a pipe."""
    line = f"{{ {shlex.join(command)}; echo $? > code; }} {redirection}"
    whole = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run(["sh", "-c", line], cwd=cwd, capture_output=True, env=whole, timeout=60, check=False)
    return subprocess.CompletedProcess(done.args, int((cwd / "code").read_text()), done.stdout, done.stderr)


@pytest.mark.parametrize("redirection", ["> /dev/full", ">&-", "| true", "2>&-", "2>&1 | true", "> /dev/full 2>&1", ">&- 2>&- <&-"])
@pytest.mark.parametrize("verb", [[*MODULE, "generate", "--help"], [*STUB, "generate", "a red mug", "--out", "run"]], ids=["help", "work"])
def test_the_exit_code_tells_of_the_work(redirection: str, verb: list[str], tmp_path: Path) -> None:
    done = shell(verb, redirection, tmp_path)
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr
    if "generate" in verb and "--help" not in verb:
        assert (tmp_path / "run" / "run.yaml").exists()


@pytest.mark.parametrize("redirection", ["> /dev/full", ">&-", "2>&-", "2>&1 | true"])
def test_bad_input_stays_bad_input(redirection: str, tmp_path: Path) -> None:
    done = shell([*MODULE, "generate"], redirection, tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == (0 if "2>" in redirection else 1)


def test_what_is_lost_is_said_where_it_can_be(tmp_path: Path) -> None:
    full = shell([*MODULE, "--version"], "> /dev/full", tmp_path)
    assert full.stderr.decode().startswith("warning: standard output could not be written (No space left on device)")
    assert shell([*MODULE, "--version"], "| true", tmp_path).stderr == b""  # who closes a pipe has read enough


def test_letters_that_the_terminal_lacks_are_escapes(tmp_path: Path) -> None:
    done = shell([*STUB, "generate", "a red mug", "--out", "grün/日本"], "", tmp_path, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert b"Written to gr\\xfcn/\\u65e5\\u672c:" in done.stdout
    assert (tmp_path / "grün" / "日本" / "run.yaml").exists()


def test_a_prompt_is_utf_8_in_every_locale(tmp_path: Path) -> None:
    code = "import sys; from dreamfusion_mesh.terminal import given_text; sys.stdout.buffer.write(given_text(sys.argv[1]).encode())"
    done = shell([sys.executable, "-c", code, "a grün mug"], "", tmp_path, **ASCII)
    assert done.stdout.decode() == "a grün mug", done.stderr
    refused = shell([*STUB, "generate", os.fsdecode(b"a \xff mug")], "", tmp_path)
    assert refused.returncode == 2
    assert refused.stderr.startswith(b"error: 'a \\udcff mug': is not UTF-8")


def test_a_path_in_an_encoding_that_is_not_utf_8_is_refused_with_the_remedy(tmp_path: Path) -> None:
    """Where Python itself cannot name the file, libraries cannot open it either."""
    done = shell([*STUB, "generate", "a red mug", "--out", "grün"], "", tmp_path, **ASCII)
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: --out gr\\xc3\\xbcn: the path")
    assert done.stderr.endswith(b"is not UTF-8; rename it, or set LC_ALL=C.UTF-8\n")
    assert not (tmp_path / "grün").exists()


def test_a_closed_descriptor_is_not_given_to_a_file_of_the_work(tmp_path: Path) -> None:
    code = "from dreamfusion_mesh import terminal; terminal.protect(); open('found', 'w').write(str(open('other', 'w').fileno()))"
    shell([sys.executable, "-c", code], ">&- 2>&- <&-", tmp_path)
    assert int((tmp_path / "found").read_text()) > 2


def test_a_warning_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    with logged_warnings():
        for text in ("one", "two", "one"):
            logging.getLogger("test").warning(text)
    assert capsys.readouterr().err == "warning: one\nwarning: two\n"


def test_the_memory_of_warnings_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's keep all lines
    length, count = 2000, 5000
    with open(os.devnull, "w") as nowhere, logged_warnings():
        monkeypatch.setattr(sys, "stderr", nowhere)
        tracemalloc.start()
        for number in range(count):
            logging.getLogger("test").warning("%d %s", number, "x" * length)
        used = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
    assert used < length * count / 2


def test_one_line_keeps_the_spaces_of_a_path() -> None:
    assert one_line(" go on with: export 'a  run'\n  or not\n") == "go on with: export 'a  run' or not"


def test_a_working_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    line = f"mkdir gone && cd gone && rmdir ../gone && exec {shlex.join([*MODULE, 'doctor'])}"
    done = subprocess.run(["sh", "-c", line], cwd=tmp_path, capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=60)
    assert done.returncode == 2
    assert done.stderr == b"error: the folder that this command runs in is gone; change to another one\n"
