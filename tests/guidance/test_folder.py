"""Folders that cannot be used: one clear line each, naming the model, what is wrong and the remedy; nothing is printed."""

import json
import re
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_folders import edit_json, write_folder

from dreamfusion_mesh import doctor
from dreamfusion_mesh.config import GuidanceSettings
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.models import load as loading
from dreamfusion_mesh.guidance.models.load import load_guidance

UNET, TEXT = "unet/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"
SCHEDULER, MARKS = "scheduler/scheduler_config.json", "tokenizer/tokenizer_config.json"


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("models") / "sound")


@pytest.fixture
def folder(sound, tmp_path):
    return shutil.copytree(sound, tmp_path / "model")


def _refusal(folder):
    """The one line with which the folder is refused."""
    with pytest.raises(BadInput) as caught:
        load_guidance(GuidanceSettings(model=str(folder)), "cpu")
    message = str(caught.value)
    assert message.startswith(f"guidance {str(folder)!r}: ")
    assert message.isprintable()
    assert len(message) < 600
    return message


def _edit(name, **values):
    return lambda folder: edit_json(folder / name, **values)


def _write(name, data):
    return lambda folder: (folder / name).write_bytes(data)


def _drop(name):
    return lambda folder: (folder / name).unlink()


def _drop_folder(name):
    return lambda folder: shutil.rmtree(folder / name)


def _pickle(name, suffix):
    return lambda folder: (folder / name).rename((folder / name).with_suffix(suffix))


def _truncate(name):
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-100])


def _lose_a_tensor(folder):
    tensors = load_file(folder / UNET)
    del tensors["conv_in.weight"]
    save_file(tensors, folder / UNET, metadata={"format": "pt"})


def _no_tensors(folder):
    save_file({}, folder / UNET, metadata={"format": "pt"})


def _index(target):
    def change(folder):
        (folder / UNET).unlink()
        named = {"metadata": {}, **({"weight_map": {"conv_in.weight": target}} if target else {})}
        (folder / f"{UNET}.index.json").write_text(json.dumps(named))

    return change


def _index_alone(folder):
    _index("shard.safetensors")(folder)
    edit_json(folder / f"{UNET}.index.json", metadata=None)


def _link_out(name):
    def change(folder):
        away = folder.parent / "elsewhere"
        (folder / name).rename(away)
        (folder / name).symlink_to(away)

    return change


def _forget_padding(folder):
    edit_json(folder / MARKS, pad_token=None)
    edit_json(folder / "tokenizer" / "tokenizer.json", padding=None)


