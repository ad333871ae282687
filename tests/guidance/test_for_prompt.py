"""What binds a loaded model to a prompt: settings that differ from run to run, words that it knows, what provenance records."""

import dataclasses
import json

import pytest
import torch
from guided import PROMPT, bind, load, normal, score, views_around
from tiny_folders import edit_json, write_folder

from dreamfusion_mesh.config import GuidanceSettings
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.records import Shading

BOUND = [
    {"scale": 50.0},
    {"negative_prompt": "a blue table"},
    {"perp_neg": 1.0},
    {"rescale": 0.5},
    {"multiview": True},
    {"view_words": False},
    {"textureless_words": "a white {subject}"},
    {"front_degrees": 5.0},
    {"overhead_degrees": 5.0},
    {"scale": 50.0, "negative_prompt": "a blue table", "perp_neg": 0.5},
]


@pytest.mark.parametrize("changed", BOUND, ids=str)
def test_one_loaded_model_scores_with_each_runs_own_settings(folders, changed):
    folder = str(folders["multiview"])
    shared = load(folder, scale=5.0)
    noisy, t = normal(4, 3, 8, 8), torch.full((4,), 700)
    views = views_around(4)
    views.cameras.azimuth[0] = 0.3
    views.shading[2] = Shading.TEXTURELESS
    here = score(shared.for_prompt(PROMPT, GuidanceSettings(model=folder, **changed)), noisy, t, views)
    first = score(shared.for_prompt(PROMPT, GuidanceSettings(model=folder, scale=5.0)), noisy, t, views)
    assert not torch.allclose(here, first, atol=1e-4)
    assert torch.equal(here, score(bind(folder, **changed), noisy, t, views))
    assert torch.equal(first, score(bind(folder, scale=5.0), noisy, t, views))


@pytest.mark.parametrize("shading", [Shading.ALBEDO, Shading.TEXTURELESS], ids=lambda shading: shading.name)
def test_without_view_words_the_model_is_told_the_same_of_every_view(folders, shading):
    noisy, t = normal(1, 3, 8, 8).expand(4, -1, -1, -1), torch.full((4,), 700)
    views = views_around(4, shading)
    named, bare = (score(bind(folders["epsilon"], view_words=words), noisy, t, views) for words in (True, False))
    assert torch.allclose(bare, bare[:1].expand_as(bare), atol=1e-6)
    assert not torch.allclose(named[0], named[2], atol=1e-4), "front and back"
    assert not torch.allclose(named[0], bare[0], atol=1e-4)


def test_settings_of_another_model_or_precision_are_refused(folders, embedded, monkeypatch):
    shared = load(folders["epsilon"])
    with pytest.raises(BadInput, match=r"guidance.model 'embedded': the model that was loaded is '.*epsilon'; load the one"):
        shared.for_prompt(PROMPT, GuidanceSettings())
    with pytest.raises(BadInput, match=r"guidance.model '.*sample': the model that was loaded is"):
        shared.for_prompt(PROMPT, GuidanceSettings(model=str(folders["sample"])))
    with pytest.raises(BadInput, match=r"guidance.half_precision False: guidance '.*epsilon' was loaded with True"):
        shared.for_prompt(PROMPT, GuidanceSettings(model=shared.model, half_precision=False))
    monkeypatch.chdir(folders["epsilon"].parent)
    assert shared.for_prompt(PROMPT, GuidanceSettings(model="epsilon")).warnings == [], "the same folder by another path"
    with pytest.raises(BadInput, match="the model that was loaded is 'embedded'"):
        dataclasses.replace(shared, files=embedded.files).for_prompt(PROMPT, GuidanceSettings(model="epsilon"))


