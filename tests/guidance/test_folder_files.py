"""Folders whose files cannot be read: named at once by the true cause, where the libraries would wait or guess."""

import os
import re
import shutil

import pytest
from privileges import permissions_hold
from tiny_folders import write_folder

from dreamfusion_mesh.config import GuidanceSettings, load_config
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.models.load import diffusion_source, load_guidance
from dreamfusion_mesh.guidance.models.unet import LAYOUT
from dreamfusion_mesh.guidance.weights.folder import open_folder


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("models") / "sound")


@pytest.fixture
def folder(sound, tmp_path):
    return shutil.copytree(sound, tmp_path / "model")


def _refusal(folder):
    with pytest.raises(BadInput) as caught:
        load_guidance(GuidanceSettings(model=str(folder)), "cpu")
    assert str(caught.value).startswith(f"guidance {str(folder)!r}")
    return str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "tokenizer/tokenizer.json",
        "scheduler/scheduler_config.json",
        "text_encoder/generation_config.json",  # one that a library may look for
        "model_index.json",
    ],
)
def test_a_pipe_is_refused_before_a_library_waits_for_its_writer(folder, name):
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    assert f"{name} is a pipe, expected a file; download the model again" in _refusal(folder)


@pytest.mark.parametrize("part", ["", "unet", "tokenizer"])
def test_a_folder_that_may_not_be_entered_is_named(folder, part):
    (folder / part).chmod(0o600)
    with permissions_hold():
        assert f"you may not enter the folder {folder / part}" in _refusal(folder)
    (folder / part).chmod(0o700)


@pytest.mark.parametrize("name", ["unet/config.json", "tokenizer", "text_encoder/model.safetensors"])
def test_a_file_that_may_not_be_read_is_named(folder, name):
    (folder / name).chmod(0)
    with permissions_hold():
        assert re.search(f"{name}.*(you may not|Permission denied)", _refusal(folder))
    (folder / name).chmod(0o700)


def test_a_path_that_is_not_utf8_is_named():
    with pytest.raises(BadInput, match=r"the path caf\\xe9 is not UTF-8; rename it"):
        open_folder(diffusion_source(os.fsdecode(b"caf\xe9")), LAYOUT)
    with pytest.raises(BadInput, match=r"^guidance\.model: expected words, .*\(given 'caf\\udce9'\)$"):
        load_config("smoke", overrides={"guidance": {"model": os.fsdecode(b"caf\xe9")}})


def test_the_folder_of_a_user_that_is_not_there_does_not_exist():
    with pytest.raises(BadInput, match="guidance '~nobody-of-this-name/model': does not exist"):
        load_guidance(GuidanceSettings(model="~nobody-of-this-name/model"), "cpu")


@pytest.mark.parametrize("name", ["unet/more", "model_index.json", "tokenizer"])
def test_a_link_to_itself_is_named(folder, name):
    shutil.rmtree(folder / name, ignore_errors=True)
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to((folder / name).name)
    assert re.search(rf"{name}: cannot be read \(.*symbolic links", _refusal(folder))


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to(path.name)], ids=["pipe", "link to itself"])
def test_a_card_that_cannot_be_read_names_no_licence(folder, make):
    make(folder / "README.md")
    assert load_guidance(GuidanceSettings(model=str(folder)), "cpu").provenance()["licences"][0]["licence"] == []