CASES = {
    "no unet": (_drop_folder("unet"), r"has no unet/; name a folder in the diffusers layout, which has unet/ or .* and scheduler/$"),
    "no text encoder": (_drop_folder("text_encoder"), "has no text_encoder/"),
    "no tokenizer": (_drop_folder("tokenizer"), "has no tokenizer/"),
    "no scheduler": (_drop_folder("scheduler"), "has no scheduler/"),
    "unet pickle": (_pickle(UNET, ".bin"), r"unet/diffusion_pytorch_model\.bin is a pickle.*safe_serialization=True"),
    "unet checkpoint": (_pickle(UNET, ".ckpt"), r"diffusion_pytorch_model\.ckpt is a pickle"),
    "text encoder pickle": (_pickle(TEXT, ".pt"), r"text_encoder/model\.pt is a pickle"),
    "no weights": (_drop(UNET), "safetensors is missing"),
    "corrupt weights": (_write(UNET, b"not tensors at all" * 10), "not a readable safetensors file"),
    "truncated weights": (_truncate(TEXT), "text_encoder/model.safetensors is not a readable"),
    "empty weights": (_write(UNET, b""), "not a readable safetensors file"),
    "no tensors": (_no_tensors, "holds no tensors"),
    "a tensor missing": (_lose_a_tensor, r"unet/ lacks 1 tensors.*conv_in\.weight"),
    "corrupt unet config": (_write("unet/config.json", b"{"), r"unet/config\.json is not readable JSON"),
    "unet config a list": (_write("unet/config.json", b"[]"), "holds a list, expected an object"),
    "unet config not text": (_write("unet/config.json", b"\xff\xfe\x00"), "not readable JSON"),
    "no unet config": (_drop("unet/config.json"), r"unet/config\.json is missing"),
    "corrupt text config": (_write("text_encoder/config.json", b"nope"), r"text_encoder/config\.json is not readable JSON"),
    "corrupt schedule": (_write(SCHEDULER, b""), r"scheduler_config\.json is not readable JSON"),
    "other unet": (_edit("unet/config.json", _class_name="UNet2DModel"), "unet/ is a UNet2DModel; only UNet2DConditionModel"),
    "other text encoder": (_edit("text_encoder/config.json", model_type="bert"), "text_encoder/ is a bert; only CLIP"),
    "nonsense in unet config": (_edit("unet/config.json", block_out_channels="many"), "unet/ cannot be loaded"),
    "nonsense in text config": (_edit("text_encoder/config.json", hidden_size="wide"), "text_encoder/ cannot be loaded"),
    "channels of another size": (_edit("unet/config.json", in_channels=12, out_channels=12), "unet/ cannot be loaded"),
    "extra conditions": (_edit("unet/config.json", addition_embed_type="image"), "addition_embed_type 'image'"),
    "one text encoder of two": (_edit("unet/config.json", addition_embed_type="text_time"), "has no text_encoder_2/"),
    "classes": (_edit("unet/config.json", num_class_embeds=10), "num_class_embeds 10"),
    "pictures beside words": (
        _edit("unet/config.json", class_embed_type="projection", projection_class_embeddings_input_dim=16),
        "unet/ lacks 4 tensors",
    ),
    "no size": (_edit("unet/config.json", sample_size=[8, 16]), "sample_size"),
    "flow matching": (_edit(SCHEDULER, beta_schedule=None, shift=3.0), "not flow matching"),
    "unknown prediction": (_edit(SCHEDULER, prediction_type="flow"), r"prediction_type 'flow'; epsilon, v_prediction, sample"),
    "unknown betas": (_edit(SCHEDULER, beta_schedule="exotic"), "scheduler_config.json cannot be loaded"),
    "betas out of range": (_edit(SCHEDULER, trained_betas=[0.5, 1.5]), r"outside \[0, 1\]"),
    "no list of betas": (_edit(SCHEDULER, trained_betas=0.5), "gives shares of signal"),
    "times without end": (_edit(SCHEDULER, num_train_timesteps=2**31), "scheduler_config.json cannot be loaded"),
    "layers without end": (_edit("unet/config.json", layers_per_block=2**31), "layers_per_block 2147483648, but its weights are"),
    "many layers of one block": (_edit("unet/config.json", layers_per_block=[2**31]), "layers_per_block .*, but its weights are"),
    "layers of words without end": (_edit("text_encoder/config.json", num_hidden_layers=10**9), "num_hidden_layers 1000000000, but"),
    "more channels than memory": (_edit("unet/config.json", block_out_channels=[2**30]), "block_out_channels .*, but its weights are"),
    "more words than memory": (_edit("text_encoder/config.json", vocab_size=2**40), "vocab_size 1099511627776, but its weights are"),
    "a mark without content": (_edit(MARKS, bos_token={"lstrip": False}), r"tokenizer/ cannot be loaded \(KeyError"),
    "no number of words": (_edit(MARKS, model_max_length={}), r"model_max_length \{\}; expected a number"),
    "a truth for a number": (_edit(MARKS, model_max_length=True), "model_max_length True; expected a number"),
    "room for no word": (_edit(MARKS, model_max_length=0), "model_max_length 0; expected a number"),
    "pictures larger than memory": (_edit("unet/config.json", sample_size=2**31), "sample_size 2147483648; expected one whole"),
    "no tokenizer file": (_drop("tokenizer/tokenizer.json"), "neither tokenizer.json nor vocab.json"),
    "corrupt tokenizer": (_write("tokenizer/tokenizer.json", b"{}"), "tokenizer/ cannot be loaded"),
    "no padding": (_forget_padding, "names no pad_token"),
    "an adapter": (_write("unet/adapter_config.json", b"{}"), "adapters are not read"),
    "weights linked out": (_link_out(UNET), r"unet/diffusion_pytorch_model\.safetensors points out of the folder"),
    "config linked out": (_link_out("scheduler/scheduler_config.json"), "points out of the folder"),
    "part linked out": (_link_out("tokenizer"), "tokenizer points out of the folder"),
    "index names a path": (_index("../../other.safetensors"), r"names '../../other\.safetensors'"),
    "index names an absolute path": (_index("/etc/other.safetensors"), "only .safetensors files beside it"),
    "index names a pickle": (_index("shard.bin"), "only .safetensors files beside it"),
    "index names nothing there": (_index("shard.safetensors"), "names 'shard.safetensors', which is missing"),
    "index without a map": (_index(None), "no weight_map"),
    "index without metadata": (_index_alone, r"safetensors\.index\.json has no metadata, an object that the libraries ask for; download"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_folder_that_cannot_be_used_is_refused(folder, name, capfd):
    change, pattern = CASES[name]
    change(folder)
    assert re.search(pattern, _refusal(folder))
    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err == ""


def test_a_vocabulary_larger_than_the_text_encoders_is_refused(folder):
    file = folder / "tokenizer" / "tokenizer.json"
    values = json.loads(file.read_text())
    known = len(values["model"]["vocab"])
    values["model"]["vocab"] |= {f"word{index}": index for index in range(known, 280)}
    file.write_text(json.dumps(values))
    assert re.search("tokenizer/ has 280 words, text_encoder/ 256", _refusal(folder))


def test_words_of_another_width_are_refused(folder):
    from transformers import CLIPTextConfig, CLIPTextModel

    other = CLIPTextConfig(vocab_size=256, hidden_size=24, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    CLIPTextModel(other).save_pretrained(folder / "text_encoder")
    assert re.search("reads words 16 wide, text_encoder/ makes 24", _refusal(folder))


@pytest.mark.parametrize(("channels", "made", "pattern"), [(4, 4, "takes 4 channels; .*add vae/"), (3, 4, "makes 4 channels of 3")])
def test_channels_that_fit_nothing_are_refused(tmp_path, channels, made, pattern):
    assert re.search(pattern, _refusal(write_folder(tmp_path / "odd", channels, made)))


def test_a_vae_of_another_model_is_refused(tmp_path):
    assert re.search("takes 3 channels, vae/ makes 4", _refusal(write_folder(tmp_path / "odd", 3, vae=True)))


@pytest.mark.parametrize(
    ("change", "pattern"),
    [
        (
            _edit("model_index.json", multiview=6),
            "class_embed_type 'projection' of 5 numbers and model_index.json multiview 6.*not supported",
        ),
        (_edit("model_index.json", multiview=None), "multiview None.*not supported"),
        (_drop("model_index.json"), "model_index.json is missing"),
        (_write("model_index.json", b"[4]"), "holds a list, expected an object"),
        (_link_out("model_index.json"), "model_index.json points out of the folder"),
    ],
)
def test_a_u_net_that_takes_more_than_words_has_to_be_a_multi_view_model(tmp_path, change, pattern):
    folder = write_folder(tmp_path / "together", multiview=True)
    load_guidance(GuidanceSettings(model=str(folder)), "cpu")
    change(folder)
    assert re.search(pattern, _refusal(folder))


def test_no_folder_and_a_file_are_named_as_what_they_are(tmp_path):
    layout = "name a folder in the diffusers layout, which has unet/ or transformer/, text_encoder/, tokenizer/ and scheduler/"
    layout += ", or use guidance.model=embedded"
    assert _refusal(tmp_path / "nowhere").endswith(f"does not exist; {layout}")
    (tmp_path / "file").write_text("")
    assert _refusal(tmp_path / "file").endswith(f"is a file; {layout}")


def test_loading_leaves_the_libraries_logging_as_it_was(sound, capfd):
    from diffusers.utils import logging as diffusers_log
    from transformers.utils import logging as transformers_log

    before = [(log.get_verbosity(), log.is_progress_bar_enabled()) for log in (diffusers_log, transformers_log)]
    load_guidance(GuidanceSettings(model=str(sound)), "cpu")
    assert [(log.get_verbosity(), log.is_progress_bar_enabled()) for log in (diffusers_log, transformers_log)] == before
    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err == ""


def test_shards_load_as_the_single_file_does(sound, folder):
    tensors = load_file(folder / UNET)
    names = sorted(tensors)
    shards = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for shard, held in shards.items():
        save_file({name: tensors[name] for name in held}, folder / "unet" / shard, metadata={"format": "pt"})
    where = {name: shard for shard, held in shards.items() for name in held}
    (folder / f"{UNET}.index.json").write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": where}))
    (folder / UNET).unlink()
    whole, cut = (load_guidance(GuidanceSettings(model=str(each)), "cpu") for each in (sound, folder))
    for name, value in whole.denoiser.network.state_dict().items():
        assert torch.equal(value, cut.denoiser.network.state_dict()[name]), name
    assert sorted(cut.provenance()["files"]) == [TEXT, "unet/a.safetensors", "unet/b.safetensors"]


def test_doctor_finds_the_embedded_models_and_names_what_they_lack(folder, monkeypatch):
    models = doctor._models()
    assert [(model.name, model.found, model.needed) for model in models] == [
        ("embedded", True, True),
        ("embedded CLIP", True, False),
        ("embedded judge", True, False),
    ]
    for model in models:
        assert len(re.search(r"sha256 ((?:[0-9a-f]{12}(?:, )?)+);", model.detail)[1].split(", ")) == 2, "of pictures and of texts"
        assert model.detail.endswith("; Apache-2.0")
    folder.rename(folder.parent / "prior")
    (folder.parent / "prior" / TEXT).unlink()
    monkeypatch.setattr(loading.resources, "files", lambda package: folder.parent)
    prior, clip, judge = doctor._models()
    assert (prior.found, clip.found, judge.found) == (False, False, True)
    assert "text_encoder/model.safetensors is missing" in prior.detail
    assert clip.detail.startswith("CLIP 'embedded': does not exist")
