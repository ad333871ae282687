"""Folders that are nearly MVDream: each is refused in one line that says what is wrong, and nothing of a folder is run."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_folders import edit_json, write_folder
from tiny_mvdream import TINY, TINY_VAE, write_checkpoint, write_port

from dreamfusion_mesh.config import GuidanceSettings
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.models.load import load_guidance, model_files
from dreamfusion_mesh.guidance.models.mvdream import MVDreamModel

ONE_FILE = "sd-v2.1-base-4view.safetensors"


def refusal(folder: Path) -> str:
    with pytest.raises(BadInput) as caught:
        load_guidance(GuidanceSettings(model=str(folder), multiview=True), "cpu")
    (line,) = caught.value.lines
    return line


def test_a_pickle_is_refused_with_a_command_that_converts_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_checkpoint(tmp_path / "model")
    tensors = load_file(folder / ONE_FILE)
    torch.save(tensors, folder / "sd-v2.1-base-4view.pt")
    (folder / ONE_FILE).unlink()
    line = refusal(folder)
    assert "sd-v2.1-base-4view.pt is a pickle, which can run code when it is opened; only safetensors are read" in line
    command = line.partition("convert it once: ")[2]
    code = re.fullmatch(r'python -c "(.*)"', command)
    assert code
    monkeypatch.chdir(folder)
    exec(code[1], {})  # as a shell would
    assert load_file(folder / ONE_FILE).keys() == tensors.keys()
    assert isinstance(load_guidance(GuidanceSettings(model=str(folder), multiview=True), "cpu"), MVDreamModel)


def test_code_in_the_ports_folder_is_not_run(tmp_path: Path) -> None:
    folder = write_port(tmp_path / "port")
    for name in ("unet/mv_unet.py", "pipeline_mvdream.py"):
        (folder / name).write_text("raise SystemExit('run')")
    assert isinstance(load_guidance(GuidanceSettings(model=str(folder), multiview=True), "cpu"), MVDreamModel)


def test_the_published_configuration_stands_in_for_a_missing_one(tmp_path: Path) -> None:
    """So that a tiny checkpoint without its .yaml is told apart from the published sizes."""
    folder = write_checkpoint(tmp_path / "model")
    (folder / "sd-v2-base.yaml").unlink()
    assert re.search(rf"{ONE_FILE} cannot be loaded \(RuntimeError: .*size mismatch|Missing key", refusal(folder))


def change_unet(**values: object) -> Callable[[Path], None]:
    return lambda folder: edit_json(folder / "unet" / "config.json", **values)


def drop(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        file = folder / "unet" / "diffusion_pytorch_model.safetensors"
        tensors = load_file(file)
        del tensors[name]
        save_file(tensors, file)

    return change


def cut(folder: Path) -> None:
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:5000])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change_unet(camera_dim=12), "unet/config.json has camera_dim 12; only 16, a camera's matrix, is read"),
        (change_unet(ip_dim=16), r"ip_dim 16: it needs a picture \(ImageDream\); not supported"),
        (change_unet(num_res_blocks=10**6), r"has num_res_blocks 1000000; expected such as 2"),
        (change_unet(channel_mult="wide"), r"has channel_mult 'wide'; expected such as \[1, 2, 4, 4\]"),
        (change_unet(model_channels=-1), "has model_channels -1"),
        (change_unet(channel_mult=[1] * 99), "has channel_mult"),
        (change_unet(context_dim=8), r"unet/ cannot be loaded \(RuntimeError.*download the model again"),
        (change_unet(image_size=10**4), "sample_size|image_size"),
        (drop("camera_embed.2.weight"), r"unet/ cannot be loaded \(RuntimeError.*class_embedding\.linear_2\.weight"),
        (cut, "unet/diffusion_pytorch_model.safetensors is not a readable safetensors file"),
        (lambda folder: shutil.rmtree(folder / "vae"), "has no vae/; name a folder with MVDream in the diffusers layout"),
        (lambda folder: (folder / "scheduler" / "scheduler_config.json").unlink(), "scheduler_config.json is missing"),
    ],
)
def test_a_broken_port_is_refused(tmp_path: Path, change: Callable[[Path], None], message: str) -> None:
    folder = write_port(tmp_path / "port")
    change(folder)
    assert re.search(message, refusal(folder))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("[1]", "sd-v2-base.yaml has nothing as model, expected a mapping"),
        ('{"model": [1]}', "has a list as model, expected a mapping"),
        (
            '{"model": {"params": {}}}',
            "has no model.params.timesteps; take MVDream's own mvdream/configs/sd-v2-base.yaml, or take the file away",
        ),
        ("model: [", "sd-v2-base.yaml"),
    ],
)
def test_a_broken_configuration_is_refused(tmp_path: Path, settings: str, message: str) -> None:
    folder = write_checkpoint(tmp_path / "model")
    (folder / "sd-v2-base.yaml").write_text(settings)
    assert message in refusal(folder)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("unet_config", [], "has a list as model.params.unet_config, expected a mapping"),
        ("unet_config", {"params": [["image_size", 4]]}, "has a list as model.params.unet_config.params, expected a mapping"),
        ("first_stage_config", {"params": {"ddconfig": 4}}, "has a int as model.params.first_stage_config.params.ddconfig"),
        ("first_stage_config", None, "has nothing as model.params.first_stage_config, expected a mapping"),
        ("timesteps", "x", r"sd-v2-base\.yaml cannot be loaded"),
        ("timesteps", 10**12, "num_train_timesteps is over 100000"),
        ("timesteps", 0, r"sd-v2-base\.yaml (cannot be loaded|gives shares)"),
        ("linear_start", "x", r"sd-v2-base\.yaml cannot be loaded"),
        ("linear_start", -1, r"sd-v2-base\.yaml (cannot be loaded|gives shares)"),
        ("scale_factor", None, "has scaling_factor None; expected a number"),
        (
            "first_stage_config",
            {"params": {"ddconfig": TINY_VAE | {"ch": 16384}}},
            r"safetensors cannot be loaded \(RuntimeError.*size mismatch",
        ),
    ],
)
def test_numbers_that_no_schedule_or_autoencoder_has_are_refused(tmp_path: Path, name: str, value: Any, message: str) -> None:
    folder = write_checkpoint(tmp_path / "model")
    file = folder / "sd-v2-base.yaml"
    settings = json.loads(file.read_text())
    settings["model"]["params"][name] = value
    file.write_text(json.dumps(settings))
    assert re.search(message, refusal(folder)), refusal(folder)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("token_embedding.weight", (3,), r"token_embedding\.weight has shape \[3\], expected a matrix"),
        ("positional_embedding", (), r"positional_embedding has shape \[\], expected a matrix"),
    ],
)
def test_a_checkpoint_with_tensors_of_no_text_encoder_is_refused(tmp_path: Path, name: str, shape: tuple[int, ...], message: str) -> None:
    folder = write_checkpoint(tmp_path / "model")
    save_file(load_file(folder / ONE_FILE) | {f"cond_stage_model.model.{name}": torch.zeros(shape)}, folder / ONE_FILE)
    assert re.search(message, refusal(folder))


def test_a_tensor_of_no_layer_is_left_out(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model")
    more = {f"cond_stage_model.model.transformer.resblocks.{end}": torch.zeros(1) for end in ("x.y", "")}
    save_file(load_file(folder / ONE_FILE) | more, folder / ONE_FILE)
    assert isinstance(load_guidance(GuidanceSettings(model=str(folder), multiview=True), "cpu"), MVDreamModel)


def test_a_checkpoint_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model")
    shutil.rmtree(folder / "tokenizer")
    assert "has no tokenizer/; name a folder that holds MVDream's checkpoint as one .safetensors file" in refusal(folder)


def test_a_checkpoint_of_another_text_encoder_is_refused(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model")
    kept = {name: value for name, value in load_file(folder / ONE_FILE).items() if not name.startswith("cond_stage_model.")}
    save_file(kept, folder / ONE_FILE)
    assert "MVDream on Stable Diffusion 2.1 is read alone" in refusal(folder)


def test_other_models_are_none_of_mvdream(tmp_path: Path) -> None:
    plain = write_folder(tmp_path / "plain")
    assert not isinstance(load_guidance(GuidanceSettings(model=str(plain)), "cpu"), MVDreamModel)
    (tmp_path / "single").mkdir()
    save_file({"model.diffusion_model.out.2.bias": torch.zeros(4)}, tmp_path / "single" / "v1-5.safetensors")
    assert "has no unet/; name a folder in the diffusers layout" in refusal(tmp_path / "single")


def test_the_files_of_either_layout_are_known_without_loading_it(tmp_path: Path) -> None:
    for folder in (write_port(tmp_path / "port"), write_checkpoint(tmp_path / "one")):
        assert model_files(GuidanceSettings(model=str(folder))).provenance()["files"]


def test_parameters_of_the_port_are_those_of_its_configuration(tmp_path: Path) -> None:
    assert TINY.items() <= json.loads((write_port(tmp_path / "port") / "unet" / "config.json").read_text()).items()
