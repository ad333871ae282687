"""What reads prompts: vocabularies of SentencePiece, texts that are too long, chats, padding on either side."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import pytest
import torch
from guided import load
from tiny_folders import edit_json, write_folder
from tiny_pipelines import CHAT, CLIP_TOKENS, tokenizer, write_pipeline

from dreamfusion_mesh.config import GuidanceSettings
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.guidance.models.sentencepiece import read_vocabulary
from dreamfusion_mesh.guidance.models.text_families import _QWEN_CHAT

PIECES = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁a", -1.5), ("▁red", -2.0), ("▁mug", -2.5), ("▁", -3.0), ("m", -4.0)]
KINDS = {"<pad>": 3, "</s>": 3, "<unk>": 2}  # control, and unknown; of the others it is not said


def _field(number: int, content: bytes) -> bytes:
    assert len(content) < 128
    return bytes([number << 3 | 2, len(content)]) + content


def spiece(pieces: list[tuple[str, float]] = PIECES) -> bytes:
    """A spiece.model, with fields beside those that are read: the trainer's settings and the normalizer's name."""
    made = b""
    for text, score in pieces:
        kind = bytes([3 << 3, KINDS[text]]) if text in KINDS else b""
        made += _field(1, _field(1, text.encode()) + bytes([2 << 3 | 5]) + struct.pack("<f", score) + kind)
    trainer = _field(2, bytes([3 << 3, 1, 4 << 3]) + b"\xe8\x07")  # model_type 1, vocab_size 1000 in two bytes
    return made + trainer + _field(3, _field(1, b"identity") + bytes([3 << 3, 1]))


def test_a_vocabulary_is_read_piece_by_piece() -> None:
    found = read_vocabulary(spiece())
    assert found.pieces == PIECES
    assert found.characters is None
    with_map = read_vocabulary(spiece() + _field(3, _field(2, b"\1\2\3")))
    assert with_map.characters == b"\1\2\3"


@pytest.mark.parametrize(
    "content",
    [b"", spiece()[:-1], spiece()[:30], b"\xff" * 40, b"no model at all", _field(1, _field(1, b"\xff")), _field(1, b"\x12\1a"), b"\x0b\1"],
    ids=str,
)
def test_what_is_no_vocabulary_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  UnicodeDecodeError is one
        read_vocabulary(content)


def test_a_t5_reads_by_its_spiece_model_alone(tmp_path: Path) -> None:
    """As the folders of DeepFloyd IF and PixArt-Sigma are published; the words are told by the likeliest pieces, the end by </s>."""
    write_pipeline("deepfloyd", tmp_path / "model")
    folder = tmp_path / "model" / "tokenizer"
    (folder / "tokenizer.json").unlink()
    (folder / "spiece.model").write_bytes(spiece())
    marks = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>", "bos_token": None}
    edit_json(folder / "tokenizer_config.json", tokenizer_class="T5Tokenizer", extra_ids=100, **marks)
    model = load(tmp_path / "model")
    assert model.text.readers[0].tokens("A Red  mug") == [3, 4, 5, 1]
    assert model.text.readers[0].tokens("a blue mug")[-2:] == [5, 1]
    assert 2 in model.text.readers[0].tokens("a blue mug")
    assert model.text.tokenizer.pad_token_id == 0
    assert len(model.text.tokenizer) == len(PIECES) + 100
    assert model.text.encode(["a red mug"]).states.shape == (1, 77, 16)
    edit_json(folder / "tokenizer_config.json", extra_ids=10**9)
    with pytest.raises(BadInput, match="extra_ids 1000000000, expected a whole number up to 1000"):
        load(tmp_path / "model")
    (folder / "spiece.model").write_bytes(b"broken")
    with pytest.raises(BadInput, match=r"tokenizer/ cannot be loaded \(ValueError: .*\); download the model again"):
        load(tmp_path / "model")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("readers") / "model")


def test_a_long_prompt_loses_its_last_words_and_keeps_those_of_the_view(plain: Path) -> None:
    model = load(plain)
    fits = "a large striped red mushroom with a white stem on a spotted blue table with green legs"
    settings = GuidanceSettings(model=str(plain), textureless_words="{prompt}")
    assert model.encode_prompt(fits, settings).warnings == ()
    long = model.encode_prompt(f"{fits} and parts of a red car with yellow spots", settings)
    (line,) = (each for each in long.warnings if "cut were" in each)
    kept, _, dropped = line.partition("; cut were: ")
    assert kept == f"prompt: guidance {str(plain)!r} reads at most 24 tokens, the view's words among them"
    assert dropped.endswith("of a red car with yellow spots")
    whole = f"{fits} and parts of a red car with yellow spots"
    first = whole.removesuffix(dropped).strip()
    assert long.texts[:4] == tuple(f"{first}, {view} view" for view in ("front", "side", "back", "overhead"))
    assert model.text.count(long.texts[0]) == CLIP_TOKENS, "as many words are kept as fit"
    again = model.for_prompt(whole, settings, long)
    assert again.warnings == [*long.warnings]


def test_a_long_negative_prompt_is_cut_and_named(plain: Path) -> None:
    settings = GuidanceSettings(model=str(plain), negative_prompt="blue " * 30 + "table")
    (line,) = load(plain).encode_prompt("a red mug", settings).warnings
    assert line.startswith("guidance.negative_prompt: ")
    assert line.endswith("blue table")


def test_a_prompt_of_which_no_word_fits_is_refused(plain: Path) -> None:
    settings = GuidanceSettings(model=str(plain), textureless_words="grey " * 30 + "{subject}")
    with pytest.raises(BadInput, match=r"has \d+ tokens with its view's words and both marks, .* reads at most 24; shorten it by"):
        load(plain).encode_prompt("a red mug", settings)


def test_of_three_readers_each_reads_what_it_can(tmp_path: Path) -> None:
    write_pipeline("sd3", tmp_path / "model")
    model = load(tmp_path / "model")
    long = "a red mug " + "on a blue table " * 8
    lines = model.encode_prompt(long, GuidanceSettings(model=model.model)).warnings
    assert [line.partition(" reads ")[2] for line in lines] == [
        f"the first {CLIP_TOKENS} tokens alone in {part}/, the rest in text_encoder_3/" for part in ("text_encoder", "text_encoder_2")
    ]
    short, whole = (model.text.encode([words]).states for words in (" ".join(long.split()[: CLIP_TOKENS - 2]), long))
    torch.testing.assert_close(short[:, :CLIP_TOKENS], whole[:, :CLIP_TOKENS])
    assert not torch.allclose(short[:, CLIP_TOKENS:], whole[:, CLIP_TOKENS:], atol=1e-3)


def test_the_chat_is_what_qwens_template_makes_of_one_message() -> None:
    words = tokenizer()
    words.chat_template = CHAT
    message = [{"role": "user", "content": "a red mug"}]
    made = words.apply_chat_template(message, tokenize=False, add_generation_prompt=True, enable_thinking=False)
    assert made == _QWEN_CHAT[0] + "a red mug" + _QWEN_CHAT[1]


def test_padding_on_the_left_is_padded_and_masked_on_the_left(tmp_path: Path) -> None:
    write_pipeline("prx", tmp_path / "right")
    left = shutil.copytree(tmp_path / "right", tmp_path / "left")
    edit_json(left / "tokenizer" / "tokenizer_config.json", padding_side="left")
    masks = [load(folder).text.encode(["a red mug"]).tokens[0] for folder in (tmp_path / "right", left)]
    assert masks[0].tolist() == masks[1].flip(0).tolist()
    assert masks[0][:5].tolist() == [1] * 5
    assert masks[0].sum() == 5
