"""What a model of one's own takes: weights counted in its files, refused where there is less, and settings with which it would fit."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch
from commands import caller, check_refused
from tiny_folders import edit_json, write_folder
from tiny_mvdream import write_checkpoint, write_port
from tiny_pipelines import write_pipeline

from dreamfusion_mesh.config import RunConfig, load_config
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.models.load import load_guidance
from dreamfusion_mesh.guidance.models.sizes import ModelSizes, model_sizes
from dreamfusion_mesh.out_of_memory import readable
from dreamfusion_mesh.run import guidance_memory as module
from dreamfusion_mesh.run import memory
from dreamfusion_mesh.run.guidance_memory import guidance_memory
from dreamfusion_mesh.run.memory import advice, estimate, warn_where_memory_is_short

CPU, CARD = torch.device("cpu"), torch.device("cuda")
GIB = 2**30
LARGE = ModelSizes(network=GIB, autoencoder=2**26, texts=(2**27, 4 * GIB), encoded=6144, side=1024)


@pytest.fixture(scope="module")
def sd3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed."""
    folder = tmp_path_factory.mktemp("models") / "sd3"
    write_pipeline("sd3", folder)
    return folder


def config(folder: Path | str, *changes: str) -> RunConfig:
    return load_config("smoke", [f"guidance.model={folder}", *changes], {"prompt": "a red mug"})


def weights(network: Any) -> int:
    return sum(weight.numel() for weight in network.state_dict().values())


def test_weights_are_counted_without_loading_them(sd3: Path) -> None:
    settings = config(sd3).guidance
    model, found = load_guidance(settings, CPU), model_sizes(settings)
    assert found is not None
    assert found.network == weights(model.denoiser.network)
    assert found.autoencoder == weights(model.latents.vae)
    assert found.side == model.size == 16
    assert len(found.texts) == 3
    assert model_sizes(config(sd3, "guidance.image_size=64").guidance).side == 64  # type: ignore[union-attr]


def test_a_chosen_autoencoder_counts_in_place_of_the_models_own(sd3: Path, tmp_path: Path) -> None:
    from diffusers import AutoencoderTiny

    tiny = AutoencoderTiny(latent_channels=4)
    tiny.save_pretrained(tmp_path / "tiny")
    own, found = (model_sizes(config(sd3, f"guidance.autoencoder={name}").guidance) for name in ("''", tmp_path / "tiny"))
    assert own is not None
    assert found is not None
    assert (found.network, found.texts) == (own.network, own.texts)
    assert found.autoencoder == weights(tiny)
    assert (own.encoded, found.encoded) == (48 * 4, 15 * 64)


def test_sizes_of_every_layout_are_found(tmp_path: Path) -> None:
    port, one, pixels = write_port(tmp_path / "port"), write_checkpoint(tmp_path / "one"), write_folder(tmp_path / "pixels")
    sides = [(model_sizes(config(folder).guidance) or LARGE).side for folder in (port, pixels)]
    assert sides == [8, 8]
    found = model_sizes(config(one).guidance)
    assert found is not None
    assert found.network > 0 == found.autoencoder, "one file holds all"
    assert model_sizes(config(tmp_path / "nowhere").guidance) is None


def test_text_encoders_in_single_precision_stay_in_their_files_on_a_cpu(sd3: Path, tmp_path: Path) -> None:
    found = model_sizes(config(sd3).guidance)
    assert found is not None
    assert found.mapped == sum(found.texts)
    half = tmp_path / "half"
    write_pipeline("sd3", half).to(torch.float16).save_pretrained(half)
    found = model_sizes(config(half).guidance)
    assert found is not None
    assert found.mapped == 0
    if not Path("/proc/self/maps").exists():
        return
    for folder, mapped in ((sd3, True), (half, False)):
        model = load_guidance(config(folder).guidance, CPU)
        for reader in model.text.readers:  # type: ignore[union-attr]
            with reader.encoder.ready() as network:
                places = _mapped(folder / reader.part)
                held = [any(start <= weight.data_ptr() < end for start, end in places) for weight in network.parameters()]
            assert all(held) if mapped else not any(held)


