"""An autoencoder that is chosen by setting: its latents in place of the model's own, its licence, and what cannot be chosen."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import caller, check_refused
from guided import PROMPT, bind, load, score, views_around
from tiny_folders import edit_json
from tiny_mvdream import write_checkpoint

from dreamfusion_mesh.config import GuidanceSettings
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.models.load import load_guidance, model_files
from dreamfusion_mesh.guidance.weights.licences import check_commercial_use

CARD = "---\nlicense: {}\n---\n"
WEIGHTS = "diffusion_pytorch_model.safetensors"


def write_tiny(folder: Path, channels: int = 4) -> Path:
    from diffusers import AutoencoderTiny

    torch.manual_seed(1)
    few: dict[str, Any] = {"encoder_block_out_channels": (8, 8), "decoder_block_out_channels": (8, 8)}
    AutoencoderTiny(**few, num_encoder_blocks=(1, 1), num_decoder_blocks=(1, 1), latent_channels=channels).save_pretrained(folder)
    (folder / "README.md").write_text(CARD.format("mit"))
    return folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed."""
    return write_tiny(tmp_path_factory.mktemp("autoencoders") / "tiny")


@pytest.mark.parametrize("family", ["stable diffusion", "sd3"])
def test_images_go_through_it_in_place_of_the_models_own(family: str, saved: Callable[[str], Path], tiny: Path) -> None:
    from diffusers import AutoencoderTiny

    chosen, own = (bind(saved(family), autoencoder=name, image_size=16) for name in (str(tiny), ""))
    images = torch.rand(2, 16, 16, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    latents = chosen.encode(images)
    expected = AutoencoderTiny.from_pretrained(tiny).encode(2 * images.permute(0, 3, 1, 2) - 1).latents
    torch.testing.assert_close(latents, expected)
    assert not torch.allclose(latents, own.encode(images))
    (gradient,) = torch.autograd.grad(latents.square().sum(), images)
    assert gradient.abs().sum() > 0
    assert score(chosen, latents.detach(), torch.tensor([100, 700]), views_around(2)).isfinite().all()


def test_the_models_own_need_not_be_there_and_is_not_recorded(copied: Callable[[str], Path], tiny: Path) -> None:
    folder = copied("sd3")
    shutil.rmtree(folder / "vae")
    recorded = load(folder, autoencoder=str(tiny)).provenance()
    assert recorded["autoencoder"] == "tiny"
    assert f"autoencoder/{WEIGHTS}" in recorded["files"]
    assert not [name for name in recorded["files"] if name.startswith("vae/")]
    assert recorded == {**model_files(GuidanceSettings(model=str(folder), autoencoder=str(tiny))).provenance(), "prediction": "flow"}


def test_mvdream_takes_it_in_either_layout(folders: Any, tiny: Path, tmp_path: Path) -> None:
    for folder in (folders["mvdream"], write_checkpoint(tmp_path / "one")):
        model = load(folder, autoencoder=str(tiny), multiview=True)
        assert type(model.latents.vae).__name__ == "AutoencoderTiny"
        assert model.size == 8


@pytest.mark.parametrize(
    ("licence", "message"),
    [
        ("mit", ""),
        ("cc-by-nc-4.0", "the licence of autoencoder/ is 'cc-by-nc-4.0'"),
        (None, "the licence of autoencoder/ is not stated"),
    ],
)
def test_its_licence_counts_for_commercial_use(
    licence: str | None, message: str, copied: Callable[[str], Path], tiny: Path, tmp_path: Path
) -> None:
    folder, chosen = copied("stable diffusion"), shutil.copytree(tiny, tmp_path / "chosen")
    (folder / "README.md").write_text(CARD.format("apache-2.0"))
    (chosen / "README.md").write_text(CARD.format(licence) if licence else "")
    recorded = load(folder, autoencoder=str(chosen)).provenance()
    if not message:
        assert check_commercial_use(recorded, False) == ()
        return
    with pytest.raises(BadInput, match=re.escape(message)):
        check_commercial_use(recorded, False)


def _edit(**values: Any) -> Callable[[Path], Path]:
    def change(folder: Path) -> Path:
        edit_json(folder / "config.json", **values)
        return folder

    return change


def _pickled(folder: Path) -> Path:
    return (folder / WEIGHTS).rename(folder / "diffusion_pytorch_model.bin").parent


def _truncated(folder: Path) -> Path:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-9])
    return folder


