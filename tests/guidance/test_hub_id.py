"""The id of a model on a hub in place of a folder: nothing is downloaded, and the line says how to."""

import inspect
from importlib import metadata
from pathlib import Path

import pytest

from dreamfusion_mesh.config import GuidanceSettings
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.models.load import load_guidance


def refusal(model: str) -> str:
    with pytest.raises(BadInput) as caught:
        load_guidance(GuidanceSettings(model=model), "cpu")
    return str(caught.value)


def test_an_id_is_answered_with_how_to_get_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    message = refusal("stabilityai/stable-diffusion-2-1-base")
    assert message == (
        "guidance 'stabilityai/stable-diffusion-2-1-base': is no folder but looks like the id of a model on a hub, and only local folders "
        "are read; get it by `hf download stabilityai/stable-diffusion-2-1-base --local-dir stable-diffusion-2-1-base` and set "
        "guidance.model=stable-diffusion-2-1-base, or use guidance.model=embedded"
    )
    for spelt in ("https://huggingface.co/a/b", "https://huggingface.co/a/b/tree/main", "hf://a/b", "a/b@main"):
        assert "get it by `hf download a/b --local-dir b` and set guidance.model=b" in refusal(spelt)
    (tmp_path / "models").mkdir()
    for path in ("models/nowhere", "./a/b", "a/b/c", "../nowhere", "/a/b", "~/a", "alone"):
        assert "does not exist; name a folder" in refusal(path), "a path, and no id"


def test_the_command_that_an_id_is_answered_with_is_there() -> None:
    from huggingface_hub.cli.download import download

    assert "hf" in metadata.distribution("huggingface_hub").entry_points.names
    assert {"repo_id", "local_dir"} <= inspect.signature(download).parameters.keys()
