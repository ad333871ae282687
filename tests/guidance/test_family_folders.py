"""Folders of the published families: every layout that they are published in."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from guided import load, views_around
from safetensors.torch import load_file, save_file
from tiny_folders import edit_json
from tiny_pipelines import CLIP_TOKENS, WIDTH, write_pipeline

from dreamfusion_mesh.config import GuidanceSettings
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.models import text_encoder
from dreamfusion_mesh.guidance.models.diffusion import DiffusionModel
from dreamfusion_mesh.guidance.models.latents import load_latents
from dreamfusion_mesh.guidance.models.load import diffusion_source, model_files
from dreamfusion_mesh.guidance.models.transformer import LAYOUT
from dreamfusion_mesh.guidance.weights.licences import check_commercial_use
from dreamfusion_mesh.records.diffusion import Answers

PROMPT = "a red mug"
SIZE = 16


def answers_of(model: DiffusionModel) -> Answers:
    bound = model.for_prompt(PROMPT, GuidanceSettings(model=model.model, image_size=SIZE))
    images = torch.rand(1, SIZE, SIZE, 3, generator=torch.Generator().manual_seed(0))
    return bound.answer(bound.encode(images), torch.tensor([500]), views_around(1))


def check_alike(first: Path, second: Path) -> None:
    found, wanted = answers_of(load(first)), answers_of(load(second))
    assert torch.equal(found.text, wanted.text)
    assert found.uncond is not None
    assert wanted.uncond is not None
    assert torch.equal(found.uncond, wanted.uncond)


@pytest.mark.parametrize("more", [{"variant": "fp16"}, {"max_shard_size": "20KB"}, {"variant": "fp16", "max_shard_size": "20KB"}], ids=str)
@pytest.mark.parametrize("family", ["xl", "sd3"])
def test_variants_and_shards_are_read_as_single_files(
    family: str, more: dict[str, Any], saved: Callable[[str], Path], tmp_path: Path
) -> None:
    write_pipeline(family, tmp_path / "model", **more)
    names = {file.name for file in tmp_path.rglob("*.safetensors")}
    assert all(".fp16" in name for name in names) == ("variant" in more)
    assert any("-of-" in name for name in names) == ("max_shard_size" in more)
    check_alike(tmp_path / "model", saved(family))
    recorded = load(tmp_path / "model").provenance()["files"]
    assert {Path(name).name for name in recorded} == names


def test_of_a_folder_with_both_the_plain_files_are_read(saved: Callable[[str], Path], copied: Callable[[str], Path]) -> None:
    folder = copied("stable diffusion")
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    zeros = {name: torch.zeros_like(value) for name, value in load_file(file).items()}
    save_file(zeros, file.with_name("diffusion_pytorch_model.fp16.safetensors"), metadata={"format": "pt"})
    check_alike(folder, saved("stable diffusion"))


def test_text_encoders_of_older_libraries_are_read(saved: Callable[[str], Path], copied: Callable[[str], Path]) -> None:
    """Before transformers 5 the names of a CLIP's tensors began with text_model."""
    folder = copied("stable diffusion")
    file = folder / "text_encoder" / "model.safetensors"
    held = load_file(file)
    turned = {name.removeprefix("text_model.") if name.startswith("text_model.") else f"text_model.{name}": held[name] for name in held}
    assert turned.keys() != held.keys()
    save_file(turned, file, metadata={"format": "pt"})
    check_alike(folder, saved("stable diffusion"))


def test_without_its_t5_stable_diffusion_3_reads_zeros_in_its_place(copied: Callable[[str], Path], tmp_path: Path) -> None:
    folder = copied("sd3")
    for part in ("text_encoder_3", "tokenizer_3"):
        shutil.rmtree(folder / part)
    text = load(folder).text.encode([PROMPT])
    assert text.states.shape == (1, CLIP_TOKENS + 256, 2 * WIDTH)
    assert text.states[:, :CLIP_TOKENS].any()
    assert not text.states[:, CLIP_TOKENS:].any()


def test_the_settings_of_a_whole_t5gemma_are_read_as_its_encoders(saved: Callable[[str], Path], copied: Callable[[str], Path]) -> None:
    folder = copied("prx")
    file = folder / "text_encoder" / "config.json"
    own = json.loads(file.read_text())
    file.write_text(json.dumps({"model_type": "t5gemma", "encoder": own, "decoder": own}))
    check_alike(folder, saved("prx"))