def _mapped(folder: Path) -> list[tuple[int, int]]:
    """Where files of a folder lie in this process's memory."""
    lines = [line for line in Path("/proc/self/maps").read_text().splitlines() if f"{folder.resolve()}/" in line]
    return [(int(start, 16), int(end, 16)) for start, end in (line.split()[0].split("-") for line in lines)]


@pytest.mark.parametrize("wrong", [10**400, -8, 10**9, 0])
def test_numbers_that_no_model_has_are_left_to_its_loading(wrong: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_folder(tmp_path / "latent", channels=4, vae=True)
    right = model_sizes(config(folder, "guidance.image_size=16").guidance)
    monkeypatch.setattr(memory, "available", lambda: (GIB, "on this machine"))
    edit_json(folder / "unet/config.json", sample_size=wrong)
    found = model_sizes(config(folder).guidance)
    assert found is not None
    assert found.side == 512
    edit_json(folder / "vae/config.json", block_out_channels=[wrong, 8])
    found = model_sizes(config(folder).guidance)
    assert right is not None
    assert found == replace(right, encoded=0, side=512)
    warn_where_memory_is_short(config(folder), CPU, [])


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> RunConfig:
    """A model of 4 GiB in single precision, with a text encoder of 16."""
    monkeypatch.setattr(module, "model_sizes", lambda settings: LARGE)
    monkeypatch.setattr(psutil, "swap_memory", lambda: SimpleNamespace(free=0))
    return config("somewhere")


def card_of(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (size, size))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=size, is_integrated=0))


