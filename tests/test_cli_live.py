"""`generate --live`: where the page is, what shows the asset afterwards, and what is refused before anything is loaded or written."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil
import pytest
from commands import Ended, caller, check_refused

from dreamfusion_mesh import pipeline
from dreamfusion_mesh.run.result import Result


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., Ended]:
    """The command in this process, in the folder `tmp_path`."""
    return caller(monkeypatch, capfd, tmp_path)


@pytest.fixture
def no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def generate(*arguments: object, **named: object) -> None:
        raise AssertionError("the run begins before the page is there")

    monkeypatch.setattr(pipeline, "generate", generate)


def test_without_viser_the_extra_is_named(
    command: Callable[..., Ended], no_run: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "viser", None)
    ended = command("generate", "a red mug", "--live")
    check_refused(ended, "error: --live: needs viser, which cannot be imported")
    assert ended.stderr.endswith("pip install 'dreamfusion-mesh[view]'\n")
    assert not list(tmp_path.iterdir())


def test_a_port_in_use_is_refused(command: Callable[..., Ended], no_run: None, tmp_path: Path) -> None:
    pytest.importorskip("viser", reason="viser is not installed; pip install 'dreamfusion-mesh[view]'")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        check_refused(command("generate", "a red mug", "--live", "--live-port", port), f"--live-port {port}: cannot be listened on")
    assert not list(tmp_path.iterdir())


def test_a_port_without_a_page_is_refused(command: Callable[..., Ended], no_run: None, tmp_path: Path) -> None:
    check_refused(command("generate", "a red mug", "--live-port", "8080"), "--live-port: goes with --live")
    assert not list(tmp_path.iterdir())


def test_the_page_is_named_first_and_what_shows_the_asset_last(
    command: Callable[..., Ended], finished: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("viser", reason="viser is not installed; pip install 'dreamfusion-mesh[view]'")
    listening: list[tuple[str, int]] = []

    def generate(*arguments: object, report: Callable[[str, int, int, Mapping[str, float], None], None]) -> Result:
        listening.extend(each.laddr for each in psutil.Process().net_connections() if each.status == psutil.CONN_LISTEN)
        report("coarse", 1, 1, {"residual": 0.5}, None)
        return finished

    monkeypatch.setattr(pipeline, "generate", generate)
    ended = command("generate", "a red mug", "--live")
    ((host, port),) = listening
    assert ended.stderr.splitlines()[:2] == [f"live: http://{host}:{port}", "coarse 1/1, residual 0.5000"]
    assert ended.stdout.endswith(f"\nTo look at it: dreamfusion-mesh view {finished.folder}\n")
    assert ended.returncode == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, port))
    assert "To look at it" not in command("generate", "a red mug").stdout


def test_a_batch_has_no_page(command: Callable[..., Ended]) -> None:
    check_refused(command("batch", "prompts.csv", "--out", "assets", "--live"), "No such option: --live")
