"""Word ids are those of the tokenizer that is written, and every caption fits."""

import json

import pytest
import torch

from tools.prior import held_out, tokens
from tools.prior.captions import caption_of, parse, vocabulary


def test_tokens_are_those_of_the_written_tokenizer(tmp_path):
    from transformers import PreTrainedTokenizerFast

    tokens.write(tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    del config["tokenizer_class"]
    written = PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"), **config)
    texts = ["", "a red mug, front view", "A Grey clay xylophone!, back view", *(caption_of(p, 3, True) for p in held_out.prompts())]
    for text in texts:
        assert written(text, padding="max_length").input_ids == tokens.encode([text])[0].tolist()
    assert tokens.UNKNOWN not in tokens.encode(list(held_out.prompts()))
    assert tokens.UNKNOWN in tokens.encode(["xylophone"])
    assert len(tokens.word_ids()) == len(vocabulary()) + 4


def test_one_word_is_blanked_where_chosen():
    ids = tokens.encode(["a red mug, front view", "a red mug, front view", ""]).repeat(200, 1)
    chosen = torch.tensor([True, False, True]).repeat(200)
    made = tokens.blank_one(ids, chosen, torch.Generator().manual_seed(0))
    changed = made != ids
    assert (made[changed] == tokens.UNKNOWN).all()
    assert changed.sum(1).reshape(200, 3).tolist() == [[1, 0, 0]] * 200
    assert set(changed.nonzero()[:, 1].tolist()) == {1, 2, 3, 4, 5, 6}  # each of its words and the comma, never a mark


def test_the_longest_caption_fits():
    longest = "the small striped red mug with a white handle on a large wooden blue table with green legs, overhead view"
    assert parse(longest).view == 3
    row = tokens.encode([longest])[0]
    assert tokens.END in row
    with pytest.raises(ValueError, match="at most 22"):
        tokens.encode(["a " * 23])
