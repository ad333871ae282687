"""Presets of models: each is whole, its settings go with every preset of runs, and `--model` lays them between preset and changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from dreamfusion_mesh.config import load_config, model_names, model_settings, preset_names, read_model
from dreamfusion_mesh.config import models as presets
from dreamfusion_mesh.errors import BadInput

ASKED = (
    "embedded",
    "sd15",
    "sd21-base",
    "sdxl",
    "ssd-1b",
    "if-xl",
    "sd3-medium",
    "prx-256",
    "prx-512",
    "flux2-klein",
    "pixart-sigma",
    "mvdream",
)


def test_the_models_that_were_promised_are_there() -> None:
    assert model_names() == sorted(ASKED)


@pytest.mark.parametrize("name", model_names())
def test_a_model_preset_is_whole_and_goes_with_every_preset_of_runs(name: str) -> None:
    preset = read_model(name)
    assert (preset.id is None) == (name == "embedded")
    assert preset.memory_source
    assert preset.commercial_outputs or preset.terms, "what bars it is said"
    for run in preset_names():
        assert load_config(run, over_preset=model_settings(name)).guidance.model == name


def test_changes_beat_the_model_and_the_model_beats_the_preset() -> None:
    over = model_settings("sd15")
    assert load_config("demo").guidance.scale == 5
    assert load_config("demo", over_preset=over).guidance.scale == 100
    assert load_config("demo", ["guidance.scale=7"], over_preset=over).guidance.scale == 7
    assert load_config("demo", ["guidance.scale=7"], {"guidance": {"scale": 8}}, over).guidance.scale == 8
    assert load_config("demo", over_preset=over).views.textureless == 0, "the rest of the preset stays"


def test_a_folder_or_an_id_is_a_model_without_settings_and_other_words_are_refused(tmp_path: Path) -> None:
    for name in (str(tmp_path), "a/b", "./x"):
        assert model_settings(name) == {"guidance": {"model": name}}
    with pytest.raises(BadInput, match=r"--model 'sd51': is neither a folder nor the name of a model; did you mean 'sd15'\?"):
        model_settings("sd51")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("revision: 451f", "revision: main #"), "revision: expected 40 hexadecimal digits"),
        (("id: stable-diffusion-v1-5/", "id: x/y/"), "id: expected owner/name"),
        (("licence: creativeml-openrail-m", ""), "licence: Field required"),
        (("memory_gb: 15", "memory_gb: -1"), "memory_gb: Input should be greater"),
    ],
)
def test_a_broken_preset_names_its_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: tuple[str, str], message: str) -> None:
    text = (presets.presets_folder() / "models" / "sd15.yaml").read_text()
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "broken.yaml").write_text(text.replace(*change))
    monkeypatch.setattr(presets, "presets_folder", lambda: tmp_path)
    with pytest.raises(BadInput, match=f"model preset 'broken': {message}"):
        read_model("broken")
