"""Folders that hold no CLIP that can be used: one clear line each, naming the model, what is wrong and the remedy."""

import json
import os
import re
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_clips import write_clip, write_towers
from tiny_folders import edit_json, write_folder

from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.models.clip import load_clip
from dreamfusion_mesh.guidance.weights.folder import Source


def _refusal(folder):
    with pytest.raises(BadInput) as caught:
        load_clip(Source("judge", str(folder), "--judge", folder), "cpu")
    message = str(caught.value)
    assert message.startswith(f"judge {str(folder)!r}: ")
    assert message.isprintable()
    assert len(message) < 600
    return message


def _edit(name, **values):
    return lambda folder: edit_json(folder / name, **values)


def _drop(name):
    return lambda folder: (folder / name).unlink()


def _write(name, data):
    return lambda folder: (folder / name).write_bytes(data)


def _truncate(name):
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-100])


def _rename(name, other):
    return lambda folder: (folder / name).rename(folder / other)


def _pipe(name):
    return lambda folder: ((folder / name).unlink(), os.mkfifo(folder / name))


def _nested(name, group, **values):
    def change(folder):
        config = json.loads((folder / name).read_text())
        config[group] = {**config[group], **values}
        (folder / name).write_text(json.dumps(config))

    return change


def _word_id(number):
    def change(folder):
        tokenizer = json.loads((folder / "tokenizer.json").read_text())
        tokenizer["model"]["vocab"]["yellow"] = number
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer))

    return change


MARKS, PIXELS = "tokenizer_config.json", "preprocessor_config.json"
WHOLE = {
    "a pickle": (_rename("model.safetensors", "pytorch_model.bin"), r"pytorch_model\.bin is a pickle.*get model\.safetensors, or save"),
    "no weights": (_drop("model.safetensors"), "model.safetensors is missing; download"),
    "truncated weights": (_truncate("model.safetensors"), "model.safetensors is not a readable safetensors file"),
    "no settings": (_drop("config.json"), "has neither config.json nor image/ and text/; name a folder that holds a CLIP"),
    "another kind": (_edit("config.json", model_type="siglip"), r"model_type 'siglip'; only 'clip' is read: name a folder that"),
    "no kind": (_edit("config.json", model_type=None), r"model_type None; only 'clip' is read"),
    "no group": (_edit("config.json", text_config=[1]), r"text_config \[1\], expected an object"),
    "layers without end": (_nested("config.json", "text_config", num_hidden_layers=10**9), "num_hidden_layers 1000000000, but its weights"),
    "more words than memory": (_nested("config.json", "text_config", vocab_size=2**40), "vocab_size .*, but its weights"),
    "pictures without end": (_nested("config.json", "vision_config", image_size=2**30), "the folder cannot be loaded"),
    "another width": (_nested("config.json", "vision_config", hidden_size=8), "the folder cannot be loaded"),
    "no preprocessor": (_drop(PIXELS), r"preprocessor_config\.json is missing"),
    "no square": (_edit(PIXELS, size={"height": 16, "width": 8}), "has size .*; expected the side of a square"),
    "no size": (_edit(PIXELS, size="large"), "has size 'large'"),
    "another size": (_edit(PIXELS, crop_size=8), "has crop_size 8; expected 16 pixels"),
    "sides that are lists": (_edit(PIXELS, size={"height": [16], "width": [16]}), "has size .*; expected the side of a square"),
    "a filter that is a list": (_edit(PIXELS, resample=[3]), r"has resample \[3\]; expected 2"),
    "another filter": (_edit(PIXELS, resample=1), r"has resample 1; expected 2 \(bilinear\) or 3"),
    "other brightness": (_edit(PIXELS, rescale_factor=1.0), "has rescale_factor 1.0; expected 1/255"),
    "no mean": (_edit(PIXELS, image_mean=["a", "b", "c"]), "has image_mean .*; expected three numbers"),
    "a mean beyond floats": (_edit(PIXELS, image_mean=[10**400, 0, 0]), "has image_mean .*; expected three numbers"),
    "no spread": (_edit(PIXELS, image_std=[0.5, 0, 0.5]), "has image_std .*; expected three numbers from 1e-06 up"),
    "a spread that float32 takes for 0": (_edit(PIXELS, image_std=[0.5, 1e-46, 0.5]), "has image_std .*; expected three numbers from"),
    "no tokenizer": (_drop("tokenizer.json"), "the folder has neither tokenizer.json nor vocab.json"),
    "a corrupt tokenizer": (_write("tokenizer.json", b"{}"), "the tokenizer cannot be loaded"),
    "another tokenizer's marks": (_edit(MARKS, eos_token="<s>"), "puts no eos_token at a text's end"),
    "a word beyond the tower's": (_word_id(10**6), "the tokenizer has 1000001 words, the text tower 162; they belong to different"),
    "another end mark": (_nested("config.json", "text_config", eos_token_id=7), "eos_token is 3, for the text tower 7"),
    "a pipe": (_pipe("tokenizer.json"), "tokenizer.json is a pipe, expected a file"),
}
TOWERS = {
    "no text": (lambda folder: shutil.rmtree(folder / "text"), "has no text/; name a folder that holds a CLIP.*, or small towers"),
    "no image": (lambda folder: shutil.rmtree(folder / "image"), "has no image/; name"),
    "another image tower": (_edit("image/config.json", model_type="vit"), "image/config.json has model_type 'vit'; expected 'resnet'"),
    "truncated weights": (_truncate("text/model.safetensors"), "text/model.safetensors is not a readable"),
    "a pickle": (_rename("image/model.safetensors", "image/model.pt"), r"image/model\.pt is a pickle.*get image/model\.safetensors"),
    "blocks without end": (_edit("image/config.json", depths=[10**9, 1]), "image/config.json has depths .*, but its weights are"),
    "stages without end": (
        _edit("image/config.json", depths=[1] * 10_000, hidden_sizes=[8] * 10_000),
        r"image/config\.json has depths .*, but its weights are",
    ),
    "widths without end": (_edit("image/config.json", hidden_sizes=[8] * 10_000), r"image/config\.json has hidden_sizes .*, but its"),
    "no preprocessor": (_drop(f"image/{PIXELS}"), r"image/preprocessor_config\.json is missing"),
    "no marks": (_drop(f"text/{MARKS}"), r"text/tokenizer_config\.json is missing"),
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    parent = tmp_path_factory.mktemp("clips")
    return {write: write(parent / write.__name__) for write in (write_clip, write_towers)}


def test_a_tokenizer_of_few_tokens_is_named_without_a_word_of_the_library(sound, tmp_path, capfd):
    folder = shutil.copytree(sound[write_clip], tmp_path / "clip")
    edit_json(folder / "tokenizer_config.json", model_max_length=1)
    assert "at most 1 are read" in _refusal(folder)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("change", "pattern"), WHOLE.values(), ids=WHOLE)
