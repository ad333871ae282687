"""Every library's way to say that memory ran out is known, and becomes one line with the stage, the size and the settings."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import warp as wp
from smoke_runs import CONFIG

from dreamfusion_mesh import cli, pipeline
from dreamfusion_mesh.cli import generate as cli_generate
from dreamfusion_mesh.errors import BadInput, RunFailed
from dreamfusion_mesh.kernels import launch  # noqa: F401  starts Warp without output
from dreamfusion_mesh.out_of_memory import OutOfMemory, describe, named_shortage
from dreamfusion_mesh.run import fitting
from dreamfusion_mesh.run.folder import RunFolder

ROOT = Path(__file__).parents[2]
HUGE = 2**58  # bytes; more than an address space holds


def raised(work) -> BaseException:
    with pytest.raises(BaseException) as caught:  # noqa: PT011  whatever the library raises
        work()
    return caught.value


@pytest.mark.parametrize(
    ("work", "asked"),
    [
        (lambda: torch.empty(HUGE, dtype=torch.uint8), "268435456.0 GiB"),
        (lambda: np.empty(HUGE, dtype=np.uint8), "256. PiB"),
        (lambda: wp.empty((2**30, 2**28), dtype=wp.uint8, device="cpu"), "268435456.0 GiB"),
        (lambda: bytearray(HUGE), ""),
    ],
    ids=["torch", "numpy", "Warp", "Python"],
)
def test_what_each_library_raises_is_understood(work, asked: str) -> None:
    assert describe(raised(work)) == asked


@pytest.mark.parametrize(
    ("error", "asked"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 79 GiB"), "2.50 GiB"),
        (MemoryError("std::bad_alloc"), ""),
        (RuntimeError("could not create a primitive"), ""),
        (RuntimeError("Failed to allocate 1048576 bytes on device 'cuda:0'"), "1.0 MiB"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), ""),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), "libtorch_cpu.so"),
        (RuntimeError("can't start new thread"), ""),
        (ImportError("libgomp.so: cannot allocate memory in static TLS block"), None),
        (RuntimeError("shape mismatch"), None),
        (OSError(errno.ENOSPC, "No space left on device"), None),
        (BadInput("--out out of memory: is a file"), None),
    ],
    ids=lambda value: str(value)[:30],
)
def test_other_messages(error: Exception, asked: str | None) -> None:
    assert describe(error) == asked


def test_what_an_error_of_ours_came_from_counts() -> None:
    """As where loading a checkpoint takes a failed allocation for a wrong shape, and would have it deleted."""

    def load() -> None:
        try:
            torch.empty(HUGE, dtype=torch.uint8)
        except RuntimeError as error:
            raise RunFailed("fine: its checkpoint does not fit these settings; delete it to redo the stage") from error

    asked = r"^fine: out of memory \(asked for 268435456.0 GiB\); lower it$"
    with pytest.raises(OutOfMemory, match=asked), named_shortage("fine", lambda: "lower it"):
        load()


def test_the_inner_stage_is_named_and_other_errors_stay() -> None:
    with (
        pytest.raises(OutOfMemory, match=r"^bake: out of memory; less$"),
        named_shortage("deliver", str),
        named_shortage("bake", lambda: "less"),
    ):
        raise MemoryError
    with pytest.raises(ValueError, match="shape"), named_shortage("bake", lambda: "less"):
        raise ValueError("shape")


@pytest.mark.parametrize(
    ("function", "stage", "names"),
    [
        ("load_guidance", "model", "free memory or raise its limit"),
        ("fit_field", "coarse", "lower coarse.size (32), coarse.samples (32), coarse.views (2) or coarse.field.table_size_log2 (12) "),
        ("start_from_field", "conversion", "lower fine.tet_size (24) or coarse.samples (32) in a run of its own"),
        ("fit_surface", "fine", "lower fine.tet_size (24), fine.size (64) or fine.views (2) in a run of its own, or free memory"),
        ("load_surface", "tidy", "lower fine.tet_size (24) in a run of its own, or free memory"),
        ("delivery_files", "write", "lower texture.size (256) or asset.preview_size (96) with `export --set`"),
        ("publish", "audit", "lower texture.size (256) or mesh.triangles (1000) with `export --set`"),
    ],
)
def test_each_stage_of_a_run_names_its_settings(
    function: str, stage: str, names: str, fitted, delivered_once, monkeypatch: pytest.MonkeyPatch, guidance
) -> None:
    """Up to the stage that fails the run is that of `finished`; its checkpoints stay."""
    if stage in ("model", "coarse", "conversion", "fine"):
        RunFolder(fitted).drop_state("fine")
        monkeypatch.setattr(fitting, "load_guidance", lambda *arguments: guidance)
    if stage == "coarse":
        RunFolder(fitted).drop_state("coarse")
    left = {file.name for file in (fitted / "checkpoints").iterdir()}

    def fail(*arguments: object, **named: object) -> None:
        torch.empty(HUGE, dtype=torch.uint8)

    monkeypatch.setattr(fitting if stage in ("model", "coarse", "conversion", "fine") else pipeline, function, fail)
    with pytest.raises(RunFailed) as error:
        pipeline.generate(CONFIG, fitted)
    assert str(error.value).startswith(f"{stage}: out of memory (asked for 268435456.0 GiB); {names}")
    assert {file.name for file in (fitted / "checkpoints").iterdir()} == left
    assert not (fitted / ".lock").exists()


@pytest.mark.parametrize("step", ["tidy", "unwrap", "bake_material", "make_lods", "collision_hulls"])
def test_each_step_of_a_delivery_is_named(step: str, fitted, monkeypatch: pytest.MonkeyPatch) -> None:
    from dreamfusion_mesh import deliver

    def fail(*arguments: object, **named: object) -> None:
        raise MemoryError

    monkeypatch.setattr(deliver, step, fail)
    names = {"bake_material": "bake", "make_lods": "levels", "collision_hulls": "collision"}
    with pytest.raises(RunFailed, match=rf"^{names.get(step, step)}: out of memory; lower "):
        pipeline.export(fitted)


def test_shortage_outside_the_stages_is_one_line_too(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    def fail(*arguments: object, **named: object) -> None:
        raise MemoryError

    monkeypatch.setattr(cli_generate, "_run_config", fail)
    monkeypatch.setattr(sys, "argv", ["dreamfusion-mesh", "generate", "a red mug"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    assert capfd.readouterr().err == "error: out of memory before the work began; raise the limit (ulimit -v), or end other programs\n"


@pytest.mark.skipif(os.name == "nt", reason="ulimit")
@pytest.mark.parametrize("kibibytes", [100_000, 700_000])
@pytest.mark.parametrize("command", [["generate", "a red mug", "--out", "run"], ["export", "run"], ["audit", "a.glb"], ["doctor"]])
def test_libraries_that_do_not_fit_are_one_line(command: list[str], kibibytes: int, tmp_path: Path) -> None:
    line = f'ulimit -v {kibibytes}; exec "$@"'
    limited = ["sh", "-c", line, "sh", sys.executable, "-m", "dreamfusion_mesh", *command]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(limited, cwd=tmp_path, capture_output=True, text=True, timeout=60, env=environment, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: out of memory before the work began: ")
    assert done.stderr.endswith("; raise the limit (ulimit -v)\n")
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
