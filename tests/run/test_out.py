"""A folder that cannot take a run is refused before torch is imported, by its true cause; one that can is left as it is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from privileges import file_size_limit, permissions_hold

from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.run.out import check_out, generate_command


def test_folders_that_can_take_a_run_pass_and_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    before = sorted(tmp_path.rglob("*"))
    for name in ("there", "link", "new", "new/deep/run", "link/new"):
        check_out(tmp_path / name)
    assert sorted(tmp_path.rglob("*")) == before


def test_what_cannot_take_a_run_is_refused_by_its_cause(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    (tmp_path / "link").symlink_to("nowhere")
    for name, mode in (("closed", 0o600), ("kept", 0o500)):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(mode)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoints").symlink_to("/nowhere/disk")
    causes = {
        "run": f"{tmp_path}/run/checkpoints is a link to /nowhere/disk, which is missing); make that, or name another place",
        "file": "is a file; name a folder",
        "file/run": f"cannot be written ({tmp_path}/file is a file, not a folder); name another place",
        "link": f"cannot be written ({tmp_path}/link is a link to nowhere, which is missing); make that, or name another place",
        "closed/inner/run": f"cannot be written (you may not enter the folder {tmp_path}/closed); change its permissions, or",
        "kept": f"cannot be written (you may not write in the folder {tmp_path}/kept); change its permissions, or name another place",
        "kept/run": f"cannot be written (you may not write in the folder {tmp_path}/kept)",
        "new/" + "x" * 300: "File name too long: 300 bytes in one of its names",
        os.fsdecode(b"caf\xe9"): r"caf\xe9 is not UTF-8; rename it",
    }
    with permissions_hold():
        for name, cause in causes.items():
            with pytest.raises(BadInput) as caught:
                check_out(tmp_path / name)
            assert cause in str(caught.value)
            assert str(caught.value).startswith(f"--out {tmp_path}")


@pytest.mark.parametrize("finished", [False, True])
def test_space_is_asked_for_by_a_run_that_is_not_finished(finished: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if finished:
        (tmp_path / "result.json").write_text("{}")
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    if finished:
        check_out(tmp_path)
        return
    with pytest.raises(BadInput, match="its disk has 0 MiB left, a run needs 200"):
        check_out(tmp_path)


def test_a_file_size_limit_below_any_runs_checkpoint_is_refused(tmp_path: Path) -> None:
    with file_size_limit(5000), pytest.raises(BadInput, match=r"this shell lets files have 5000 bytes.*ulimit -f unlimited"):
        check_out(tmp_path / "run")
    with file_size_limit(2**30):
        check_out(tmp_path / "run")


def test_a_refused_folder_costs_no_heavy_import(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    code = (
        "import sys\nfrom dreamfusion_mesh import cli\nsys.argv = ['x', 'generate', 'a red mug', '--out', 'file/run']\n"
        "try: cli.main()\nexcept SystemExit as ended: assert ended.code == 2\n"
        "assert not {'torch', 'numpy', 'warp'} & set(sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "error: --out file/run: cannot be written (file is a file, not a folder); name another place\n"


@pytest.mark.parametrize(("folder", "word"), [("run", "run"), ("my run", "'my run'"), ("-x", "./-x"), ("a'b;c", """'a'"'"'b;c'""")])
def test_the_command_that_goes_on_can_be_pasted(folder: str, word: str) -> None:
    assert generate_command(Path(folder), "--strict") == f"dreamfusion-mesh generate --out {word} --strict"
