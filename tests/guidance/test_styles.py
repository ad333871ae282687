"""Styles are data: each is there and valid, its words stand around the prompt, and a model that does not know them is given none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
import torch
from guided import PROMPT, bind, load, normal, views_around

from dreamfusion_mesh.config import GuidanceSettings, load_config, preset_names, styles
from dreamfusion_mesh.config.load import presets_folder
from dreamfusion_mesh.config.styles import read_style
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.encodings import prompt_texts
from dreamfusion_mesh.guidance.models.diffusion import DiffusionModel

NAMES = [name for name in get_args(GuidanceSettings.model_fields["prompt_style"].annotation) if name != "none"]
KNOWN = 'words: "a big {prompt}"\ntextureless: "{prompt}, big"\nnegative: "small"\n'  # in words of the embedded model


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of styles in the place of the package's."""
    monkeypatch.setattr(styles, "presets_folder", lambda: tmp_path)
    read_style.cache_clear()
    (tmp_path / "styles").mkdir()
    yield tmp_path / "styles"
    read_style.cache_clear()


def test_each_style_that_may_be_named_has_a_file_and_each_file_a_name() -> None:
    assert sorted(file.name for file in (presets_folder() / "styles").iterdir()) == sorted(f"{name}.yaml" for name in NAMES)
    assert set(NAMES).isdisjoint(preset_names())


@pytest.mark.parametrize("name", NAMES)
def test_a_style_stands_around_the_prompt(name: str) -> None:
    style, texts = read_style(name), prompt_texts("a red {mug}", GuidanceSettings(prompt_style=name, negative_prompt="blurry"))
    assert texts[0] == style.words.replace("{prompt}", "a red {mug}") + ", front view"
    assert texts[6] == style.textureless.replace("{prompt}", "a grey clay {mug}") + ", back view"
    assert texts[8] == f"blurry, {style.negative}"
    assert style.words != "{prompt}"


def test_without_a_style_the_texts_are_the_prompts_own() -> None:
    assert prompt_texts("a red mug", GuidanceSettings())[::4] == ("a red mug, front view", "a grey clay mug, front view", "")


def test_an_unknown_style_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(
        BadInput, match=r"^guidance.prompt_style: expected one of none, stylised, realistic, voxel, hand-painted \(given 'x'\)$"
    ):
        load_config("demo", ["guidance.prompt_style=x"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "style 'voxel': "),
        ('words: "cubes"\ntextureless: "{prompt}"', "style 'voxel': words: has no {prompt}"),
        (
            'words: "{prompt}"\ntextureless: "{subject} {prompt}"',
            "style 'voxel': textureless: unknown placeholder '{subject}'; allowed is {prompt}",
        ),
        ('words: "{prompt} {"\ntextureless: "{prompt}"', "style 'voxel': words: "),
        ('words: "{prompt}"', "style 'voxel': textureless: Field required"),
        ('words: "{prompt}"\ntextureless: "{prompt}"\nmore: 1', "style 'voxel': more: Extra inputs are not permitted"),
        ("- a list", "style 'voxel': "),
        ("words: {", "style 'voxel'"),
    ],
)
def test_a_file_that_is_no_style_is_refused_in_one_line(folder: Path, text: str | None, message: str) -> None:
    if text is not None:
        (folder / "voxel.yaml").write_text(text)
    with pytest.raises(BadInput) as caught:
        prompt_texts("a red mug", GuidanceSettings(prompt_style="voxel"))
    assert str(caught.value).startswith(message)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", NAMES)
def test_the_embedded_model_knows_no_style_and_says_so(embedded: DiffusionModel, name: str) -> None:
    plain, styled = (embedded.for_prompt(PROMPT, GuidanceSettings(prompt_style=style)) for style in ("none", name))
    assert torch.equal(plain.text.states, styled.text.states)
    assert torch.equal(plain.negative.states, styled.negative.states)
    (line,) = styled.warnings
    assert line.startswith(f"guidance.prompt_style {name}: guidance 'embedded' does not know: ")
    assert line.endswith("; the style is left out")


def test_a_model_that_knows_the_words_is_given_them(folder: Path, folders: dict[str, Path]) -> None:
    (folder / "voxel.yaml").write_text(KNOWN)
    model = bind(folders["epsilon"], prompt_style="voxel")
    words = model.model.text.encode(["a big a red mug, side view", "a grey clay mug, big, back view", "small"]).states
    assert torch.equal(torch.stack([model.text.states[1], model.text.states[6], model.negative.states[0]]), words)
    assert model.warnings == []
    encoding = load(folders["epsilon"]).encode_prompt(PROMPT, model.settings)
    assert torch.equal(load(folders["epsilon"]).for_prompt(PROMPT, model.settings, encoding).text.states, model.text.states)


def test_a_styles_negative_words_are_those_of_csd(folder: Path, folders: dict[str, Path]) -> None:
    (folder / "voxel.yaml").write_text(KNOWN)
    noisy, t, views = normal(2, 3, 8, 8), torch.tensor([100, 700]), views_around(2)
    assert bind(folders["epsilon"], prompt_style="voxel", loss="csd").answer(noisy, t, views).negative is not None
