"""Where Warp's cache cannot be written, kernels are compiled into a private temporary folder, with one warning."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import warp as wp

from dreamfusion_mesh import doctor
from dreamfusion_mesh.errors import RunFailed
from dreamfusion_mesh.kernels import cache, launch
from dreamfusion_mesh.kernels.cache import VARIABLE, start_with_cache

ROOT = Path(__file__).parents[2]


@pytest.fixture
def begin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Path], None]:
    """Have Warp's start make the cache in a folder; what is left behind is in `tmp_path`, and is removed at the test's end."""
    monkeypatch.setattr(cache.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(cache.atexit, "register", lambda *arguments, **named: None)
    monkeypatch.setattr(wp.config, "kernel_cache_dir", None)
    monkeypatch.delenv(VARIABLE, raising=False)

    def start(folder: Path) -> None:
        if wp.config.kernel_cache_dir is None:
            wp.config.kernel_cache_dir = str(folder)
        else:
            wp.config.kernel_cache_dir = str(Path(wp.config.kernel_cache_dir) / str(wp.config.version))
        Path(wp.config.kernel_cache_dir).mkdir(parents=True, exist_ok=True)

    return start


def check_temporary(found: cache.KernelCache, home: Path, caplog: pytest.LogCaptureFixture) -> None:
    base = found.folder.parent
    assert base.parent == home
    assert stat.S_IMODE(base.stat().st_mode) == 0o700
    assert (os.environ[VARIABLE], wp.config.kernel_cache_dir) == (str(base), str(found.folder))
    assert found.folder.is_dir()
    assert len(caplog.messages) == 1
    assert f"Name one that lasts in {VARIABLE}" in caplog.messages[0]


def test_a_folder_that_takes_files_is_used(begin, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = start_with_cache(lambda: begin(tmp_path / "own"))
    assert (found.folder, found.problem) == (tmp_path / "own", "")
    assert caplog.messages == []
    assert VARIABLE not in os.environ


def test_a_folder_that_cannot_be_made(begin, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    found = start_with_cache(lambda: begin(tmp_path / "file" / "own"))
    assert found.problem == f"{tmp_path}/file/own cannot be made (Not a directory)"
    check_temporary(found, tmp_path, caplog)


def test_a_full_disk_and_what_is_compiled_there(begin, monkeypatch, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "own" / "wp_kernels").mkdir(parents=True)
    (tmp_path / "own" / "wp_kernels" / "a.o").write_text("machine code")
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda path: SimpleNamespace(free=3 * 2**20))
    found = start_with_cache(lambda: begin(tmp_path / "own"))
    assert found.problem == f"{tmp_path}/own has 3 MiB left on its disk"
    assert (found.folder / "wp_kernels" / "a.o").read_text() == "machine code"
    check_temporary(found, tmp_path, caplog)


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="a folder that exists and takes no files, whoever asks")
def test_a_folder_that_is_there_and_takes_no_files(begin, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = start_with_cache(lambda: begin(Path("/proc/self/fd")))
    assert found.problem.startswith("/proc/self/fd cannot be written (")
    check_temporary(found, tmp_path, caplog)


def test_a_user_without_a_home(begin, monkeypatch, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As in a container that runs as a number: Warp would make a folder named "~" in the working folder."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(cache.os.path, "expanduser", lambda path: path)
    found = start_with_cache(lambda: begin(Path("~")))
    assert found.problem == "this user has no home folder"
    check_temporary(found, tmp_path, caplog)


def test_no_temporary_folder_either_is_one_line(begin, monkeypatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(cache.tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(RunFailed, match=r"cannot be made \(Not a directory\), and there is no temporary folder .*in WARP_CACHE_PATH$"):
        start_with_cache(lambda: begin(tmp_path / "file" / "own"))


PROBE = """
import json, os, subprocess, sys
from dreamfusion_mesh.kernels.launch import KERNEL_CACHE
import torch
from dreamfusion_mesh.kernels.trace import closest_point
closest_point(torch.zeros(1, 3), torch.eye(3), torch.tensor([[0, 1, 2]]))
child = "from dreamfusion_mesh.kernels.launch import KERNEL_CACHE; print(KERNEL_CACHE.folder)"
seen = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=True)
found = {"folder": str(KERNEL_CACHE.folder), "compiled": os.listdir(KERNEL_CACHE.folder), "child": seen.stdout + seen.stderr}
print(json.dumps(found))
"""


def test_a_real_process_compiles_there_its_children_say_nothing_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "temporary").mkdir()
    environment = {name: value for name, value in os.environ.items() if name not in (VARIABLE, "XDG_CACHE_HOME")}
    environment |= {"HOME": str(tmp_path / "file"), "TMPDIR": str(tmp_path / "temporary"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, env=environment, timeout=120, check=True)
    found = json.loads(done.stdout)
    assert Path(found["folder"]).is_relative_to(tmp_path / "temporary")
    assert [name for name in found["compiled"] if "trace_warp" in name]
    assert found["child"] == f"{found['folder']}\n"
    assert len(done.stderr.splitlines()) == 1
    assert list((tmp_path / "temporary").iterdir()) == []


def test_doctor_shows_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    own = doctor._cache()
    assert (own.found, own.detail) == (True, str(launch.KERNEL_CACHE.folder))
    monkeypatch.setattr(launch, "KERNEL_CACHE", cache.KernelCache(Path("/tmp/some"), "/home/x cannot be made (Permission denied)"))
    detail = "/tmp/some, temporary: /home/x cannot be made (Permission denied); name a folder that can be written in WARP_CACHE_PATH"
    assert doctor._cache().detail == detail
