"""Folders of the published families that cannot be used: one clear line each, and exit code 2."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from guided import bind, load, views_around
from tiny_folders import edit_json
from tiny_pipelines import write_pipeline

from dreamfusion_mesh import cli
from dreamfusion_mesh.config import GuidanceSettings
from dreamfusion_mesh.errors import BadInput, RunFailed
from dreamfusion_mesh.guidance.models.load import check_served

PROMPT = "a red mug"


def _edit(name: str, **values: Any) -> Callable[[Path], None]:
    return lambda folder: edit_json(folder / name, **values)


def _drop(name: str) -> Callable[[Path], None]:
    return lambda folder: shutil.rmtree(folder / name)


def _truncate(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-100])  # type: ignore[func-returns-value]


def _pickled(name: str, became: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).rename(folder / became)  # type: ignore[func-returns-value]


def _another(part: str, family: str, theirs: str = "") -> Callable[[Path], None]:
    """The part of another family, there perhaps of another name, in this one's place."""

    def change(folder: Path) -> None:
        shutil.rmtree(folder / part)
        write_pipeline(family, folder.parent / "other")
        shutil.copytree(folder.parent / "other" / (theirs or part), folder / part)

    return change


def _gemma_settings(folder: Path) -> None:
    """Of the whole T5Gemma, whose encoder's are no settings."""
    (folder / "text_encoder" / "config.json").write_text('{"model_type": "t5gemma", "encoder": {"vocab_size": "x"}}')


WEIGHTS = "transformer/diffusion_pytorch_model"
CASES: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "xl without its second text encoder": ("xl", _drop("text_encoder_2"), "has no text_encoder_2/"),
    "xl without its second tokenizer": ("xl", _drop("tokenizer_2"), r"tokenizer_2/tokenizer_config\.json is missing"),
    "xl without its vae": ("xl", _drop("vae"), r"unet/ takes 4 channels; .*add vae/"),
    "a refiner": ("xl", _edit("unet/config.json", addition_time_embed_dim=4), "a refiner is not supported"),
    "another second text encoder": ("xl", _edit("text_encoder_2/config.json", model_type="t5"), "text_encoder_2/ is a t5; only CLIP"),
    "a flow's sampler of a u-net": ("xl", _another("scheduler", "sd3"), "no beta_schedule.*not flow matching"),
    "words of another width": ("deepfloyd", _edit("unet/config.json", encoder_hid_dim=24), "unet/ cannot be loaded"),
    "no transformer's vae": ("sd3", _drop("vae"), "has no vae/; name a folder in the diffusers layout, which has transformer/"),
    "no text encoder": ("flux2", _drop("text_encoder"), "has no text_encoder/"),
    "sd3 without its second text encoder": ("sd3", _drop("text_encoder_2"), "has no text_encoder_2/"),
    "another t5": ("sd3", _another("text_encoder_3", "pixart", "text_encoder"), "states 16 wide, transformer/ takes 32 and 32"),
    "a sampler of noise of a flow": ("sd3", _another("scheduler", "xl"), "is a DDIMScheduler; this network predicts a flow"),
    "an unknown transformer": ("sd3", _edit("transformer/config.json", _class_name="DiT"), "transformer/ is a DiT; only SD3Transformer"),
    "an unknown vae": ("sd3", _edit("vae/config.json", _class_name="VQModel"), "vae/ is a VQModel; only AutoencoderKL"),
    "another vae": ("flux2", _another("vae", "sd3"), "transformer/ takes 16 channels, vae/ makes 4; they belong to different models"),
    "another text encoder": ("flux2", _another("text_encoder", "pixart"), r"text_encoder/ is a t5; only Qwen3 \(qwen3\) are read"),
    "too short a text encoder": ("flux2", _edit("text_encoder/config.json", num_hidden_layers=9), "but states of layer 27 are read"),
    "guidance that is told": ("flux2", _edit("transformer/config.json", guidance_embeds=True), "only FLUX.2 klein is read"),
    "more than the prompt": ("pixart", _edit("transformer/config.json", use_additional_conditions=True), "needs more than the prompt"),
    "a sampler of a flow": ("pixart", _another("scheduler", "sd3"), "no beta_schedule"),
    "prx in pixels": (
        "prx",
        _edit("model_index.json", _class_name="PRXPixelPipeline"),
        r"is PRX in pixels \(PRXPixelPipeline\), .*not supported: use PRX on latents, such as prx-512",
    ),
    "no index": ("prx", lambda folder: (folder / "model_index.json").unlink(), r"model_index\.json is missing"),
    "no size": ("prx", _edit("model_index.json", default_sample_size="large"), "default_sample_size 'large'; expected one whole number"),
    "truncated": ("pixart", _truncate(f"{WEIGHTS}.safetensors"), "not a readable safetensors file"),
    "pickled": ("pixart", _pickled(f"{WEIGHTS}.safetensors", f"{WEIGHTS}.bin"), r"\.bin is a pickle"),
    "a pickled variant": ("pixart", _pickled(f"{WEIGHTS}.safetensors", f"{WEIGHTS}.fp16.bin"), r"\.fp16\.bin is a pickle"),
    "layers without end": ("prx", _edit("transformer/config.json", depth=10**9), "has depth 1000000000, but its weights are"),
    "no width of the words": (
        "sd3",
        _edit("transformer/config.json", joint_attention_dim=None),
        "joint_attention_dim None; expected one whole",
    ),
    "words for a width": (
        "sd3",
        _edit("transformer/config.json", pooled_projection_dim="x"),
        "pooled_projection_dim 'x'; expected one whole",
    ),
    "a vast table of places": (
        "sd3",
        _edit("transformer/config.json", pos_embed_max_size=10**4),
        "pos_embed_max_size 10000; expected .* 512",
    ),
    "a vast picture": (
        "pixart",
        _edit("transformer/config.json", sample_size=10**4),
        "has sample_size 10000; expected one whole number up to",
    ),
    "no number of layers": ("flux2", _edit("text_encoder/config.json", num_hidden_layers=None), "num_hidden_layers None, but states"),
    "no sizes of an encoder": ("prx", _gemma_settings, r"text_encoder/config\.json cannot be loaded \(StrictDataclassFieldValidationError"),
    "no scale": (
        "sd3",
        _edit("vae/config.json", scaling_factor=float("nan")),
        r"vae/config\.json has scaling_factor nan; expected a number",
    ),
    "a scale in words": ("sd3", _edit("vae/config.json", scaling_factor="x"), "scaling_factor 'x'; expected a number"),
    "a list of shifts": ("sd3", _edit("vae/config.json", shift_factor=[1]), r"shift_factor \[1\]; expected a number"),
    "no numbers of the image": ("xl", _edit("unet/config.json", addition_time_embed_dim="x"), "with addition_time_embed_dim 'x' none"),
    "more words than memory": ("sd3", _edit("text_encoder_3/config.json", d_model=2**30), "has d_model 1073741824, but its weights are"),
}


