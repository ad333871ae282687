"""The weights that travel with the project are those of their cards, small enough, and as good as their cards say."""

from importlib import resources
from pathlib import Path

import pytest

from dreamfusion_mesh.evaluate.judges import SHIPPED, load_judge
from dreamfusion_mesh.guidance.models.load import diffusion_source
from dreamfusion_mesh.guidance.weights.folder import fingerprint
from tools.prior import evaluate, held_out, model, tokens
from tools.prior.captions import parse
from tools.prior.kinds import KINDS

PRIOR = Path(str(resources.files("dreamfusion_mesh.guidance"))) / "prior"
JUDGE, CLIP = SHIPPED, Path(str(resources.files("dreamfusion_mesh.guidance"))) / "clip"


@pytest.fixture(scope="module")
def eyes():
    return load_judge("embedded", "cpu")


@pytest.mark.parametrize(("folder", "most"), [(PRIOR, 30e6), (JUDGE, 10e6), (CLIP, 10e6)], ids=["prior", "judge", "clip"])
def test_weights_are_those_of_the_card_and_small(folder, most):
    card = (folder / "README.md").read_text()
    weights = sorted(folder.rglob("*.safetensors"))
    assert weights
    for file in weights:
        assert f"| `{file.relative_to(folder).as_posix()}` | `{fingerprint(file)}` |" in card
    assert sum(file.stat().st_size for file in weights) < most
    assert not [file for file in folder.rglob("*") if file.suffix in (".bin", ".pt", ".ckpt", ".pkl")]


def test_all_read_the_words_of_the_world():
    for folder in (PRIOR / "tokenizer", JUDGE / "text", CLIP / "text"):
        written = (folder / "tokenizer.json").read_text()
        assert all(f'"{word}": {row}' in written for word, row in tokens.word_ids().items())


def test_the_clip_that_guides_is_not_the_judge_and_knows_the_world():
    weights = [{fingerprint(file) for file in folder.rglob("*.safetensors")} for folder in (JUDGE, CLIP)]
    assert not weights[0] & weights[1]
    shares, _ = evaluate.measure(load_judge(str(CLIP), "cpu"), evaluate.world_draws(each=2, seed=19), held_out.prompts()[::3])
    assert shares["colour"] >= 0.8
    assert shares["kind"] >= 0.75
    assert shares["clay"] >= 0.4


SOME_AND_ALL = [pytest.param(False, id="some"), pytest.param(True, id="all", marks=pytest.mark.sweep)]


def card_shares():
    """The judge's shares for real renders from anywhere, by the words of its card."""
    rows = (line.strip("| \n").split(" | ") for line in (JUDGE / "README.md").read_text().splitlines() if "%" in line)
    return {name: float(share.rstrip("%")) / 100 for name, share, _ in rows}


@pytest.mark.parametrize("whole", SOME_AND_ALL)
def test_the_judge_knows_real_renders_as_its_card_says(eyes, whole):
    """Other renders of the same prompts: shares lie within three standard errors of the card's, a prompt's pictures counted as one."""
    prompts = held_out.prompts()[:: 1 if whole else 3]
    shares, _ = evaluate.measure(eyes, evaluate.world_draws(each=2, seed=19), prompts)
    card = card_shares()
    sided = sum(KINDS[parse(prompt).scene.thing.kind].sided for prompt in prompts)
    measured = {"kind, as grey clay, among 153": ("clay", len(prompts)), "view, among four, of kinds that have sides": ("view", 2 * sided)}
    measured |= {"the whole prompt, among 153": ("prompt", len(prompts))} | {name: (name, len(prompts)) for name in ("kind", "colour")}
    for words, (name, count) in measured.items():
        error = (card[words] * (1 - card[words]) * (1 / count + 1 / len(held_out.prompts()))) ** 0.5
        assert shares[name] == pytest.approx(card[words], abs=3 * error), name


@pytest.mark.parametrize("whole", SOME_AND_ALL)
def test_samples_of_the_prior_are_recognised_by_the_judge(eyes, whole):
    """Guided as in the preset `demo`; fewer samples than the card's figures. A broken swap of files falls to a few percent."""
    assert diffusion_source("embedded").embedded == PRIOR
    prompts = held_out.prompts()[:: 3 if whole else 9]
    draw = evaluate.prior_draws(model.load(PRIOR), 1, 5, 3.0, perp_neg=1.0, steps=40 if whole else 10)
    shares, images = evaluate.measure(eyes, draw, prompts)
    assert images.shape == (51 if whole else 17, 64, 64, 3)
    assert shares["prompt"] >= 0.85
    assert shares["colour"] >= 0.9
    assert shares["kind"] >= 0.9
    assert shares["clay"] >= 0.8
    assert shares["view"] >= 0.9


@pytest.mark.parametrize("whole", SOME_AND_ALL)
def test_four_views_seen_together_are_recognised_by_the_judge(eyes, whole):
    prompts = held_out.prompts()[:: 16 if whole else 32]
    draw = evaluate.prior_draws(model.load(PRIOR), 4, 6, 3.0, together=True, steps=40 if whole else 10)
    shares, images = evaluate.measure(eyes, draw, prompts)
    assert images.shape == (40 if whole else 20, 64, 64, 3)
    assert shares["colour"] >= 0.9
    assert shares["kind"] >= 0.9
