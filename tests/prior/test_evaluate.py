"""What evaluation writes is all that the card reads."""

import json

import pytest

from tools.prior import evaluate, held_out
from tools.prior.model import RECIPES, Prior, export
from tools.prior.sampling import sample

PLAIN = {"world", "turned", "prior", "multiview"}
APART = {"prior apart", "multiview apart"}


@pytest.mark.parametrize(("more", "apart"), [([], set()), (["--perp-neg", "0.5"], APART)], ids=["plain", "apart"])
def test_samples_are_measured_plain_and_kept_apart_where_asked(tmp_path, shards, monkeypatch, more, apart):
    prompts = held_out.prompts()[:2]
    monkeypatch.setattr(held_out, "prompts", lambda: prompts)

    def briefly(prior, texts, seed, scale, steps=40, **rest):
        return sample(prior, texts, seed, scale, 2, **rest)

    monkeypatch.setattr(evaluate, "sample", briefly)
    export(Prior(RECIPES["tiny"].size), tmp_path / "model")
    asked = [tmp_path / "out", "--prior", tmp_path / "model", "--data", shards, "--each", "1", "--device", "cpu", *more]
    monkeypatch.setattr("sys.argv", ["evaluate", *map(str, asked)])
    evaluate.main()
    found = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert {name for name, value in found.items() if isinstance(value, dict)} == PLAIN | apart | {"nearest"}
    for name in PLAIN | apart:
        assert all(0 <= share <= 1 for share in found[name].values())
    assert found["world"]["colour"] == 1, "the judge sees the world itself"
    assert found["nearest"]["renders"] == 64
    sheets = {file.name for file in (tmp_path / "out").glob("*.png")}
    assert sheets == {"held_out.png", "multiview.png", "unconditional.png", "nearest.png"}