def test_the_vocabulary_and_merges_of_the_first_models_are_read(tmp_path):
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters), ",</w>"]
    folder = write_folder(tmp_path / "clip")
    tokenizer = folder / "tokenizer"
    (tokenizer / "tokenizer.json").unlink()
    (tokenizer / "vocab.json").write_text(json.dumps({word: index for index, word in enumerate(words)}))
    (tokenizer / "merges.txt").write_text("#version: 0.2\n")
    marks = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    edit_json(tokenizer / "tokenizer_config.json", tokenizer_class="CLIPTokenizer", backend=None, **marks)
    settings = GuidanceSettings(model=str(folder), textureless_words="{subject}")
    model = load(folder)
    assert model.text.tokenizer("a mug").input_ids == [0, 28, 14, 22, 34, 1], "start, a</w>, m, u, g</w>, end"
    assert model.for_prompt("a mug", settings).warnings == []
    (line,) = model.for_prompt("a long prompt in letters", settings).warnings
    assert line.endswith("reads at most 24 tokens, the view's words among them; cut were: prompt in letters"), line


def test_words_unknown_to_the_model_are_named(embedded):
    settings = GuidanceSettings()
    assert embedded.for_prompt("a red mug", settings).warnings == []
    assert embedded.for_prompt("A red MUG with white parts", settings).warnings == []
    warnings = embedded.for_prompt("a red dragon-mug with claws", settings).warnings
    assert warnings == ["guidance 'embedded' does not know: dragon, claws"]


def test_a_prompt_of_unknown_words_alone_is_refused_with_the_known_ones(embedded):
    with pytest.raises(BadInput, match=r"knows none of: shiny, dragon; it knows: .*mug, mushroom.*yellow") as caught:
        embedded.for_prompt("a shiny dragon with parts", GuidanceSettings())
    assert "<" not in str(caught.value)


def test_long_prompts_are_named_in_short(embedded):
    unknown = " ".join(f"flurbel{number:03}" for number in range(90))
    assert 900 < len(unknown) < 1000
    with pytest.raises(BadInput, match=r"knows none of: flurbel000, .*flurbel009, \.\.\.; it knows: ") as caught:
        embedded.for_prompt(unknown, GuidanceSettings())
    assert "flurbel010" not in str(caught.value)
    with pytest.raises(BadInput, match=r"knows none of: x{100}\.\.\.; it knows: "):
        embedded.for_prompt("x" * 950, GuidanceSettings())
    with pytest.raises(BadInput, match=r"prompt: 'a mug .*\.\.\.' has \d+ tokens") as caught:
        embedded.for_prompt("a mug " * 150, GuidanceSettings())
    assert len(str(caught.value)) < 300


def test_a_prompt_of_too_many_tokens_is_refused_never_cut(embedded):
    fits, settings = "a large striped red mushroom with a white stem on a spotted blue table with green legs and parts", GuidanceSettings()
    assert embedded.for_prompt(fits, settings).text.states.shape == (8, 24, 128)
    with pytest.raises(BadInput, match=r"has 25 tokens .*at most 24; shorten it by 1"):
        embedded.for_prompt(f"{fits} on", settings)
    with pytest.raises(BadInput, match=r"grey.*at most 24"):
        embedded.for_prompt(fits, GuidanceSettings(textureless_words="a grey grey grey grey clay {prompt}"))


def test_provenance_names_the_model_its_licences_and_what_was_loaded(embedded, folders):
    facts = embedded.provenance()
    assert (facts["model"], facts["licence"], facts["prediction"]) == ("embedded", "Apache-2.0", "sample")
    assert [(licence["component"], licence["licence"], licence["commercial_use"]) for licence in facts["licences"]] == [
        ("model", ["apache-2.0"], True)
    ]
    card = (embedded.files.folder / "README.md").read_text()
    assert len(facts["files"]) == 2
    assert all(name in card and digest in card for name, digest in facts["files"].items())
    other = load(folders["epsilon"]).provenance()
    assert (other["model"], other["licence"]) == ("epsilon", "unknown: see the model's card")
    assert json.loads(json.dumps(other)) == other