def test_no_words_are_zeros_for_the_xl_form_unless_its_index_says_otherwise(copied: Callable[[str], Path]) -> None:
    folder = copied("xl")
    text = load(folder).text.encode(["", PROMPT])
    assert not text.states[0].any()
    assert not text.whole[0].any()
    assert text.states[1].any()
    edit_json(folder / "model_index.json", force_zeros_for_empty_prompt=False)
    assert load(folder).text.encode([""]).states.any()


def test_a_large_text_encoder_is_let_go_of_and_loaded_again(saved: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = load(saved("sd3")).text.encode([PROMPT])
    monkeypatch.setattr(text_encoder, "_LARGEST_KEPT", 0)
    model = load(saved("sd3"))
    encoders = [reader.encoder for reader in model.text.readers]
    for _ in range(2):
        found = model.text.encode([PROMPT])
        assert [encoder.is_loaded for encoder in encoders] == [False] * 3
        assert torch.equal(found.states, wanted.states)
    monkeypatch.undo()
    assert [reader.encoder.is_loaded for reader in load(saved("sd3")).text.readers] == [True] * 3


@pytest.mark.parametrize(
    ("given", "upcast", "held"),
    [
        (torch.float16, True, torch.float32),
        (torch.float16, None, torch.float32),
        (torch.float16, False, torch.float16),
        (torch.bfloat16, True, torch.bfloat16),
    ],
)
def test_an_autoencoder_that_may_overflow_is_float32(
    given: torch.dtype, upcast: bool | None, held: torch.dtype, copied: Callable[[str], Path]
) -> None:
    folder = copied("sd3")
    edit_json(folder / "vae" / "config.json", force_upcast=upcast)
    latents = load_latents(diffusion_source(str(folder)), folder, LAYOUT, given, ("transformer", 4))
    assert {weight.dtype for weight in latents.vae.parameters()} == {held}  # type: ignore[union-attr]
    encoded = latents.encode(torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)))
    assert encoded.dtype == torch.float32
    assert encoded.isfinite().all()


@pytest.mark.parametrize("kind", ["AutoencoderTiny", "AutoencoderDC"])
def test_another_kind_of_autoencoder_is_read_from_its_folder(kind: str, copied: Callable[[str], Path]) -> None:
    """A tiny one, by choice, and that of PRX' more compressed form: what they give is scaled as their configs say."""
    import diffusers

    folder = copied("prx")
    shutil.rmtree(folder / "vae")
    if kind == "AutoencoderTiny":
        few = {"encoder_block_out_channels": (4, 4), "decoder_block_out_channels": (4, 4)}
        vae = diffusers.AutoencoderTiny(**few, num_encoder_blocks=(1, 1), num_decoder_blocks=(1, 1), latent_channels=4)
    else:
        layers = {"encoder_layers_per_block": (1, 1), "decoder_layers_per_block": (1, 1)}
        widths = {"encoder_block_out_channels": (4, 8), "decoder_block_out_channels": (4, 8), "scaling_factor": 0.4}
        blocks = {"encoder_block_types": "ResBlock", "decoder_block_types": "ResBlock"}
        vae = diffusers.AutoencoderDC(latent_channels=4, **layers, **widths, **blocks)
    vae.save_pretrained(folder / "vae")
    model = load(folder)
    pixels = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    made = vae.eval().encode(pixels)
    wanted = made.latents if kind == "AutoencoderTiny" else 0.4 * made.latent
    assert (model.latents.scale, model.latents.patch) == (2, 1)
    found = model.encode((pixels.permute(0, 2, 3, 1) + 1) / 2, 16)
    torch.testing.assert_close(found, wanted.detach(), rtol=1e-5, atol=1e-6)
    assert answers_of(model).text.isfinite().all()


def test_a_t5gemma_comes_under_its_own_terms(saved: Callable[[str], Path], copied: Callable[[str], Path]) -> None:
    folder = copied("prx")
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    facts = model_files(GuidanceSettings(model=str(folder))).provenance()
    assert [(each["component"], each["licence"], each["commercial_use"]) for each in facts["licences"]] == [
        ("model", ["apache-2.0"], True),
        ("text_encoder", ["gemma"], False),
    ]
    with pytest.raises(BadInput, match="the licence of text_encoder/ is 'gemma'"):
        check_commercial_use(facts, licence_checked=False)
    (folder / "text_encoder" / "README.md").write_text("---\nlicense: mit\n---\n")
    own = model_files(GuidanceSettings(model=str(folder))).provenance()["licences"]
    assert own[1]["licence"] == ["mit"], "a card of its own goes before"
    plain = model_files(GuidanceSettings(model=str(saved("pixart")))).provenance()["licences"]
    assert [each["component"] for each in plain] == ["model"]
