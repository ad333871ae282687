"""Files are never destroyed, and what bars a file is one line and exit code 2, whoever runs the command."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import Ended, caller, check_refused
from privileges import file_size_limit, permissions_hold, umask
from written_files import box

from dreamfusion_mesh.config import dump, load_config
from dreamfusion_mesh.run import audit_file, fitting

NOT_UTF8 = os.fsdecode(b"caf\xe9")


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., Ended]:
    """The command in this process, in the folder `tmp_path`."""
    return caller(monkeypatch, capfd, tmp_path)


def refuse_work(*arguments: object) -> None:
    raise AssertionError("the work begins before the input is checked")


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is audited."""
    monkeypatch.setattr(audit_file, "audit_asset", refuse_work)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def audited(ended: Ended) -> None:
    assert ended.returncode == 1, ended.stderr  # the budget of `default` is smaller than the box
    assert "sound surface" in ended.stdout


@pytest.mark.parametrize("target", ["asset.glb", "./asset.glb", "link", "hard", "below/../asset.glb"])
def test_a_report_never_replaces_the_audited_model(target: str, command: Callable[..., Ended], no_work: None, tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "link").symlink_to(box(1).write(tmp_path))
    (tmp_path / "hard").hardlink_to(tmp_path / "asset.glb")
    before = contents(tmp_path)
    check_refused(command("audit", "asset.glb", "--json", target), f"--json {Path(target)}: is the file that is audited")
    assert contents(tmp_path) == before


@pytest.mark.parametrize("target", ["asset.mtl", "color.png", "asset.obj", "other.glb"])
def test_a_report_never_replaces_a_part_of_a_model_or_another_one(
    target: str, command: Callable[..., Ended], no_work: None, tmp_path: Path
) -> None:
    box(1).write_obj(tmp_path)
    (tmp_path / "other.glb").write_bytes(b"another")
    before = contents(tmp_path)
    check_refused(command("audit", "asset.obj", "--json", target), "which the report would replace; name another file")
    assert contents(tmp_path) == before