CASES: dict[str, tuple[str, Callable[[Path], Path], str]] = {
    "of a model in pixels": (
        "deepfloyd",
        lambda folder: folder,
        "sees pixels, which no autoencoder makes; leave guidance.autoencoder empty",
    ),
    "of other latents": ("flux2", lambda folder: folder, r"transformer/ of guidance '.*' takes 16 channels, the folder makes 4"),
    "missing": (
        "sd3",
        lambda folder: folder / "no",
        "does not exist; name a folder with an autoencoder .*, or leave guidance.autoencoder empty",
    ),
    "not fetched": ("sd3", lambda folder: Path("nobody/taesd"), "fetch it with `dreamfusion-mesh models --download nobody/taesd`"),
    "the word embedded": ("sd3", lambda folder: Path("embedded"), "autoencoder 'embedded': .*or leave guidance.autoencoder empty"),
    "a file": ("sd3", lambda folder: folder / WEIGHTS, "is a file; name a folder with an autoencoder"),
    "a pickle": ("sd3", _pickled, r"diffusion_pytorch_model\.bin is a pickle"),
    "truncated": ("sd3", _truncated, "is not a readable safetensors file"),
    "another network": ("sd3", _edit(_class_name="UNet2DModel"), "the folder is a UNet2DModel; only AutoencoderKL"),
    "blocks without end": ("sd3", _edit(num_encoder_blocks=[1, 10**9]), "num_encoder_blocks .*, but its weights are"),
    "wider than memory": ("sd3", _edit(encoder_block_out_channels=[8, 2**30]), "encoder_block_out_channels .*, but its weights are"),
    "no scale": ("sd3", _edit(scaling_factor="x"), "config.json has scaling_factor 'x'"),
}


@pytest.mark.parametrize("name", CASES)
def test_what_does_not_fit_is_refused_in_one_line(
    name: str, saved: Callable[[str], Path], tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    family, change, pattern = CASES[name]
    chosen = change(shutil.copytree(tiny, tmp_path / "chosen"))
    with pytest.raises(BadInput) as caught:
        load(saved(family), autoencoder=str(chosen))
    message = str(caught.value)
    assert message.startswith(f"autoencoder {str(chosen)!r}: ")
    assert message.isprintable()
    assert re.search(pattern, message), message


def test_a_model_that_was_loaded_with_another_one_is_refused(saved: Callable[[str], Path], tiny: Path) -> None:
    model = load(saved("sd3"))
    with pytest.raises(BadInput, match=r"guidance.autoencoder '.*tiny': guidance '.*' was loaded with ''; load it again"):
        model.for_prompt(PROMPT, GuidanceSettings(model=model.model, autoencoder=str(tiny)))


def test_the_command_line_ends_with_2_and_one_line(
    saved: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    own = (f"guidance.model={saved('stable diffusion')}", "guidance.autoencoder=nowhere/at/all", "device=cpu")
    options = [part for change in own for part in ("--set", change)]
    ended = caller(monkeypatch, capfd, tmp_path)("generate", PROMPT, "--preset", "smoke", *options)
    check_refused(ended, "autoencoder 'nowhere/at/all': does not exist")


def test_an_autoencoder_that_fails_in_its_call_is_named(saved: Callable[[str], Path], tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = GuidanceSettings(model=str(saved("sd3")), autoencoder=str(tiny))
    model = load_guidance(chosen, "cpu")
    monkeypatch.setattr(model.latents.vae, "encode", None)
    with pytest.raises(Exception, match=r"autoencoder '.*tiny': the folder was loaded but fails in its call"):
        model.encode(torch.zeros(1, 16, 16, 3))
