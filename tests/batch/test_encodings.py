"""Prompts encoded ahead: the bits of a run by itself, however far they have travelled, within bounds of memory and disk."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dreamfusion_mesh.batch.encodings import EncodedModel, Encodings
from dreamfusion_mesh.batch.messages import Words
from dreamfusion_mesh.batch.queue import WINDOW
from dreamfusion_mesh.config import GuidanceSettings
from dreamfusion_mesh.contracts import GuidanceModel
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.encodings import prompt_texts
from dreamfusion_mesh.records.diffusion import PromptEncoding

SETTINGS = GuidanceSettings()
BYTES = len(prompt_texts("a mug", SETTINGS)) * 2 * 4 * 4  # of an encoding of Counted


class Counted:
    """As much of a GuidanceModel as encodings take; counts what it is asked for."""

    def __init__(self, reader: str = "0") -> None:
        self.reader, self.asked = reader, list[str]()

    def text_fingerprint(self) -> str:
        return self.reader

    def encode_prompt(self, prompt: str, settings: GuidanceSettings) -> PromptEncoding:
        if prompt == "bad":
            raise BadInput("prompt: is bad")
        if prompt == "broken":
            raise RuntimeError("the tokenizer is broken by it")
        self.asked.append(prompt)
        draws = torch.Generator().manual_seed(len(prompt))
        texts = prompt_texts(prompt, settings)
        return PromptEncoding(texts, torch.randn(len(texts), 2, 4, generator=draws), (f"warned of {prompt}",))


def words(count: int, first: int = 0) -> list[Words]:
    return [Words(f"a mug {number}", SETTINGS) for number in range(first, first + count)]


def test_a_prompt_is_encoded_once_wherever_it_is_needed_again(tmp_path: Path) -> None:
    model = Counted()
    encodings = Encodings(model, tmp_path)
    encodings.prepare([*words(WINDOW), Words("bad", SETTINGS), *words(WINDOW, first=WINDOW)])
    assert len(model.asked) == 2 * WINDOW
    assert len([*tmp_path.iterdir()]) == WINDOW  # those that have left memory
    for each in words(2 * WINDOW):
        found = encodings.get(each.prompt, each.settings)
        alone = Counted().encode_prompt(each.prompt, each.settings)
        assert torch.equal(found.states, alone.states)
        assert (found.texts, found.warnings) == (alone.texts, alone.warnings)
    assert len(model.asked) == 2 * WINDOW


@pytest.mark.parametrize(("prompt", "kind", "message"), [("bad", BadInput, "is bad"), ("broken", RuntimeError, "the tokenizer is broken")])
def test_a_prompt_that_cannot_be_used_is_its_own_rows_failure(prompt: str, kind: type[Exception], message: str, tmp_path: Path) -> None:
    model = Counted()
    encodings = Encodings(model, tmp_path)
    encodings.prepare([Words(prompt, SETTINGS), *words(1)])
    assert model.asked == ["a mug 0"]
    with pytest.raises(kind, match=message):
        encodings.get(prompt, SETTINGS)


def test_what_follows_from_other_words_or_another_model_is_not_taken(tmp_path: Path) -> None:
    model = Counted()
    encodings = Encodings(model, tmp_path, memory=0)  # all but the last one on disk
    other = SETTINGS.model_copy(update={"negative_prompt": "blurred"})
    encodings.prepare([Words("a mug", SETTINGS), Words("a mug", other), Words("a mug", SETTINGS), Words("a mug", other)])
    assert model.asked == ["a mug", "a mug"]
    assert encodings.get("a mug", other).texts[-1] == "blurred"
    stranger = Counted("1")
    Encodings(stranger, tmp_path).get("a mug", SETTINGS)
    assert stranger.asked == ["a mug"]


def test_a_file_that_cannot_be_read_is_made_anew(tmp_path: Path) -> None:
    model = Counted()
    encodings = Encodings(model, tmp_path, memory=0)
    encodings.prepare(words(3))
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes()[:-1])
    encodings.prepare(words(3))
    assert len(model.asked) == 5  # the last one was still held
    again = Counted()
    Encodings(again, tmp_path).prepare(words(2))
    assert again.asked == []


@pytest.mark.parametrize("window", [1, 3])
def test_memory_holds_as_many_bytes_as_it_may(window: int, tmp_path: Path) -> None:
    encodings = Encodings(Counted(), tmp_path, memory=window * BYTES)
    encodings.prepare(words(10))
    assert len([*tmp_path.iterdir()]) == 10 - window


def test_the_disk_holds_as_many_bytes_as_it_may_and_the_last_ones(tmp_path: Path) -> None:
    disk = 40_000
    encodings = Encodings(Counted(), tmp_path, memory=0, disk=disk)
    for number in range(200):
        encodings.get(f"a mug {number}", SETTINGS)
        assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= disk * 9 / 8
    again = Counted()
    Encodings(again, tmp_path).prepare(words(5, first=194))
    assert again.asked == []


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    encodings = Encodings(Counted(), tmp_path / "file", memory=0)
    encodings.prepare(words(3))
    assert (tmp_path / "file").read_text() == ""


def test_a_model_with_encodings_binds_prompts_as_it_does_alone(guidance: GuidanceModel, tmp_path: Path) -> None:
    encodings = Encodings(guidance, tmp_path, memory=0)
    model = EncodedModel(guidance, encodings)
    prompts = ["a red mug", "a blue chair", "a red mug"]
    encodings.prepare([Words(prompt, SETTINGS) for prompt in prompts])
    for prompt in prompts:
        alone, ahead = guidance.for_prompt(prompt, SETTINGS), model.for_prompt(prompt, SETTINGS)
        assert torch.equal(alone.text.states, ahead.text.states)
        assert torch.equal(alone.negative.states, ahead.negative.states)
    assert model.provenance() == guidance.provenance()
    assert torch.equal(model.encode_prompt("a red mug", SETTINGS).states, guidance.encode_prompt("a red mug", SETTINGS).states)