def test_a_whole_clip_that_cannot_be_used_is_refused_in_one_line(sound, tmp_path, change, pattern):
    folder = shutil.copytree(sound[write_clip], tmp_path / "clip")
    change(folder)
    assert re.search(pattern, _refusal(folder))


@pytest.mark.parametrize(("change", "pattern"), TOWERS.values(), ids=TOWERS)
def test_towers_that_cannot_be_used_are_refused_in_one_line(sound, tmp_path, change, pattern):
    folder = shutil.copytree(sound[write_towers], tmp_path / "clip")
    change(folder)
    assert re.search(pattern, _refusal(folder))


def test_towers_of_different_models_are_refused(sound, tmp_path):
    folder = shutil.copytree(sound[write_towers], tmp_path / "clip")
    shutil.rmtree(folder / "text")
    shutil.copytree(_wider(tmp_path / "wide") / "text", folder / "text")
    assert "image/ makes 8 numbers, text/ 12; they belong to different models" in _refusal(folder)


def _wider(folder):
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    write_towers(folder)
    text = CLIPTextConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, projection_dim=12)
    CLIPTextModelWithProjection(text).save_pretrained(folder / "text")
    return folder


def test_another_kind_of_folder_is_named_as_what_it_is(tmp_path):
    wanted = "name a folder that holds a CLIP as transformers saves it"
    diffusion = write_folder(tmp_path / "diffusion", multiview=True)
    assert f"has a model_index.json, so it is a diffusion model; {wanted}" in _refusal(diffusion)
    assert f"does not exist; {wanted}" in _refusal(tmp_path / "nowhere")
    assert _refusal(tmp_path / "nowhere").endswith(", or use --judge=embedded")
    (tmp_path / "file").write_text("")
    assert f"is a file; {wanted}" in _refusal(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    assert f"has neither config.json nor image/ and text/; {wanted}" in _refusal(tmp_path / "empty")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0])
@pytest.mark.parametrize(("tower", "tensor"), [("image", "visual_projection.weight"), ("text", "text_projection.weight")])
def test_weights_that_make_no_vectors_are_refused(tmp_path, tower, tensor, value):
    file = write_clip(tmp_path / "clip") / "model.safetensors"
    weights = load_file(file)
    save_file({**weights, tensor: torch.full_like(weights[tensor], value)}, file, {"format": "pt"})
    assert f"its weights make no {tower} vectors" in _refusal(tmp_path / "clip")