@pytest.mark.parametrize("name", CASES)
def test_what_does_not_fit_is_refused_in_one_line(name: str, copied: Callable[[str], Path]) -> None:
    family, change, pattern = CASES[name]
    folder = copied(family)
    change(folder)
    with pytest.raises(BadInput) as caught:
        load(folder)
    message = str(caught.value)
    assert message.startswith(f"guidance {str(folder)!r}: ")
    assert message.isprintable()
    assert re.search(pattern, message), message


def test_the_command_line_ends_with_2_and_one_line(
    copied: Callable[[str], Path], tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied("sd3")
    shutil.rmtree(folder / "text_encoder_2")
    arguments = ["generate", PROMPT, "--preset", "smoke", "--out", str(tmp_path / "run"), "--set", f"guidance.model={folder}"]
    monkeypatch.setattr("sys.argv", ["dreamfusion-mesh", *arguments])
    capfd.readouterr()
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert "has no text_encoder_2/" in line
    assert not (tmp_path / "run" / "asset.glb").exists()


def ask_once(folder: Path) -> None:
    model = bind(folder, image_size=16)
    model.answer(model.encode(torch.zeros(1, 16, 16, 3)), torch.tensor([500]), views_around(1))


@pytest.mark.parametrize(
    ("name", "values", "what"),
    [
        ("unet/config.json", {"mid_block_scale_factor": {}}, "UNet2DConditionModel"),
        ("vae/config.json", {"norm_num_groups": -1}, "vae/"),
        ("text_encoder/config.json", {"eos_token_id": [7, 7]}, "text_encoder/ and text_encoder_2/"),
    ],
)
def test_a_network_that_loads_and_cannot_be_called_is_told_in_one_line(
    name: str, values: dict[str, Any], what: str, copied: Callable[[str], Path]
) -> None:
    folder = copied("xl")
    edit_json(folder / name, **values)
    with pytest.raises(RunFailed, match=f"{what} was loaded but fails in its call .*; its config.json does not fit it") as caught:
        ask_once(folder)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("loss", ["csd", "ism"])
def test_a_klein_that_is_distilled_has_no_answer_without_words(loss: Any, copied: Callable[[str], Path]) -> None:
    folder = copied("flux2")
    edit_json(folder / "model_index.json", is_distilled=True)
    with pytest.raises(BadInput, match=rf"guidance.loss {loss}: .*is distilled from guidance \(model_index.json has is_distilled\)"):
        check_served(GuidanceSettings(model=str(folder), loss=loss), "sphere")
    model = load(folder)
    with pytest.raises(BadInput, match="is distilled from guidance"):
        model.for_prompt(PROMPT, GuidanceSettings(model=str(folder), loss=loss))


@pytest.mark.parametrize(
    ("family", "size", "allowed"),
    [("sd3", 18, "multiples of 4 pixels up to 64"), ("sd3", 68, "up to 64"), ("flux2", 18, "multiples of 4 pixels; 0 is its own 1024")],
)
def test_a_size_that_the_network_cannot_see_is_refused(family: str, size: int, allowed: str, saved: Callable[[str], Path]) -> None:
    model = load(saved(family))
    with pytest.raises(BadInput, match=rf"guidance.image_size {size}: .* sees .*{allowed}"):
        model.for_prompt(PROMPT, GuidanceSettings(model=model.model, image_size=size))