def test_a_report_goes_through_links_and_into_pipes_and_devices(command: Callable[..., Ended], tmp_path: Path) -> None:
    box().write(tmp_path)
    command_line = ("audit", "asset.glb", "--set", "mesh.triangles=100", "--json")
    (tmp_path / "old").write_text("an older report")
    for name, target in (("link", "old"), ("dangling", "new"), ("null", os.devnull), ("out", "/dev/stdout")):
        (tmp_path / name).symlink_to(target)
        ended = command(*command_line, name)
        audited(ended)
        assert os.readlink(tmp_path / name) == target
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    report = (tmp_path / "old").read_text()
    assert json.loads(report)["file"] == "asset.glb"
    assert (tmp_path / "new").read_text() == report
    assert ended.stdout.endswith(report)
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    audited(command(*command_line, "pipe"))
    assert os.read(reader, 1 << 16).decode() == report  # which a pipe holds whole
    os.close(reader)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_pipe_that_nobody_reads_is_refused(command: Callable[..., Ended], tmp_path: Path) -> None:
    box(1).write(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    ended = command("audit", "asset.glb", "--json", "pipe")
    assert ended.returncode == 2
    assert "pipe: cannot be written (it is a socket, or a pipe that no process reads)" in ended.stderr


@pytest.mark.parametrize("mask", [0o077, 0o002])
def test_a_report_has_the_permissions_that_the_umask_leaves(mask: int, command: Callable[..., Ended], tmp_path: Path) -> None:
    box().write(tmp_path)
    with umask(mask):
        command("audit", "asset.glb", "--json", "deep/report.json")
    assert stat.S_IMODE((tmp_path / "deep" / "report.json").stat().st_mode) == 0o666 & ~mask


def test_a_report_larger_than_files_may_be_leaves_nothing(command: Callable[..., Ended], tmp_path: Path) -> None:
    box(1).write(tmp_path)
    with file_size_limit(3000):
        ended = command("audit", "asset.glb", "--json", "deep/report.json")
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert "this shell lets files have 3000 bytes); raise that limit with `ulimit -f unlimited`" in ended.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["asset.glb"]


CLOSED = "(you may not enter the folder {}/closed); change its permissions, or name another place"
LONG = "x" * 300
REFUSED = [
    (["generate", "a red mug", "--out", "closed/inner/run"], "--out closed/inner/run: cannot be written " + CLOSED),
    (["generate", "a red mug", "--out", "kept/run"], "--out kept/run: cannot be written (you may not write in the folder {}/kept)"),
    (["generate", "a red mug", "--out", LONG], "cannot be written (File name too long: 300 bytes in one of its names"),
    (["generate", "a red mug", "--out", NOT_UTF8], r"--out caf\xe9: the path caf\xe9 is not UTF-8; rename it"),
    (["generate", "a red mug", "--out", "dangling"], "dangling is a link to nowhere, which is missing); make that, or name another place"),
    (["generate", "a red mug", "--out", "pipe.glb"], "--out pipe.glb: is a pipe; name a folder"),
    (["generate", "--out", "closed/inner"], CLOSED),
    (["generate", "a red mug", "--preset", "closed/a.yaml"], CLOSED),
    (["generate", "a red mug", "--preset", "pipe.yaml"], "preset 'pipe.yaml': is a pipe; name a regular file"),
    (["generate", "a red mug", "--preset", NOT_UTF8 + ".yaml"], r"the path caf\xe9.yaml is not UTF-8; rename it"),
    (
        ["generate", "a red mug", "--out", "{}/new", "--set", "guidance.model=closed/inner"],
        "guidance 'closed/inner': cannot be read " + CLOSED,
    ),
    (["export", "closed/inner"], CLOSED),
    (["export", NOT_UTF8], "caf\\xe9 is not UTF-8; rename it"),
    (["export", "locked in"], "locked in: cannot be written (you may not write in the folder {}/locked in)"),
    (["audit", "closed/x.glb"], "closed/x.glb: cannot be read " + CLOSED),
    (["audit", "unreadable.glb"], "unreadable.glb: cannot be read (you may not read it); change its permissions, or name another place"),
    (["audit", "pipe.glb"], "pipe.glb: is a pipe; name a regular file"),
    (["audit", LONG + ".glb"], "cannot be read (File name too long: 304 bytes in one of its names"),
    (["audit", NOT_UTF8 + ".glb"], r"caf\xe9.glb: the path caf\xe9.glb is not UTF-8; rename it"),
    (["audit", "asset.glb", "--json", "closed/x.json"], "--json closed/x.json: cannot be written " + CLOSED),
    (["audit", "asset.glb", "--json", "kept/x.json"], "--json kept/x.json: cannot be written (you may not write in the folder {}/kept)"),
    (["audit", "asset.glb", "--json", NOT_UTF8], r"--json caf\xe9: the path caf\xe9 is not UTF-8; rename it"),
    (["audit", "asset.glb", "--json", LONG], "File name too long: 300 bytes in one of its names"),
    (["audit", "asset.glb", "--json", "kept"], "--json kept: is a folder; name a file"),
]


@pytest.fixture(scope="module")
def barred(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which there is something wrong with every place but `asset.glb`."""
    folder = tmp_path_factory.mktemp("barred")
    for name in ("closed/inner", "kept", "locked in"):
        (folder / name).mkdir(parents=True)
    box(1).write(folder)
    (folder / "unreadable.glb").write_bytes(b"glTF")
    (folder / "dangling").symlink_to("nowhere")
    (folder / "locked in" / "run.yaml").write_text(dump(load_config("smoke", overrides={"prompt": "a red mug"})))
    for name in ("pipe.glb", "pipe.yaml"):
        os.mkfifo(folder / name)
    for name, mode in (("closed", 0o600), ("kept", 0o500), ("locked in", 0o500), ("unreadable.glb", 0)):
        (folder / name).chmod(mode)
    return folder


@pytest.mark.parametrize(
    ("arguments", "message"), REFUSED, ids=lambda value: ascii("-".join(value))[:50] if isinstance(value, list) else ""
)
def test_what_bars_a_path_is_one_true_line(
    arguments: list[str],
    message: str,
    barred: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    if "--json" in arguments:
        monkeypatch.setattr(audit_file, "audit_asset", refuse_work)
    if "guidance.model=closed/inner" not in arguments:
        monkeypatch.setattr(fitting, "load_guidance", refuse_work)
    before = sorted(barred.rglob("*"))
    with permissions_hold():
        ended = caller(monkeypatch, capfd, barred)(*(argument.replace("{}", str(barred.parent)) for argument in arguments))
    check_refused(ended, message.format(barred))
    assert sorted(barred.rglob("*")) == before