def test_text_encoders_count_while_they_read(large: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    card_of(80 * GIB, monkeypatch)
    on_cpu, on_card = guidance_memory(large.guidance, CPU), guidance_memory(large.guidance, CARD)
    assert on_cpu.weights == 4 * (GIB + 2**26)
    assert on_card.weights == 2 * (GIB + 2**26)
    assert (on_cpu.reading, on_card.reading) == (4 * (2**27 + 4 * GIB), 2 * 4 * GIB), "all at once, or the largest"
    found = estimate(large)
    assert found["model"] > found["fine"] - on_cpu.step(2, 3)
    moved = large.guidance.model_copy(update={"offload": "layers"})
    assert guidance_memory(moved, CARD).weights == 2 * 2**26
    assert guidance_memory(moved, CARD).reading == 0
    assert guidance_memory(moved, CPU) == on_cpu


def test_what_an_autoencoder_keeps_counts_for_as_many_images_as_it_sees(large: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    card_of(80 * GIB, monkeypatch)

    def of(size: int, **changes: Any) -> float:
        card_of(size, monkeypatch)
        found = guidance_memory(large.guidance.model_copy(update=changes), CARD)
        return found.step(4, 0)

    one = 2 * 6144 * 1024**2
    assert of(80 * GIB) == 4 * one
    assert of(80 * GIB, checkpoint_encoder=True) == one
    assert of(16 * GIB) == of(80 * GIB, tile_encoder="always") == one / 4
    assert of(16 * GIB, tile_encoder="never") == 4 * one


def test_less_than_the_weights_take_is_refused(large: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    card_of(6 * GIB, monkeypatch)
    with pytest.raises(BadInput) as caught:
        warn_where_memory_is_short(large, CARD, [])
    assert str(caught.value) == (
        "memory: the weights of guidance 'somewhere' alone take 10.1 GiB, 8.0 GiB of them its text encoders', and 6.0 GiB are available "
        "on cuda; set guidance.offload=layers, or free memory"
    )
    warn_where_memory_is_short(large, CARD, ["coarse", "fine"])
    monkeypatch.setattr(memory, "available", lambda: (8 * GIB, "on this machine"))
    with pytest.raises(BadInput, match=r"take 20.8 GiB, 16.5 GiB .* and 8.0 GiB are available on this machine; name a smaller model"):
        warn_where_memory_is_short(large, CPU, [])
    monkeypatch.setattr(psutil, "swap_memory", lambda: SimpleNamespace(free=16 * GIB))
    warn_where_memory_is_short(large, CPU, [])
    monkeypatch.setattr(psutil, "swap_memory", lambda: SimpleNamespace(free=0))
    monkeypatch.setattr(module, "model_sizes", lambda settings: replace(LARGE, mapped=4 * GIB))
    warn_where_memory_is_short(large, CPU, [])


def test_on_an_integrated_card_what_the_machine_has_counts(large: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA counts memory that holds cached files as taken there."""
    card_of(6 * GIB, monkeypatch)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=128 * GIB, is_integrated=1))
    monkeypatch.setattr(memory, "available", lambda: (100 * GIB, "on this machine"))
    warn_where_memory_is_short(large, CARD, [])
    monkeypatch.setattr(memory, "available", lambda: (5 * GIB, "on this machine"))
    with pytest.raises(BadInput, match=r"6\.0 GiB are available on cuda"):
        warn_where_memory_is_short(large, CARD, [])


@pytest.mark.parametrize(
    ("free", "fits"),
    [
        (25, "set guidance.checkpoint_encoder=true"),
        (12, "set guidance.tile_encoder=always"),
        (8, "set guidance.tile_encoder=always guidance.offload=layers"),
    ],
)
def test_settings_with_which_it_would_fit_are_named(
    free: float, fits: str, large: RunConfig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    card_of(int(free * GIB), monkeypatch)
    whole = large.model_copy(update={"guidance": large.guidance.model_copy(update={"tile_encoder": "never"})})
    assert advice("fine", whole, CARD).startswith(f"{fits} in a run of its own, which would fit, about; or lower fine.tet_size (24)")
    if free > 10.1:  # of the weights alone
        with caplog.at_level(logging.WARNING):
            warn_where_memory_is_short(whole, CARD, [])
        assert fits in caplog.text
    card_of(GIB // 2, monkeypatch)
    assert advice("fine", whole, CARD).startswith("lower fine.tet_size (24)"), "nothing of these will do"


def test_only_settings_that_lower_what_it_takes_are_named(large: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "model_sizes", lambda settings: replace(LARGE, autoencoder=0, encoded=0))

    def of(size: int, **changes: Any) -> str:
        card_of(size * GIB, monkeypatch)
        changed = large.model_copy(update={"guidance": large.guidance.model_copy(update=changes)})
        return advice("fine", changed, CARD).split(" in a run of its own")[0]

    assert of(7) == "set guidance.offload=layers", "a model that sees pixels has nothing to encode"
    assert of(7, compile=True) == "set guidance.offload=layers guidance.compile=false", "which do not go together"
    assert of(7, loss="vsd").startswith("lower fine.tet_size")
    assert of(7, offload="layers").startswith("lower fine.tet_size"), "it fits by the estimate, and yet ran out"
    assert of(80).startswith("set guidance.offload=layers"), "the estimate was wrong; this lowers it"


def test_the_command_line_ends_with_2_and_one_line(
    sd3: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(memory, "available", lambda: (2**10, "on this machine"))
    monkeypatch.setattr(psutil, "swap_memory", lambda: SimpleNamespace(free=0))
    options = [part for change in (f"guidance.model={sd3}", "device=cpu") for part in ("--set", change)]
    ended = caller(monkeypatch, capfd, tmp_path)("generate", "a red mug", "--preset", "smoke", *options)
    check_refused(ended, f"memory: the weights of guidance {str(sd3)!r:.80} alone take ")
    assert f"and {readable(2**10)} are available on this machine; name a smaller model" in ended.stderr
