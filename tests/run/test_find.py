"""What a folder is asked for and what the run in it has: the differences, and the commands that go on."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from dreamfusion_mesh import cli
from dreamfusion_mesh.cli import generate as cli_generate
from dreamfusion_mesh.config import DELIVERY_GROUPS, RunConfig, change, dump, load_config
from dreamfusion_mesh.config.yaml_text import read_yaml, write_value
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.pipeline import export, generate
from dreamfusion_mesh.run.find import check_changes, find_run, move_to_device
from dreamfusion_mesh.run.folder import RunFolder
from dreamfusion_mesh.run.settings import ForeignSettings

CONFIG = load_config("smoke", ["device=cpu"], {"prompt": "a red mug"})


def changed(*changes: str) -> RunConfig:
    return load_config("smoke", ["device=cpu", *changes], {"prompt": "a red mug"})


def refused(folder: Path, found: RunConfig, wanted: RunConfig, fine: bool = True) -> str:
    """The message for a folder with a run of `found` where one of `wanted` is asked for."""
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "run.yaml").write_text(dump(found))
    if fine:
        (folder / "checkpoints" / "fine.safetensors").write_bytes(b"")
    with pytest.raises(BadInput) as caught:
        find_run(folder, wanted)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def commands(message: str) -> list[list[str]]:
    """The words of each command that a message offers, as a shell splits them."""
    return [shlex.split(text) for text in re.findall(r"`(dreamfusion-mesh .*?)`", message)]


def test_another_delivery_names_what_differs_and_the_two_ways_on(tmp_path: Path) -> None:
    message = refused(tmp_path / "run", changed("mesh.triangles=3000"), CONFIG)
    assert message == (
        f"--out {tmp_path}/run: holds this run with other settings of its delivery (mesh.triangles is 3000 there, 1000 here); "
        f"`dreamfusion-mesh generate --out {tmp_path}/run` goes on with it as it is there, "
        f"`dreamfusion-mesh export {tmp_path}/run --set mesh.triangles=1000` delivers it with the settings asked for now"
    )


def test_a_run_that_is_not_fitted_has_to_be_finished_before_it_is_delivered(tmp_path: Path) -> None:
    message = refused(tmp_path / "run", changed("mesh.triangles=3000"), CONFIG, fine=False)
    assert message.endswith("delivers it with the settings asked for now, once its fine stage is finished")


EVERY_KIND = [
    "mesh.triangles=3000",
    "mesh.smallest_part=1e-7",
    "texture.metallic=0.1",
    "asset.longest_side=123456.75",
    "audit.mip=3",
    "raster.backend=warp",
    "licence_checked=true",
    "commercial=true",
    "device=auto",
]


@pytest.mark.parametrize("there", [True, False], ids=["there", "here"])
@pytest.mark.parametrize("name", ["run", "a run; rm -rf $HOME", "it's", "-run", "läuft"])
def test_the_offered_commands_do_what_they_say(name: str, there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are split as a shell does and given to the command line; every delivery group is among the differences."""
    assert {text.partition("=")[0].partition(".")[0] for text in EVERY_KIND} == set(DELIVERY_GROUPS)
    monkeypatch.chdir(tmp_path)
    found, wanted = (changed(*EVERY_KIND), CONFIG) if there else (CONFIG, changed(*EVERY_KIND))
    keep, deliver = commands(refused(Path(name), found, wanted))
    asked: list[tuple[Path, RunConfig]] = []
    monkeypatch.setattr("dreamfusion_mesh.pipeline.generate", lambda config, folder, **_: asked.append((folder, config)))
    monkeypatch.setattr("dreamfusion_mesh.pipeline.export", lambda folder, config, **_: asked.append((folder, config)))
    monkeypatch.setattr(cli_generate, "_print_result", lambda *result: None)
    for command in (keep, deliver):
        cli.app(command[1:], standalone_mode=False)
    assert [(folder.resolve(), config) for folder, config in asked] == [(tmp_path / name, found), (tmp_path / name, wanted)]


@pytest.mark.parametrize("value", [3, 1e-7, 1e22, 0.1, True, "auto", "010", "a: b", "it's #1", "", [0.5, 1e-9], "x" * 200 + " y" * 200])
def test_values_are_written_so_that_set_reads_them_back(value: object) -> None:
    text = write_value(value)
    assert "\n" not in text
    read = read_yaml(text, "--set")
    assert read == value
    assert type(read) is type(value)


