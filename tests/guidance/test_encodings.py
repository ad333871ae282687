"""A prompt's texts encoded apart from its run: the same bits, a name that follows what they depend on, and files that are not trusted."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from guided import PROMPT, load, normal, score, views_around
from safetensors.torch import save
from tiny_folders import edit_json, write_folder

from dreamfusion_mesh.config import GuidanceSettings
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.encodings import encoding_bytes, encoding_key, prompt_texts, read_encoding
from dreamfusion_mesh.guidance.models.diffusion import DiffusionModel
from dreamfusion_mesh.guidance.prompts import VIEW_SUFFIXES
from dreamfusion_mesh.records.diffusion import PromptEncoding

ROWS = [
    ("a red mug", {"scale": 5.0}),
    ("a blue dragon-table", {"scale": 50.0, "perp_neg": 1.0, "multiview": True, "negative_prompt": "a red mug"}),
    ("a red mug", {"textureless_words": "a white {subject}", "negative_prompt": "a table", "front_degrees": 5.0}),
]


def settings_of(model: DiffusionModel, **changed: Any) -> GuidanceSettings:
    return GuidanceSettings(model=model.model, **changed)


@pytest.mark.parametrize("way", ["here", "ahead", "from a file"])
def test_rows_of_one_model_score_as_each_alone_with_a_fresh_one(way: str, folders: dict[str, Path]) -> None:
    """All are bound before any is asked, as they are where encodings are made ahead."""
    shared, noisy, t, views = load(folders["multiview"]), normal(4, 3, 8, 8), torch.full((4,), 700), views_around(4)
    made: list[PromptEncoding | None] = []
    for prompt, changed in ROWS:
        encoding = None if way == "here" else shared.encode_prompt(prompt, settings_of(shared, **changed))
        made.append(read_encoding(encoding_bytes(encoding)) if encoding is not None and way == "from a file" else encoding)
    bound = [shared.for_prompt(prompt, settings_of(shared, **changed), ahead) for (prompt, changed), ahead in zip(ROWS, made, strict=True)]
    for (prompt, changed), model in reversed([*zip(ROWS, bound, strict=True)]):
        fresh = load(folders["multiview"])
        alone = fresh.for_prompt(prompt, settings_of(fresh, **changed))
        assert torch.equal(score(model, noisy, t, views), score(alone, noisy, t, views))
        assert model.warnings == alone.warnings
    assert len({tuple(score(model, noisy, t, views).flatten().tolist()) for model in bound}) == len(ROWS)


def test_the_texts_are_those_of_every_view_of_both_prompts_and_the_negative_one() -> None:
    texts = prompt_texts(" a  red mug ", GuidanceSettings(negative_prompt="blurry"))
    coloured, textureless = ([words + suffix for suffix in VIEW_SUFFIXES] for words in ("a red mug", "a grey clay mug"))
    assert texts == (*coloured, *textureless, "blurry")
    with pytest.raises(BadInput, match="prompt: is empty"):
        prompt_texts(" ", GuidanceSettings())


def test_without_view_words_all_views_have_the_prompt_alone() -> None:
    texts = prompt_texts(" a  red mug ", GuidanceSettings(view_words=False, negative_prompt="blurry"))
    assert texts == (*["a red mug"] * 4, *["a grey clay mug"] * 4, "blurry")


def test_the_name_of_an_encoding_follows_its_texts_and_nothing_else() -> None:
    base = GuidanceSettings()
    names = {
        encoding_key("reader", prompt_texts("a red mug", base)),
        encoding_key("reader", prompt_texts("a blue mug", base)),
        encoding_key("reader", prompt_texts("a red mug", GuidanceSettings(negative_prompt="blurry"))),
        encoding_key("reader", prompt_texts("a red mug", GuidanceSettings(textureless_words="a white {subject}"))),
        encoding_key("another", prompt_texts("a red mug", base)),
    }
    assert len(names) == 5
    same = prompt_texts("a red  mug", GuidanceSettings(scale=50.0, perp_neg=1.0, front_degrees=5.0, model="x"))
    assert encoding_key("reader", same) in names
    assert encoding_key("reader", ("a", "b")) == "4eb442ee46bde1e0523a272ec777b1853788f3ae42236df34cae8cea9f969551"


def test_the_fingerprint_of_the_reader_follows_the_files_of_the_text_encoder(folders: dict[str, Path], tmp_path: Path) -> None:
    here = load(folders["epsilon"]).text_fingerprint()
    assert here == load(folders["epsilon"]).text_fingerprint()
    assert here == load(folders["sample"]).text_fingerprint(), "the same texts before another U-Net"
    assert here != load(write_folder(tmp_path / "seed", seed=1)).text_fingerprint(), "other weights"
    changed = write_folder(tmp_path / "tokens")
    edit_json(changed / "tokenizer" / "tokenizer_config.json", model_max_length=20)
    assert here != load(changed).text_fingerprint(), "another tokenizer"
    (changed / "tokenizer" / "spiece.model").write_bytes(b"pieces")
    before = load(changed).text_fingerprint()
    (changed / "tokenizer" / "spiece.model").write_bytes(b"others")
    assert before != load(changed).text_fingerprint(), "another SentencePiece model"


def test_the_fingerprint_follows_how_the_same_encoders_read(copied: Callable[[str], Path]) -> None:
    folder = copied("xl")
    edit_json(folder / "model_index.json", force_zeros_for_empty_prompt=True)
    before, plain = load(folder), load(folder, half_precision=False)
    edit_json(folder / "model_index.json", force_zeros_for_empty_prompt=False)
    after = load(folder)
    assert len({model.text_fingerprint() for model in (before, plain, after)}) == 3
    states = [model.encode_prompt(PROMPT, settings_of(model)).states[-1] for model in (before, after)]
    assert not torch.equal(*states), "of no words"


def test_a_models_files_are_hashed_once(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    model = load(folders["latent"])
    first = (model.provenance(), model.text_fingerprint())
    monkeypatch.setattr("dreamfusion_mesh.guidance.weights.model_files.fingerprint", None)
    assert (model.provenance(), model.text_fingerprint()) == first


def test_an_encoding_of_another_prompt_or_model_is_refused(folders: dict[str, Path]) -> None:
    model = load(folders["epsilon"])
    settings, made = settings_of(model), model.encode_prompt(PROMPT, settings_of(model))
    for prompt, other in ((f"{PROMPT} with parts", settings), (PROMPT, settings_of(model, negative_prompt="a table"))):
        with pytest.raises(ValueError, match=r"encoding: \[9, 24, 16\] of .*a red mug, front.*, expected .* of this prompt"):
            model.for_prompt(prompt, other, made)
    for states in (made.states[:, :5], made.states[..., :8]):
        with pytest.raises(ValueError, match=r"encoding: .*expected \[9, 24, 16\] of this prompt"):
            model.for_prompt(PROMPT, settings, dataclasses.replace(made, states=states))
    with pytest.raises(ValueError, match="encoding: "):
        model.for_prompt(PROMPT, settings, PromptEncoding((), torch.zeros(0, 24, 16)))
    with pytest.raises(BadInput, match="is not a multi-view model"):
        model.for_prompt(PROMPT, settings_of(model, multiview=True), made)
    with pytest.raises(BadInput, match="the model that was loaded is"):
        model.encode_prompt(PROMPT, GuidanceSettings())


GOOD: dict[str, torch.Tensor] = {
    "texts": torch.tensor([*b'["a", "b"]'], dtype=torch.uint8),
    "warnings": torch.tensor([*b"[]"], dtype=torch.uint8),
    "states": torch.zeros(2, 5, 3),
}
DEEP = torch.tensor([*b"[" * 100_000], dtype=torch.uint8)


def test_a_file_gives_what_was_written() -> None:
    assert read_encoding(save(GOOD)).texts == ("a", "b")
    encoding = PromptEncoding(("ä \ud800", 'x"\n'), normal(2, 5, 3), ("of “words”",))
    found = read_encoding(encoding_bytes(encoding))
    assert (found.texts, found.warnings) == (encoding.texts, encoding.warnings)
    assert torch.equal(found.states, encoding.states)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"more": torch.zeros(1)}, r"holds \['more', .*\], expected"),
        ({"states": torch.zeros(3, 5, 3)}, r"states: shape \[3, 5, 3\], expected \[2"),
        ({"states": torch.zeros(2, 5)}, r"states: shape \[2, 5\]"),
        ({"states": torch.zeros(2, 5, 3).half()}, r"states: torch.float16, expected torch.float32"),
        ({"states": torch.full((2, 5, 3), torch.nan)}, "states: .*all finite"),
        ({"texts": torch.zeros(3)}, r"texts: torch.float32 \[3\], expected bytes"),
        ({"texts": torch.zeros(3, 3, dtype=torch.uint8)}, r"texts: .*expected bytes"),
        ({"texts": torch.tensor([255], dtype=torch.uint8)}, "texts: is not JSON"),
        ({"texts": DEEP}, "texts: is not JSON .*recursion"),
        ({"texts": torch.tensor([*b'{"a": 1}'], dtype=torch.uint8)}, "texts: expected a list of texts"),
        ({"warnings": torch.tensor([*b"[1]"], dtype=torch.uint8)}, "warnings: expected a list of texts"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_file_that_holds_anything_else_is_refused(changed: dict[str, torch.Tensor], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_encoding(save({**GOOD, **changed}))


@pytest.mark.parametrize("cut", [0, 1, 8, 40, -1])
def test_a_torn_file_is_refused(cut: int) -> None:
    with pytest.raises(ValueError, match="encoding: is not a safetensors file"):
        read_encoding(save(GOOD)[:cut])
    with pytest.raises(ValueError, match="encoding: "):
        read_encoding(json.dumps({"texts": []}).encode())
