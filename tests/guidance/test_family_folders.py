"""Folders of the published families: every layout that they are published in, and what is refused in one line."""

from __future__ import annotations

import json
import re
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

from dreamfusion_mesh import cli
from dreamfusion_mesh.config import GuidanceSettings
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.models import text_encoder
from dreamfusion_mesh.guidance.models.diffusion import DiffusionModel
from dreamfusion_mesh.guidance.models.latents import load_latents
from dreamfusion_mesh.guidance.models.load import diffusion_source, load_guidance, model_files
from dreamfusion_mesh.guidance.models.transformer import LAYOUT
from dreamfusion_mesh.guidance.weights.licences import check_commercial_use
from dreamfusion_mesh.records.diffusion import Answers

PROMPT = "a red mug"
SIZE = 16


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a family, written once; not to be changed."""
    parent, found = tmp_path_factory.mktemp("saved"), {}

    def get(family: str) -> Path:
        if family not in found:
            found[family] = parent / family
            write_pipeline(family, found[family])
        return found[family]

    return get


@pytest.fixture
def copied(saved: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """A copy to change."""
    return lambda family: shutil.copytree(saved(family), tmp_path / family)


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
    "no index": ("prx", lambda folder: (folder / "model_index.json").unlink(), r"model_index\.json is missing"),
    "no size": ("prx", _edit("model_index.json", default_sample_size="large"), "default_sample_size 'large'; expected one whole number"),
    "truncated": ("pixart", _truncate(f"{WEIGHTS}.safetensors"), "not a readable safetensors file"),
    "pickled": ("pixart", _pickled(f"{WEIGHTS}.safetensors", f"{WEIGHTS}.bin"), r"\.bin is a pickle"),
    "a pickled variant": ("pixart", _pickled(f"{WEIGHTS}.safetensors", f"{WEIGHTS}.fp16.bin"), r"\.fp16\.bin is a pickle"),
    "layers without end": ("prx", _edit("transformer/config.json", depth=10**9), "has depth 1000000000, but its weights are"),
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


@pytest.mark.parametrize("loss", ["csd", "ism"])
def test_a_klein_that_is_distilled_has_no_answer_without_words(loss: Any, copied: Callable[[str], Path]) -> None:
    folder = copied("flux2")
    edit_json(folder / "model_index.json", is_distilled=True)
    with pytest.raises(BadInput, match=rf"guidance.loss {loss}: .*is distilled from guidance \(model_index.json has is_distilled\)"):
        load_guidance(GuidanceSettings(model=str(folder), loss=loss), "cpu")
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
