"""The id of a model on a hub in place of a folder: nothing is downloaded, and the line says how to."""

from pathlib import Path

import pytest

from dreamfusion_mesh.config import GuidanceSettings
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.models.load import load_guidance
from dreamfusion_mesh.guidance.weights.catalogue import to_fetch


def refusal(model: str) -> str:
    with pytest.raises(BadInput) as caught:
        load_guidance(GuidanceSettings(model=model), "cpu")
    return str(caught.value)


def test_an_id_is_answered_with_how_to_get_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    message = refusal("stabilityai/stable-diffusion-2-1-base")
    assert message == (
        "guidance 'stabilityai/stable-diffusion-2-1-base': is no folder, and the hub's local cache does not hold "
        "stabilityai/stable-diffusion-2-1-base; fetch it with `dreamfusion-mesh models --download stabilityai/stable-diffusion-2-1-base`, "
        "or use guidance.model=embedded"
    )
    for spelt in ("https://huggingface.co/a/b", "https://huggingface.co/a/b/tree/main", "hf://a/b", "a/b@main"):
        assert f"does not hold {spelt} (a/b); fetch it with `dreamfusion-mesh models --download {spelt}`" in refusal(spelt)
    (tmp_path / "models").mkdir()
    for path in ("models/nowhere", "./a/b", "a/b/c", "../nowhere", "/a/b", "~/a", "alone"):
        assert "does not exist; name a folder" in refusal(path), "a path, and no id"


@pytest.mark.parametrize("name", ["a--b/c", "a/b..c", "a/b-", "a/b.git", f"a/{'b' * 97}"])
def test_what_the_hub_allows_as_no_id_is_a_folder_that_is_not_there(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "does not exist; name a folder" in refusal(name)
    with pytest.raises(BadInput, match="neither an id"):
        to_fetch(name)