def test_an_export_is_followed_by_the_original_command(fitted: Path, delivered_once: None) -> None:
    """The run as `generate` made it, exported with other settings, then asked for once more."""
    found = RunFolder(fitted).config()
    export(fitted, change(found, ["texture.roughness=0.25", "asset.longest_side=2.5"], None, ["texture", "asset"]))
    with pytest.raises(BadInput, match=r"roughness is 0.25 there, 'auto' here; asset.longest_side is 2.5 there, 1.0 here") as caught:
        generate(found, fitted)
    keep, deliver = commands(str(caught.value))
    assert keep[1:] == ["generate", "--out", str(fitted)]
    assert deliver[1:] == ["export", str(fitted), "--set", "texture.roughness=auto", "--set", "asset.longest_side=1.0"]


def test_other_runs_are_told_apart_by_all_that_differs(tmp_path: Path) -> None:
    message = refused(tmp_path / "run", CONFIG, load_config("smoke", ["seed=4", "mesh.triangles=3000"], {"prompt": "a blue mug"}))
    wanted = (
        "holds another run (prompt is 'a red mug' there, 'a blue mug' here; seed is 0 there, 4 here; device is 'cpu' there, 'auto' here; "
        "mesh.triangles is 1000 there, 3000 here); name another folder, or delete this one first"
    )
    assert message == f"--out {tmp_path}/run: {wanted}"


def test_of_many_differences_a_handful_is_named_and_the_rest_counted(tmp_path: Path) -> None:
    message = refused(tmp_path / "run", CONFIG, load_config("default", [], {"prompt": "a red mug"}))
    assert message.count(" there, ") == 4
    assert re.search(r"; and \d+ more\); name another folder", message)


def test_a_long_value_is_cut(tmp_path: Path) -> None:
    message = refused(tmp_path / "run", CONFIG, load_config("smoke", [], {"prompt": "a red mug " * 900}))
    assert len(message) < 500


def test_export_names_every_setting_that_may_not_change() -> None:
    wanted = changed("coarse.steps=13", "seed=2", "mesh.triangles=3000")
    with pytest.raises(BadInput, match=r"^export: seed is 0 there, 2 here; coarse.steps is 12 there, 13 here; only settings of mesh, tex"):
        check_changes(CONFIG, wanted, DELIVERY_GROUPS)
    check_changes(CONFIG, changed("mesh.triangles=3000"), DELIVERY_GROUPS)


FOREIGN = {
    "name: ci\non: [push]\njobs: {}\n": r"is another program's \(it holds 'name', .*, 'jobs', and no prompt\)",
    "prompt: a poem\ntemperature: 0.5\n": r"is another program's \(it holds 'prompt', 'temperature', and no settings of coarse, fine, guid",
    "- 1\n": r"is not of a run \(expected settings, name: value; found list\)",
    "": "is not of a run",
    "a: [1": "not valid YAML",
    "a: 2020-99-99": "is another program's",
    "\x00": "not valid YAML",
}


@pytest.mark.parametrize("text", FOREIGN)
def test_a_folder_with_another_programs_settings_is_refused_and_kept(text: str, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(text)
    for work in (lambda: find_run(tmp_path, CONFIG), RunFolder(tmp_path).config, lambda: export(tmp_path)):
        with pytest.raises(ForeignSettings, match=rf"run\.yaml: {FOREIGN[text]}.*; name another folder$"):
            work()
    assert [file.name for file in tmp_path.iterdir()] == ["run.yaml"]


def test_settings_that_are_no_text_or_no_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(ForeignSettings, match=r"cannot be read .*is not UTF-8 text"):
        RunFolder(tmp_path).config()
    (tmp_path / "run.yaml").unlink()
    (tmp_path / "run.yaml").mkdir()
    with pytest.raises(ForeignSettings, match="is a folder; name a regular file"):
        find_run(tmp_path, CONFIG)


def test_a_wrong_setting_of_a_run_is_still_named(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(dump(CONFIG).replace("steps: 12", "stpes: 12"))
    with pytest.raises(BadInput, match=r"coarse\.stpes: unknown setting; did you mean 'steps'"):
        RunFolder(tmp_path).config()


@pytest.mark.parametrize("change", ["seed=4", "mesh.triangles=3000", "coarse.steps=3"])
def test_settings_other_than_the_device_are_not_moved(change: str, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(dump(changed(change)))
    for wanted in (CONFIG, load_config("smoke", ["device=auto"], {"prompt": "a red mug"})):
        move_to_device(tmp_path, wanted)
        assert (tmp_path / "run.yaml").read_text() == dump(changed(change))
    move_to_device(tmp_path / "missing", CONFIG)
    assert not (tmp_path / "missing").exists()
